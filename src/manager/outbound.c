/* Results: from an executor to the client of the session, or to the session's outbox while the client
 * does not read. */
#include "manager/direct.h"
#include "manager/durable.h"
#include "manager/flow.h"
#include "manager/objects.h"
#include "manager/output.h"
#include "manager/unread.h"
#include "net/ring.h"

#include <stdio.h>
#include <string.h>

enum {
    DRAIN_BYTES = 64 << 10, /* of one link in one turn of the loop */
    PREFETCH_NS = 1000000,  /* an executor is sent ahead as much as it does in this time */
    CREDIT_STEPS = 16,      /* credit is told in steps of this part of the queue's size */
};

/* ---- to the client ---------------------------------------------------- */

static void block(struct session *s)
{
    if (!s->client)
        return;
    s->client->wants_room = true; /* until outbound_pump has seen */
    if (s->in_blocked)
        return;
    s->in_blocked = true;
    s->next_blocked = s->client->blocked;
    s->client->blocked = s;
}

static __attribute__((noinline)) void *outbox_room(struct session *s, uint32_t bytes, uint64_t weight)
{
    uint64_t durable = 0;
    if (s->durability) {
        durable = durable_reserve_result(s, bytes, weight - bytes);
        if (!durable)
            return NULL;
    }
    block(s);
    return outbox_put(&s->outbox, bytes, weight, durable);
}

/* Room for a record of the session's results: in the client's link, or in the outbox. *direct tells
 * which, and send_result must follow. */
static inline void *result_room(struct session *s, uint32_t bytes, uint64_t weight, bool *direct)
{
    struct peer *p = s->client;
    if (__builtin_expect(p && p->link && !s->detached && outbox_empty(&s->outbox) && weight == bytes, 1)) {
        void *to = flm__link_reserve(p->link, bytes);
        *direct = to != NULL;
        return __builtin_expect(to != NULL, 1) ? to : outbox_room(s, bytes, weight);
    }
    *direct = false;
    return outbox_room(s, bytes, weight);
}

/* duration: as the executor has told it in place of the cookie; 0: none has. */
static inline void send_result(struct session *s, const struct flm__record *r, uint32_t bytes, bool direct,
                               uint32_t duration)
{
    if (__builtin_expect(direct, 1)) {
        flm__link_commit(s->client->link, bytes);
        s->client->link_needs_flush = true;
    } else if (s->durability) {
        durable_result(s, r, duration);
    }
}

static void drop_first(struct session *s)
{
    uint32_t bytes;
    struct flm__record *r = outbox_first(&s->outbox, &bytes);
    if (r->flags & FLM__RECORD_BLOB)
        blob_release(flow_blob(r));
    outbox_drop_first(&s->outbox);
}

/* Moves one waiting record to the client; false: no room. */
static bool pump_one(struct session *s, struct peer *p, const struct flm__record *r, uint32_t bytes)
{
    struct flm__record *to = flm__link_reserve(p->link, bytes);
    if (!to)
        return false;
    memcpy(to, r, bytes);
    if (r->flags & FLM__RECORD_BLOB) {
        struct flm__blob_ref ref;
        struct blob *blob = flow_blob(r);
        if (blob_lend(blob, p, &ref) < 0)
            return false;
        memcpy((char *)to + FLM__RECORD_HEADER + r->size - sizeof(ref), &ref, sizeof(ref));
    }
    flm__link_commit(p->link, bytes);
    if (s->detached)
        outbox_sent(&s->outbox);
    else
        drop_first(s);
    return true;
}

unsigned outbound_pump(struct peer *p)
{
    unsigned n = 0;
    struct session *next, *left = NULL;
    bool room = true;
    for (struct session *s = p->blocked; s; s = next) {
        next = s->next_blocked;
        uint64_t durable = durable_position(s);
        struct flm__record *r;
        uint32_t bytes;
        while (room && !s->opening && (r = outbox_next(&s->outbox, &bytes, durable))) {
            room = pump_one(s, p, r, bytes);
            n += room;
        }
        if (outbox_all_sent(&s->outbox)) {
            s->in_blocked = false;
            s->manager->schedule = true;
            if (s->state == SESSION_CLOSED && s->given_up && !s->detached)
                session_detach(s);
        } else {
            s->next_blocked = left;
            left = s;
        }
    }
    p->blocked = left;
    p->wants_room = !room; /* else what waits is not durable yet */
    if (n)
        p->link_needs_flush = true;
    return n;
}

