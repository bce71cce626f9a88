/* A client's link -> the queues of its sessions. With credit there is room for all that comes, so the
 * link is always drained and no session blocks another. */
#include "manager/flow.h"
#include "net/ring.h"

#include <stdlib.h>
#include <string.h>

enum {
    DRAIN_BYTES = 64 << 10, /* of one client in one turn of the loop */
};

/* A task that cannot be taken is answered at once. */
static void refuse(struct session *s, const struct flm__record *r, int state, int reason, int code,
                   const char *text)
{
    struct flm__record stored = *r;
    struct task_ref ref;
    stored.type = QUEUE_PENDING;
    stored.flags = 0;
    stored.lane = 0;
    stored.size = 0;
    if (!queue_append(&s->queue, &stored, NULL, &ref))
        return; /* not even 24 bytes: the client learns it when flmd ends */
    s->pending++;
    outbound_end_task(s, ref,
                      &(struct ending){.state = state, .reason = reason, .code = code, .text = text});
    queue_record(ref)->type = QUEUE_CANCELLED; /* skipped when it is met */
}

static void fetched(void *arg, struct blob *blob, int status);

struct fetch {
    struct manager *manager;
    uint32_t session;
    uint64_t task, id;
};

/* Puts the blob itself where the reference to it was. */
static void remember_blob(struct task_ref ref, struct blob *blob)
{
    struct flm__record *r = queue_record(ref);
    struct flm__blob_ref kept = {.size = blob ? blob->size : 0, .address = (uintptr_t)blob};
    memcpy((char *)queue_payload(ref) + r->size - sizeof(kept), &kept, sizeof(kept));
}

enum claim { CLAIMED, FETCHING, NOT_YET, FAILED };

/* The large input that a record refers to: announced on the control connection, or to be read. */
static enum claim claim_blob(struct peer *p, const struct flm__blob_ref *ref, struct blob **blob,
                             flm_error *error)
{
    uint64_t size = 0;
    if (!flm__ring_is(p->link))
        return FETCHING;
    int fd = peer_take_blob(p, ref->id, &size);
    if (fd < 0) {
        peer_read(p);
        fd = p->state == PEER_CLIENT ? peer_take_blob(p, ref->id, &size) : -1;
    }
    if (fd < 0)
        return NOT_YET;
    *blob = blob_take(p->manager, fd, ref->size, error);
    return *blob ? CLAIMED : FAILED;
}

static void start_fetch(struct peer *p, struct session *s, struct task_ref ref,
                        const struct flm__blob_ref *where)
{
    struct fetch *f = malloc(sizeof(*f));
    struct flm__record *r = queue_record(ref);
    r->type = QUEUE_FETCHING;
    s->fetching++;
    if (f) {
        *f = (struct fetch){p->manager, s->number, r->task, where->id};
        if (blob_fetch(p->manager, p->link, where, fetched, f) == 0)
            return;
    }
    f = f ? f : &(struct fetch){p->manager, s->number, r->task, where->id};
    fetched(f, NULL, FLM_ENOMEM);
}

static void fetched(void *arg, struct blob *blob, int status)
{
    struct fetch *f = arg;
    struct session *s = session_by_number(f->manager, f->session);
    struct task_ref ref;
    if (!s || !queue_find(&s->queue, f->task, &ref)) {
        blob_release(blob);
    } else {
        struct flm__record *r = queue_record(ref);
        bool deferred = r->type == QUEUE_DEFERRED;
        bool wanted = deferred || r->type == QUEUE_FETCHING;
        s->fetching--;
        remember_blob(ref, blob);
        if (s->client && s->client->state == PEER_CLIENT) {
            Flm__BlobDone done = FLM__BLOB_DONE__INIT;
            done.id = f->id;
            FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
            peer_send(s->client, &m, NULL, 0);
        }
        if (wanted) {
            r->type = QUEUE_PENDING;
            if (!blob) {
                outbound_end_task(s, ref,
                                  &(struct ending){.state = FLM_TASK_FAILED,
                                                   .reason = FLM_REASON_DISCONNECTED,
                                                   .code = status,
                                                   .text = "the input could not be read from the client"});
                r->type = QUEUE_CANCELLED;
            }
            if (deferred)
                queue_push_back(&s->queue, ref);
        }
        s->manager->schedule = true;
    }
    free(f);
}

