#define _GNU_SOURCE 1
#include "flmexec_run.h"

#include "flmexec_results.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void flmexec_stop(struct flmexec_run *run, enum flmexec_stop how, const char *format, ...)
{
    va_list ap;
    if (how <= run->stop)
        return;
    run->stop = how;
    va_start(ap, format);
    vsnprintf(run->why, sizeof(run->why), format, ap);
    va_end(ap);
}

/* --- the order --- */

static void grow_ring(struct flmexec_run *run)
{
    uint64_t size = run->ring_size ? 2 * run->ring_size : 1024;
    struct flmexec_job **ring = flmexec_alloc((size_t)size * sizeof(*ring));
    for (uint64_t i = run->released; i < run->made; i++)
        ring[i & (size - 1)] = run->ring[i & (run->ring_size - 1)];
    free(run->ring);
    run->ring = ring;
    run->ring_size = size;
}

void flmexec_order_add(struct flmexec_run *run, struct flmexec_job *job)
{
    if (run->made - run->released == run->ring_size)
        grow_ring(run);
    job->order = run->made++;
    run->ring[job->order & (run->ring_size - 1)] = job;
    run->commands += job->input_size;
}

/* --- reports --- */

static void report(struct flmexec_run *run, struct flmexec_job *job)
{
    if (job->outcome.message[0] || run->log.fd >= 0 || flmexec_is_durable(run))
        flmexec_output_flush(&run->output);
    if (run->output.closed) {
        flmexec_stop(run, STOP_CLOSED, "nobody reads the output");
        return; /* its output did not arrive: not in the log */
    }
    if (job->outcome.message[0] && run->messages++ == MESSAGES_MAX)
        flmexec_warn("more messages about single jobs are left out");
    int rc =
        flmexec_job_report(job, &run->log, run->o->command.shell != NULL, run->messages > MESSAGES_MAX);
    if (rc)
        flmexec_stop(run, STOP_TROUBLE, "cannot write the joblog '%s': %s", run->o->joblog, strerror(rc));
    rc = !flmexec_is_durable(run) ? 0
         : job->outcome.not_run   ? flmexec_state_give(&run->state, job, 0)
                                  : flmexec_state_reported(&run->state, job);
    if (rc)
        flmexec_stop(run, STOP_TROUBLE, "cannot write '%s': %s", run->state.path, strerror(rc));
}

static void forget(struct flmexec_run *run, struct flmexec_job *job)
{
    run->ring[job->order & (run->ring_size - 1)] = NULL;
    run->commands -= job->input_size;
    flmexec_job_free(job);
}

static void release_held(struct flmexec_run *run, struct flmexec_job *job)
{
    run->held--;
    int rc = flmexec_output_release(&run->output, job->tag, &job->held);
    if (rc)
        flmexec_stop(run, STOP_TROUBLE, "cannot read back the output of job %" PRIu64 ": %s", job->seq,
                     strerror(rc));
    else
        report(run, job); /* else it is not in the log, and --resume runs it again */
    forget(run, job);
}

/* Reports all whose turn has come. */
static void release_in_turn(struct flmexec_run *run)
{
    while (run->released < run->made) {
        struct flmexec_job *job = run->ring[run->released & (run->ring_size - 1)];
        if (job && !job->ended)
            return;
        if (job)
            release_held(run, job);
        run->released++;
    }
}

/* --- ends --- */

static void count(struct flmexec_run *run, const struct flmexec_job *job)
{
    const struct flmexec_options *o = run->o;
    if (job->outcome.ok) {
        run->succeeded++;
    } else {
        if (run->failed++ == 0 || job->seq < run->first_failed.seq) {
            run->first_failed.seq = job->seq;
            run->first_failed.outcome = job->outcome;
        }
    }
    uint64_t n = o->halt_why == HALT_FAIL      ? run->failed
                 : o->halt_why == HALT_SUCCESS ? run->succeeded
                                               : run->succeeded + run->failed;
    if (o->halt == HALT_NEVER || n < o->halt_count)
        return;
    static const char *const whats[] = {"failed", "succeeded", "ended"};
    flmexec_stop(run, o->halt == HALT_NOW ? STOP_NOW : STOP_SOON, "--halt: %" PRIu64 " %s %s", n,
                 n == 1 ? "job has" : "jobs have", whats[o->halt_why]);
}