void outbound_drop(struct session *s)
{
    while (!outbox_empty(&s->outbox))
        drop_first(s);
}

bool outbound_acknowledge(struct session *s, uint64_t taken)
{
    if (taken > s->outbox.sent)
        return false;
    bool was_full = session_results_full(s);
    while (s->outbox.dropped < taken)
        drop_first(s);
    durable_touch(s, DURABLE_TAKEN_CHANGED);
    s->manager->schedule |= was_full && !session_results_full(s);
    if (s->state == SESSION_CLOSED && s->given_up && outbox_empty(&s->outbox))
        session_detach(s);
    return true;
}

void outbound_credit(struct session *s)
{
    struct peer *p = s->client;
    uint64_t credit = session_credit(s);
    if (!p || !p->link || credit - s->credit_told < s->queue_bytes / CREDIT_STEPS)
        return;
    struct flm__record *to = flm__link_reserve(p->link, flm__record_bytes(sizeof(credit)));
    if (!to)
        return; /* with the next result */
    *to = (struct flm__record){.size = sizeof(credit), .type = FLM__CREDIT, .session = s->number};
    memcpy(to + 1, &credit, sizeof(credit));
    flm__link_commit(p->link, flm__record_bytes(sizeof(credit)));
    s->credit_told = credit;
    p->link_needs_flush = true;
}

/* ---- the end of a task -------------------------------------------------- */

void outbound_finish_task(struct session *s, struct task_ref ref)
{
    struct flm__record *r = queue_record(ref);
    uint64_t bytes = flm__record_bytes(r->size);
    s->queue.bytes -= bytes;
    if (__builtin_expect(r->flags & FLM__RECORD_BLOB, 0)) {
        uint64_t large = flow_kept(r).size;
        bytes += large;
        s->blob_bytes -= large;
        blob_release(flow_blob(r));
    }
    r->type = QUEUE_DONE;
    s->finished_bytes += bytes;
    queue_finish(&s->queue, ref);
}

static void count_end(struct session *s, int state)
{
    s->manager->tasks++;
    if (state == FLM_TASK_SUCCEED)
        s->succeed++;
    else if (state == FLM_TASK_FAILED)
        s->failed++;
    else
        s->cancelled++;
}

/* Of a stored task. */
static inline uint8_t held_flag(const struct flm__record *task)
{
    return direct_flag(flow_input(task));
}

/* What stands in the place of the output. */
struct output {
    const void *data; /* NULL: none, or a reference to the blob */
    uint32_t size;
    struct blob *blob;
    uint8_t flags; /* FLM__RECORD_OUTPUT, FLM__RECORD_HELD */
};

/* Writes a result with an outcome in front of the output; takes the blob. False: no memory. */
static bool write_outcome(struct session *s, const struct flm__record *task, uint32_t duration,
                          const struct flm__outcome *outcome, const char *text, const struct output *output)
{
    struct blob *blob = output->blob;
    uint32_t size = output->size;
    uint32_t payload = (uint32_t)sizeof(*outcome) + flm__record_padded(outcome->text) + size;
    uint32_t bytes = flm__record_bytes(payload);
    bool direct;
    if (s->durability && !durable_readable(blob))
        return false;
    struct flm__record *to = result_room(s, bytes, bytes + (blob ? blob->size : 0), &direct);
    if (!to)
        return false;
    *to = (struct flm__record){
        .size = payload,
        .type = FLM__RESULT,
        .flags = (uint8_t)(FLM__RECORD_OUTCOME | output->flags | (blob ? FLM__RECORD_BLOB : 0)),
        .lane = (uint16_t)outcome->executor,
        .session = s->number,
        .cookie = task->cookie,
        .task = task->task};
    char *p = (char *)(to + 1);
    memcpy(p, outcome, sizeof(*outcome));
    p += sizeof(*outcome);
    memcpy(p, text, outcome->text);
    memset(p + outcome->text, 0, flm__record_padded(outcome->text) - outcome->text);
    p += flm__record_padded(outcome->text);
    if (blob) {
        struct flm__blob_ref ref = {.size = blob->size, .address = (uintptr_t)blob};
        memcpy(p, &ref, sizeof(ref));
    } else if (size) { /* without an output the pointer may be NULL */
        memcpy(p, output->data, size);
        memset(p + size, 0, flm__record_padded(size) - size);
    }
    send_result(s, to, bytes, direct, duration);
    return true;
}

