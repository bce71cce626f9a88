/* Requests to create a session, to open one, to come back to one. */
#include "manager/open.h"

#include "base/error.h"
#include "manager/durable.h"
#include "net/ring.h"

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
    r.resume = s->durability ? s->serial : 0;
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
    if (!s) {
        client_reply(p, r->id, error.code, error.text);
        return;
    }
    opened(p, r, s, OPENS);
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

void open_gone(struct peer *p)
{
    for (struct creation *c = p->creations; c; c = c->next)
        c->peer = NULL;
    p->creations = NULL;
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

void open_request(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds)
{
    Flm__Request *r = m->request;
    Flm__SessionSpec *spec = r->create_session;
    flm_error error = {0};
    bool has_common = spec->common && spec->common->size;
    if (spec->resume) {
        flm__close_fds(fds, n_fds);
        resume(p, r);
    } else if (open_existing(p, r)) {
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
