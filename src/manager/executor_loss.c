/* The end of an executor: what it had done counts, the task that it ran is tried again or fails, the others
 * go back to the queue. */
#include "manager/executor_inside.h"

#include "manager/durable.h"
#include "manager/flow.h"
#include "manager/group.h"
#include "manager/inputs.h"
#include "manager/too_long.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An executor ends itself to end a task that ran too long: that is no loss of the task. */
static void end_late_task(struct executor *e, struct session *s, struct task_ref ref)
{
    struct flm__record *r = queue_record(ref);
    char text[100];
    snprintf(text, sizeof(text), "the task was ended after %" PRIu64 " ms, its deadline",
             session_deadline_ms(s, ref));
    outbound_end_task(s, ref,
                      &(struct ending){.state = FLM_TASK_FAILED,
                                       .reason = FLM_REASON_DEADLINE,
                                       .code = FLM_EDEADLINE,
                                       .attempts = r->lane,
                                       .executor = e->id,
                                       .text = text});
    outbound_finish_task(s, ref);
}

/* The task that ran when its executor died. */
static void lose_task(struct executor *e, struct session *s, struct task_ref ref, bool charged, int reason,
                      int code, const char *text)
{
    struct flm__record *r = queue_record(ref);
    bool cancelled = s->state == SESSION_CANCELLING || r->flags & SESSION_CANCEL_WANTED;
    charged = charged && !s->paused;
    if (charged && !cancelled && reason == FLM_REASON_DEADLINE) {
        end_late_task(e, s, ref);
        return;
    }
    if (charged)
        r->lane++;
    struct ending end = {.state = FLM_TASK_FAILED,
                         .reason = reason,
                         .code = code,
                         .attempts = r->lane,
                         .executor = e->id,
                         .text = text,
                         .cause = reason,
                         .usage = &e->death.usage};
    if (cancelled)
        end = (struct ending){.state = FLM_TASK_CANCELLED,
                              .reason = FLM_REASON_CANCELLED,
                              .code = FLM_ECANCELLED,
                              .attempts = r->lane,
                              .executor = e->id,
                              .text = "cancelled while it ran"};
    char why[FLM__MESSAGE_MAX];
    if (charged && !cancelled) {
        if (r->lane < s->retry_limit) {
            events_add(&s->events, FLM_ELOST, r->task, (int)e->id,
                       "task %" PRIu64 " runs again (%u of %u losses): %s", (uint64_t)r->task, r->lane,
                       s->retry_limit, text);
            s->retried++;
            durable_lost(s, &(struct loss){r->task, r->lane, (uint32_t)reason});
            executor_give_back(s, ref);
            return;
        }
        snprintf(why, sizeof(why), "lost with its executor %u times; the last time: %s", r->lane, text);
        end.reason = reason == FLM_REASON_OUT_OF_MEMORY ? reason : FLM_REASON_RETRY_LIMIT;
        end.text = why;
    } else if (!charged && !cancelled) {
        executor_give_back(s, ref);
        return;
    }
    outbound_end_task(s, ref, &end);
    outbound_finish_task(s, ref);
}

/* Everything that was sent and not answered goes back. */
static void lose_tasks(struct executor *e, uint64_t began, bool charge, int reason, int code,
                       const char *text)
{
    struct session *s = e->session;
    while (e->n) {
        struct inflight in = *executor_inflight(e, --e->n);
        inputs_unstamp(e, in.ref);
        lose_task(e, s, in.ref, charge && in.number == began, reason, code, text);
    }
    e->bytes = 0;
}

void executor_drop_blobs(struct executor *e)
{
    struct arrived_blob *a, *next;
    HASH_ITER(hh, e->blobs, a, next)
    {
        arrived_blob_drop(&e->blobs, a);
    }
    blob_release(e->claimed);
    e->claimed = NULL;
}

/* One that ends in order, told to or by itself, is not; and with -v the agent says it, in its order among
 * what executors print. */
static bool is_worth_a_line(const struct executor *e)
{
    const struct manager *m = executor_manager(e);
    bool in_order = e->death.reason == FLM_REASON_EXIT && e->death.code == 0;
    return (!e->death.expected || e->kill_reason) && !in_order && !m->stopping && !m->options.verbose;
}

void executor_bury(struct executor *e)
{
    struct session *s = e->session;
    bool entering = e->state == EXECUTOR_BINDING;
    e->dying = e->torn = false;
    if (s) {
        bool charge = !e->death.expected || e->kill_reason;
        if (!charge)
            too_long_cut_off(e);
        if (core_time_lost(e, e->death.began)) {
            reasons_count(s->reasons.lost, e->death.reason);
            durable_touch(s, DURABLE_STATE_CHANGED); /* the counters */
        }
        lose_tasks(e, e->death.began, charge, e->death.reason, e->death.code, e->death.text);
        executor_leave_session(e);
        if (entering && !e->death.expected)
            session_bind_failed(s, (int)e->id, 0, e->death.text);
        session_settle(s);
    }
    events_add(&e->events, e->death.expected ? 0 : FLM_ELOST, 0, (int)e->id, "process %d ended: %s", e->pid,
               e->death.text);
    if (is_worth_a_line(e))
        say_limited(&executor_manager(e)->losses, executor_manager(e)->now,
                    "executor %u of node %s%s%s is lost: %s", e->id, e->node->name, s ? " in session " : "",
                    s ? s->id : "", e->death.text);
    flm__link_destroy(e->link);
    e->link = NULL;
    executor_drop_blobs(e);
    executor_reset_flow(e);
    e->kill_reason = 0;
    e->birth = ++executor_manager(e)->births;
    executor_manager(e)->spilling = true; /* an output of it may have waited */
    e->state = EXECUTOR_VOID;
}

void executor_lost(struct executor *e, const Flm__ExecutorLost *lost)
{
    if (e->state == EXECUTOR_VOID || e->state == EXECUTOR_RELEASED)
        return;
    e->dying = true;
    e->death.began = lost->began;
    e->death.relayed = lost->relayed;
    e->death.reason = e->kill_reason ? e->kill_reason : lost->reason;
    e->death.code = lost->code;
    e->death.expected = lost->expected || e->torn;
    e->death.usage = (struct flm__usage){lost->user_us, lost->system_us, lost->max_rss_kib};
    snprintf(e->death.text, sizeof(e->death.text), "%s", lost->text);
    /* What it had finished is finished. */
    while (e->link && !e->stalled && !e->starved && outbound_drain_executor(e))
        ;
    if (e->link || e->received >= e->death.relayed)
        executor_bury(e);
}

void executor_node_gone(struct executor *e, int reason, const char *text)
{
    if (e->state == EXECUTOR_RELEASED)
        return;
    while (e->link && !e->stalled && !e->starved && outbound_drain_executor(e))
        ;
    e->death.began = 0;
    e->death.usage = (struct flm__usage){0};
    e->death.reason = reason;
    e->death.expected = true;
    snprintf(e->death.text, sizeof(e->death.text), "%s", text);
    e->kill_reason = 0;
    executor_bury(e);
    group_tear(e, text);
    executor_forget_trouble(e);
    e->state = EXECUTOR_RELEASED;
    e->node = NULL;
}
