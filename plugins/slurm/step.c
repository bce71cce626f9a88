/* step.c - a block in the job that we are in: one step, an agent on each of its nodes.
 *
 * The agents fork the executors. So a rank that dies is one agent, or one executor that its agent replaces
 * and tells about; had each executor been a rank of the step, srun would report every death as its own
 * failure, and nobody here would know a signal or a status. Nothing in the step initialises PMIx: no fates
 * are tied. Services that ask for MPI get a step of their own (slurm.c, world_command).
 */
#define _GNU_SOURCE
#include "removed.h"
#include "slurm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum {
    GRACE_MS = 2500, /* for agents, which flmd has told to end, before their srun is told */
    NUMBER = 48,
};

struct step {
    struct step *next;
    struct slurm *slurm;
    uint64_t block;
    int pid, timer;
    bool released, told;
};

static unsigned nodes_wanted(const struct slurm *s, const struct flm_block_request *r)
{
    unsigned n = r->node ? 1 : r->nodes ? r->nodes : s->job_nodes;
    return s->executors && s->executors < n ? s->executors : n;
}

/* How many executors on each node, as flm-node reads it ("--slots LIST"): so many in all; or the tasks that
 * the job was asked for; else as many as it has CPUs. */
static void add_slots(struct words *w, const struct slurm *s, const struct flm_block_request *r)
{
    const char *tasks = getenv("SLURM_TASKS_PER_NODE"), *cpus = getenv("SLURM_JOB_CPUS_PER_NODE");
    unsigned nodes = nodes_wanted(s, r);
    if (r->node && r->slots) { /* as many as the lost one had */
        words_add(w, "--slots");
        words_addf(w, "%u", r->slots);
        return;
    }
    if (s->executors) {
        unsigned each = s->executors / nodes, more = s->executors % nodes;
        words_add(w, "--slots");
        if (more)
            words_addf(w, "%u(x%u),%u", each + 1, more, each);
        else
            words_addf(w, "%u", each);
    } else if (!r->slots && getenv("SLURM_NTASKS") && tasks) {
        words_add(w, "--slots");
        words_add(w, tasks);
    }
    if (cpus) {
        words_add(w, "--cpus");
        words_add(w, cpus);
    }
}

const char *const step_fixed[] = {
    "--mpi=none",   "--no-kill", "--kill-on-bad-exit=0", "--wait=0", "--overlap", "--input=none",
    "--export=ALL", "--quiet",   "--job-name=flame",     NULL};

static void build(struct words *w, const struct slurm *s, const struct flm_block_request *r)
{
    *w = (struct words){.n = 0};
    words_add(w, "srun");
    words_add_all(w, step_fixed);
    if (s->binds) /* hwloc does, within what the step may use; srun warns of it where nobody would */
        words_add(w, "--cpu-bind=none");
    words_add(w, "--nodes");
    words_addf(w, "%u", nodes_wanted(s, r));
    words_add(w, "--ntasks");
    words_addf(w, "%u", nodes_wanted(s, r));
    words_add(w, "--ntasks-per-node=1");
    if (r->node) {
        words_add(w, "--nodelist");
        words_add(w, r->node);
    }
    for (unsigned i = 0; i < s->n_srun_options; i++)
        words_add(w, s->srun_options[i]);
    words_add_all(w, r->agent_command);
    words_add(w, "--grace");
    words_add(w, s->grace);
    add_slots(w, s, r);
}

/* ---- the life of a step ------------------------------------------------------------------------ */

static void drop(struct step *step)
{
    struct slurm *s = step->slurm;
    for (struct step **p = &s->steps; *p; p = &(*p)->next) {
        if (*p == step) {
            *p = step->next;
            break;
        }
    }
    if (step->timer)
        s->host->cancel_timer(s->host->handle, step->timer);
    free(step);
    slurm_settle(s);
}

static void on_end(void *arg, int pid, int status)
{
    struct step *step = arg;
    const struct flm_backend_host *host = step->slurm->host;
    char text[200];
    (void)pid;
    if (step->released)
        snprintf(text, sizeof(text), "released");
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof(text), "srun of job %s was killed by signal %d (%s)", step->slurm->job,
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, sizeof(text), "the step in job %s has ended, srun with status %d", step->slurm->job,
                 WEXITSTATUS(status));
    host->ended(host->handle, step->block, step->released || !status ? 0 : FLM_ELOST, text);
    drop(step);
}

int step_start(struct slurm *s, const struct flm_block_request *request, flm_error *error)
{
    struct words w;
    if (nodes_wanted(s, request) > s->job_nodes)
        return plugin_fail(error, FLM_EINVAL, "the job %s has %u nodes, not %u", s->job, s->job_nodes,
                           request->nodes);
    struct step *step = calloc(1, sizeof(*step));
    if (!step)
        return plugin_fail(error, FLM_ENOMEM, "backend slurm: no memory");
    step->slurm = s;
    step->block = request->block;
    build(&w, s, request);
    if (w.failed) {
        words_free(&w);
        free(step);
        return plugin_fail(error, FLM_ETOOBIG, "the command of the step has too many words");
    }
    step->pid = s->host->spawn(s->host->handle, w.list, slurm_removed, on_end, step);
    words_free(&w);
    if (step->pid < 0) {
        int rc = step->pid;
        free(step);
        return plugin_fail(error, rc, "cannot start srun: %s (is Slurm's bin directory in PATH?)",
                           flm_strerror(rc));
    }
    step->next = s->steps;
    s->steps = step;
    s->host->granted(s->host->handle, step->block, s->job, s->end_time_s);
    return 0;
}

static void on_grace_over(void *arg)
{
    struct step *step = arg;
    const struct flm_backend_host *host = step->slurm->host;
    kill(step->pid, step->told ? SIGKILL : SIGTERM);
    step->told = true;
    int timer = host->timer(host->handle, GRACE_MS, on_grace_over, step);
    step->timer = timer > 0 ? timer : 0;
}

/* flmd tells the agents to end, and then the step ends by itself. */
static void release(struct step *step)
{
    const struct flm_backend_host *host = step->slurm->host;
    if (step->released)
        return;
    step->released = true;
    int timer = host->timer(host->handle, GRACE_MS, on_grace_over, step);
    step->timer = timer > 0 ? timer : 0;
}

bool step_release(struct slurm *s, uint64_t block)
{
    for (struct step *step = s->steps; step; step = step->next) {
        if (step->block == block) {
            release(step);
            return true;
        }
    }
    return false;
}

void step_release_all(struct slurm *s)
{
    for (struct step *step = s->steps; step; step = step->next)
        release(step);
}

void step_tell_time(const struct slurm *s)
{
    for (const struct step *step = s->steps; step; step = step->next)
        s->host->time_left(s->host->handle, step->block, s->end_time_s);
}

int step_describe(const struct slurm *s, const struct flm_block_request *request, char *text, size_t size,
                  flm_error *error)
{
    struct words w;
    (void)error;
    build(&w, s, request);
    words_print(&w, text, size);
    words_free(&w);
    return 0;
}

uint32_t step_commented(const struct slurm *s, uint64_t block)
{
    for (const struct step *step = s->steps; step; step = step->next)
        if (step->block == block)
            return s->own_comment ? 0 : s->job_id;
    return 0;
}