/* Where the session's executor with this id is; -1: it is none of its. */
static int place_of(const struct session *s, unsigned executor)
{
    const struct manager *m = s->manager;
    bool bound = executor < m->n_executors && m->executors[executor]->session == s;
    return bound ? m->executors[executor]->place : -1;
}

static void note_end(struct session *s, uint64_t task, const struct flm__outcome *o, const char *text,
                     const struct flm__usage *usage, int cause)
{
    struct note *note = notes_add(&s->notes, task);
    reasons_count(s->reasons.ended, o->reason);
    note->cause = (uint8_t)cause;
    if (usage)
        note->usage = *usage;
    note->state = o->state;
    note->reason = o->reason;
    note->code = o->code;
    note->attempts = o->attempts;
    note->executor = (int)o->executor;
    note->place = place_of(s, o->executor);
    snprintf(note->message, sizeof(note->message), "%.*s", (int)o->text, text);
    if (o->state == FLM_TASK_FAILED)
        events_add(&s->events, o->code < 0 ? o->code : FLM_ESERVICE, task, (int)o->executor,
                   "task %lu failed (%s, %d): %.*s", (unsigned long)task, flm_reason_name(o->reason),
                   o->code, (int)o->text, text);
}

/* The outcome that flmd makes itself, on its way to the client. False: no memory. */
static bool tell_ending(struct session *s, const struct flm__record *r, const struct ending *end,
                        uint8_t held)
{
    size_t text = strlen(end->text);
    struct flm__outcome outcome = {.state = (uint8_t)end->state,
                                   .reason = (uint8_t)end->reason,
                                   .text = (uint16_t)(text < FLM__MESSAGE_MAX ? text : FLM__MESSAGE_MAX),
                                   .code = end->code,
                                   .attempts = end->attempts,
                                   .executor = end->executor};
    if ((s->client || s->detached) &&
        !write_outcome(s, r, 0, &outcome, end->text, &(struct output){.flags = held}))
        return false;
    count_end(s, end->state);
    note_end(s, r->task, &outcome, end->text, end->usage, end->cause);
    return true;
}

/* The result of a task that ends now, whoever waits: there is room in the journal for such ones. */
static bool tell_for_sure(struct session *s, const struct flm__record *r, const struct ending *end)
{
    struct durable *d = s->durability ? s->manager->durable : NULL;
    if (d)
        d->urgent = true;
    bool told = tell_ending(s, r, end, held_flag(r));
    if (d)
        d->urgent = false;
    return told;
}

void outbound_end_task(struct session *s, struct task_ref ref, const struct ending *end)
{
    struct flm__record *r = queue_record(ref);
    if (r->type == QUEUE_RUNNING)
        s->running--;
    else
        s->pending--;
    if (tell_for_sure(s, r, end))
        return;
    /* A result must not be missing in silence: a client that cannot be told of one is told that all is
     * lost. */
    events_add(&s->events, FLM_ENOMEM, r->task, -1, "no memory for the result of a task");
    if (s->client)
        peer_doom(s->client, "it has no memory for your results");
    count_end(s, end->state);
}

void outbound_end_waiting(struct session *s, struct task_ref ref, const struct ending *end)
{
    outbound_end_task(s, ref, end);
    queue_forget(&s->queue, ref);
    outbound_finish_task(s, ref);
}

bool outbound_refuse(struct session *s, const struct flm__record *task, uint64_t weight,
                     const struct ending *end)
{
    /* Nothing else bounds the answers to a client that does not take them. */
    if (session_results_full(s) || !tell_ending(s, task, end, 0))
        return false;
    s->finished_bytes += weight;
    return true;
}

bool outbound_reject(struct session *s, const struct flm__record *task, uint64_t weight, const char *why)
{
    size_t text = strlen(why);
    struct flm__outcome outcome = {.state = FLM_TASK_FAILED,
                                   .reason = FLM_REASON_REFUSED,
                                   .text = (uint16_t)(text < FLM__MESSAGE_MAX ? text : FLM__MESSAGE_MAX),
                                   .code = FLM_EIO};
    uint32_t payload = (uint32_t)sizeof(outcome) + flm__record_padded(outcome.text);
    struct flm__record *to = flm__link_reserve(s->client->link, flm__record_bytes(payload));
    if (!to)
        return false;
    *to = (struct flm__record){.size = payload,
                               .type = FLM__RESULT,
                               .flags = FLM__RECORD_OUTCOME | FLM__RECORD_UNCOUNTED,
                               .session = s->number,
                               .cookie = task->cookie,
                               .task = task->task};
    memcpy(to + 1, &outcome, sizeof(outcome));
    memset((char *)(to + 1) + sizeof(outcome), 0, payload - sizeof(outcome));
    memcpy((char *)(to + 1) + sizeof(outcome), why, outcome.text);
    flm__link_commit(s->client->link, flm__record_bytes(payload));
    s->client->link_needs_flush = true;
    s->finished_bytes += weight;
    return true;
}

