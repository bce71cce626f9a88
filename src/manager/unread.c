#include "manager/unread.h"

#include "base/hash.h"
#include "manager/direct.h"
#include "manager/executor_inside.h"
#include "manager/flow.h"
#include "manager/node.h"
#include "manager/peer.h"
#include "manager/say.h"
#include "net/ring.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#define SAID_AFTER_NS 2000000000 /* time for a lost node to be known as such */

struct unread {
    uint64_t id;                /* of the output, for the client: key of the hash */
    struct unread *prev, *next; /* in session->unread */
    struct session *session;    /* NULL: its task has ended, or runs again; the client may still look */
    struct task_ref ref;
    uint64_t client;   /* number */
    struct node *node; /* NULL: it is lost */
    unsigned lane;
    uint64_t there, size; /* its id, for the node */
    UT_hash_handle hh;
};

static bool can_read(const struct session *s, const struct executor *e)
{
    const struct peer *p = s->client;
    return p && p->state == PEER_CLIENT && direct_client(s) && !p->unreadable &&
           e->node->fabric_address_size && outbox_empty(&s->outbox);
}

static struct unread *add(struct executor *e, struct session *s, struct task_ref ref,
                          const struct flm__blob_ref *where)
{
    struct manager *m = s->manager;
    struct unread *u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    *u = (struct unread){.id = ++m->next_blob,
                         .session = s,
                         .ref = ref,
                         .client = s->client->number,
                         .node = e->node,
                         .lane = e->lane,
                         .there = where->id,
                         .size = where->size};
    HASH_ADD(hh, m->unread, id, sizeof(u->id), u);
    if (!flm__hash_added(&u->hh)) {
        free(u);
        return NULL;
    }
    DL_APPEND(s->unread, u);
    s->unread_bytes += u->size;
    s->n_unread++;
    e->node->unread_bytes += u->size;
    return u;
}

bool unread_send(struct executor *e, struct session *s, struct task_ref ref,
                 const struct flm__blob_ref *where)
{
    const struct flm__record *task = queue_record(ref);
    const uint32_t bytes = flm__record_bytes(sizeof(*where));
    struct flm__record *to = can_read(s, e) ? flm__link_reserve(s->client->link, bytes) : NULL;
    const struct unread *u = to ? add(e, s, ref, where) : NULL;
    if (!u)
        return false;
    struct flm__blob_ref shown = *where;
    shown.id = u->id;
    shown.source = direct_number(e->node);
    *to = (struct flm__record){.size = sizeof(shown),
                               .type = FLM__RESULT,
                               .flags = FLM__RECORD_BLOB | direct_flag(flow_input(task)),
                               .lane = (uint16_t)e->id,
                               .session = s->number,
                               .cookie = task->cookie,
                               .task = task->task};
    memcpy(to + 1, &shown, sizeof(shown));
    flm__link_commit(s->client->link, bytes);
    s->client->link_needs_flush = true;
    return true;
}

/* Its executor may use the memory again. */
static void tell_node(const struct unread *u)
{
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = u->there;
    done.lane = u->lane;
    FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
    if (u->node->peer)
        peer_send(u->node->peer, &m, NULL, 0);
}

/* The client looks there no more. */
static void forget(struct manager *m, struct unread *u)
{
    if (u->node)
        tell_node(u);
    HASH_DEL(m->unread, u);
    free(u);
}

/* The session has nothing to do with it any more. */
static void leave_session(struct unread *u)
{
    struct session *s = u->session;
    DL_DELETE(s->unread, u);
    if (u->node)
        u->node->unread_bytes -= u->size;
    s->unread_bytes -= u->size;
    s->n_unread--;
    u->session = NULL;
}

static void was_read(struct session *s, struct task_ref ref)
{
    s->running--;
    s->succeed++;
    s->manager->tasks++;
    outbound_finish_task(s, ref);
    outbound_credit(s);
}

static void was_not_read(struct peer *client, const struct unread *u, int code)
{
    if (u->node && !client->unreadable) {
        client->unreadable = direct_number(u->node);
        client->unreadable_code = code;
        client->unreadable_ns = client->manager->now;
    }
    executor_give_back(u->session, u->ref);
}

static const struct node *node_of(const struct manager *m, uint64_t number)
{
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    {
        if (direct_number(n) == number)
            return n;
    }
    return NULL;
}

/* Who could not read on a node often hears before us that it is lost. */
void unread_look(struct manager *m)
{
    struct peer *p, *next;
    HASH_ITER(hh, m->clients, p, next)
    {
        const struct node *n = p->unreadable_code ? node_of(m, p->unreadable) : NULL;
        if (!n || m->now - p->unreadable_ns < SAID_AFTER_NS)
            continue;
        say("client %s (process %d) cannot read large outputs on node %s itself (%s): from now on they go "
            "through the session manager, which is slower",
            p->name, p->pid, n->name,
            p->unreadable_code == FLM_EDISCONNECTED ? "the connection broke"
                                                    : flm_strerror(p->unreadable_code));
        p->unreadable_code = 0;
    }
}

bool unread_done(struct peer *client, const Flm__BlobDone *done)
{
    struct manager *m = client->manager;
    struct unread *u;
    HASH_FIND(hh, m->unread, &done->id, sizeof(done->id), u);
    if (!u || u->client != client->number)
        return false;
    struct session *s = u->session;
    if (s && done->code < 0)
        was_not_read(client, u, done->code);
    else if (s)
        was_read(s, u->ref);
    if (s)
        leave_session(u);
    forget(m, u);
    m->schedule = true; /* there is room for results again, or a task, or a node that is not needed */
    if (s)
        session_settle(s);
    return true;
}

void unread_run_again(struct session *s)
{
    while (s->unread) {
        struct unread *u = s->unread;
        executor_give_back(s, u->ref);
        leave_session(u);
    }
    s->manager->schedule = true;
}

void unread_client_gone(const struct peer *client)
{
    struct unread *u, *next;
    HASH_ITER(hh, client->manager->unread, u, next)
    {
        if (u->client != client->number)
            continue;
        if (u->session)
            leave_session(u);
        forget(client->manager, u);
    }
}

void unread_node_gone(struct manager *m, const struct node *n)
{
    struct unread *u, *next;
    HASH_ITER(hh, m->unread, u, next)
    {
        if (u->node == n)
            u->node = NULL;
    }
}

void unread_forget(struct session *s)
{
    while (s->unread)
        leave_session(s->unread);
}
