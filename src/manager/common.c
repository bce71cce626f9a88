#include "manager/common.h"

#include "base/error.h"
#include "manager/client.h"
#include "manager/durable.h"
#include "manager/spread.h"
#include "net/ring.h"

#include <stdlib.h>
#include <utlist.h>

enum { NEXT_MAX = 16 }; /* versions of a session on their way to the disk */

/* ---- versions ---------------------------------------------------------------------------------- */

static void answer(struct peer *p, uint64_t id, const struct session *s)
{
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.common_version = s->common_version;
    client_send_reply(p, &r);
}

/* From now on executors get these; takes them. Older ones than there are: others came first. */
static void go_over(struct session *s, struct blob *common, uint64_t version)
{
    if (version <= s->common_version) {
        blob_release(common);
        return;
    }
    blob_release(s->common);
    s->common = common;
    s->common_version = version;
    for (unsigned i = 0; i < s->n_bound; i++)
        common_tell(s->bound[i]);
}

/* A version that is recorded, and not durable yet: who was shown it, and outlives flmd, would have what the
 * next flmd knows nothing of, and may call something else by that number. */
struct common_next {
    struct common_next *next; /* newer */
    struct blob *common;      /* NULL: it came too late, or once more */
    uint64_t version;
    uint64_t position; /* in the journal */
    struct peer *peer; /* whose request waits for an answer; NULL: nobody's */
    uint64_t id;
};

struct blob *common_newest(const struct session *s, uint64_t *version)
{
    struct blob *newest = s->common;
    *version = s->common_version;
    for (const struct common_next *n = s->common_next; n; n = n->next)
        if (n->common) {
            newest = n->common;
            *version = n->version;
        }
    return newest;
}

/* Takes common, but for an error; then all is as it was. */
static int record(struct session *s, struct blob *common, uint64_t version, struct peer *p, uint64_t id,
                  flm_error *error)
{
    struct common_next **at = &s->common_next, *n;
    uint64_t newest;
    unsigned waiting = 0;
    common_newest(s, &newest);
    for (; *at; at = &(*at)->next)
        waiting++;
    if (waiting >= NEXT_MAX)
        return flm__error_set(error, FLM_EAGAIN, "the journal is too slow for so many new common data");
    n = calloc(1, sizeof(*n));
    if (!n)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the new common data");
    *n = (struct common_next){.version = version, .peer = p, .id = id};
    n->common = version > newest ? common : NULL;
    *at = n;
    if (n->common && !durable_common(s)) {
        *at = NULL;
        free(n);
        return flm__error_set(error, FLM_EAGAIN, "the journal has no room for the new common data");
    }
    if (!n->common)
        blob_release(common);
    n->position = durable_mark(s);
    durable_watch(s);
    return 0;
}

void common_recorded(struct session *s)
{
    struct common_next *n;
    while ((n = s->common_next) && n->position <= durable_position(s)) {
        s->common_next = n->next;
        if (n->common)
            go_over(s, n->common, n->version);
        if (n->peer)
            answer(n->peer, n->id, s);
        free(n);
    }
}

void common_refuse(struct session *s, int code, const char *why)
{
    for (struct common_next *n = s->common_next; n; n = n->next) {
        if (n->peer)
            client_reply(n->peer, n->id, code, why);
        n->peer = NULL;
    }
}

void common_forget(struct session *s)
{
    struct common_next *n;
    while ((n = s->common_next)) {
        s->common_next = n->next;
        blob_release(n->common);
        free(n);
    }
    blob_release(s->common);
    s->common = NULL;
}

/* ---- from clients ------------------------------------------------------------------------------ */

/* Common data that are being read from a client's memory. */
struct common_read {
    struct common_read *next; /* in peer->common_reads */
    struct peer *peer;        /* NULL: gone */
    Flm__Message *message;
    common_received_fn *then;
};

static const char unreadable[] = "the data could not be read";

static void on_read(void *arg, struct blob *blob, int status)
{
    struct common_read *c = arg;
    if (c->peer)
        LL_DELETE(c->peer->common_reads, c);
    if (!c->peer)
        blob_release(blob);
    else if (!blob)
        client_reply(c->peer, c->message->request->id, status, unreadable);
    else
        c->then(c->peer, c->message->request, blob);
    flm__message__free_unpacked(c->message, NULL);
    free(c);
}

void common_gone(struct peer *p)
{
    for (struct common_read *c = p->common_reads; c; c = c->next)
        c->peer = NULL;
    p->common_reads = NULL;
    common_patches_gone(p);
}

