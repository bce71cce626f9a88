#define _GNU_SOURCE 1
#include "flmexec_run.h"

#include <inttypes.h>
#include <poll.h>

/* The arguments of the next job. False: a reason to stop came before them. */
static bool next_arguments(struct flmexec_run *run, struct flmexec_arguments *a, int stop)
{
    for (;;) {
        enum flmexec_next next = flmexec_inputs_next(&run->o->inputs, a);
        struct pollfd fds[2] = {{flmexec_inputs_fd(&run->o->inputs), POLLIN, 0}, {stop, POLLIN, 0}};
        if (next == NEXT_JOB)
            return true;
        if (next == NEXT_END)
            flmexec_die(FLMEXEC_USAGE,
                        "--resume: there were %" PRIu64
                        " jobs before, and now there are arguments for %" PRIu64
                        ": give the same ones, or another --session or --state-dir",
                        run->state.jobs, run->seq);
        poll(fds, 2, -1);
        if (fds[1].revents)
            return false;
    }
}

static bool is_done(const struct flmexec_run *run, const struct flmexec_record *r)
{
    return r->fate == FATE_SUCCEEDED || (r->fate == FATE_FAILED && !run->o->resume_failed);
}

static void adopt_one(struct flmexec_run *run, struct flmexec_job *job)
{
    struct flmexec_record r = flmexec_state_of(&run->state, job, run->o->command.shell != NULL);
    if (is_done(run, &r)) {
        run->skipped++;
        run->failed_before += r.fate == FATE_FAILED;
        flmexec_job_free(job);
        return;
    }
    flmexec_order_add(run, job);
    if (!r.task || r.fate != FATE_OPEN) {
        job->tries = r.fate == FATE_OPEN && r.tries ? r.tries - 1 : 0; /* the last one has not arrived */
        flmexec_give_again(run, job);
        return;
    }
    job->task = (int64_t)r.task;
    job->tries = r.tries;
    HASH_ADD(hh, run->given, task, sizeof(job->task), job);
}

void flmexec_adopt(struct flmexec_run *run, int stop)
{
    struct flmexec_arguments a;
    flmexec_state_attach(&run->state, flm_submitted(run->engine.session));
    while (run->seq < run->state.jobs && next_arguments(run, &a, stop)) {
        if (flmexec_joblog_done(&run->log, ++run->seq))
            run->skipped++;
        else
            adopt_one(run, flmexec_job_make(run->o, run->seq, &a));
    }
}

void flmexec_reclaim(struct flmexec_run *run)
{
    struct flmexec_job *job, *next;
    if (!HASH_COUNT(run->given) || flm_outstanding(run->engine.session))
        return;
    HASH_ITER(hh, run->given, job, next)
    {
        HASH_DEL(run->given, job);
        flmexec_give_again(run, job);
    }
}
