/* A client's link -> the queues of its sessions. With credit there is room for all that comes, so the
 * link is always drained and no session blocks another. */
#include "base/error.h"
#include "manager/direct.h"
#include "manager/durable.h"
#include "manager/flow.h"
#include "manager/results.h"
#include "net/ring.h"

#include <stdlib.h>
#include <string.h>

enum {
    DRAIN_BYTES = 64 << 10, /* of one client in one turn of the loop */
    /* A client that has nothing on the way may send one task of any size beyond its credit. */
    BEYOND_CREDIT_MAX = (1 << 30) + FLM__RECORD_MAX,
    TASK_FLAGS = FLM__RECORD_BLOB | FLM__RECORD_DEADLINE | FLM__RECORD_OBJECTS | FLM__RECORD_OUTPUT,
};

static void fetched(void *arg, struct blob *blob, int status);

struct fetch {
    struct manager *manager;
    uint32_t session;
    uint64_t task;
    uint64_t id, client; /* of the blob, as the how-manieth client of the session knows it; id 0: it hears
                            that later */
    struct fetch *next;  /* parked: */
    struct blob *blob;
};

/* Puts the blob itself where the reference to it was; its size is counted also while it is on the way. */
static void remember_blob(struct task_ref ref, struct blob *blob, uint64_t size)
{
    struct flm__record *r = queue_record(ref);
    struct flm__blob_ref kept = {.size = size, .address = (uintptr_t)blob};
    memcpy((char *)queue_payload(ref) + r->size - sizeof(kept), &kept, sizeof(kept));
}

/* Whether the large input that a record refers to can be taken: it was announced on the control
 * connection, or is to be read from the client's memory. May end the peer. */
static bool payload_is_there(struct peer *p, uint64_t id)
{
    if (!flm__ring_is(p->link))
        return true;
    if (!peer_has_blob(p, id))
        peer_read(p);
    return p->state == PEER_CLIENT && peer_has_blob(p, id);
}

static void drop_payload(struct peer *p, uint64_t id)
{
    struct arrived_blob *a;
    HASH_FIND(hh, p->blobs, &id, sizeof(id), a);
    if (!a)
        return;
    if (a->lent)
        peer_input_done(p, id, false);
    arrived_blob_drop(&p->blobs, a);
}

/* A task of a durable session whose input did not come, or could not be recorded: it was never taken, and
 * whoever opens the session next submits it again. */
static void untake(struct session *s, struct task_ref ref, int status)
{
    struct flm__record task = *queue_record(ref);
    if (s->client && s->client->state == PEER_CLIENT &&
        !outbound_reject(s, &task, 0,
                         status == FLM_EIO ? "the input could not be recorded"
                                           : "the input could not be read from the client"))
        peer_doom(s->client, "its input cannot be read, nor can it be told so");
    s->pending--;
    queue_forget(&s->queue, ref);
    outbound_finish_task(s, ref);
    if (!s->refused || task.task < s->refused)
        s->refused = task.task;
    outbound_credit(s);
}

static void end_without_input(struct session *s, struct task_ref ref, int reason, int code, const char *why)
{
    outbound_end_waiting(
        s, ref, &(struct ending){.state = FLM_TASK_FAILED, .reason = reason, .code = code, .text = why});
}

/* False: there is no memory, and the task has ended. */
static bool start_fetch(struct peer *p, struct session *s, struct task_ref ref,
                        const struct flm__blob_ref *where)
{
    struct fetch *f = malloc(sizeof(*f));
    struct flm__record *r = queue_record(ref);
    r->type = QUEUE_FETCHING;
    s->fetching++;
    s->fetching_task = r->task;
    if (f) {
        *f = (struct fetch){.manager = p->manager,
                            .session = s->number,
                            .task = r->task,
                            .id = where->id,
                            .client = s->clients};
        if (blob_fetch(p->manager, p->link, where, fetched, f) == 0)
            return true;
        free(f);
    }
    s->fetching--;
    if (s->durability) {
        untake(s, ref, FLM_ENOMEM);
        return false;
    }
    end_without_input(s, ref, FLM_REASON_OUT_OF_MEMORY, FLM_ENOMEM,
                      "the session manager has no memory for the input");
    return false;
}