/* ---- from an executor --------------------------------------------------- */

/* A task that has ended, as its executor says it. */
struct ended {
    const struct flm__record *task;
    uint32_t duration;
    struct flm__outcome outcome;
    const struct flm__result_parts *parts;
    const char *text;
};

/* Its result with this output; takes the blob. False: no memory. */
static bool deliver_ended(struct session *s, const struct ended *ended, const struct output *output)
{
    const struct flm__outcome *outcome = &ended->outcome;
    if (!s->client && !s->detached)
        blob_release(output->blob);
    else if (!write_outcome(s, ended->task, ended->duration, outcome, ended->text, output))
        return false;
    count_end(s, outcome->state);
    if (outcome->state != FLM_TASK_SUCCEED)
        note_end(s, ended->task->task, outcome, ended->text, &ended->parts->usage, FLM_REASON_NONE);
    return true;
}

/* The same for an output that is to become an object: the client gets its version, or that it cannot be. */
static bool deliver_object(struct executor *e, struct session *s, struct ended *ended, struct blob *blob)
{
    struct manager *m = s->manager;
    const struct flm__result_parts *parts = ended->parts;
    struct flm__task_parts task;
    struct object_output made;
    flm_error error = {FLM_EPROTO, "the object that it is to be has no name"};
    int rc = FLM_EPROTO;
    if (flm__task_split(ended->task, ended->task + 1, &task) && task.becomes)
        rc = object_output_begin(e, task.becomes, parts->output, parts->size, blob, &made, &error);
    if (rc == FLM_EAGAIN)
        return false;
    if (rc == 0) {
        const struct output output = {&made.version, sizeof(made.version), NULL,
                                      FLM__RECORD_OUTPUT | held_flag(ended->task)};
        bool told = deliver_ended(s, ended, &output);
        if (told)
            object_output_keep(e, &made);
        else
            object_output_undo(m, &made, blob);
        return told;
    }
    size_t text = strnlen(error.text, FLM__MESSAGE_MAX);
    ended->outcome.state = FLM_TASK_FAILED;
    ended->outcome.reason = FLM_REASON_OBJECT;
    ended->outcome.code = error.code;
    ended->outcome.text = (uint16_t)text;
    ended->text = error.text;
    if (!deliver_ended(s, ended, &(struct output){.flags = held_flag(ended->task)}))
        return false;
    blob_release(blob);
    return true;
}

/* A result that says more than success, or has a large output; takes the blob. False: no memory. */
static bool deliver_slow(struct executor *e, struct session *s, struct task_ref ref,
                         const struct flm__record *r, const struct flm__result_parts *parts,
                         struct blob *blob)
{
    const struct flm__record *task = queue_record(ref);
    struct ended ended = {task, r->cookie, parts->outcome, parts, parts->text};
    ended.outcome.attempts = task->lane;
    ended.outcome.executor = e->id;
    if (ended.outcome.state < FLM_TASK_SUCCEED || ended.outcome.state > FLM_TASK_CANCELLED)
        ended.outcome.state = FLM_TASK_FAILED;
    if (task->flags & FLM__RECORD_OUTPUT && ended.outcome.state == FLM_TASK_SUCCEED)
        return deliver_object(e, s, &ended, blob);
    if (blob)
        blob_leave_origin(blob);
    uint32_t size = blob ? (uint32_t)sizeof(struct flm__blob_ref) : parts->size;
    return deliver_ended(s, &ended, &(struct output){parts->output, size, blob, held_flag(task)});
}

