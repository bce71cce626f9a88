/* jobs.c - what is Slurm's own in a block that is a job of its own (parts/jobs.h).
 *
 * It is submitted by sbatch, not through libslurm: so a site's options are taken verbatim, its submission
 * plugins see what they know, and this process waits for nobody. What becomes of all of them is asked of
 * slurmctld in one query, often only while one of them waits. The job's script runs the step of agents and
 * ends with it.
 */
#define _GNU_SOURCE
#include "removed.h"
#include "slurm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The script: the step of agents, as in a job that we are in. */
static char *script(const struct slurm *s, const struct flm_block_request *r)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    fputs("set --", f);
    for (const char *const *word = r->agent_command; *word; word++) {
        fputc(' ', f);
        quote(f, *word);
    }
    fprintf(f, " --grace %s", s->grace);
    if (!r->slots)
        fputs("\n[ -z \"$SLURM_NTASKS\" ] || set -- \"$@\" --slots \"$SLURM_TASKS_PER_NODE\"", f);
    fputs("\nset -- \"$@\" --cpus \"$SLURM_JOB_CPUS_PER_NODE\"\nunset", f);
    for (const char *const *name = slurm_removed; *name; name++)
        if (!strchr(*name, '*'))
            fprintf(f, " %s", *name);
    fputs("\nexec srun", f);
    for (const char *const *word = step_fixed; *word; word++)
        fprintf(f, " %s", *word);
    if (s->binds)
        fputs(" --cpu-bind=none", f);
    for (unsigned i = 0; i < s->n_srun_options; i++) {
        fputc(' ', f);
        quote(f, s->srun_options[i]);
    }
    fputs(
        " --nodes=\"$SLURM_JOB_NUM_NODES\" --ntasks=\"$SLURM_JOB_NUM_NODES\" --ntasks-per-node=1 \"$@\"\n",
        f);
    if (fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}

/* Whether the site's options say already how much of a node is wanted. */
static bool says_how_much(const char *const *options)
{
    static const char *const names[] = {"--ntasks", "--cpus-per-task", "--exclusive",     "--mincpus", "-n",
                                        "-c",       "--gpus",          "--tres-per-task", NULL};
    for (; options && *options; options++)
        for (const char *const *name = names; *name; name++)
            if (strncmp(*options, *name, strlen(*name)) == 0)
                return true;
    return false;
}

static bool goes_elsewhere(const char *const *options)
{
    for (; options && *options; options++)
        if (strncmp(*options, "-M", 2) == 0 || strncmp(*options, "--cluster", 9) == 0)
            return true;
    return false;
}

static int build(void *state, const struct flm_block_request *r, struct words *w, char **file,
                 flm_error *error)
{
    (void)file;
    const struct slurm *s = state;
    if (goes_elsewhere(r->site_options))
        return plugin_fail(error, FLM_ENOTSUP,
                           "jobs in other clusters (sbatch -M) cannot be followed from here");
    words_add(w, "sbatch");
    words_add(w, "--parsable");
    words_add(w, "--no-requeue"); /* a block that is lost is asked for again, if it is still wanted */
    words_add(w, "--no-kill");
    words_addf(w, "--output=%s", s->output ? s->output : "/dev/null");
    words_addf(w, "--job-name=%.120s", r->name && *r->name ? r->name : "flame");
    words_addf(w, "--nodes=%u", r->nodes ? r->nodes : 1);
    if (r->time_s)
        words_addf(w, "--time=%u", (r->time_s + 59) / 60);
    if (r->slots)
        words_addf(w, "--ntasks-per-node=%u", r->slots);
    else if (!says_how_much(r->site_options))
        words_add(w, "--exclusive");
    words_add_all(w, r->site_options);
    words_add(w, "--wrap");
    words_take(w, script(s, r));
    if (!w->failed)
        return 0;
    return plugin_fail(error, FLM_ETOOBIG, "backend slurm: the options for sbatch are too many words");
}

/* The variables of a job that we may be in are not the new one's; which cluster it is stays. */
static const char *const *environment(void *state)
{
    static char keep[4096];
    static const char *changes[] = {"SLURM_*", NULL, NULL};
    const char *conf = getenv("SLURM_CONF");
    (void)state;
    changes[1] =
        conf && snprintf(keep, sizeof(keep), "SLURM_CONF=%s", conf) < (int)sizeof(keep) ? keep : NULL;
    return changes;
}

static bool read_id(const char *out, char id[JOB_ID])
{
    unsigned long n = strtoul(out, NULL, 10);
    snprintf(id, JOB_ID, "%lu", n);
    if (!n || n >= UINT32_MAX)
        *id = 0;
    return *id;
}

static uint32_t number_of(const char *id)
{
    return (uint32_t)strtoul(id, NULL, 10);
}

static void look(void *state)
{
    struct slurm *s = state;
    job_list_free(s->answer);
    s->answer = NULL;
    jobs_looked(&s->jobs, job_list_get(&s->answer) == 0);
    job_list_free(s->answer);
    s->answer = NULL;
    s->looks++;
}

static void find(void *state, const char *id, struct job_state *out)
{
    const struct slurm *s = state;
    job_list_find(s->answer, number_of(id), out);
}

static bool cancel(void *state, const char *id)
{
    (void)state;
    return job_cancel(number_of(id));
}

/* The nodes of one job at a time: slurmctld has others to serve. */
static int drained(void *state, const struct job_state *job, unsigned i, unsigned n, char *node,
                   size_t size)
{
    const struct slurm *s = state;
    if (i != s->looks % n)
        return -1;
    return job->nodes && drain_find(job->nodes, node, size);
}

static void settle(void *state)
{
    slurm_settle(state);
}

const struct job_system slurm_jobs = {
    .submit = "sbatch",
    .cancel_all = "scancel",
    .name = "Slurm",
    .calm_after_s = UINT32_MAX,
    .build = build,
    .environment = environment,
    .read_id = read_id,
    .look = look,
    .find = find,
    .cancel = cancel,
    .drained = drained,
    .comment_is_given = comment_is_given,
    .settle = settle,
};
