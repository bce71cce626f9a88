#define _GNU_SOURCE
#include "tools/flmrun_job.h"

#include "tools/flmrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *variable(const char *name)
{
    const char *text = getenv(name);
    return text && *text ? text : NULL;
}

/* ---- the nearer of two ------------------------------------------------------------------------- */

/* Its name and its parent; false: it is not to be seen. */
static bool look_at(long pid, char name[32], long *parent)
{
    char path[40], line[512];
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "re");
    const char *text = f ? fgets(line, sizeof(line), f) : NULL;
    if (f)
        fclose(f);
    const char *begin = text ? strchr(text, '(') : NULL, *end = text ? strrchr(text, ')') : NULL;
    if (!begin || !end || sscanf(end + 1, " %*c %ld", parent) != 1)
        return false;
    snprintf(name, 32, "%.*s", (int)(end - begin - 1), begin + 1);
    return true;
}

static const char *backend_of_ancestor(void)
{
    char name[32];
    for (long pid = getpid(); pid > 1 && look_at(pid, name, &pid);) {
        if (strcmp(name, "slurmstepd") == 0 || strcmp(name, "salloc") == 0)
            return "slurm";
        if (strcmp(name, "pbs_mom") == 0)
            return "pbs";
    }
    return NULL;
}

/* What a process of a PBS job has of it. */
static const char *const of_job[] = {"PBS_JOBID",   "PBS_NODEFILE", "PBS_ENVIRONMENT", "PBS_JOBCOOKIE",
                                     "PBS_JOBDIR",  "PBS_JOBNAME",  "PBS_QUEUE",       "PBS_MOMPORT",
                                     "PBS_NODENUM", "PBS_TASKNUM"};

static bool is_in_pbs_job(void)
{
    const char *file = variable("PBS_NODEFILE");
    return variable("PBS_JOBID") && file && access(file, R_OK) == 0;
}

void job_forget_stale(void)
{
    const char *pbs = variable("PBS_JOBID");
    if (!pbs || is_in_pbs_job())
        return;
    say("PBS_JOBID names the job %s, but its node file is not here: it has ended, or runs elsewhere; it "
        "counts for nothing",
        pbs);
    for (size_t i = 0; i < sizeof(of_job) / sizeof(*of_job); i++)
        unsetenv(of_job[i]);
}

const char *job_backend(void)
{
    const char *slurm = variable("SLURM_JOB_ID");
    if (!slurm)
        job_forget_stale();
    bool pbs = is_in_pbs_job();
    if (slurm && pbs) {
        const char *nearer = backend_of_ancestor();
        return nearer ? nearer : "pbs"; /* whose node file we see */
    }
    return slurm ? "slurm" : pbs ? "pbs" : NULL;
}

static bool is_in_path(const char *name)
{
    char file[4096];
    for (const char *list = getenv("PATH"); list && *list;) {
        size_t n = strcspn(list, ":");
        if ((size_t)snprintf(file, sizeof(file), "%.*s/%s", (int)n, list, name) < sizeof(file) &&
            access(file, X_OK) == 0)
            return true;
        list += n + (list[n] == ':');
    }
    return false;
}

/* Slurm may have a qsub of its own. */
const char *job_submitter(void)
{
    return !is_in_path("sbatch") && is_in_path("qsub") ? "pbs" : "slurm";
}

/* ---- its nodes --------------------------------------------------------------------------------- */

struct names {
    char **list;
    unsigned n;
};

static void add_name(struct names *all, const char *name)
{
    for (unsigned i = all->n; i-- > 0;)
        if (strcmp(all->list[i], name) == 0)
            return;
    char **more = realloc(all->list, (all->n + 1) * sizeof(*more));
    if (more)
        all->list = more;
    char *copy = more ? strdup(name) : NULL;
    if (copy)
        all->list[all->n++] = copy;
}

static unsigned nodes_of_pbs(void)
{
    struct names all = {0};
    char *line = NULL;
    size_t room = 0;
    const char *file = variable("PBS_NODEFILE");
    FILE *f = file ? fopen(file, "re") : NULL;
    while (f && getline(&line, &room, f) > 0) {
        line[strcspn(line, " \t\r\n")] = 0;
        if (*line)
            add_name(&all, line);
    }
    if (f)
        fclose(f);
    free(line);
    for (unsigned i = 0; i < all.n; i++)
        free(all.list[i]);
    free(all.list);
    return all.n;
}

unsigned job_nodes(const char *backend)
{
    if (strcmp(backend, "pbs") == 0)
        return variable("PBS_JOBID") ? nodes_of_pbs() : 0;
    const char *nodes = variable("SLURM_JOB_NUM_NODES");
    return variable("SLURM_JOB_ID") ? nodes ? (unsigned)atoi(nodes) : 1 : 0;
}