bool inbound_fetch(struct session *s, struct task_ref ref)
{
    const struct blob *b = flow_blob(queue_record(ref));
    const struct flm__blob_ref where = {.size = b->size, .address = b->address, .key = b->key};
    if (s->client && s->client->state == PEER_CLIENT && s->client->number == b->lender.client) {
        if (!start_fetch(s->client, s, ref, &where))
            return false;
        flow_skip(ref);
        return true;
    }
    end_without_input(s, ref, FLM_REASON_DISCONNECTED, FLM_EDISCONNECTED,
                      "the client that has the input is gone");
    return false;
}

/* The input of a task that still waits for it is there, or cannot be had. */
static void claim_fetched(struct session *s, struct task_ref ref, struct blob *blob, int status)
{
    struct flm__record *r = queue_record(ref);
    bool deferred = r->type == QUEUE_DEFERRED;
    blob_release(flow_blob(r)); /* where it was, with the client, until now */
    remember_blob(ref, blob, flow_kept(r).size);
    r->type = QUEUE_PENDING;
    if (blob && s->durability && !durable_stored_task(s, r, blob)) {
        blob_release(blob);
        blob = NULL;
        remember_blob(ref, NULL, flow_kept(r).size);
        status = FLM_EIO;
    }
    if (!blob && s->durability) {
        untake(s, ref, status);
    } else if (!blob) {
        end_without_input(s, ref, FLM_REASON_DISCONNECTED, status,
                          "the input could not be read from the client");
        outbound_credit(s);
    } else if (r->flags & SESSION_CANCEL_WANTED || s->state == SESSION_CANCELLING) {
        session_end_waiting(s, ref);
        outbound_credit(s);
    } else if (deferred) {
        queue_push_back(&s->queue, ref);
    }
}

static bool still_fetching(struct session *s, uint64_t task, struct task_ref *ref)
{
    if (!queue_find(&s->queue, task, ref))
        return false;
    int type = queue_record(*ref)->type;
    return type == QUEUE_FETCHING || type == QUEUE_DEFERRED;
}

/* What was fetched for a task that still waits for it; NULL: nobody does. */
static struct session *waits_for(const struct fetch *f, struct task_ref *ref)
{
    struct session *s = session_by_number(f->manager, f->session);
    return s && still_fetching(s, f->task, ref) ? s : NULL;
}

/* Whether it must wait until the journal has room for it. */
static bool no_room_yet(struct session *s, struct task_ref ref, struct blob *blob)
{
    return blob && s->durability && !durable_trouble(s->manager->durable) &&
           !durable_room(s->manager->durable, durable_bytes(queue_record(ref)->size, blob->size));
}

/* The fetch is over, s->fetching counts it no more after this. */
static void end_fetch(struct fetch *f, struct blob *blob, int status)
{
    struct task_ref ref;
    struct session *s = session_by_number(f->manager, f->session);
    if (s)
        s->fetching--;
    if (waits_for(f, &ref))
        claim_fetched(s, ref, blob, status);
    else
        blob_release(blob);
    if (s) {
        s->manager->schedule = true;
        session_settle(s);
    }
    free(f);
}

static void fetched(void *arg, struct blob *blob, int status)
{
    struct fetch *f = arg;
    struct session *s = session_by_number(f->manager, f->session);
    struct task_ref ref;
    if (s && f->id && f->client == s->clients)
        peer_input_done(s->client, f->id, false);
    if (waits_for(f, &ref) && no_room_yet(s, ref, blob)) {
        f->blob = blob;
        f->next = f->manager->durable->parked;
        f->manager->durable->parked = f;
        return;
    }
    end_fetch(f, blob, status);
}

