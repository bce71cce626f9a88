/* Executors that come from an earlier session manager: with their process, the session they are in, the
 * results they hold, and what they run.
 *
 * Their side is executor/stock.h. Ours: the ring that they have is taken over where the last session
 * manager left it, and what they run is made a task that we sent. Results in the ring are of tasks that we
 * never sent: each makes its task, if that still waits, the first that is unanswered, and is taken like any
 * other. If it does not wait any more the result is of no use: it was recorded before, or the task runs
 * elsewhere.
 */
#include "manager/executor_inside.h"

#include "manager/common.h"
#include "manager/durable.h"
#include "manager/flow.h"
#include "manager/group.h"
#include "manager/rejoin.h"
#include "net/ring.h"

#include <inttypes.h>
#include <stdio.h>

/* Makes a task that waits the first that this executor has not answered. False: no memory. */
static bool claim(struct executor *e, struct session *s, struct task_ref ref, uint64_t number)
{
    struct flm__record *r = queue_record(ref);
    if (e->n == e->room && !executor_grow_inflight(e))
        return false;
    queue_forget(&s->queue, ref);
    r->type = QUEUE_RUNNING;
    s->pending--;
    s->running++;
    e->first = (e->first - 1) & (e->room - 1);
    e->n++;
    *executor_inflight(e, 0) = (struct inflight){ref, number};
    e->bytes += flm__record_bytes(r->size);
    return true;
}

static bool find_waiting(struct session *s, uint64_t task, struct task_ref *ref)
{
    return queue_find(&s->queue, task, ref) && queue_record(*ref)->type == QUEUE_PENDING;
}

/* ---- it comes ---------------------------------------------------------------------------------- */

static bool take_ring(struct executor *e, const Flm__ExecutorBack *b, const int *fds, unsigned n_fds,
                      flm_error *error)
{
    struct manager *m = executor_manager(e);
    Flm__ExecutorRing ring = FLM__EXECUTOR_RING__INIT;
    ring.lane = e->lane;
    ring.life = e->life;
    ring.bytes = b->bytes;
    ring.executor = e->id;
    FLM__MESSAGE(message, executor_ring, EXECUTOR_RING, &ring);
    if (!e->node->relay) {
        e->link = n_fds == 2 ? flm__ring_take_over(fds[0], b->bytes, fds[1], error) : NULL;
        if (!e->link)
            return false;
    }
    peer_send(e->node->peer, &message, &m->bell, e->link ? 1 : 0);
    return true;
}

/* What it runs runs there, unless it was ended meanwhile or given to another. */
static void take_running(struct executor *e, struct session *s, const Flm__ExecutorBack *b)
{
    struct task_ref ref;
    if (!b->task)
        return;
    if (!find_waiting(s, b->task, &ref)) {
        executor_cancel(e, b->began);
        return;
    }
    if (!claim(e, s, ref, b->began))
        return;
    e->since_ns = executor_manager(e)->now;
    events_add(&s->events, 0, b->task, (int)e->id, "executor %u is back and still runs task %" PRIu64,
               e->id, b->task);
}

static void take_session(struct executor *e, const Flm__ExecutorBack *b)
{
    struct manager *m = executor_manager(e);
    struct session *s = b->serial ? session_known_as(m, b->serial, b->session) : NULL;
    bool torn = s && b->n_lanes < s->ranks; /* on several nodes, of which nobody tells any more */
    if (!s || s->state == SESSION_CLOSED || torn || !executor_join_session(e, s)) {
        e->state = EXECUTOR_UNBINDING; /* its end will be told */
        executor_send_home(e, torn ? "its ranks on other nodes are not known any more"
                                   : "the session that it was in is over");
        return;
    }
    bool bound = b->state == FLM__EXECUTOR_BACK__STATE__BOUND;
    group_take_again(e, b->lanes, b->n_lanes);
    e->state = bound ? EXECUTOR_BOUND : EXECUTOR_BINDING;
    e->bound_ns = e->served_ns = e->idle_ns = m->now;
    e->recalling = true;
    e->back = BACK_RUNS;
    e->back_round = b->round;
    e->common_version = b->common_version <= s->common_believed ? b->common_version : 0;
    if (bound && s->results)
        durable_place(s, e->id, e->node->name); /* it may have been another executor before */
    if (bound)
        take_running(e, s, b);
    if (e->n)
        e->idle_ns = 0;
}

