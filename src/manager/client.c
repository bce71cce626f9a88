#include "manager/client.h"

#include "base/error.h"
#include "manager/blob_store.h"
#include "manager/durable.h"
#include "manager/results.h"
#include "manager/flow.h"
#include "manager/logs.h"
#include "net/ring.h"

#include <stdlib.h>
#include <string.h>

enum { DEFERRED_MAX = 4096 }; /* requests of one client that wait for tasks on the line */

void client_send_reply(struct peer *p, Flm__Reply *reply)
{
    FLM__MESSAGE(m, reply, REPLY, reply);
    if (peer_send(p, &m, NULL, 0) != FLM_ETOOBIG)
        return;
    client_reply(p, reply->id, FLM_ETOOBIG,
                 "the answer is larger than a control message may be: ask for less");
}

void client_reply(struct peer *p, uint64_t id, int code, const char *text)
{
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.code = code;
    if (code < 0)
        r.text = (char *)(uintptr_t)(text && text[0] ? text : flm_strerror(code));
    client_send_reply(p, &r);
}

/* The session of a request, if it is attached to this client. */
static struct session *attached(struct peer *p, uint32_t number, uint64_t id)
{
    struct session *s = session_by_number(p->manager, number);
    if (s && s->client == p)
        return s;
    client_reply(p, id, FLM_ENOTFOUND, "this client has no such session");
    return NULL;
}

/* Takes the message; false: no memory, the request is answered with that. */
static bool defer(struct deferred **list, struct peer *p, Flm__Message *m, uint64_t id)
{
    struct deferred *d = calloc(1, sizeof(*d));
    if (!d) {
        client_reply(p, id, FLM_ENOMEM, "the session manager has no memory for the request");
        if (m)
            flm__message__free_unpacked(m, NULL);
        return false;
    }
    d->message = m;
    d->peer = p;
    d->id = id;
    d->next = *list;
    *list = d;
    return true;
}

/* ---- create and open -------------------------------------------------------------- */

static void reply_session(struct peer *p, uint64_t id, struct session *s)
{
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.session = s->number;
    r.session_id = s->id;
    r.credit = session_credit(s);
    r.task = session_newest(s);
    r.taken = s->outbox.dropped;
    r.owed = session_unfinished(s) + s->outbox.put - s->outbox.dropped;
    r.acknowledge = s->detached;
    s->credit_told = r.credit;
    client_send_reply(p, &r);
}

/* A session whose common data are being read. */
struct creation {
    struct creation *next; /* in peer->creations */
    struct peer *peer;     /* NULL: gone */
    Flm__Message *message;
};

static void create(struct peer *p, const Flm__Request *r, struct blob *common)
{
    flm_error error = {0};
    struct session *s = session_create(p->manager, r->create_session, common, p, &error);
    if (s)
        reply_session(p, r->id, s);
    else
        client_reply(p, r->id, error.code, error.text);
}