void inbound_unpark(struct durable *d, bool all)
{
    struct fetch *list = d->parked, *next;
    struct task_ref ref;
    d->parked = NULL;
    for (struct fetch *f = list; f; f = next) {
        struct session *s = all ? NULL : waits_for(f, &ref);
        next = f->next;
        if (s && no_room_yet(s, ref, f->blob)) {
            f->next = d->parked;
            d->parked = f;
        } else if (all) {
            blob_release(f->blob);
            free(f);
        } else {
            end_fetch(f, f->blob, 0);
        }
    }
}

void inbound_new_client(struct session *s)
{
    struct task_ref ref;
    if (s->durability && s->fetching && still_fetching(s, s->fetching_task, &ref))
        untake(s, ref, FLM_EDISCONNECTED); /* the new one submits it again */
}

/* One record as it was checked, and where its payload lies. */
struct arrival {
    struct flm__record record;
    const char *payload; /* the peer may write there while we read */
    uint32_t bytes;      /* on the wire */
    uint64_t weight;     /* as flow control counts */
};

/* What became of a task: in the queue, answered, or to be looked at again later. */
enum accepted { ACCEPTED, REFUSED, LATER };

/* Why the session takes no task now; false: it takes it. */
static bool not_taken(const struct session *s, const struct arrival *a, struct ending *end)
{
    if (s->state != SESSION_OPEN)
        *end = (struct ending){.state = FLM_TASK_CANCELLED,
                               .reason = FLM_REASON_CANCELLED,
                               .code = FLM_ECLOSED,
                               .text = "the session is closed"};
    else if (s->trouble[0])
        *end = (struct ending){
            .state = FLM_TASK_FAILED, .reason = FLM_REASON_BIND, .code = FLM_EBIND, .text = s->trouble};
    else if (session_held_bytes(s) + a->weight > s->queue_bytes + BEYOND_CREDIT_MAX)
        *end = (struct ending){.state = FLM_TASK_FAILED,
                               .reason = FLM_REASON_OUT_OF_MEMORY,
                               .code = FLM_EFULL,
                               .text = "the client has sent more than it had credit for"};
    else if (s->durability && a->record.flags & FLM__RECORD_OUTPUT)
        *end = (struct ending){.state = FLM_TASK_FAILED,
                               .reason = FLM_REASON_OBJECT,
                               .code = FLM_ENOTSUP,
                               .text = "objects go with the session manager, so the output of a task of a "
                                       "session with durability cannot become one"};
    else
        return false;
    return true;
}

/* Answers the task at once, if there is room for the answer. */
static enum accepted refuse(struct session *s, const struct arrival *a, const struct ending *end)
{
    return outbound_refuse(s, &a->record, a->weight, end) ? REFUSED : LATER;
}

static enum accepted refuse_no_memory(struct session *s, const struct arrival *a)
{
    return refuse(s, a,
                  &(struct ending){.state = FLM_TASK_FAILED,
                                   .reason = FLM_REASON_OUT_OF_MEMORY,
                                   .code = FLM_ENOMEM,
                                   .text = "the session manager has no memory for the task: submit less at "
                                           "once, or give it more"});
}

/* Puts the record into the queue: its header as it was checked, whatever the peer writes there now. */
static inline bool store(struct session *s, const struct arrival *a, struct task_ref *ref)
{
    struct flm__record stored = a->record;
    stored.type = QUEUE_PENDING;
    stored.lane = 0;
    if (__builtin_expect(!queue_append(&s->queue, &stored, a->payload, ref), 0))
        return false;
    if (s->pending++ == 0)
        s->manager->schedule = true;
    return true;
}

