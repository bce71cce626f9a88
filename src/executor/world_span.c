/* Rank 0 of a world: tasks, in spans.
 *
 * To wait for all ranks after each task would cost more than a short task: a message each way, and on a
 * full machine a change of process. So rank 0 posts each task to the others in the memory that they share
 * (world_memory.h), runs it itself, and goes on with the next; the result is held until all have done it.
 * What is held is settled at the end of each batch, and when it is as much as takes SPAN_NS, by how long
 * the last span took: tasks of a millisecond are settled one by one. Should a long task come behind short
 * ones the second thread answers these.
 *
 * Which task ran when a rank died is told by all ranks (executor/status.h).
 */
#include "executor/world_inside.h"

#include "base/error.h"
#include "base/time.h"
#include "executor/executor.h"

#include <stdlib.h>
#include <string.h>

enum { SPAN_NS = 200000 };

/* ---- outputs that wait ------------------------------------------------------------------------- */

/* Small outputs wait here; a large one goes its normal way, once all before it are settled. */
static void *span_room(struct flm_task_context *task, size_t size)
{
    struct flm__executor *e = task->owner;
    struct flm__world *w = e->world;
    w->direct = size > FLM__WORLD_OUTPUTS / 8;
    if (w->direct || size > FLM__WORLD_OUTPUTS - w->outputs_used) {
        struct flm_task_context running = *task;
        flm__world_settle(e);
        *task = running;
        w->outputs_used = 0;
    }
    return w->direct ? w->ring_room(task, size) : w->outputs + w->outputs_used;
}

int flm__world_span_init(struct flm__executor *e, flm_error *error)
{
    struct flm__world *w = e->world;
    w->outputs = malloc(FLM__WORLD_OUTPUTS);
    if (!w->outputs)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the outputs of a world");
    w->ring_room = e->task.room;
    e->task.room = span_room;
    w->limit = 1;
    pthread_mutex_init(&w->lock, NULL);
    return 0;
}

/* ---- settling ---------------------------------------------------------------------------------- */

static uint32_t count_failures(const struct flm__world *w)
{
    uint32_t n = 0;
    for (unsigned r = 0; r < w->size; r++)
        n += atomic_load(&w->memory->ranks[r].failures);
    return n;
}

/* Of the lowest rank that failed it; NULL: none did. */
static const struct flm__world_failure *failure_of(struct flm__world *w, uint32_t entry)
{
    for (unsigned r = 0; r < w->size; r++) {
        const struct flm__world_failure *f = flm__world_failure(w->memory, w->size, r, entry);
        if (f->entry == entry && f->code)
            return f;
    }
    return NULL;
}

static void answer(struct flm__executor *e, struct flm__held *held,
                   const struct flm__world_failure *failure)
{
    struct flm__world *w = e->world;
    struct flm_task_context *t = &e->task;
    if (!failure) {
        flm__outbox_copy(e, &held->record, w->outputs + held->at, held->size);
        return;
    }
    t->number = held->number;
    t->message_size = (uint32_t)strnlen(failure->message, FLM__MESSAGE_MAX);
    memcpy(t->message, failure->message, t->message_size);
    t->output = held->size ? w->outputs + held->at : NULL;
    t->output_size = held->size;
    flm__run_failed(e, &held->record, failure->code);
}

/* How many may be held the next time. */
static void adapt(struct flm__world *w)
{
    int64_t each = (flm__now_ns() - w->span_ns) / w->n_held;
    int64_t fit = each > 0 ? SPAN_NS / each : FLM__WORLD_SPAN_MAX;
    w->limit = fit < 1 ? 1 : fit > FLM__WORLD_SPAN_MAX ? FLM__WORLD_SPAN_MAX : (unsigned)fit;
}

/* Under the lock; all have done what is held. */
static void answer_held(struct flm__executor *e, uint32_t failures)
{
    struct flm__world *w = e->world;
    e->outbox.limit = UINT32_MAX;
    for (unsigned i = 0; i < w->n_held; i++)
        answer(e, &w->held[i], failures == w->failures ? NULL : failure_of(w, w->held[i].entry));
    flm__outbox_publish(e);
    e->outbox.limit = 1;
    w->failures = failures;
    w->n_held = 0;
}

void flm__world_settle(struct flm__executor *e)
{
    struct flm__world *w = e->world;
    if (!w->memory)
        return;
    pthread_mutex_lock(&w->lock);
    if (w->n_held) {
        flm__world_wait_done(w->memory, w->size, w->held[w->n_held - 1].entry);
        adapt(w);
        answer_held(e, count_failures(w));
    }
    pthread_mutex_unlock(&w->lock);
}

