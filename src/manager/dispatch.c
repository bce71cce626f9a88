/* A session's queue -> the link of an executor that is bound to it. */
#include "manager/direct.h"
#include "manager/end_time.h"
#include "manager/flow.h"
#include "manager/inputs.h"
#include "manager/scheduler.h"

#include <string.h>

/* Bits of a stored record's flags that travel. */
enum { TRAVELLING = FLM__RECORD_BLOB | FLM__RECORD_DEADLINE | FLM__RECORD_OBJECTS | FLM__RECORD_OUTPUT };

/* Its input is with the client, where the executor's node cannot read it. */
static bool must_fetch(const struct executor *e, struct task_ref ref)
{
    const struct blob *b = flow_blob(queue_record(ref));
    return b->remote && !direct_can_read(e, b);
}

/* Writes the record of a task with a large input. False: no room now. */
static bool send_large(struct executor *e, struct task_ref ref, void *to, uint32_t bytes)
{
    struct flm__record *r = queue_record(ref);
    struct flm__blob_ref where;
    if (blob_offer(flow_blob(r), e->node->peer, e->lane, e->life, &where) < 0)
        return false;
    /* A relay may still read it when the task has long run elsewhere. */
    if ((where.address || where.key) && !peer_keep_blob(e->node->peer, blob_hold(flow_blob(r)))) {
        blob_release(flow_blob(r));
        return false;
    }
    memcpy(to, r, bytes);
    memcpy((char *)to + FLM__RECORD_HEADER + r->size - sizeof(where), &where, sizeof(where));
    return true;
}

static bool send_task(struct executor *e, struct flm__link *link, struct task_ref ref,
                      const struct inputs *in)
{
    struct flm__record *r = queue_record(ref);
    uint32_t bytes = flm__record_bytes(r->size);
    if (__builtin_expect(e->n == e->room, 0) && !executor_grow_inflight(e))
        return false;
    struct flm__record *to = flm__link_reserve(link, bytes);
    if (!to)
        return false;
    if (__builtin_expect(r->flags & FLM__RECORD_BLOB, 0)) {
        if (!send_large(e, ref, to, bytes))
            return false;
    } else {
        *to = *r;
        flm__record_copy_payload(to + 1, r + 1, bytes - FLM__RECORD_HEADER);
    }
    if (__builtin_expect(r->flags & FLM__RECORD_OBJECTS, 0))
        inputs_stamp(e, in, to);
    to->type = FLM__TASK;
    to->flags &= TRAVELLING;
    to->lane = executor_wire_lane(e);
    flm__link_commit(link, bytes);
    r->type = QUEUE_RUNNING;
    *executor_inflight(e, e->n++) = (struct inflight){ref, ++e->sent};
    e->bytes += bytes;
    return true;
}

/* Its task takes long, and another executor of the session has nothing to do: what were sent here would be
 * recalled, and without this sent here again. */
static bool others_idle(const struct executor *e)
{
    const struct session *s = e->session;
    if (e->n == 0 || s->manager->now - e->since_ns <= STEAL_AFTER_NS)
        return false;
    for (unsigned i = 0; i < s->n_bound; i++)
        if (s->bound[i]->state == EXECUTOR_BOUND && s->bound[i]->n == 0 && !s->bound[i]->dying)
            return true;
    return false;
}

/* As many as it should have at once, but not more than its part of what there is. */
static unsigned share(const struct executor *e)
{
    const struct session *s = e->session;
    uint64_t part = s->pending / (s->n_bound ? s->n_bound : 1) + 1;
    uint64_t want = e->n + part;
    unsigned most = want < e->depth ? (unsigned)want : e->depth;
    if (__builtin_expect(e->node->end_ns != 0, 0)) {
        unsigned in_time = end_time_tasks(e, s);
        return most < in_time ? most : in_time;
    }
    return most;
}

unsigned dispatch_fill(struct executor *e)
{
    struct session *s = e->session;
    if (!executor_takes_tasks(e) || s->pending == 0 || e->n >= e->depth || !session_runs(s) ||
        others_idle(e))
        return 0;
    struct flm__link *link = executor_link(e);
    unsigned most = share(e), before = e->n;
    if (__builtin_expect(most <= before, 0))
        return 0;
    if (before == 0)
        e->since_ns = s->manager->now;
    const bool names_objects = s->queue.names_objects;
    struct inputs in;
    unsigned ended = 0;
    while (e->n < most && e->bytes < e->limit_bytes) {
        struct task_ref ref;
        if (!(names_objects ? prefer_next(e, &ref, &in, &ended) : queue_next(&s->queue, &ref)))
            break;
        if (__builtin_expect(queue_record(ref)->type != QUEUE_PENDING, 0)) {
            flow_skip(ref);
            continue;
        }
        if (__builtin_expect(queue_record(ref)->flags & FLM__RECORD_BLOB, 0) && must_fetch(e, ref)) {
            if (s->fetching >= most) { /* the others are for whom it need not be done, or for later */
                queue_push_back(&s->queue, ref);
                break;
            }
            ended += !inbound_fetch(s, ref);
            continue;
        }
        if (__builtin_expect(!send_task(e, link, ref, &in), 0)) {
            queue_push_back(&s->queue, ref);
            break;
        }
    }
    unsigned n = e->n - before;
    if (__builtin_expect(ended != 0, 0)) {
        s->manager->schedule = true;
        outbound_credit(s);
        session_settle(s);
    }
    if (n == 0)
        return ended;
    s->pending -= n;
    s->running += n;
    e->idle_ns = 0;
    flm__link_flush(link);
    return n;
}

void dispatch_rouse(struct manager *m)
{
    struct executor *first = NULL;
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (e->n > 0)
            return;
        if (!first && e->link && e->state == EXECUTOR_BOUND)
            first = e;
    }
    if (first)
        flm__link_nudge(first->link);
}
