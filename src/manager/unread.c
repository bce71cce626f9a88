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

struct unread {
    uint64_t id;                /* of the output, for the client: key of the hash */
    struct unread *prev, *next; /* in session->unread */
    struct session *session;
    struct task_ref ref;
    struct node *node; /* NULL: it is lost */
    unsigned lane;
    uint64_t there; /* its id, for the node */
    UT_hash_handle hh;
};

static bool can_read(const struct session *s, const struct executor *e)
{
    const struct peer *p = s->client;
    return p && p->state == PEER_CLIENT && direct_client(s) && !p->reads_no_nodes &&
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
                         .node = e->node,
                         .lane = e->lane,
                         .there = where->id};
    HASH_ADD(hh, m->unread, id, sizeof(u->id), u);
    if (!flm__hash_added(&u->hh)) {
        free(u);
        return NULL;
    }
    DL_APPEND(s->unread, u);
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

static void take_out(struct unread *u)
{
    HASH_DEL(u->session->manager->unread, u);
    DL_DELETE(u->session->unread, u);
    free(u);
}

/* Its executor may use the memory again. */
static void tell_node(const struct unread *u)
{
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = u->there;
    done.lane = u->lane;
    FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
    if (u->node && u->node->peer)
        peer_send(u->node->peer, &m, NULL, 0);
}

static void was_read(struct unread *u)
{
    struct session *s = u->session;
    s->running--;
    s->succeed++;
    s->manager->tasks++;
    outbound_finish_task(s, u->ref);
    outbound_credit(s);
}

static void was_not_read(struct unread *u, struct peer *client, int code)
{
    struct session *s = u->session;
    if (u->node && !client->reads_no_nodes) {
        say("client %s (process %d) cannot read large outputs on node %s itself (%s): from now on they go "
            "through the session manager, which is slower",
            client->name, client->pid, u->node->name, flm_strerror(code));
        client->reads_no_nodes = true;
    }
    executor_give_back(s, u->ref);
    s->manager->schedule = true;
}

bool unread_done(struct peer *client, const Flm__BlobDone *done)
{
    struct unread *u;
    HASH_FIND(hh, client->manager->unread, &done->id, sizeof(done->id), u);
    if (!u || u->session->client != client)
        return u != NULL;
    struct session *s = u->session;
    tell_node(u);
    if (done->code < 0)
        was_not_read(u, client, done->code);
    else
        was_read(u);
    take_out(u);
    session_settle(s);
    return true;
}

void unread_client_gone(struct peer *client)
{
    for (struct session *s = client->attached; s; s = s->next_attached)
        while (s->unread) {
            struct unread *u = s->unread;
            tell_node(u);
            s->running--;
            s->cancelled++;
            s->manager->tasks++;
            outbound_finish_task(s, u->ref);
            take_out(u);
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
        take_out(s->unread);
}
