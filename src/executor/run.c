/* The hot path. A plain task of a service that is called costs here: two stores and a load to begin it
 * (recall.h), the stores into its context, the call, and the record of its result. No system call, no
 * lock, no clock, no allocation. What is not plain (a deadline, a large input, a child process, a world
 * of ranks, a session that wants to know durations, the wrong session) takes run_otherwise. */
#include "executor/executor.h"

#include "base/error.h"
#include "base/time.h"
#include "executor/world.h"

#include <flm/client.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

static inline int invoke(struct flm__executor *e)
{
    atomic_store_explicit(&e->status->busy, 1, memory_order_relaxed);
    int code = e->service->on_task_invoke(&e->task, e->state);
    atomic_store_explicit(&e->status->busy, 0, memory_order_relaxed);
    return code;
}

int flm__run_invoke(struct flm__executor *e)
{
    return invoke(e);
}

/* Nobody has cancelled the running task: it is we who are to end. A task that this cut off is not answered,
 * which gives it back: the agent tells how far we came, and it runs elsewhere. */
static bool is_cut_off(struct flm__executor *e)
{
    return atomic_load(&e->control.stopping) &&
           atomic_load(&e->cancels->numbers[e->task.number % FLM__CANCELS]) != e->task.number;
}

void flm__run_failed(struct flm__executor *e, const struct flm__record *r, int code)
{
    if (flm_task_cancelled(&e->task) && is_cut_off(e))
        return;
    if (flm_task_cancelled(&e->task))
        flm__outbox_failure(e, r, FLM_TASK_CANCELLED, FLM_REASON_CANCELLED, code, NULL);
    else
        flm__outbox_failure(e, r, FLM_TASK_FAILED, FLM_REASON_SERVICE, code, NULL);
}

/* In a session that asks for it the result tells how long the task took. */
void flm__run_set_duration(const struct flm__executor *e, struct flm__record *r, int64_t began_ns)
{
    if (e->session.timed)
        r->cookie = flm__duration_to_cookie(flm__now_ns() - began_ns);
}

static void run_called(struct flm__executor *e, struct flm__record *r, uint64_t deadline_ms)
{
    int64_t began_ns = e->session.timed ? flm__now_ns() : 0;
    if (deadline_ms)
        e->task.deadline_ns = flm__deadline_begin(&e->deadline, deadline_ms);
    if (e->world) {
        flm__world_run(e, r, deadline_ms);
        if (deadline_ms)
            flm__deadline_end(&e->deadline);
        return;
    }
    int code = invoke(e);
    if (deadline_ms)
        flm__deadline_end(&e->deadline);
    flm__run_set_duration(e, r, began_ns);
    if (code == 0)
        flm__outbox_success(e, r);
    else
        flm__run_failed(e, r, code);
}

static void *shim_output(struct flm__shim_task *task, size_t size)
{
    return flm_task_output(task->owner, size);
}

static void set_running(struct flm__session *s, uint64_t number, uint64_t id)
{
    pthread_mutex_lock(&s->lock);
    s->running = number;
    s->running_id = id;
    pthread_mutex_unlock(&s->lock);
}

static bool is_end_of_job(int status)
{
    return status == SIGTERM || status == SIGKILL;
}

/* A command that was ended by a signal, or says so as a shell does of one of its own, may have been meant
 * by the end of the job; so may one that failed, since it may catch the signal, but then looking for that
 * must cost little beside the command. Once the end has come any failure may be its doing: it is given
 * back. */
static bool is_given_back(struct flm__executor *e, const struct flm__shim_task *t, int64_t began_ns)
{
    enum { PART = 20 };
    bool signalled = (t->reason == FLM_REASON_SIGNAL && is_end_of_job(t->code)) ||
                     (t->reason == FLM_REASON_EXIT && is_end_of_job(t->code - 128));
    if (t->state == FLM_TASK_SUCCEED || t->reason == FLM_REASON_DEADLINE)
        return false;
    flm__end_wanted(e, signalled ? INT_MAX : (flm__now_ns() - began_ns) / 1000000 / PART);
    return is_cut_off(e);
}

static void run_by_shim(struct flm__executor *e, struct flm__record *r, uint64_t deadline_ms)
{
    struct flm__session *s = &e->session;
    struct flm__shim_task t = {.task = r->task,
                               .session = s->info.session,
                               .input = e->task.input,
                               .input_size = e->task.input_size,
                               .deadline_ms = deadline_ms,
                               .output = shim_output,
                               .owner = &e->task};
    int64_t began_ns = flm__now_ns();
    set_running(s, e->number, r->task);
    /* A cancel that came before is in e->cancels, a later one finds the task running. */
    if (flm_task_cancelled(&e->task))
        flm__session_cancel(e, e->number);
    atomic_store_explicit(&e->status->busy, 1, memory_order_relaxed);
    s->spoilt = s->shim->ops->invoke(s->shim, &t) < 0;
    atomic_store_explicit(&e->status->busy, 0, memory_order_relaxed);
    set_running(s, 0, 0);
    flm__run_set_duration(e, r, began_ns);
    if (is_given_back(e, &t, began_ns))
        return;
    if (t.state == FLM_TASK_SUCCEED) {
        flm__outbox_success(e, r);
    } else {
        e->task.message_size = (uint32_t)strnlen(t.message, FLM__SHIM_MESSAGE_MAX);
        memcpy(e->task.message, t.message, e->task.message_size);
        flm__outbox_failure(e, r, t.state, t.reason, t.code, t.usage.max_rss_kib ? &t.usage : NULL);
    }
    if (s->spoilt)
        flm__session_renew(e, NULL);
}