static inline bool deliver_plain(struct executor *e, struct session *s, struct task_ref ref,
                                 const struct flm__record *r, const char *record, uint32_t bytes)
{
    bool direct;
    if (__builtin_expect(s->client || s->detached, 1)) {
        struct flm__record *to = result_room(s, bytes, bytes, &direct);
        if (__builtin_expect(!to, 0))
            return false;
        *to = *r; /* as it was checked, whatever the executor writes now */
        to->flags = held_flag(queue_record(ref));
        to->cookie = queue_record(ref)->cookie;
        to->lane = (uint16_t)e->id;
        flm__record_copy_payload(to + 1, flm__record_payload(record), bytes - FLM__RECORD_HEADER);
        send_result(s, to, bytes, direct, r->cookie);
    }
    s->succeed++;
    s->manager->tasks++;
    return true;
}

/* What became of one result record. PASSED: nobody needs it. WAITS: for its payload; STARVES: for memory;
 * UNREAD: as TAKEN, but its client reads the output before the task is over.
 */
enum taken { TAKEN, PASSED, WAITS, STARVES, LIED, UNREAD };

static enum taken take_slow(struct executor *e, struct task_ref ref, const struct flm__record *r,
                            const char *record)
{
    struct flm__result_parts parts;
    struct blob *blob = NULL;
    if (!flm__result_split(r, record + FLM__RECORD_HEADER, &parts) || parts.size > FLM__INLINE_MAX)
        return LIED;
    if (parts.blob) {
        struct flm__blob_ref where;
        memcpy(&where, parts.output, sizeof(where));
        if (where.size == 0 || where.size > FLM_MAX_PAYLOAD)
            return LIED;
        if (!output_claim(e, &where, &blob)) {
            bool becomes_object = queue_record(ref)->flags & FLM__RECORD_OUTPUT;
            bool plain = !(r->flags & FLM__RECORD_OUTCOME) && !queue_record(ref)->lane && !becomes_object;
            if (plain && !e->link && !e->stalled && unread_send(e, e->session, ref, &where))
                return UNREAD;
            e->stalled = e->stalled || e->link || output_fetch(e, &where, becomes_object);
            return WAITS;
        }
        e->stalled = false;
        if (!blob)
            return LIED;
    }
    if (deliver_slow(e, e->session, ref, r, &parts, blob))
        return TAKEN;
    e->claimed = blob;
    return STARVES;
}

static enum taken take_unexpected(struct executor *e, const struct flm__record *r, const char *record,
                                  uint32_t bytes);

/* The first task that the executor was sent. */
static inline enum taken answered(struct executor *e, const struct flm__record *task)
{
    e->first = (e->first + 1) & (e->room - 1);
    e->n--;
    e->bytes -= flm__record_bytes(task->size);
    e->received++;
    return TAKEN;
}

static inline __attribute__((always_inline)) enum taken
take_result(struct executor *e, const struct flm__record *r, const char *record, uint32_t bytes)
{
    struct session *s = e->session;
    if (e->n == 0 || r->type != FLM__RESULT)
        return take_unexpected(e, r, record, bytes);
    struct task_ref ref = executor_inflight(e, 0)->ref;
    struct flm__record *task = queue_record(ref);
    if (task->task != r->task || s->number != r->session)
        return take_unexpected(e, r, record, bytes);
    enum { SLOW = FLM__RECORD_OUTCOME | FLM__RECORD_BLOB };
    if (__builtin_expect((r->flags & SLOW) | (task->flags & FLM__RECORD_OUTPUT) | task->lane, 0)) {
        enum taken taken = take_slow(e, ref, r, record);
        if (taken == UNREAD)
            return answered(e, task);
        if (taken != TAKEN)
            return taken;
    } else if (__builtin_expect(!deliver_plain(e, s, ref, r, record, bytes), 0)) {
        return STARVES;
    }
    if (__builtin_expect(task->flags & FLM__RECORD_BLOB, 0) && e->link && !(r->flags & FLM__RECORD_OUTCOME))
        blob_looked_at(flow_blob(task));
    answered(e, task);
    s->running--;
    outbound_finish_task(s, ref);
    return TAKEN;
}

/* It is not for the first task that the executor was sent: only one that comes from an earlier session
 * manager may do that. */
static __attribute__((noinline)) enum taken take_unexpected(struct executor *e, const struct flm__record *r,
                                                            const char *record, uint32_t bytes)
{
    enum taken taken;
    switch (survivor_sent(e, r, record)) {
    case SURVIVOR_CLAIMED:
        taken = take_result(e, r, record, bytes);
        if (taken != TAKEN)
            return taken;
        e->done++;
        e->received--; /* counted by the caller */
        outbound_credit(e->session);
        return PASSED;
    case SURVIVOR_PASSED:
        return PASSED;
    case SURVIVOR_WAITS:
        e->stalled = true;
        return WAITS;
    default:
        return LIED;
    }
}