/* Takes a record with a large input. False: its blob has not come yet. */
static bool accept_large(struct peer *p, struct session *s, const struct flm__record *r, const char *record)
{
    struct flm__blob_ref where;
    struct flm__task_parts parts;
    struct blob *blob = NULL;
    struct task_ref ref;
    flm_error error = {0};
    if (!flm__task_split(r, record + FLM__RECORD_HEADER, &parts)) {
        refuse(s, r, FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_EPROTO, "the input is malformed");
        return true;
    }
    memcpy(&where, parts.input, sizeof(where));
    if (where.size == 0 || where.size > FLM_MAX_PAYLOAD) {
        refuse(s, r, FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_ETOOBIG,
               "the input is larger than the limit of 1 GiB");
        return true;
    }
    enum claim claim = claim_blob(p, &where, &blob, &error);
    if (claim == NOT_YET)
        return false;
    struct flm__record stored = *r; /* as it was checked, whatever the peer writes now */
    stored.type = QUEUE_PENDING;
    stored.lane = 0;
    if (claim == FAILED || !queue_append(&s->queue, &stored, flm__record_payload(record), &ref)) {
        blob_release(blob);
        refuse(s, r, FLM_TASK_FAILED, FLM_REASON_OUT_OF_MEMORY, FLM_ENOMEM,
               error.code ? error.text : "the session manager has no memory for the input");
        return true;
    }
    s->pending++;
    remember_blob(ref, blob);
    if (claim == FETCHING)
        start_fetch(p, s, ref, &where);
    return true;
}

/* Why the session takes no task now; NULL: it does. */
static const char *closed_text(const struct session *s)
{
    if (s->state != SESSION_OPEN)
        return "the session is closed";
    return s->trouble[0] ? s->trouble : NULL;
}

/* False: try again later. */
static bool accept_task(struct peer *p, struct session *s, const struct flm__record *r, const char *record)
{
    if (r->task <= s->last_task)
        return true; /* seen before: sent again after a reconnect */
    const char *closed = closed_text(s);
    if (__builtin_expect(closed != NULL, 0)) {
        bool trouble = s->state == SESSION_OPEN;
        refuse(s, r, trouble ? FLM_TASK_FAILED : FLM_TASK_CANCELLED,
               trouble ? FLM_REASON_BIND : FLM_REASON_CANCELLED, trouble ? FLM_EBIND : FLM_ECLOSED, closed);
    } else if (__builtin_expect(r->flags & FLM__RECORD_BLOB, 0)) {
        if (!accept_large(p, s, r, record))
            return false;
    } else {
        struct task_ref ref;
        struct flm__record stored = *r; /* as it was checked, whatever the peer writes now */
        stored.type = QUEUE_PENDING;
        stored.lane = 0;
        if (__builtin_expect(!queue_append(&s->queue, &stored, flm__record_payload(record), &ref), 0)) {
            refuse(s, r, FLM_TASK_FAILED, FLM_REASON_OUT_OF_MEMORY, FLM_ENOMEM,
                   "the session manager has no memory for the queue");
        } else {
            if (s->pending++ == 0)
                s->manager->schedule = true;
        }
    }
    s->last_task = r->task;
    return true;
}

unsigned inbound_drain(struct peer *p)
{
    const void *data;
    size_t n = flm__link_peek(p->link, &data), at = 0;
    unsigned tasks = 0;
    struct session *s = NULL;
    struct manager *m = p->manager;
    if (n == 0)
        return 0;
    while (at < n && at < DRAIN_BYTES) {
        const char *record = (const char *)data + at;
        struct flm__record r;
        uint32_t bytes = flm__record_read(record, n - at, &r);
        if (bytes == 0 || r.type != FLM__TASK || r.flags & ~(FLM__RECORD_BLOB | FLM__RECORD_DEADLINE)) {
            peer_refuse(p, FLM_EPROTO, "a record of the data plane is malformed");
            return tasks;
        }
        if (!s || s->number != r.session)
            s = session_by_number(m, r.session);
        if (s && s->client == p && !accept_task(p, s, &r, record))
            break;
        if (p->state != PEER_CLIENT)
            return tasks;
        at += bytes;
        tasks++;
    }
    flm__link_consume(p->link, at);
    return tasks;
}
