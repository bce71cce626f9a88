#include "manager/client.h"

#include "base/error.h"
#include "manager/common.h"
#include "manager/durable.h"
#include "manager/results.h"
#include "manager/flow.h"
#include "manager/logs.h"
#include "manager/objects.h"
#include "manager/open.h"
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

bool client_is_doomed(struct peer *p, uint64_t id, const struct session *s)
{
    const char *why = s->durability ? durable_failure(p->manager->durable) : NULL;
    if (why)
        client_reply(p, id, FLM_EIO, why);
    return why != NULL;
}

struct session *client_attached(struct peer *p, uint32_t number, uint64_t id)
{
    struct session *s = session_by_number(p->manager, number);
    if (s && s->client == p)
        return client_is_doomed(p, id, s) ? NULL : s;
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

/* Of a sync: not known yet. */
#define POSITION_OPEN UINT64_MAX

bool client_await_durable(struct peer *p, struct session *s, uint64_t id)
{
    if (!defer(&s->syncs, p, NULL, id))
        return false;
    s->syncs->task = session_newest(s);
    s->syncs->position = POSITION_OPEN;
    if (s->durability)
        durable_watch(s);
    return true;
}

/* ---- close, cancel, sync ------------------------------------------------------------- */

static void cancel_task(struct peer *p, const Flm__Request *r)
{
    flm_error error = {0};
    struct session *s = client_attached(p, r->cancel_task->session, r->id);
    if (s)
        client_reply(p, r->id, session_cancel_task(s, r->cancel_task->task, &error), error.text);
}

static void end_session(struct peer *p, const Flm__Request *r, uint32_t number, bool cancel)
{
    struct session *s = client_attached(p, number, r->id);
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
    struct session *s = client_attached(p, r->sync_session, r->id);
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
    if (client_await_durable(p, s, r->id))
        client_answer_syncs(s);
}

/* An input that is still being read is recorded when it is there, so nothing later is yet. */
static bool is_durable(const struct session *s, struct deferred *d)
{
    if (!s->durability)
        return true;
    if (s->fetching || s->dirty)
        return false;
    if (d->position == POSITION_OPEN)
        d->position = durable_mark(s);
    return d->position <= durable_position(s);
}

static void reply_sync(const struct deferred *d, const struct session *s)
{
    Flm__Reply reply = FLM__REPLY__INIT;
    reply.id = d->id;
    reply.task = d->task < session_newest(s) ? d->task : session_newest(s);
    client_send_reply(d->peer, &reply);
}

/* What was asked for is durable. */
static void answer_durable(struct session *s, const struct deferred *d)
{
    if (d->opening) {
        s->opening = false;
        open_reply(d->peer, d->id, s);
    } else if (d->closing) {
        client_reply(d->peer, d->id, 0, NULL);
        s->given_up = true; /* the client wants no more of it than the results that wait */
    } else {
        reply_sync(d, s);
    }
}

void client_answer_syncs(struct session *s)
{
    struct deferred **at = &s->syncs, *d;
    if (s->common_next)
        common_recorded(s);
    if (open_refuse(s))
        return;
    while ((d = *at)) {
        if (!is_durable(s, d)) {
            at = &d->next;
            continue;
        }
        answer_durable(s, d);
        *at = d->next;
        free(d);
    }
    if (s->given_up && s->state == SESSION_CLOSED && outbox_empty(&s->outbox))
        session_detach(s);
}

static void refuse_all(struct deferred **list, int code, const char *why)
{
    struct deferred *d;
    while ((d = *list)) {
        *list = d->next;
        client_reply(d->peer, d->id, code, why); /* if the client is there */
        free(d);
    }
}

void client_lose_session(struct session *s, const char *why)
{
    Flm__SessionLost lost = FLM__SESSION_LOST__INIT;
    lost.session = s->number;
    lost.code = FLM_EIO;
    lost.text = (char *)(uintptr_t)why;
    FLM__MESSAGE(m, session_lost, SESSION_LOST, &lost);
    if (s->client)
        peer_send(s->client, &m, NULL, 0);
    refuse_all(&s->syncs, FLM_EIO, why);
    refuse_all(&s->closers, FLM_EIO, why);
    common_refuse(s, FLM_EIO, why);
}

void client_drop_syncs(struct session *s)
{
    static const char why[] = "the session is given up";
    refuse_all(&s->syncs, FLM_ECLOSED, why);
    common_refuse(s, FLM_ECLOSED, why);
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
        open_request(p, m, fds, n_fds);
        return;
    } else if (m->request->verb_case == FLM__REQUEST__VERB_OBJECT) {
        objects_request(p, m, fds, n_fds);
        return;
    } else if (m->request->verb_case == FLM__REQUEST__VERB_UPDATE_COMMON) {
        common_request(p, m, fds, n_fds);
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
        if (d->peer == s->client &&
            client_await_durable(d->peer, s, d->id)) /* answers if there is no memory */
            s->syncs->closing = true;
        free(d);
    }
    client_answer_syncs(s);
}

void client_gone(struct peer *p)
{
    struct deferred *d;
    application_forget_peer(p->manager, p);
    logs_forget(p);
    common_gone(p);
    objects_gone(p);
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
        session_client_lost(s);
    }
}