/* Keeps the output until its turn. What cannot be kept is neither written nor logged: --resume runs it
 * again. */
static void hold(struct flmexec_run *run, struct flmexec_job *job, const struct flmexec_parts *p)
{
    int rc = flmexec_output_hold(&run->output, &job->held, p->data, p->out, p->err);
    if (!rc) {
        run->held++;
        return;
    }
    flmexec_stop(run, STOP_TROUBLE,
                 "cannot hold the output of job %" PRIu64
                 " until its turn: %s (set TMPDIR to a folder with room, "
                 "or use --unordered)",
                 job->seq, strerror(rc));
    forget(run, job);
}

static void finish_job(struct flmexec_run *run, struct flmexec_job *job, const struct flmexec_parts *p)
{
    count(run, job);
    progress_clear(&run->progress);
    int rc = job->folder
                 ? flmexec_results_write(job->folder, job->seq, p->data ? p->data : "", p->out, p->err)
                 : 0;
    if (rc) { /* nor is this one logged */
        flmexec_stop(run, STOP_TROUBLE, "cannot write the results of job %" PRIu64 " to '%.300s': %s",
                     job->seq, job->folder, strerror(rc));
        forget(run, job);
        release_in_turn(run);
        return;
    }
    if (run->o->unordered || job->order == run->released) {
        flmexec_output_write(&run->output, job->tag, p->data, p->out, p->err);
        report(run, job);
        forget(run, job);
        release_in_turn(run);
        return;
    }
    hold(run, job, p);
}

/* Whether a failed job is tried again. */
static bool try_again(struct flmexec_run *run, struct flmexec_job *job, const struct flm_result *r)
{
    if (r->state == FLM_TASK_SUCCEED || r->reason == FLM_REASON_CANCELLED || run->stop)
        return false;
    if (job->tries >= run->o->tries)
        return false;
    job->ended = false;
    flmexec_give_again(run, job);
    return true;
}

void flmexec_take(struct flmexec_run *run, const struct flm_result *r)
{
    struct flmexec_job *job;
    struct flmexec_parts parts;
    int64_t task = (int64_t)r->task;
    run->kept += r->size + 1;
    HASH_FIND(hh, run->given, &task, sizeof(task), job);
    if (!job)
        return;
    HASH_DEL(run->given, job);
    if (r->reason == FLM_REASON_DISCONNECTED || r->reason == FLM_REASON_REFUSED) { /* as if never given */
        flmexec_stop(run, STOP_TROUBLE, "%s", r->message[0] ? r->message : flm_strerror(FLM_EDISCONNECTED));
        return;
    }
    flmexec_job_end(job, r, &parts);
    if (try_again(run, job, r))
        return;
    if (run->log.fd >= 0)
        snprintf(job->outcome.host, sizeof(job->outcome.host), "%s",
                 flmexec_engine_node(&run->engine, r->executor));
    finish_job(run, job, &parts);
}

void flmexec_refused(struct flmexec_run *run, struct flmexec_job *job, int code)
{
    static const struct flmexec_parts nothing;
    flmexec_job_refuse(job, code == FLM_ETOOBIG ? "its command line is too long for a task"
                                                : flm_strerror(code));
    finish_job(run, job, &nothing);
}

void flmexec_finish(struct flmexec_run *run)
{
    /* Those that wait for their turn come again. */
    bool forget_all = flmexec_is_durable(run) && run->stop > STOP_NOW;
    for (uint64_t i = run->released; i < run->made; i++) {
        struct flmexec_job *job = run->ring[i & (run->ring_size - 1)];
        if (job && job->ended && !forget_all)
            release_held(run, job);
        else if (job)
            forget(run, job);
    }
    run->released = run->made;
    free(run->ring);
    run->ring = NULL;
}
