#define _GNU_SOURCE 1
#include "flmexec_run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 100 };

/* --- signals --- */

static volatile sig_atomic_t got_signal;
static time_t again_from; /* monotonic seconds */
static int signal_pipe[2] = {-1, -1};

/* The second one ends us at once (Flame then ends the jobs of a client that is
 * gone), but not when it is only the first again: a Ctrl-C comes from the terminal
 * and from flmrun. */
static void on_signal(int sig)
{
    int saved = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (got_signal && now.tv_sec >= again_from)
        _exit(128 + sig);
    if (!got_signal)
        again_from = now.tv_sec + 2;
    got_signal = sig;
    if (write(signal_pipe[1], "", 1) < 0) {
        /* it is full, so it wakes as well */
    }
    errno = saved;
}

static void catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal}, old;
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        flmexec_die(FLMEXEC_TROUBLE, "cannot make a pipe: %s", strerror(errno));
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        if (sigaction(signals[i], NULL, &old) == 0 &&
            old.sa_handler != SIG_IGN) /* nohup, &: ignored on purpose */
            sigaction(signals[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* --- giving jobs --- */

/* A job that is in the log is not run again, even when it is another one by now: then we say so, once. */
static void check_skipped(struct flmexec_run *run, const struct flmexec_arguments *a)
{
    const char *before = flmexec_joblog_command(&run->log, run->seq);
    if (!before || run->other_jobs)
        return;
    struct flmexec_job *job = flmexec_job_make(run->o, run->seq, a);
    struct flmexec_text now = {0};
    flmexec_job_command(job, run->o->command.shell != NULL, &now);
    if (strcmp(now.data, before) != 0) {
        run->other_jobs = true;
        flmexec_warn("--resume: job %" PRIu64
                     " is '%.200s' now, and '%.200s' in the joblog: jobs are told by their "
                     "numbers, so it is not run; for other commands or arguments give another joblog",
                     run->seq, now.data, before);
    }
    flmexec_text_free(&now);
    flmexec_job_free(job);
}

/* What to give next: a job to try again, or a new one. NULL: nothing now. */
static struct flmexec_job *next_job(struct flmexec_run *run)
{
    struct flmexec_arguments a;
    struct flmexec_job *job = run->again;
    if (job) {
        run->again = job->next;
        if (!run->again)
            run->again_end = &run->again;
        job->next = NULL;
        return job;
    }
    while (!run->inputs_ended && run->kept < KEPT_MAX && run->made - run->released < ORDER_MAX &&
           run->commands < COMMANDS_MAX) {
        enum flmexec_next next = flmexec_inputs_next(&run->o->inputs, &a);
        run->inputs_ended = next == NEXT_END;
        run->inputs_wait = next == NEXT_WAIT;
        if (next != NEXT_JOB)
            return NULL;
        if (flmexec_joblog_done(&run->log, ++run->seq)) {
            run->skipped++;
            check_skipped(run, &a);
            continue;
        }
        job = flmexec_job_make(run->o, run->seq, &a);
        flmexec_order_add(run, job);
        return job;
    }
    return NULL;
}

static void put_back(struct flmexec_run *run, struct flmexec_job *job)
{
    job->next = run->again;
    if (!run->again)
        run->again_end = &job->next;
    run->again = job;
}

static unsigned window(struct flmexec_run *run)
{
    /* Who wants to stop soon must not have given more than can run. */
    return run->o->halt == HALT_SOON ? flmexec_engine_slots(&run->engine, run->o->jobs) : WINDOW_MAX;
}

/* Its id, or an error of flm_submit_task. */
static int64_t submit(struct flmexec_run *run, struct flmexec_job *job)
{
    if (!job->input_size)
        return FLM_EINVAL;
    int rc = flmexec_is_durable(run)
                 ? flmexec_state_give(&run->state, job, flm_submitted(run->engine.session) + 1)
                 : 0;
    if (rc) {
        flmexec_stop(run, STOP_TROUBLE, "cannot write '%s': %s", run->state.path, strerror(rc));
        return FLM_EAGAIN;
    }
    return flmexec_engine_submit(&run->engine, job->input, job->input_size, run->o->timeout_ms);
}

static void give_jobs(struct flmexec_run *run)
{
    unsigned most = window(run);
    struct flmexec_job *job;
    run->inputs_wait = run->no_room = false;
    while (!run->stop && HASH_COUNT(run->given) < most && (job = next_job(run))) {
        job->tries++;
        int64_t task = submit(run, job);
        job->tries -= task <= 0;
        if (task > 0) {
            job->task = task;
            HASH_ADD(hh, run->given, task, sizeof(job->task), job);
        } else if (task == FLM_EAGAIN) {
            run->no_room = true;
            put_back(run, job);
            return;
        } else if (task == FLM_ETOOBIG || task == FLM_EINVAL) {
            flmexec_refused(run, job, (int)task);
        } else {
            put_back(run, job);
            flmexec_stop(run, STOP_TROUBLE, "cannot give jobs to Flame: %s", flm_strerror((int)task));
        }
    }
}

/* --- taking results --- */

/* Returns whether there were any. */
static bool take_results(struct flmexec_run *run)
{
    static struct flm_result results[TAKE_MAX];
    int n = flm_take_results(run->engine.session, results, TAKE_MAX, 0);
    for (int i = 0; i < n; i++)
        flmexec_take(run, &results[i]);
    if (n < 0)
        flmexec_stop(run, got_signal ? STOP_SIGNAL : STOP_TROUBLE, "%s", flm_strerror(n));
    return n > 0;
}

/* What has been taken is done with once nothing of it waits here. */
static void acknowledge(struct flmexec_run *run)
{
    if (!run->kept || run->held || run->again || run->stop)
        return;
    flm_acknowledge(run->engine.session);
    run->kept = 0;
}

static void sleep_until_something(struct flmexec_run *run)
{
    struct pollfd fds[4] = {{flm_fd(run->engine.client), POLLIN, 0},
                            {signal_pipe[0], POLLIN, 0},
                            {run->inputs_wait ? flmexec_inputs_fd(&run->o->inputs) : -1, POLLIN, 0},
                            {STDOUT_FILENO, 0, 0}};
    int n = flm_poll(run->engine.client, 0);
    if (n < 0)
        flmexec_stop(run, got_signal ? STOP_SIGNAL : STOP_TROUBLE, "%s", flm_strerror(n));
    if (n != 0)
        return;
    flmexec_output_flush(&run->output);
    bool tick = run->progress.on || run->no_room || run->o->halt == HALT_SOON;
    poll(fds, 4, tick ? TICK_MS : -1);
    if (fds[3].revents & POLLERR)
        flmexec_stop(run, STOP_CLOSED, "nobody reads the output");
}

static bool is_over(const struct flmexec_run *run)
{
    if (run->stop > STOP_SOON)
        return true;
    bool more = run->again || !run->inputs_ended;
    return HASH_COUNT(run->given) == 0 && (run->stop == STOP_SOON || !more);
}

static void run_jobs(struct flmexec_run *run)
{
    for (;;) {
        if (got_signal)
            flmexec_stop(run, STOP_SIGNAL, "%s", strsignal(got_signal));
        if (run->output.closed)
            flmexec_stop(run, STOP_CLOSED, "nobody reads the output");
        give_jobs(run);
        bool any = take_results(run);
        if (flmexec_is_durable(run))
            acknowledge(run);
        progress_show(&run->progress, run->skipped + run->succeeded + run->failed, run->failed);
        if (is_over(run))
            return;
        if (!any && flmexec_is_durable(run))
            flmexec_reclaim(run);
        if (!any)
            sleep_until_something(run);
    }
}

/* --- the whole --- */

static void say_how_it_went(const struct flmexec_run *run)
{
    const struct flmexec_outcome *o = &run->first_failed.outcome;
    char how[160];
    uint64_t ended = run->succeeded + run->failed;
    if (run->stop == STOP_SIGNAL || run->stop == STOP_TROUBLE)
        flmexec_warn("%s: stopped when %" PRIu64 " jobs had ended%s", run->why, ended,
                     run->o->joblog || run->o->state_dir ? "; --resume goes on from there" : "");
    else if (run->stop == STOP_NOW || run->stop == STOP_SOON)
        flmexec_warn("stopped by %s; %" PRIu64 " jobs have ended", run->why, ended);
    if (run->failed_before && run->stop != STOP_CLOSED)
        flmexec_warn("%" PRIu64 " jobs had failed before; --resume-failed runs them again",
                     run->failed_before);
    if (!run->failed || run->stop == STOP_CLOSED)
        return;
    if (o->message[0])
        snprintf(how, sizeof(how), "%.150s", o->message);
    else
        snprintf(how, sizeof(how), "exit status %d", o->exit_value);
    flmexec_warn("%" PRIu64 " of %" PRIu64 " jobs failed; %s job %" PRIu64 " (%s)", run->failed, ended,
                 run->failed == 1 ? "it was" : "the first by number was", run->first_failed.seq, how);
}

/* Of a run in several pieces. */
static void say_core_time(struct flmexec_run *run)
{
    double useful, wasted;
    if (!flmexec_is_durable(run) || !run->o->resume || run->stop || run->succeeded + run->failed == 0)
        return;
    if (flmexec_engine_core_time(&run->engine, &useful, &wasted))
        flmexec_warn(
            "all jobs have ended; core-seconds: %.1f useful, %.1f wasted on attempts that were cut off",
            useful, wasted);
}

static int exit_status(const struct flmexec_run *run)
{
    switch (run->stop) {
    case STOP_SIGNAL:
        return 128 + got_signal;
    case STOP_CLOSED:
        return 128 + SIGPIPE;
    case STOP_TROUBLE:
        return FLMEXEC_TROUBLE;
    case STOP_NOW:
    case STOP_SOON:
        if (run->o->halt_why == HALT_SUCCESS)
            return FLMEXEC_OK; /* what was looked for has been found */
        /* fall through */
    default:
        return run->failed || run->failed_before ? FLMEXEC_SOME_FAILED : FLMEXEC_OK;
    }
}

/* What becomes of the session. */
static enum flmexec_leave how_to_leave(const struct flmexec_run *run)
{
    if (flmexec_is_durable(run) && run->stop > STOP_NOW)
        return ENGINE_LEAVE;
    return run->stop > STOP_SOON ? ENGINE_CANCEL : ENGINE_CLOSE;
}

int flmexec_run(struct flmexec_options *o)
{
    struct flmexec_run run = {.o = o, .again_end = &run.again};
    flm_error error = {0};
    flmexec_joblog_open(&run.log, o->joblog, o->resume, o->resume_failed);
    flmexec_output_init(&run.output, o->tag);
    flmexec_inputs_open(&o->inputs);
    flmexec_state_open(&run.state, o);
    catch_signals();
    if (flmexec_engine_open(&run.engine, o->jobs, o->ranks, o->state_dir ? o->session : NULL, &error)) {
        flmexec_engine_close(&run.engine, o->state_dir ? ENGINE_LEAVE : ENGINE_CANCEL);
        flmexec_die(FLMEXEC_TROUBLE, "%s", error.text);
    }
    if (flmexec_is_durable(&run))
        flmexec_adopt(&run, signal_pipe[0]);
    progress_begin(&run.progress, o->progress, "flmexec", 0);
    if (run.progress.on)
        progress_set_total(&run.progress, flmexec_inputs_count(&o->inputs));
    run_jobs(&run);
    progress_end(&run.progress);
    HASH_CLEAR(hh, run.given);
    say_core_time(&run);
    flmexec_engine_close(&run.engine, how_to_leave(&run));
    flmexec_finish(&run);
    flmexec_output_fini(&run.output);
    flmexec_joblog_close(&run.log);
    flmexec_state_close(&run.state);
    say_how_it_went(&run);
    return exit_status(&run);
}
