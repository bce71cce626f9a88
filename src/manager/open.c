/* Requests to create a session, to open one, to come back to one. */
#include "manager/open.h"

#include "base/error.h"
#include "manager/common.h"
#include "manager/durable.h"

#include <stdlib.h>
#include <string.h>

void open_reply(struct peer *p, uint64_t id, struct session *s)
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
    r.outlives = session_outlives_client(s);
    r.resume = s->durability ? s->serial : 0;
    r.common_version = s->common_version;
    s->credit_told = r.credit;
    client_send_reply(p, &r);
    p->wants_room = true; /* its results may go */
}

/* The session is attached: answers the request that opened it. A durable one has to be, with all its tasks:
 * the client goes on behind the newest, and those before that must not be lost any more. */
static void opened(struct peer *p, const Flm__Request *r, struct session *s, enum opening how)
{
    s->client_key = r->create_session->key; /* whoever comes with the same one later is the same client */
    s->refused = r->create_session->refused;
    if (!s->durability) {
        open_reply(p, r->id, s);
    } else if (client_await_durable(p, s, r->id)) {
        s->syncs->opening = how;
        s->opening = true;
        client_answer_syncs(s);
    } else {
        session_detach(s);
    }
}

bool open_refuse(struct session *s)
{
    const char *why = s->opening ? durable_trouble(s->manager->durable) : NULL;
    struct deferred *d = s->syncs;
    if (!why)
        return false;
    while (d && !d->opening)
        d = d->next;
    if (d)
        client_reply(d->peer, d->id, d->opening == RESUMES ? FLM_EAGAIN : FLM_EIO, why);
    session_detach(s);
    return true;
}

static void create(struct peer *p, const Flm__Request *r, struct blob *common)
{
    flm_error error = {0};
    struct session *s = session_create(p->manager, r->create_session, common, p, &error);
    if (!s) {
        client_reply(p, r->id, error.code, error.text);
        return;
    }
    opened(p, r, s, OPENS);
}

/* Open: an open session of that id, if there is one, or one that is closed and has results to be taken.
 * True: answered. */
static bool open_existing(struct peer *p, const Flm__Request *r)
{
    const Flm__SessionSpec *spec = r->create_session;
    struct session *s = spec->open && spec->id[0] ? session_by_id(p->manager, spec->id) : NULL;
    if (!s || (s->state == SESSION_CLOSED && outbox_empty(&s->outbox)))
        return false;
    if (client_is_doomed(p, r->id, s))
        return true;
    if (s->client) {
        client_reply(p, r->id, FLM_EBUSY,
                     s->client == p ? "this client has that session open already"
                                    : "another client is attached to that session");
    } else if (strcmp(s->application->name, spec->application) != 0) {
        client_reply(p, r->id, FLM_EEXIST, "that session is of another application");
    } else {
        session_attach(s, p);
        opened(p, r, s, OPENS);
    }
    return true;
}

/* A client that has lost its connection comes back to its session. */
static void resume(struct peer *p, const Flm__Request *r)
{
    const Flm__SessionSpec *spec = r->create_session;
    struct session *s = session_by_serial(p->manager, spec->resume);
    if (s && s->client && s->client != p && s->client_key == spec->key) {
        peer_end(s->client, "its client has come again over another connection");
        s = session_by_serial(p->manager, spec->resume);
    }
    if (!s) {
        client_reply(p, r->id, FLM_ENOTFOUND,
                     "the session manager does not have that session (any more): was it started with the "
                     "same --state-dir?");
    } else if (s->client) {
        client_reply(p, r->id, FLM_EBUSY, "another client has opened the session meanwhile");
    } else if (!client_is_doomed(p, r->id, s)) {
        session_attach(s, p);
        opened(p, r, s, RESUMES);
    }
}

void open_request(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds)
{
    Flm__Request *r = m->request;
    Flm__SessionSpec *spec = r->create_session;
    bool resumes = spec->resume != 0, exists = !resumes && open_existing(p, r);
    if (!resumes && !exists && spec->common && spec->common->size) {
        common_receive(p, m, spec->common, fds, n_fds, create);
        return;
    }
    flm__close_fds(fds, n_fds);
    if (resumes)
        resume(p, r);
    else if (!exists)
        create(p, r, NULL);
    flm__message__free_unpacked(m, NULL);
}