/* A stored task gets its large input. */
static void take_payload(struct peer *p, struct session *s, struct task_ref ref,
                         const struct flm__blob_ref *where)
{
    flm_error error = {0};
    const bool by_rma = !flm__ring_is(p->link);
    struct blob *remote = by_rma ? direct_take(s, where) : NULL;
    s->blob_bytes += where->size;
    remember_blob(ref, remote, where->size);
    if (by_rma && !remote)
        start_fetch(p, s, ref, where);
    if (by_rma)
        return;
    struct blob *blob = peer_take_blob(p, where->id, where->size, &error);
    if (blob && s->durability && !durable_stored_task(s, queue_record(ref), blob)) {
        flm__error_set(&error, FLM_EIO, "the input could not be recorded");
        blob_release(blob);
        blob = NULL;
    }
    if (blob)
        remember_blob(ref, blob, where->size);
    else
        end_without_input(s, ref, FLM_REASON_OUT_OF_MEMORY, error.code, error.text);
}

/* Why no task enters the journal now; NULL: there is no reason. After one was refused none is taken until
 * the session is opened again: its client may die before it hears of it, and whoever comes then could not
 * know that the task is missing among those of flm_submitted. */
static const char *not_recorded(const struct session *s, uint64_t task)
{
    const char *trouble = durable_trouble(s->manager->durable);
    if (!trouble && s->refused && task > s->refused)
        trouble = "a task before it was refused: open the session again, and go on after flm_submitted";
    if (!trouble && s->results)
        trouble = results_refuse(s->results);
    return trouble;
}

static enum accepted reject(struct session *s, const struct arrival *a, const char *why)
{
    if (!outbound_reject(s, &a->record, a->weight, why))
        return LATER;
    if (!s->refused || a->record.task < s->refused)
        s->refused = a->record.task;
    return REFUSED;
}

/* A copy of the payload of a record that ends with the reference to a blob: what is checked is what is
 * stored and recorded, whatever the peer writes there meanwhile. */
struct checked {
    _Alignas(uint64_t) char payload[sizeof(uint64_t) + FLM__OBJECTS_MAX + FLM__OBJECT_REF_MAX +
                                    sizeof(struct flm__blob_ref)];
    struct flm__blob_ref where;
};

/* False: it is malformed; then where.id is 0, or of a blob that goes with it. */
static bool check_large(struct arrival *a, struct checked *to)
{
    struct flm__task_parts parts;
    const struct flm__record *r = &a->record;
    to->where.id = 0;
    if (r->size >= sizeof(to->where))
        memcpy(&to->where, a->payload + r->size - sizeof(to->where), sizeof(to->where));
    if (flm__record_padded(r->size) > sizeof(to->payload))
        return false;
    memcpy(to->payload, a->payload, flm__record_padded(r->size));
    if (!flm__task_split(r, to->payload, &parts))
        return false;
    memcpy(&to->where, parts.input, sizeof(to->where));
    a->payload = to->payload;
    return true;
}

/* A task that is not looked at any further: nobody takes what was announced for it. */
static void pass_over(struct peer *p, struct arrival *a)
{
    struct checked checked;
    if (!(a->record.flags & FLM__RECORD_BLOB))
        return;
    check_large(a, &checked);
    if (payload_is_there(p, checked.where.id))
        drop_payload(p, checked.where.id);
}

static enum accepted accept_large(struct peer *p, struct session *s, struct arrival *a)
{
    struct checked checked;
    struct task_ref ref;
    struct ending end = {.state = FLM_TASK_FAILED, .reason = FLM_REASON_SERVICE, .code = FLM_EPROTO};
    bool whole = check_large(a, &checked);
    const struct flm__blob_ref where = checked.where;
    bool sound = whole && where.size && where.size <= FLM_MAX_PAYLOAD;
    if (sound && !payload_is_there(p, where.id))
        return LATER;
    a->weight += sound ? where.size : 0;
    end.text = whole ? "the size of the input is beyond the limit" : "the input is malformed";
    enum accepted accepted = ACCEPTED;
    const char *trouble = s->durability ? not_recorded(s, a->record.task) : NULL;
    if (trouble)
        accepted = reject(s, a, trouble);
    else if (!sound || not_taken(s, a, &end))
        accepted = refuse(s, a, &end);
    else if (s->durability && !durable_room(s->manager->durable, durable_bytes(a->record.size, where.size)))
        accepted = LATER;
    else if (store(s, a, &ref))
        take_payload(p, s, ref, &where);
    else
        accepted = refuse_no_memory(s, a);
    if (accepted == REFUSED)
        drop_payload(p, where.id);
    return accepted;
}

