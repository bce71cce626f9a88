/* own_job.c - the job that we are in, as far as that can be verified: a shell may have inherited the
 * variables of a job that has ended. Its node file is there as long as the job, and the server knows what
 * became of it. */
#define _GNU_SOURCE
#include "../parts/command.h"
#include "pbs.h"
#include "reports.h"

#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2, EXIT_FINISHED = 35, EXIT_UNKNOWN = 153 };

static bool is_over(const struct job_report *job)
{
    return job->state == 'F' || job->state == 'E' || job->state == 'X';
}

static void learn(struct pbs *p, const struct job_report *job)
{
    p->end_time_s = report_end(job);
    p->ranks_are_chosen = job->has_ranks;
    p->threads_are_chosen = job->has_threads;
    if (job->exec_host)
        nodes_count_cpus(&p->nodes, job->exec_host);
}

/* ---- asking again ------------------------------------------------------------------------------ */

static void ask_again(void *arg);

/* Instead of the last answer, if there is something of our job in it. */
static void keep(struct pbs *p, struct job_reports *now, const struct job_report *job)
{
    struct job_reports old = p->own;
    if (!job) {
        reports_free(now);
        return;
    }
    p->own = *now;
    reports_free(&old);
}

static void ask_later(struct pbs *p)
{
    int timer = p->ending ? 0 : p->host->timer(p->host->handle, p->ask_s * 1000, ask_again, p);
    p->ask_timer = timer > 0 ? timer : 0;
}

/* Whoever suspends the job stops us with it: then the next answer comes much later than it should. */
static int64_t time_stopped(const struct pbs *p, const struct job_reports *now)
{
    int64_t late = now->at_s - p->own.at_s - (int64_t)p->ask_s - PBS_LIMIT_MS / 1000;
    return p->own.n && now->at_s > 0 && late > 0 ? late : 0;
}

static void on_answer(void *arg, const struct answer *answer)
{
    struct pbs *p = arg;
    struct job_reports now = {0};
    bool whole = answer->out && reports_read(answer->out, answer->out_size, &now);
    reports_follow(&now, &p->own, time_stopped(p, &now));
    const struct job_report *job = whole ? reports_find(&now, p->job) : NULL;
    if (job && !is_over(job) && report_end(job) != p->end_time_s) {
        p->end_time_s = report_end(job);
        agents_tell_time(p);
    }
    keep(p, &now, job);
    ask_later(p);
}

/* The end can be moved. */
static void ask_again(void *arg)
{
    struct pbs *p = arg;
    const char *const argv[] = {p->qstat, "-f", "-F", "json", p->job, NULL};
    p->ask_timer = 0;
    if (command_start(p->host, argv, NULL, PBS_LIMIT_MS, on_answer, p, &p->asking) < 0)
        ask_later(p);
}

/* ---- at the beginning -------------------------------------------------------------------------- */

/* It is not needed to begin. */
static void go_on_without(const struct pbs *p, const struct answer *answer)
{
    plugin_log(p->host, "PBS does not say when job %s ends (%s%.200s); going on without knowing", p->job,
               answer->too_late ? "qstat takes too long" : "qstat: ",
               answer->too_late              ? ""
               : answer->err && *answer->err ? answer->err
               : answer->out && *answer->out ? "an answer that is not whole"
                                             : "no answer");
}

static int verify(struct pbs *p, const struct answer *answer, flm_error *error)
{
    struct job_reports now = {0};
    int rc = 0;
    if (answer->exited && answer->status == EXIT_USAGE)
        return plugin_fail(
            error, FLM_ENOTSUP,
            "this PBS is too old, or none that Flame knows: qstat does not take -F json (OpenPBS and "
            "PBS Professional 18 or later do): %.200s",
            answer->err ? answer->err : "");
    bool whole = answer->out && reports_read(answer->out, answer->out_size, &now);
    const struct job_report *job = whole ? reports_find(&now, p->job) : NULL;
    bool unknown =
        whole && answer->exited && (answer->status == EXIT_FINISHED || answer->status == EXIT_UNKNOWN);
    if (job ? is_over(job) : unknown)
        rc = plugin_fail(
            error, FLM_ENOTFOUND,
            "the PBS job %s, which PBS_JOBID names, does not run (any more): start in a job of its "
            "own, or with --backend local",
            p->job);
    else if (job)
        learn(p, job);
    else
        go_on_without(p, answer);
    keep(p, &now, job);
    return rc;
}

/* Where PBS does not say how many CPUs each node has: as many as the first chunk. */
static void guess(struct pbs *p)
{
    const char *text = getenv("NCPUS");
    unsigned cpus = 0, lines = 0;
    for (unsigned i = 0; i < p->nodes.n; i++)
        lines += p->nodes.list[i].lines;
    p->ranks_are_chosen = lines > p->nodes.n;
    if (!text || plugin_number("NCPUS", text, 1u << 20, &cpus, NULL) < 0)
        return;
    for (unsigned i = 0; i < p->nodes.n; i++)
        p->nodes.list[i].cpus = cpus;
}

int own_job_read(struct pbs *p, flm_error *error)
{
    const char *job = getenv("PBS_JOBID"), *file = getenv("PBS_NODEFILE");
    flm_error why = {0, ""};
    if (!job || !*job)
        return 0;
    if (!file || nodes_read(file, &p->nodes, &why) < 0)
        return plugin_fail(
            error, FLM_ENOTFOUND,
            "PBS_JOBID names the job %.80s, but %s: has it ended? Start in a job of its own, without the "
            "variable, or with --backend local",
            job, file ? why.text : "PBS_NODEFILE is not set");
    if (!p->dsh[0])
        return plugin_fail(error, FLM_ENOTFOUND,
                           "cannot find PBS's program pbsdsh: is its bin directory in PATH?");
    if (snprintf(p->job, sizeof(p->job), "%s", job) >= (int)sizeof(p->job)) {
        p->job[0] = 0;
        return plugin_fail(error, FLM_EINVAL, "PBS_JOBID is no job's: it has %zu characters", strlen(job));
    }
    guess(p);
    const char *const argv[] = {p->qstat, "-f", "-F", "json", p->job, NULL};
    struct answer answer;
    int rc = command_run(argv, PBS_LIMIT_MS, &answer);
    if (rc == 0)
        rc = verify(p, &answer, error);
    else
        rc = plugin_fail(error, rc, "cannot start qstat (%s): %s", p->qstat, flm_strerror(rc));
    answer_free(&answer);
    if (rc == 0)
        ask_later(p);
    return rc;
}

void own_job_forget(struct pbs *p)
{
    if (p->ask_timer)
        p->host->cancel_timer(p->host->handle, p->ask_timer);
    p->ask_timer = 0;
    command_kill(p->asking);
}