/* Takes the message when reading has begun: 0. */
static int begin_read(struct peer *p, Flm__Message *m, const Flm__BlobRef *from, common_received_fn *then)
{
    struct flm__blob_ref ref = {
        .id = from->id, .size = from->size, .address = from->address, .key = from->key};
    if (!p->link || flm__ring_is(p->link))
        return FLM_EPROTO; /* they come as a descriptor there */
    struct common_read *c = calloc(1, sizeof(*c));
    if (!c)
        return FLM_ENOMEM;
    *c = (struct common_read){.peer = p, .message = m, .then = then};
    int rc = blob_fetch(p->manager, p->link, &ref, on_read, c);
    if (rc < 0) {
        free(c);
        return rc;
    }
    c->next = p->common_reads;
    p->common_reads = c;
    return 0;
}

void common_receive(struct peer *p, Flm__Message *m, const Flm__BlobRef *ref, int *fds, unsigned n_fds,
                    common_received_fn *then)
{
    const Flm__Request *r = m->request;
    flm_error error = {0};
    if (n_fds == 1) {
        struct blob *common = blob_take(p->manager, fds[0], ref->size, false, &error);
        if (common)
            then(p, r, common);
        else
            client_reply(p, r->id, error.code, error.text);
    } else {
        flm__close_fds(fds, n_fds);
        int rc = begin_read(p, m, ref, then);
        if (rc == 0)
            return;
        client_reply(p, r->id, rc, unreadable);
    }
    flm__message__free_unpacked(m, NULL);
}

static void refuse(struct peer *p, uint64_t request, struct blob *common, int code, const char *text)
{
    blob_release(common);
    client_reply(p, request, code, text);
}

void common_set(struct peer *p, uint64_t request, uint32_t session, uint64_t version, struct blob *common)
{
    struct session *s = client_attached(p, session, request);
    flm_error error = {0};
    if (!s) {
        blob_release(common);
    } else if (s->state != SESSION_OPEN) {
        refuse(p, request, common, FLM_ECLOSED, "the session is closed: it gets no new common data");
    } else if (!s->durability) {
        go_over(s, common, version);
        answer(p, request, s);
    } else if (record(s, common, version, p, request, &error) < 0) {
        refuse(p, request, common, error.code, error.text);
    }
}

static void update(struct peer *p, const Flm__Request *r, struct blob *common)
{
    const Flm__UpdateCommon *u = r->update_common;
    if (u->patch || p->common_patches)
        common_patch(p, r, common);
    else
        common_set(p, r->id, u->session, u->common->version, common);
}

void common_request(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds)
{
    const Flm__BlobRef *ref = m->request->update_common->common;
    if (ref && ref->size && ref->version) {
        common_receive(p, m, ref, fds, n_fds, update);
        return;
    }
    flm__close_fds(fds, n_fds);
    client_reply(p, m->request->id, FLM_EINVAL, "there are no new common data");
    flm__message__free_unpacked(m, NULL);
}

/* ---- to executors ------------------------------------------------------------------------------ */

int common_show(struct executor *e, Flm__BlobRef *ref)
{
    struct session *s = e->session;
    e->common_version = s->common_version;
    ref->version = s->common_version;
    return blob_show(s->common, e, ref);
}

void common_shown(struct executor *e)
{
    if (e->session->common)
        blob_shown(e->session->common, e);
}

void common_tell(struct executor *e)
{
    const struct session *s = e->session;
    if (!s || !s->common || e->common_version == s->common_version || e->state != EXECUTOR_BOUND ||
        e->updating || e->dying || e->back != BACK_NO || !e->node->peer)
        return;
    Flm__Common c = FLM__COMMON__INIT;
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    int fd = common_show(e, &ref);
    c.lane = e->lane;
    c.life = e->life;
    c.session = s->number;
    c.common = &ref;
    FLM__MESSAGE(m, common, COMMON, &c);
    e->updating = true;
    peer_send(e->node->peer, &m, &fd, fd >= 0);
    common_shown(e);
}

void executor_common_taken(struct executor *e, const Flm__CommonTaken *taken)
{
    struct session *s = e->session;
    if (!s || !e->updating || taken->session != s->number || taken->version != e->common_version)
        return;
    e->updating = false;
    s->manager->schedule = true;
    if (taken->code < 0 && e->state == EXECUTOR_BOUND) {
        executor_unbind(e);
        session_bind_failed(s, (int)e->id, taken->code, taken->text);
        return;
    }
    common_tell(e); /* there may be newer ones yet */
}
