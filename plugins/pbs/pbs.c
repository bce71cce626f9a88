/* The backend `pbs`: node agents on all nodes of the PBS job that we are in, and on nodes of further jobs
 * while flmd wants them. Without a job of our own there are only those.
 *
 *   executors=N     in all, spread over the nodes (default: the job's ranks, else one per CPU of the job)
 *   grace=S         after SIGTERM (the end of time, qdel) for tasks to be finished (default 8)
 *   output=FILE     for what jobs of ours print, as qsub -o (default: /dev/null)
 *   ask=S           seconds after which the end of our job, which can be moved, is asked again (default 60)
 *   look=S          seconds after which qstat is asked again what became of jobs of ours (default 5)
 *   mpirun=CMD      the mpirun for MPI ranks (default: {mpirun}, that of the program's MPI); flm-pbs-world
 * starts it world=CMD       starts MPI ranks in place of all that, "{n}" stands for how many, "{nodes}" for
 * where
 */
#define _GNU_SOURCE
#include "pbs.h"

#include "../parts/world.h"
#include "../parts/command.h"
#include "environment.h"
#include "programs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ASK_AGAIN_S = 60, /* a question of every job: the server has others to serve */
    EXECUTORS_MAX = 1000000,
    GRACE_S = 8, /* kill_delay is 10 s unless a site says otherwise */
};

void pbs_settle(struct pbs *p)
{
    if (!p->ending || p->blocks || p->jobs.list || p->deletions)
        return;
    pbs_jobs_free(p);
    reports_free(&p->own);
    nodes_free(&p->nodes);
    free(p->mpirun);
    free(p->world);
    free(p->world_words);
    free(p->folder);
    free(p->output);
    free(p);
}

static int set_grace(struct pbs *p, const char *text, flm_error *error)
{
    unsigned seconds;
    int rc = plugin_number("backend pbs: grace", text, 86400, &seconds, error);
    if (rc == 0)
        snprintf(p->grace, sizeof(p->grace), "%u", seconds);
    return rc;
}

static int set_look(struct pbs *p, const char *text, flm_error *error)
{
    unsigned seconds;
    int rc = plugin_number("backend pbs: look", text, 3600, &seconds, error);
    if (rc == 0)
        p->jobs.look_ms = seconds * 1000;
    return rc;
}

static int set(struct pbs *p, const char *option, flm_error *error)
{
    if (strncmp(option, "executors=", 10) == 0)
        return plugin_number("backend pbs: executors", option + 10, EXECUTORS_MAX, &p->executors, error);
    if (strncmp(option, "grace=", 6) == 0)
        return set_grace(p, option + 6, error);
    if (strncmp(option, "ask=", 4) == 0)
        return plugin_number("backend pbs: ask", option + 4, 86400, &p->ask_s, error);
    if (strncmp(option, "look=", 5) == 0)
        return set_look(p, option + 5, error);
    if (strncmp(option, "output=", 7) == 0)
        return plugin_text(&p->output, option + 7, error);
    if (strncmp(option, "world=", 6) == 0)
        return plugin_text(&p->world, option + 6, error);
    if (strncmp(option, "mpirun=", 7) == 0)
        return plugin_text(&p->mpirun, option + 7, error);
    return plugin_fail(error, FLM_EINVAL,
                       "backend pbs has no option '%.100s': it knows executors, grace, output, ask, look, "
                       "mpirun and world",
                       option);
}

/* TORQUE has programs of the same names. */
static int check_kind(const struct pbs *p, flm_error *error)
{
    const char *const argv[] = {p->qstat, "--version", NULL};
    struct answer answer;
    int rc = command_run(argv, PBS_LIMIT_MS, &answer);
    if (rc == FLM_ENOTFOUND)
        return plugin_fail(
            error, rc, "cannot find PBS's program qstat: is its bin directory in PATH, or PBS_EXEC set?");
    if (rc < 0)
        return plugin_fail(error, rc, "cannot start PBS's program qstat (%s): %s", p->qstat,
                           flm_strerror(rc));
    const char *out = answer.out ? answer.out : "", *err = answer.err ? answer.err : "";
    if (!strstr(out, "pbs_version") && !strstr(err, "pbs_version") && !answer.too_late &&
        (strstr(out, "ersion:") || strstr(err, "ersion:")))
        rc = plugin_fail(
            error, FLM_ENOTSUP,
            "this is TORQUE, or something like it (qstat --version says '%.60s'): Flame knows OpenPBS "
            "and PBS Professional; with --backend local it uses one node",
            *err ? err : out);
    answer_free(&answer);
    return rc;
}