/* All or nothing: what failed, or finds no room, is left to the main thread. */
void flm__world_look(struct flm__executor *e)
{
    struct flm__world *w = e->world;
    uint32_t bytes = 0;
    if (!w->memory || pthread_mutex_trylock(&w->lock) != 0)
        return;
    for (unsigned i = 0; i < w->n_held; i++)
        bytes += flm__record_bytes(w->held[i].size);
    if (w->n_held && flm__world_is_done(w->memory, w->size, w->held[w->n_held - 1].entry) &&
        count_failures(w) == w->failures && flm__outbox_make_room(e, bytes))
        answer_held(e, w->failures);
    pthread_mutex_unlock(&w->lock);
}

/* ---- one task ---------------------------------------------------------------------------------- */

static void hold(struct flm__world *w, const struct flm_task_context *t, const struct flm__record *r,
                 uint32_t entry)
{
    pthread_mutex_lock(&w->lock);
    struct flm__held *held = &w->held[w->n_held++];
    *held = (struct flm__held){.record = *r,
                               .number = t->number,
                               .entry = entry,
                               .at = w->outputs_used,
                               .size = (uint32_t)t->output_size};
    pthread_mutex_unlock(&w->lock);
    w->outputs_used += (held->size + 7) & ~7u;
}

/* Its output lies in the ring or in a blob: it is answered at once, when all have done it. */
static void answer_direct(struct flm__executor *e, const struct flm__record *r, uint32_t entry)
{
    struct flm__world *w = e->world;
    flm__world_wait_done(w->memory, w->size, entry);
    uint32_t failures = count_failures(w);
    const struct flm__world_failure *failure = failures == w->failures ? NULL : failure_of(w, entry);
    w->failures = failures;
    e->outbox.limit = 1;
    e->outbox.since = 0;
    if (!failure) {
        flm__outbox_success(e, r);
        return;
    }
    e->task.message_size = (uint32_t)strnlen(failure->message, FLM__MESSAGE_MAX);
    memcpy(e->task.message, failure->message, e->task.message_size);
    flm__run_failed(e, r, failure->code);
}

/* The others get the task that is about to run. */
static void tell_task(struct flm__executor *e, uint64_t deadline_ms)
{
    const struct flm_task_context *t = &e->task;
    flm__world_tell(e->world,
                    &(struct command){.kind = COMMAND_TASK,
                                      .size = t->input_size,
                                      .task = t->id,
                                      .number = t->number,
                                      .deadline_ms = deadline_ms},
                    t->input);
}

static void run_in_span(struct flm__executor *e, struct flm__record *r, uint64_t deadline_ms)
{
    struct flm__world *w = e->world;
    struct flm_task_context *t = &e->task;
    if (!w->n_held) {
        w->span_ns = flm__now_ns();
        w->outputs_used = 0;
    }
    tell_task(e, deadline_ms);
    uint32_t entry = atomic_load_explicit(&w->memory->posted, memory_order_relaxed);
    int64_t began_ns = e->session.timed ? flm__now_ns() : 0;
    w->direct = false;
    int code = flm__run_invoke(e);
    flm__run_set_duration(e, r, began_ns);
    if (code)
        flm__world_failed(w->memory, w->size, 0, entry, code, t);
    if (w->direct && t->output) {
        flm__world_settle(e);
        answer_direct(e, r, entry);
        return;
    }
    hold(w, t, r, entry);
    if (w->n_held >= w->limit)
        flm__world_settle(e);
    else if (w->n_held == 1)
        flm__outbox_begin_round(e);
}

void flm__world_run(struct flm__executor *e, struct flm__record *r, uint64_t deadline_ms)
{
    if (e->world->memory) {
        if (deadline_ms)
            flm__world_settle(e); /* the others are to wait for nothing that may be ended */
        run_in_span(e, r, deadline_ms);
        if (deadline_ms)
            flm__world_settle(e);
        return;
    }
    tell_task(e, deadline_ms);
    int64_t began_ns = e->session.timed ? flm__now_ns() : 0;
    int code = flm__world_invoke_and_agree(e);
    flm__run_set_duration(e, r, began_ns);
    if (code == 0)
        flm__outbox_success(e, r);
    else
        flm__run_failed(e, r, code);
}