/* Learns from n results how long tasks take, and so how many to send ahead. */
static void adapt(struct executor *e, unsigned n)
{
    struct manager *m = e->session->manager;
    int64_t took = m->now - e->since_ns;
    double sample = (double)took / n;
    e->since_ns = m->now;
    e->busy_ns += took;
    e->done += n;
    if (e->task_ns == 0 || sample > 4 * e->task_ns)
        e->task_ns = sample;
    else
        e->task_ns += (sample - e->task_ns) / 4;
    double ahead = e->task_ns > 0 ? PREFETCH_NS / e->task_ns : EXECUTOR_INFLIGHT_MAX;
    e->depth = ahead >= EXECUTOR_INFLIGHT_MAX ? EXECUTOR_INFLIGHT_MAX
                                              : (unsigned)ahead + (e->task_ns < 5 * PREFETCH_NS ? 2 : 1);
    if (e->depth > EXECUTOR_INFLIGHT_MAX)
        e->depth = EXECUTOR_INFLIGHT_MAX;
    if (e->n == 0)
        e->idle_ns = m->now;
}

/* After a batch of n results. */
static void batch_done(struct executor *e, unsigned n)
{
    struct session *s = e->session;
    if (e->dying && (!n || !s))
        executor_settle(e); /* what nobody needed was the last that it had to send */
    if (!n || !s)
        return;
    adapt(e, n);
    outbound_credit(s);
    if (e->n == 0 || session_unfinished(s) == 0 || e->dying)
        executor_settle(e);
}

unsigned outbound_drain_executor(struct executor *e)
{
    const void *data;
    size_t n = flm__link_peek(e->link, &data), at = 0;
    unsigned results = 0, passed = 0;
    if (n == 0)
        return 0;
    enum taken taken = TAKEN;
    while (at < n && at < DRAIN_BYTES) {
        struct flm__record r;
        const char *record = (const char *)data + at;
        uint32_t bytes = flm__record_read(record, n - at, &r);
        taken = bytes && e->session ? take_result(e, &r, record, bytes) : LIED;
        if (__builtin_expect(taken != TAKEN, 0)) {
            if (taken != PASSED)
                break;
            e->received++;
            passed++;
            at += bytes;
            continue;
        }
        at += bytes;
        results++;
    }
    flm__link_consume(e->link, taken == LIED ? n : at);
    e->starved = taken == STARVES;
    if (taken == LIED && !e->dying)
        executor_lies(e, "the executor answered with something that is not the result of its task");
    batch_done(e, results);
    return results + passed;
}

unsigned outbound_drain_relay(struct node *node)
{
    const void *data;
    struct flm__link *link = node->peer->link;
    size_t n = flm__link_peek(link, &data), at = 0;
    unsigned results = 0, of_lane = 0;
    struct executor *e = NULL;
    node->peer->stalled = false;
    while (at < n && at < DRAIN_BYTES) {
        struct flm__record r;
        const char *record = (const char *)data + at;
        uint32_t bytes = flm__record_read(record, n - at, &r);
        if (!bytes) {
            peer_refuse(node->peer, FLM_EPROTO, "a record of the data plane is malformed");
            return results;
        }
        struct executor *of = (r.lane & 0xfffu) < node->n_slots ? node->lanes[r.lane & 0xfff] : NULL;
        if (of != e) {
            if (e)
                batch_done(e, of_lane);
            e = of;
            of_lane = 0;
        }
        if (e && executor_wire_lane(e) == r.lane && e->session) {
            enum taken taken = take_result(e, &r, record, bytes);
            node->peer->stalled = taken == STARVES; /* looked at again each tick */
            if (taken == WAITS || taken == STARVES)
                break;
            if (__builtin_expect(taken != TAKEN, 0)) {
                e->received++; /* the agent has counted it too */
                if (taken == LIED && !e->dying)
                    executor_lies(
                        e, "the executor answered with something that is not the result of its task");
            }
            of_lane += taken == TAKEN;
            results += taken == TAKEN;
        } else if (e && executor_wire_lane(e) == r.lane) {
            e->received++; /* of a session that nobody remembers */
        }
        at += bytes;
    }
    if (e)
        batch_done(e, of_lane);
    if (at)
        flm__link_consume(link, at);
    return results;
}