static void refuse(struct flm__executor *e, const struct flm__record *r, int reason, int code,
                   const char *text)
{
    if (e->world)
        flm__world_settle(e); /* answers come in order */
    flm__task_start(&e->task, r->task, e->number, "", 0);
    flm_task_fail(&e->task, 0, "%s", text);
    flm__outbox_failure(e, r, FLM_TASK_FAILED, reason, code, NULL);
}

static int take_objects(struct flm__executor *e, const struct flm__task_objects *objects, flm_error *error)
{
    if (e->session.shim)
        return flm__error_set(
            error, FLM_ENOTSUP,
            "the input names objects, which only services of the shims so and self can get");
    return flm__inputs_take(e, objects, error);
}

/* That there is no such object, or another version, or that nobody can read it, is an answer for the task.
 * All else is the trouble of this place (no memory, a link that is cut): another executor may have them, so
 * this one ends as with an input that cannot be read, and the task is tried again. But not a process that
 * is the user's. */
static void lack_objects(struct flm__executor *e, const struct flm__record *r, const flm_error *error)
{
    bool is_answer = error->code == FLM_ENOTFOUND || error->code == FLM_ESTALE ||
                     error->code == FLM_ENOTSUP || (error->code == FLM_EIO && e->objects.everywhere);
    if (error->code == FLM_EDISCONNECTED) /* as with an input that did not come */
        return;
    if (!is_answer && !e->hosted)
        flm__end_now(e, FLM_REASON_NONE, "an object that task %llu names cannot be had here: %s",
                     (unsigned long long)r->task, error->text);
    refuse(e, r, FLM_REASON_OBJECT, error->code, error->text);
}

static void run_otherwise(struct flm__executor *e, const struct flm__record *r, const void *payload)
{
    struct flm__task_parts parts;
    if (!e->world) {            /* which holds results itself */
        flm__outbox_publish(e); /* what follows may take its time */
        e->outbox.limit = 1;
        e->outbox.since = 0;
    }
    if (!flm__task_split(r, payload, &parts)) {
        refuse(e, r, FLM_REASON_SERVICE, FLM_EPROTO, "the record of the task makes no sense");
        return;
    }
    const void *map = NULL;
    size_t size = parts.size;
    if (parts.blob) {
        struct flm__blob_ref ref;
        memcpy(&ref, parts.input, sizeof(ref));
        map = flm__arrivals_wait(&e->arrivals, ref.id, &size);
        if (!map) /* lost with the session manager, which will not find it answered (stock.h) */
            return;
    }
    struct flm__session *s = &e->session;
    flm_error error = {0, ""};
    if (!s->entered || s->number != r->session) {
        refuse(e, r, FLM_REASON_BIND, FLM_EPROTO,
               "the task came to an executor that has not entered its session");
    } else if (parts.objects && take_objects(e, parts.objects, &error) < 0) {
        lack_objects(e, r, &error);
    } else {
        uint64_t deadline_ms = parts.deadline_ms ? parts.deadline_ms : s->deadline_ms;
        flm__task_start(&e->task, r->task, e->number, map ? map : parts.input, size);
        struct flm__record mine = *r;
        if (s->shim)
            run_by_shim(e, &mine, deadline_ms);
        else
            run_called(e, &mine, deadline_ms);
    }
    if (parts.objects)
        flm__inputs_done(e);
    flm__arrivals_done(&e->arrivals, map, size);
}

/* The input of a task that was given back: it came, it has to go. */
static void drop(struct flm__executor *e, const struct flm__record *r, const void *payload)
{
    struct flm__task_parts parts;
    struct flm__blob_ref ref;
    size_t size;
    if (!flm__task_split(r, payload, &parts) || !parts.blob)
        return;
    memcpy(&ref, parts.input, sizeof(ref));
    const void *map = flm__arrivals_wait(&e->arrivals, ref.id, &size);
    flm__arrivals_done(&e->arrivals, map, size);
}

void flm__run_task(struct flm__executor *e, const struct flm__record *r, const void *payload)
{
    uint64_t n = ++e->number;
    if (__builtin_expect(!flm__recall_begin(&e->recall, n), 0)) {
        drop(e, r, payload);
        return;
    }
    if (__builtin_expect(r->session != e->direct_session || r->flags != 0, 0)) {
        run_otherwise(e, r, payload);
        return;
    }
    flm__task_start(&e->task, r->task, n, payload, r->size);
    int code = invoke(e);
    if (__builtin_expect(code == 0, 1))
        flm__outbox_success(e, r);
    else
        flm__run_failed(e, r, code);
}