static void common_fetched(void *arg, struct blob *blob, int status)
{
    struct creation *c = arg;
    for (struct creation **at = c->peer ? &c->peer->creations : NULL; at && *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    if (!c->peer)
        blob_release(blob);
    else if (!blob)
        client_reply(c->peer, c->message->request->id, status, "the common data could not be read");
    else
        create(c->peer, c->message->request, blob);
    flm__message__free_unpacked(c->message, NULL);
    free(c);
}

/* Open: an open session of that id, if there is one, or one that is closed and has results to be taken.
 * True: answered. */
static bool open_existing(struct peer *p, const Flm__Request *r)
{
    const Flm__SessionSpec *spec = r->create_session;
    struct session *s = spec->open && spec->id[0] ? session_by_id(p->manager, spec->id) : NULL;
    if (!s || (s->state == SESSION_CLOSED && outbox_empty(&s->outbox)))
        return false;
    if (s->client) {
        client_reply(p, r->id, FLM_EBUSY,
                     s->client == p ? "this client has that session open already"
                                    : "another client is attached to that session");
    } else if (strcmp(s->application->name, spec->application) != 0) {
        client_reply(p, r->id, FLM_EEXIST, "that session is of another application");
    } else {
        session_attach(s, p);
        reply_session(p, r->id, s);
    }
    return true;
}

/* Common data that are to be read from the client's memory. Takes the message when that has begun: 0. */
static int fetch_common(struct peer *p, Flm__Message *m)
{
    const Flm__BlobRef *from = m->request->create_session->common;
    struct flm__blob_ref ref = {from->id, from->size, from->address, from->key};
    if (!p->link || flm__ring_is(p->link))
        return FLM_EPROTO; /* they come as a descriptor there */
    struct creation *c = calloc(1, sizeof(*c));
    if (!c)
        return FLM_ENOMEM;
    c->peer = p;
    c->message = m;
    int rc = blob_fetch(p->manager, p->link, &ref, common_fetched, c);
    if (rc < 0) {
        free(c);
        return rc;
    }
    c->next = p->creations;
    p->creations = c;
    return 0;
}

/* Takes the message. */
static void create_session(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds)
{
    Flm__Request *r = m->request;
    Flm__SessionSpec *spec = r->create_session;
    flm_error error = {0};
    bool has_common = spec->common && spec->common->size;
    if (open_existing(p, r)) {
        flm__close_fds(fds, n_fds);
    } else if (has_common && n_fds == 1) {
        struct blob *common = blob_take(p->manager, fds[0], spec->common->size, &error);
        if (common)
            create(p, r, common);
        else
            client_reply(p, r->id, error.code, error.text);
    } else if (has_common) {
        flm__close_fds(fds, n_fds);
        int rc = fetch_common(p, m);
        if (rc == 0)
            return;
        client_reply(p, r->id, rc, "the common data could not be read");
    } else {
        flm__close_fds(fds, n_fds);
        create(p, r, NULL);
    }
    flm__message__free_unpacked(m, NULL);
}

/* Of a sync: not known yet. */
#define POSITION_OPEN UINT64_MAX

/* ---- close, cancel, sync ------------------------------------------------------------- */

static void cancel_task(struct peer *p, const Flm__Request *r)
{
    flm_error error = {0};
    struct session *s = attached(p, r->cancel_task->session, r->id);
    if (s)
        client_reply(p, r->id, session_cancel_task(s, r->cancel_task->task, &error), error.text);
}

static void end_session(struct peer *p, const Flm__Request *r, uint32_t number, bool cancel)
{
    struct session *s = attached(p, number, r->id);
    if (!s)
        return;
    if (!defer(&s->closers, p, NULL, r->id))
        return;
    if (cancel)
        session_cancel(s, "by its client");
    else
        session_close(s);
    if (s->state == SESSION_CLOSED && results_finish(s))
        client_answer_closers(s);
}

static void sync_session(struct peer *p, const Flm__Request *r)
{
    struct session *s = attached(p, r->sync_session, r->id);
    if (!s)
        return;
    if (r->taken && s->detached && !outbound_acknowledge(s, r->taken)) {
        client_reply(p, r->id, FLM_EPROTO, "more results are acknowledged than were sent");
        return;
    }
    if (!s->client) { /* that was the last of a closed session */
        client_reply(p, r->id, 0, NULL);
        return;
    }
    if (s->durability && !s->in_syncing) {
        s->in_syncing = true;
        s->next_syncing = p->manager->durable->syncing;
        p->manager->durable->syncing = s;
    }
    if (!defer(&s->syncs, p, NULL, r->id))
        return;
    s->syncs->task = session_newest(s);
    s->syncs->position = POSITION_OPEN;
    client_answer_syncs(s);
}

/* An input that is still being read is recorded when it is there, so nothing later is yet. What others have
 * recorded since the last sync of the disk may lie before the position, too, so it is to be synced itself.
 */
static bool is_durable(const struct session *s, struct deferred *d)
{
    struct durable *durable = s->manager->durable;
    if (!s->durability)
        return true;
    if (s->fetching)
        return false;
    if (d->position == POSITION_OPEN) {
        d->position = flm__journal_position(durable->journal);
        durable->sync |= s->durability == FLM_DURABILITY_SYNC;
    }
    return d->position <= durable_position(s);
}

void client_answer_syncs(struct session *s)
{
    struct deferred **at = &s->syncs, *d;
    while ((d = *at)) {
        if (!is_durable(s, d)) {
            at = &d->next;
            continue;
        }
        Flm__Reply reply = FLM__REPLY__INIT;
        reply.id = d->id;
        reply.task = d->task < session_newest(s) ? d->task : session_newest(s);
        client_send_reply(d->peer, &reply);
        *at = d->next;
        free(d);
    }
}

void client_drop_syncs(struct session *s)
{
    struct deferred *d;
    struct durable *durable = s->manager->durable;
    while ((d = s->syncs)) {
        s->syncs = d->next;
        client_reply(d->peer, d->id, FLM_ECLOSED, "the session is given up"); /* if the client is there */
        free(d);
    }
    for (struct session **at = durable ? &durable->syncing : NULL; at && *at; at = &(*at)->next_syncing)
        if (*at == s) {
            *at = s->next_syncing;
            s->in_syncing = false;
            break;
        }
}

/* Number of the attached session that a request is about; 0: none. */
static uint32_t about(const Flm__Request *r)
{
    switch (r->verb_case) {
    case FLM__REQUEST__VERB_CLOSE_SESSION:
        return r->close_session;
    case FLM__REQUEST__VERB_CANCEL_SESSION:
        return r->cancel_session;
    case FLM__REQUEST__VERB_SYNC_SESSION:
        return r->sync_session;
    case FLM__REQUEST__VERB_CANCEL_TASK:
        return r->cancel_task->session;
    default:
        return 0;
    }
}

/* Control must not overtake data: false while tasks sent before the request are on the line. */
static bool data_has_come(struct peer *p, const Flm__Request *r)
{
    struct session *s = session_by_number(p->manager, about(r));
    if (!s || s->client != p || s->last_task >= r->submitted)
        return true;
    /* Not inside of itself: a record that waits for its payload reads messages. */
    while (!p->draining && p->link && p->state == PEER_CLIENT && s->last_task < r->submitted &&
           inbound_drain(p))
        ;
    return s->last_task >= r->submitted;
}

static void answer(struct peer *p, const Flm__Request *r)
{
    switch (r->verb_case) {
    case FLM__REQUEST__VERB_CLOSE_SESSION:
        end_session(p, r, r->close_session, false);
        break;
    case FLM__REQUEST__VERB_CANCEL_SESSION:
        end_session(p, r, r->cancel_session, true);
        break;
    case FLM__REQUEST__VERB_SYNC_SESSION:
        sync_session(p, r);
        break;
    default:
        cancel_task(p, r);
        break;
    }
}

/* Takes the message of a request that came before the tasks it is about. */
static void wait_for_data(struct peer *p, Flm__Message *m)
{
    if (p->n_deferred < DEFERRED_MAX) {
        p->n_deferred += defer(&p->deferred, p, m, m->request->id);
        return;
    }
    peer_doom(p, "it asks too much about tasks that it has not sent");
    flm__message__free_unpacked(m, NULL);
}

void client_message(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds)
{
    if (m->body_case != FLM__MESSAGE__BODY_REQUEST) {
        flm__close_fds(fds, n_fds);
    } else if (m->request->verb_case == FLM__REQUEST__VERB_CREATE_SESSION) {
        create_session(p, m, fds, n_fds);
        return;
    } else if (about(m->request)) {
        flm__close_fds(fds, n_fds);
        if (!data_has_come(p, m->request)) {
            wait_for_data(p, m);
            return;
        }
        if (p->state == PEER_CLIENT)
            answer(p, m->request);
    } else {
        flm__close_fds(fds, n_fds);
        if (verbs_answer(p, m))
            return;
    }
    flm__message__free_unpacked(m, NULL);
}

void client_retry(struct peer *p)
{
    struct deferred *list = p->deferred, *next;
    p->deferred = NULL;
    for (struct deferred *d = list; d; d = next) {
        next = d->next;
        if (p->state == PEER_CLIENT && !data_has_come(p, d->message->request)) {
            d->next = p->deferred;
            p->deferred = d;
            continue;
        }
        p->n_deferred--;
        if (p->state == PEER_CLIENT)
            answer(p, d->message->request);
        flm__message__free_unpacked(d->message, NULL);
        free(d);
    }
}

void client_answer_closers(struct session *s)
{
    struct deferred *list = s->closers, *next;
    s->closers = NULL;
    for (struct deferred *d = list; d; d = next) {
        next = d->next;
        client_reply(d->peer, d->id, 0, NULL);
        s->given_up = true; /* the client wants no more of it than the results that wait */
        if (s->client == d->peer && outbox_empty(&s->outbox))
            session_detach(s);
        free(d);
    }
}

void client_gone(struct peer *p)
{
    struct deferred *d;
    application_forget_peer(p->manager, p);
    logs_forget(p);
    for (struct creation *c = p->creations; c; c = c->next)
        c->peer = NULL;
    p->creations = NULL;
    while ((d = p->deferred)) {
        p->deferred = d->next;
        flm__message__free_unpacked(d->message, NULL);
        free(d);
    }
    while (p->attached) {
        struct session *s = p->attached;
        while ((d = s->closers)) {
            s->closers = d->next;
            free(d);
        }
        session_detach(s);
        if (!s->detached)
            session_cancel(s, "its client is gone");
    }
}