/* Whether the journal can take a task of a durable session now; false: *accepted says what becomes of it.
 * Tasks enter the journal in their order, so none passes one whose input is still being read: what has come
 * is then all up to the newest. */
static bool may_record(struct session *s, const struct arrival *a, enum accepted *accepted)
{
    const char *trouble = not_recorded(s, a->record.task);
    if (trouble && a->record.flags & FLM__RECORD_BLOB)
        return true; /* its payload has to be dropped too: accept_large */
    if (trouble)
        *accepted = reject(s, a, trouble);
    else if (s->fetching || !durable_room(s->manager->durable, a->bytes) || results_must_wait(s->results))
        *accepted = LATER;
    else
        return true;
    return false;
}

/* False: try again later. */
static bool accept_task(struct peer *p, struct session *s, struct arrival *a)
{
    enum accepted accepted = ACCEPTED;
    struct task_ref ref;
    struct ending end;
    if (a->record.task <= s->last_task) { /* seen before: sent again after a reconnect */
        s->finished_bytes += a->weight;
        pass_over(p, a);
        return true;
    }
    if (__builtin_expect(s->durability != 0, 0) && !may_record(s, a, &accepted))
        goto done;
    if (__builtin_expect(a->record.flags & FLM__RECORD_BLOB, 0))
        accepted = accept_large(p, s, a);
    else if (__builtin_expect(not_taken(s, a, &end), 0))
        accepted = refuse(s, a, &end);
    else if (__builtin_expect(s->durability != 0, 0) && !durable_task(s, &a->record, a->payload, NULL))
        accepted = LATER;
    else if (__builtin_expect(!store(s, a, &ref), 0))
        accepted = refuse_no_memory(s, a);
done:
    if (accepted == LATER)
        return false;
    if (__builtin_expect(accepted == REFUSED, 0))
        outbound_credit(s);
    s->last_task = a->record.task;
    return true;
}

/* An acknowledgement; false: it is none, or makes no sense. */
static bool acknowledged(struct peer *p, const struct flm__record *r)
{
    struct session *s = session_by_number(p->manager, r->session);
    if (r->type != FLM__ACK || r->flags || r->size)
        return false;
    return !s || s->client != p || outbound_acknowledge(s, r->task);
}

static unsigned drain(struct peer *p)
{
    const void *data;
    size_t n = flm__link_peek(p->link, &data), at = 0;
    unsigned tasks = 0;
    struct session *s = NULL;
    struct manager *m = p->manager;
    while (at < n && at < DRAIN_BYTES) {
        struct arrival a;
        a.payload = (const char *)data + at + FLM__RECORD_HEADER;
        a.bytes = flm__record_read((const char *)data + at, n - at, &a.record);
        if (__builtin_expect(a.bytes == 0 || a.record.type != FLM__TASK || a.record.flags & ~TASK_FLAGS,
                             0)) {
            if (a.bytes == 0 || !acknowledged(p, &a.record)) {
                peer_refuse(p, FLM_EPROTO, "a record of the data plane is malformed");
                return tasks;
            }
            at += a.bytes;
            continue;
        }
        a.weight = a.bytes;
        if (!s || s->number != a.record.session)
            s = session_by_number(m, a.record.session);
        if (!s || s->client != p) {
            pass_over(p, &a);
        } else if (!accept_task(p, s, &a)) {
            p->stalled = true;
            break;
        }
        if (p->state != PEER_CLIENT)
            return tasks;
        at += a.bytes;
        tasks++;
    }
    if (at)
        flm__link_consume(p->link, at);
    return tasks;
}

unsigned inbound_drain(struct peer *p)
{
    if (p->draining)
        return 0;
    p->draining = true;
    p->stalled = false;
    unsigned tasks = drain(p);
    p->draining = false;
    return tasks;
}
