/* jobs.c - what is PBS's own in a block that is a job of its own (parts/jobs.h).
 *
 * What became of all jobs is one qstat; the nodes of those that run are one pbsnodes, seldom. request.c is
 * how they are asked for.
 */
#define _GNU_SOURCE
#include "../parts/command.h"
#include "pbs.h"
#include "reports.h"

#include <stdlib.h>
#include <string.h>

enum { LOOKS_PER_NODES = 2, EXIT_FINISHED = 35, EXIT_UNKNOWN = 153 };

/* Not of the job that we may be in. */
static const char *const *environment(void *state)
{
    static const char *const changes[] = {"PBS_JOBID",   "PBS_ENVIRONMENT", "PBS_NODEFILE", "PBS_JOBCOOKIE",
                                          "PBS_NODENUM", "PBS_TASKNUM",     "PBS_MOMPORT",  "PBS_O_*",
                                          "PBS_JOBDIR",  "PBS_JOBNAME",     "PBS_QUEUE",    NULL};
    (void)state;
    return changes;
}

static bool read_id(const char *out, char id[JOB_ID])
{
    size_t n = strcspn(out, " \t\r\n");
    if (*out < '0' || *out > '9' || n >= JOB_ID)
        return false;
    snprintf(id, JOB_ID, "%.*s", (int)n, out);
    return true;
}

/* ---- what became of them ----------------------------------------------------------------------- */

static void on_nodes(void *arg, const struct answer *a)
{
    struct pbs *p = arg;
    free(p->offline);
    p->offline = a->exited && a->out ? strdup(a->out) : NULL;
    jobs_looked(&p->jobs, true);
}

/* Of the jobs that run. false: there are none, or it cannot be asked. */
static bool ask_for_nodes(struct pbs *p)
{
    struct words w = {.n = 0};
    words_add(&w, p->pbsnodes);
    words_add(&w, "-F");
    words_add(&w, "json");
    for (unsigned i = 0; i < p->reports.n; i++) {
        const char *at = p->reports.list[i].state == 'R' ? p->reports.list[i].exec_host : NULL;
        char node[NODE_NAME_SIZE], last[NODE_NAME_SIZE] = "";
        unsigned cpus;
        while (exec_host_next(&at, node, sizeof(node), &cpus)) {
            if (strcmp(node, last) != 0)
                words_addf(&w, "%s", node);
            memcpy(last, node, sizeof(last));
        }
    }
    bool asked =
        w.n > 3 && command_start(p->host, w.list, NULL, PBS_LIMIT_MS, on_nodes, p, &p->looking) == 0;
    words_free(&w);
    return asked;
}

/* Jobs that are gone are left out of it; if all are, the exit status says so, else it is not about jobs. */
static bool is_answer(struct pbs *p, const struct answer *a)
{
    if (!a->exited || !a->out || (a->status && a->status != EXIT_FINISHED && a->status != EXIT_UNKNOWN))
        return false;
    if (a->err && strstr(a->err, "job history")) { /* "PBS is not configured to maintain job history" */
        p->no_history = true;
        return false;
    }
    struct job_reports now;
    if (!reports_read(a->out, a->out_size, &now) || (!a->status && !now.n)) {
        reports_free(&now);
        return false;
    }
    reports_follow(&now, &p->reports, 0);
    reports_free(&p->reports);
    p->reports = now;
    return true;
}

static void on_jobs(void *arg, const struct answer *a)
{
    struct pbs *p = arg;
    bool answered = is_answer(p, a);
    if (!answered || p->looks++ % LOOKS_PER_NODES || !ask_for_nodes(p))
        jobs_looked(&p->jobs, answered);
}

/* With -x also those that are over, where the server remembers them; without -E the JSON has one of them
 * only. */
static void look(void *state)
{
    struct pbs *p = state;
    struct words w = {.n = 0};
    words_add(&w, p->qstat);
    if (!p->no_history)
        words_add(&w, "-x");
    words_add(&w, "-E");
    words_add(&w, "-f");
    words_add(&w, "-F");
    words_add(&w, "json");
    const char *id;
    unsigned n = 0;
    for (; (id = jobs_id(&p->jobs, n)); n++)
        words_add(&w, id);
    if (!n || command_start(p->host, w.list, NULL, PBS_LIMIT_MS, on_jobs, p, &p->looking) < 0)
        jobs_looked(&p->jobs, false);
    words_free(&w);
}