void executor_back(struct executor *e, const Flm__ExecutorBack *b, const int *fds, unsigned n_fds)
{
    struct manager *m = executor_manager(e);
    flm_error error = {0, ""};
    if (e->state != EXECUTOR_VOID || e->link)
        return;
    executor_forget_trouble(e);
    executor_reset_flow(e);
    e->birth = ++m->births;
    e->life = b->life;
    e->pid = b->pid;
    e->restarts = b->restarts;
    e->ranks = (unsigned)b->n_lanes;
    e->sent = b->began;
    e->received = 0;
    e->limit_bytes = (b->bytes ? b->bytes : m->options.ring_bytes) / 2;
    if (b->cpus[0])
        snprintf(e->cpus, sizeof(e->cpus), "%s", b->cpus);
    if (!take_ring(e, b, fds, n_fds, &error)) {
        executor_kill(e, FLM_REASON_EXECUTOR_LOST, error.text);
        return;
    }
    events_add(&e->events, 0, 0, (int)e->id, "process %d is back", e->pid);
    m->schedule = true;
    switch (b->state) {
    case FLM__EXECUTOR_BACK__STATE__BINDING:
    case FLM__EXECUTOR_BACK__STATE__BOUND:
        take_session(e, b);
        break;
    case FLM__EXECUTOR_BACK__STATE__UNBINDING:
        e->state = EXECUTOR_UNBINDING;
        break;
    default:
        e->state = EXECUTOR_IDLE;
        break;
    }
}

/* ---- what it held ------------------------------------------------------------------------------ */

/* A large output that was announced to the session manager that is dead cannot be had any more. */
static enum survivor look_for_output(const struct executor *e, const struct flm__record *r,
                                     const char *record)
{
    struct flm__result_parts parts;
    struct flm__blob_ref ref;
    struct arrived_blob *found;
    if (!(r->flags & FLM__RECORD_BLOB) || !e->link)
        return SURVIVOR_CLAIMED;
    if (!flm__result_split(r, record + FLM__RECORD_HEADER, &parts) || parts.size < sizeof(ref))
        return SURVIVOR_LIES;
    memcpy(&ref, parts.output, sizeof(ref));
    HASH_FIND(hh, e->blobs, &ref.id, sizeof(ref.id), found);
    return found ? SURVIVOR_CLAIMED : e->node->coming_back ? SURVIVOR_WAITS : SURVIVOR_PASSED;
}

/* All that it had begun is answered, or never will be. */
static void settle(struct executor *e)
{
    struct manager *m = executor_manager(e);
    while (e->n)
        executor_give_back(e->session, executor_inflight(e, --e->n)->ref);
    e->bytes = 0;
    e->idle_ns = m->now;
    e->recalling = rejoin_gathers(m);
    e->back = e->recalling ? BACK_RESTS : BACK_NO;
    common_tell(e);
    m->schedule = true;
    executor_settle(e);
}

enum survivor survivor_sent(struct executor *e, const struct flm__record *r, const char *record)
{
    struct session *s = e->session;
    struct task_ref ref;
    if (r->type == FLM__SETTLED) {
        if (e->back == BACK_RUNS && r->task == e->back_round)
            settle(e);
        return SURVIVOR_PASSED;
    }
    if (e->back != BACK_RUNS || r->type != FLM__RESULT)
        return SURVIVOR_LIES;
    e->stalled = false;
    if (r->session != s->number || !find_waiting(s, r->task, &ref))
        return SURVIVOR_PASSED;
    enum survivor output = look_for_output(e, r, record);
    return output != SURVIVOR_CLAIMED ? output : claim(e, s, ref, 0) ? SURVIVOR_CLAIMED : SURVIVOR_PASSED;
}

void survivors_go_on(struct manager *m)
{
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (e->back != BACK_RESTS)
            continue;
        e->back = BACK_NO;
        e->recalling = false;
        common_tell(e);
        executor_settle(e);
    }
    m->schedule = true;
}