static int choose_world(struct pbs *p, flm_error *error)
{
    char *arguments = NULL;
    if (p->world)
        return 0;
    if (asprintf(&arguments, "{n} {nodes} %s", p->mpirun ? p->mpirun : "{mpirun}") < 0)
        return plugin_fail(error, FLM_ENOMEM, "backend pbs: no memory");
    int rc = world_program(&p->world, "flm-pbs-world", arguments, error);
    free(arguments);
    return rc;
}

static int begin(struct pbs *p, const char *const *configuration, flm_error *error)
{
    int rc = 0;
    for (; rc == 0 && *configuration; configuration++)
        rc = set(p, *configuration, error);
    if (rc == 0)
        rc = choose_world(p, error);
    p->folder = environment_folder();
    if (rc == 0 && !p->folder)
        rc = plugin_fail(error, FLM_ENOMEM, "backend pbs: no memory");
    if (!program_find("pbsdsh", p->dsh, sizeof(p->dsh)))
        p->dsh[0] = 0;
    program_find("qstat", p->qstat, sizeof(p->qstat));
    program_find("qsub", p->qsub, sizeof(p->qsub));
    program_find("qdel", p->qdel, sizeof(p->qdel));
    program_find("pbsnodes", p->pbsnodes, sizeof(p->pbsnodes));
    if (rc == 0)
        rc = check_kind(p, error);
    return rc ? rc : own_job_read(p, error);
}

static int pbs_backend_init(const struct flm_backend_host *host, const char *const *configuration,
                            void **state, flm_error *error)
{
    struct pbs *p = calloc(1, sizeof(*p));
    if (!p)
        return plugin_fail(error, FLM_ENOMEM, "backend pbs: no memory");
    p->host = host;
    pbs_jobs_init(p);
    p->ask_s = ASK_AGAIN_S;
    p->end_time_s = -1;
    snprintf(p->grace, sizeof(p->grace), "%d", GRACE_S);
    int rc = begin(p, configuration, error);
    if (rc < 0) {
        p->ending = true;
        pbs_settle(p);
        return rc;
    }
    *state = p;
    return 0;
}

static void pbs_backend_fini(void *state)
{
    struct pbs *p = state;
    own_job_forget(p);
    agents_release_all(p);
    pbs_jobs_end(p);
    p->ending = true;
    pbs_settle(p);
}

static int get_block(void *state, const struct flm_block_request *request, flm_error *error)
{
    struct pbs *p = state;
    if (!request->agent_command || !request->agent_command[0])
        return plugin_fail(error, FLM_EINVAL, "backend pbs: there is no agent command");
    if (request->new_job)
        return jobs_start(&p->jobs, request, error);
    if (!p->job[0])
        return plugin_fail(error, FLM_ENOTFOUND,
                           "there is no PBS job here (PBS_JOBID is not set) whose nodes could be used");
    return agents_start(p, request, error);
}

static int release_block(void *state, uint64_t block, flm_error *error)
{
    struct pbs *p = state;
    if (agents_release(p, block) || jobs_release(&p->jobs, block))
        return 0;
    return plugin_fail(error, FLM_ENOTFOUND, "backend pbs: there is no block %llu",
                       (unsigned long long)block);
}

static int dry_run(void *state, const struct flm_block_request *request, char *text, size_t size,
                   flm_error *error)
{
    struct pbs *p = state;
    return request->new_job ? jobs_describe(&p->jobs, request, text, size, error)
                            : agents_describe(state, request, text, size, error);
}

static unsigned abilities(void *state)
{
    const struct pbs *p = state;
    return (p->job[0] ? FLM_BACKEND_HAS_NODES : 0) | FLM_BACKEND_NEW_JOBS;
}

static int world_command(void *state, unsigned ranks, const char *const *program, const char **argv,
                         size_t n, flm_error *error)
{
    struct pbs *p = state;
    return world_words(p->world, &p->world_words, ranks, program, argv, n, error);
}

FLM_API const struct flm_backend flm_backend = {
    .abi = FLM_BACKEND_ABI,
    .size = sizeof(struct flm_backend),
    .name = "pbs",
    .description = "the nodes of a PBS job, and of further jobs",
    .init = pbs_backend_init,
    .fini = pbs_backend_fini,
    .get_block = get_block,
    .release_block = release_block,
    .dry_run = dry_run,
    .world_command = world_command,
    .abilities = abilities,
};