static void say_why(const struct job_report *job, char *text, size_t n)
{
    static const char not_yet[] = "Not Running: ";
    const char *why = job->comment;
    if (strncmp(why, not_yet, strlen(not_yet)) == 0)
        why += strlen(not_yet);
    if (job->state == 'H')
        why = "it is held";
    else if (job->state == 'W')
        why = "the time for its start has not come";
    else if (!*why)
        why = "the scheduler does not say why";
    snprintf(text, n, "job %.100s waits: %s", job->id, why);
}

static void find(void *state, const char *id, struct job_state *out)
{
    const struct pbs *p = state;
    const struct job_report *job = reports_find(&p->reports, id);
    char how[120];
    *out = (struct job_state){.kind = JOB_OVER, .end_time_s = -1};
    if (!job) {
        out->unknown = true;
        snprintf(out->text, sizeof(out->text), "PBS knows no job %.100s any more", id);
    } else if (strchr("FX", job->state) && job->state) {
        snprintf(out->text, sizeof(out->text), "job %.100s %s", id, report_how(job, how, sizeof(how)));
    } else if (strchr("RESUB", job->state) && job->state) {
        out->kind = JOB_RUNS;
        out->end_time_s = report_end(job);
        out->nodes = job->exec_host;
    } else {
        out->kind = JOB_WAITS;
        say_why(job, out->text, sizeof(out->text));
    }
}

static int drained(void *state, const struct job_state *job, unsigned i, unsigned n, char *node,
                   size_t size)
{
    const struct pbs *p = state;
    const char *at = job->nodes;
    int known = -1;
    unsigned cpus;
    (void)i;
    (void)n;
    while (p->offline && known <= 0 && exec_host_next(&at, node, size, &cpus)) {
        int now = report_is_offline(p->offline, strlen(p->offline), node);
        known = now > known ? now : known;
    }
    return known;
}

/* ---- the end ----------------------------------------------------------------------------------- */

struct deletion {
    struct deletion *next;
    struct pbs *pbs;
    struct command *running;
    char id[JOB_ID];
};

static void on_deleted(void *arg, const struct answer *a)
{
    struct deletion *d = arg;
    struct pbs *p = d->pbs;
    for (struct deletion **at = &p->deletions; *at; at = &(*at)->next) {
        if (*at == d) {
            *at = d->next;
            break;
        }
    }
    if (!a->exited || (a->status && a->status != EXIT_FINISHED && a->status != EXIT_UNKNOWN))
        jobs_not_cancelled(&p->jobs, d->id);
    free(d);
    pbs_settle(p);
}

static bool cancel(void *state, const char *id)
{
    struct pbs *p = state;
    const char *const argv[] = {p->qdel, id, NULL};
    struct deletion *d = calloc(1, sizeof(*d));
    if (!d)
        return false;
    d->pbs = p;
    snprintf(d->id, sizeof(d->id), "%s", id);
    if (command_start(p->host, argv, NULL, PBS_LIMIT_MS, on_deleted, d, &d->running) < 0) {
        free(d);
        return false;
    }
    d->next = p->deletions;
    p->deletions = d;
    return true;
}

static void settle(void *state)
{
    pbs_settle(state);
}

void pbs_jobs_init(struct pbs *p)
{
    p->system = (struct job_system){
        .submit = p->qsub,
        .cancel_all = p->qdel,
        .name = "PBS",
        .calm_after_s = 10,
        .build = request_build,
        .environment = environment,
        .read_id = read_id,
        .look = look,
        .find = find,
        .cancel = cancel,
        .drained = drained,
        .settle = settle,
    };
    jobs_init(&p->jobs, p->host, &p->system, p);
}

void pbs_jobs_end(struct pbs *p)
{
    command_kill(p->looking);
    jobs_release_all(&p->jobs);
}

void pbs_jobs_free(struct pbs *p)
{
    reports_free(&p->reports);
    free(p->offline);
}
