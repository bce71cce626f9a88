/* The backend `slurm`: node agents on all nodes of the Slurm job that we are in, and on nodes of further
 * jobs while flmd wants them. Without a job of our own there are only those.
 *
 *   executors=N     in all, spread over the nodes (default: the job's tasks, else one per core)
 *   grace=S         after SIGTERM (the end of time, preemption) for tasks to be finished (default 20)
 *   output=FILE     for what jobs of ours print, as sbatch --output (default: /dev/null)
 *   ask=S           seconds after which the end of our job, which can be moved, is asked again (default 60)
 *   srun=OPTION     one more option for srun, verbatim; may be repeated
 */
#define _GNU_SOURCE
#include "slurm.h"

#include "../parts/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ASK_AGAIN_S = 60, /* a question of every job: slurmctld has others to serve */
    EXECUTORS_MAX = 1000000,
    GRACE_S = 20, /* Slurm's KillWait is 30 s unless a site says otherwise */
};

void slurm_settle(struct slurm *s)
{
    if (!s->ending || s->steps || s->jobs.list)
        return;
    for (unsigned i = 0; i < s->n_srun_options; i++)
        free(s->srun_options[i]);
    free(s->output);
    free(s->world);
    free(s->world_words);
    free(s);
}

static int set_grace(struct slurm *s, const char *text, flm_error *error)
{
    unsigned seconds;
    int rc = plugin_number("backend slurm: grace", text, 86400, &seconds, error);
    if (rc == 0)
        snprintf(s->grace, sizeof(s->grace), "%u", seconds);
    return rc;
}

static int set(struct slurm *s, const char *option, flm_error *error)
{
    if (strncmp(option, "executors=", 10) == 0)
        return plugin_number("backend slurm: executors", option + 10, EXECUTORS_MAX, &s->executors, error);
    if (strncmp(option, "grace=", 6) == 0)
        return set_grace(s, option + 6, error);
    if (strncmp(option, "ask=", 4) == 0)
        return plugin_number("backend slurm: ask", option + 4, 86400, &s->ask_s, error);
    if (strncmp(option, "output=", 7) == 0)
        return plugin_text(&s->output, option + 7, error);
    if (strncmp(option, "srun=", 5) == 0) {
        if (s->n_srun_options == SLURM_SITE_OPTIONS)
            return plugin_fail(error, FLM_ETOOBIG, "backend slurm takes at most %d options for srun",
                               SLURM_SITE_OPTIONS);
        s->srun_options[s->n_srun_options] = strdup(option + 5);
        if (!s->srun_options[s->n_srun_options])
            return plugin_fail(error, FLM_ENOMEM, "backend slurm: no memory");
        s->n_srun_options++;
        return 0;
    }
    return plugin_fail(
        error, FLM_EINVAL,
        "backend slurm has no option '%.100s': it knows executors, grace, output, ask and srun", option);
}

/* Which job, and how it was asked for. */
static int read_job(struct slurm *s, flm_error *error)
{
    const char *id = getenv("SLURM_JOB_ID"), *nodes = getenv("SLURM_JOB_NUM_NODES");
    unsigned n = 0;
    if (!id || !*id)
        return 0;
    if (!nodes)
        nodes = getenv("SLURM_NNODES");
    int rc = plugin_number("SLURM_JOB_ID", id, UINT32_MAX - 1, &n, error);
    if (rc == 0)
        rc = plugin_number("SLURM_JOB_NUM_NODES", nodes ? nodes : "1", 1000000, &s->job_nodes, error);
    s->job_id = n;
    snprintf(s->job, sizeof(s->job), "%.30s", id);
    return rc;
}

static void ask_again(void *arg);

static void ask_later(struct slurm *s)
{
    int timer = s->host->timer(s->host->handle, s->ask_s * 1000, ask_again, s);
    s->ask_timer = timer > 0 ? timer : 0;
}

static void ask_again(void *arg)
{
    struct slurm *s = arg;
    int64_t end = -1;
    bool commented;
    if (job_ask(s->job_id, &end, &commented, NULL) == 0 && end != s->end_time_s) {
        s->end_time_s = end;
        step_tell_time(s);
    }
    ask_later(s);
}

/* Where it is not there libslurm asks the network for it, a minute long, and then ends this process. */
static int check_configuration(flm_error *error)
{
    const char *conf = getenv("SLURM_CONF");
    if (!conf || !*conf || access(conf, R_OK) == 0)
        return 0;
    return plugin_fail(error, FLM_ENOTFOUND,
                       "cannot read %.300s, which SLURM_CONF names as Slurm's configuration: %s", conf,
                       strerror(errno));
}

