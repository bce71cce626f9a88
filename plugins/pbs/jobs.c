/* jobs.c - what is PBS's own in a block that is a job of its own (parts/jobs.h).
 *
 * Its script carries our environment, so nothing has to lie anywhere while it waits, and becomes the agent.
 * What became of all jobs is one qstat; the nodes of those that run are one pbsnodes, seldom.
 */
#define _GNU_SOURCE
#include "../parts/command.h"
#include "environment.h"
#include "pbs.h"
#include "reports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_MOST = 60, LOOKS_PER_NODES = 2, EXIT_FINISHED = 35, EXIT_UNKNOWN = 153 };

/* ---- the request ------------------------------------------------------------------------------- */

/* PBS takes only these, and no digit first in older ones. */
static void name_it(const char *name, char out[NAME_MOST])
{
    snprintf(out, NAME_MOST, "%s", name && *name ? name : "flame");
    for (char *c = out; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+", *c))
            *c = '_';
}

/* Whether the site's options say already how much of a node is wanted. */
static bool says_how_much(const char *const *options)
{
    for (; options && *options; options++)
        if (strstr(*options, "select=") || strstr(*options, "nodes=") || strstr(*options, "ncpus="))
            return true;
    return false;
}

static const char *not_followed(const char *const *options)
{
    for (; options && *options; options++) {
        if (strcmp(*options, "-I") == 0 || strncmp(*options, "-J", 2) == 0 || strcmp(*options, "--") == 0 ||
            strstr(*options, "block=true"))
            return *options;
        if (strncmp(*options, "-q", 2) == 0 &&
            strchr((*options)[2] || !options[1] ? *options : options[1], '@'))
            return "-q QUEUE@SERVER";
    }
    return NULL;
}

static unsigned cores_per_slot(const char *const *command)
{
    for (; *command; command++)
        if (strcmp(*command, "--cores-per-slot") == 0 && command[1])
            return (unsigned)atoi(command[1]) ? (unsigned)atoi(command[1]) : 1;
    return 1;
}

/* As most nodes have. Asked once. */
static unsigned usual_cpus(struct pbs *p)
{
    const char *const argv[] = {p->pbsnodes, "-a", "-F", "json", NULL};
    struct answer answer;
    if (!p->usual_cpus && command_run(argv, PBS_LIMIT_MS, &answer) == 0) {
        p->usual_cpus = answer.out ? report_usual_cpus(answer.out, answer.out_size) : 0;
        answer_free(&answer);
    }
    return p->usual_cpus;
}

static void add_select(struct words *w, struct pbs *p, const struct flm_block_request *r)
{
    if (says_how_much(r->site_options))
        return;
    words_add(w, "-l");
    if (r->slots) {
        words_addf(w, "select=1:ncpus=%u:mpiprocs=%u", r->slots * cores_per_slot(r->agent_command),
                   r->slots);
        return;
    }
    unsigned cpus = usual_cpus(p);
    if (cpus)
        words_addf(w, "select=1:ncpus=%u", cpus);
    else
        words_add(w, "select=1");
    words_add(w, "-l");
    words_add(w, "place=excl");
}

/* All but the script. */
static int build_options(struct words *w, struct pbs *p, const struct flm_block_request *r,
                         flm_error *error)
{
    char name[NAME_MOST];
    const char *never = not_followed(r->site_options);
    if (never)
        return plugin_fail(error, FLM_ENOTSUP,
                           "jobs that are submitted with %.60s cannot be followed from here", never);
    if (r->nodes > 1)
        return plugin_fail(error, FLM_ENOTSUP, "jobs of PBS that flmd asks for have one node, not %u",
                           r->nodes);
    name_it(r->name, name);
    words_add(w, p->qsub);
    words_add(w, "-f"); /* else a process of it stays, with our descriptors */
    words_add(w, "-r");
    words_add(w, "n"); /* a block that is lost is asked for again, if it is still wanted */
    words_add(w, "-S");
    words_add(w, "/bin/sh");
    words_add(w, "-N");
    words_addf(w, "%s", name);
    words_add(w, "-j");
    words_add(w, "oe");
    words_add(w, "-o");
    words_add(w, p->output ? p->output : "/dev/null");
    add_select(w, p, r);
    if (r->time_s) {
        words_add(w, "-l");
        words_addf(w, "walltime=%u", r->time_s);
    }
    words_add_all(w, r->site_options);
    return 0;
}

/* What PBS says is taken before our environment, in $1 and $2: that may have variables of any name, and a
 * PATH without anything. The number of ranks where the site's options say it (mpiprocs). */
static void print_script(FILE *f, const struct pbs *p, const struct flm_block_request *r)
{
    fputs("set -- \"$(head -n 1 \"$PBS_NODEFILE\")\" \"$(grep -c . \"$PBS_NODEFILE\")\"\n"
          "[ \"${NCPUS:-0}\" -ge \"$2\" ] || NCPUS=$2\n",
          f);
    if (r->slots)
        fprintf(f, "set -- \"$1\" %u\n", r->slots);
    else
        fputs("[ \"$2\" != 1 ] || set -- \"$1\"\n", f);
    environment_print(f, true);
    fputs("exec", f);
    for (const char *const *word = r->agent_command; *word; word++) {
        fputc(' ', f);
        quote(f, *word);
    }
    fprintf(f,
            " --same-session --grace %s --block \"$PBS_JOBID\" --name \"$1\" --cpus \"$NCPUS\" "
            "${2:+--slots \"$2\"}\n",
            p->grace);
}

static char *write_script(const struct pbs *p, const struct flm_block_request *r)
{
    FILE *f;
    char *path = environment_create(p->folder, &f);
    if (!path)
        return NULL;
    print_script(f, p, r);
    if (fclose(f) == 0)
        return path;
    unlink(path);
    free(path);
    return NULL;
}

static int build(void *state, const struct flm_block_request *r, struct words *w, char **file,
                 flm_error *error)
{
    struct pbs *p = state;
    int rc = build_options(w, p, r, error);
    if (rc < 0)
        return rc;
    if (file) {
        *file = write_script(p, r);
        if (!*file)
            return plugin_fail(error, FLM_EIO, "cannot write the script of a job into %s: %s", p->folder,
                               strerror(errno));
    }
    words_add(w, file ? *file : "SCRIPT");
    return w->failed
               ? plugin_fail(error, FLM_ETOOBIG, "backend pbs: the options for qsub are too many words")
               : 0;
}

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
        const char *host = p->reports.list[i].exec_host;
        if (p->reports.list[i].state == 'R' && host)
            words_addf(&w, "%.*s", (int)strcspn(host, "/"), host);
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
    (void)i;
    (void)n;
    if (!p->offline || !job->nodes)
        return -1;
    snprintf(node, size, "%.*s", (int)strcspn(job->nodes, "/"), job->nodes);
    return report_is_offline(p->offline, strlen(p->offline), node);
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
        .build = build,
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