static int begin(struct slurm *s, const char *const *configuration, flm_error *error)
{
    int rc = 0;
    for (; rc == 0 && *configuration; configuration++)
        rc = set(s, *configuration, error);
    if (rc == 0)
        rc = read_job(s, error);
    if (rc == 0)
        rc = check_configuration(error);
    if (rc)
        return rc;
    s->binds = job_tasks_are_bound();
    rc = world_program(
        &s->world, "flm-slurm-world",
        s->binds ? "{n} {nodes} {mpi} {mpirun} --cpu-bind=none" : "{n} {nodes} {mpi} {mpirun}", error);
    if (rc)
        return rc;
    if (!s->job[0])
        return 0;
    flm_error why = {0, ""};
    rc = job_ask(s->job_id, &s->end_time_s, &s->own_comment, &why);
    if (rc == FLM_ENOTFOUND)
        return plugin_fail(error, rc, "%s", why.text);
    if (rc)
        plugin_log(s->host, "%s; going on without knowing when the job ends", why.text);
    ask_later(s);
    return 0;
}

static int slurm_backend_init(const struct flm_backend_host *host, const char *const *configuration,
                              void **state, flm_error *error)
{
    struct slurm *s = calloc(1, sizeof(*s));
    if (!s)
        return plugin_fail(error, FLM_ENOMEM, "backend slurm: no memory");
    s->host = host;
    jobs_init(&s->jobs, host, &slurm_jobs, s);
    s->ask_s = ASK_AGAIN_S;
    snprintf(s->grace, sizeof(s->grace), "%d", GRACE_S);
    int rc = begin(s, configuration, error);
    if (rc < 0) {
        s->ending = true;
        slurm_settle(s);
        return rc;
    }
    *state = s;
    return 0;
}

static void slurm_backend_fini(void *state)
{
    struct slurm *s = state;
    if (s->ask_timer)
        s->host->cancel_timer(s->host->handle, s->ask_timer);
    step_release_all(s);
    jobs_release_all(&s->jobs);
    s->ending = true;
    slurm_settle(s);
}

static int get_block(void *state, const struct flm_block_request *request, flm_error *error)
{
    struct slurm *s = state;
    if (!request->agent_command || !request->agent_command[0])
        return plugin_fail(error, FLM_EINVAL, "backend slurm: there is no agent command");
    if (request->new_job)
        return jobs_start(&s->jobs, request, error);
    if (!s->job[0])
        return plugin_fail(
            error, FLM_ENOTFOUND,
            "there is no Slurm job here (SLURM_JOB_ID is not set) whose nodes could be used");
    return step_start(s, request, error);
}

static int release_block(void *state, uint64_t block, flm_error *error)
{
    struct slurm *s = state;
    if (step_release(s, block) || jobs_release(&s->jobs, block))
        return 0;
    return plugin_fail(error, FLM_ENOTFOUND, "backend slurm: there is no block %llu",
                       (unsigned long long)block);
}

static int dry_run(void *state, const struct flm_block_request *request, char *text, size_t size,
                   flm_error *error)
{
    struct slurm *s = state;
    return request->new_job ? jobs_describe(&s->jobs, request, text, size, error)
                            : step_describe(s, request, text, size, error);
}

static unsigned abilities(void *state)
{
    const struct slurm *s = state;
    return (s->job[0] ? FLM_BACKEND_HAS_NODES : 0) | FLM_BACKEND_NEW_JOBS | FLM_BACKEND_COMMENTS;
}

static void comment(void *state, uint64_t block, const char *text)
{
    struct slurm *s = state;
    uint32_t job = step_commented(s, block);
    const char *id = job ? NULL : jobs_commented(&s->jobs, block);
    comment_set(s, id ? (uint32_t)strtoul(id, NULL, 10) : job, text);
}

static int world_command(void *state, unsigned ranks, const char *const *program, const char **argv,
                         size_t n, flm_error *error)
{
    struct slurm *s = state;
    return world_words(s->world, &s->world_words, ranks, program, argv, n, error);
}

FLM_API const struct flm_backend flm_backend = {
    .abi = FLM_BACKEND_ABI,
    .size = sizeof(struct flm_backend),
    .name = "slurm",
    .description = "the nodes of a Slurm job, and of further jobs",
    .init = slurm_backend_init,
    .fini = slurm_backend_fini,
    .get_block = get_block,
    .release_block = release_block,
    .dry_run = dry_run,
    .world_command = world_command,
    .abilities = abilities,
    .comment = comment,
};
