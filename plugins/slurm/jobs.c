/* jobs.c - a block that is a job of its own.
 *
 * It is submitted by sbatch, not through libslurm: so a site's options are taken verbatim, its submission
 * plugins see what they know, and this process waits for nobody. What becomes of all of them is asked of
 * slurmctld in one query, often only while one of them waits. The job's script runs the step of agents and
 * ends with it.
 */
#define _GNU_SOURCE
#include "slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    LOOK_SOON_MS = 1000, /* while a job waits or ends */
    LOOK_MS = 5000,
    GRACE_MS = 3000, /* for agents, which flmd has told to end, before the job is cancelled */
    NUMBER = 64,
};

struct job_block {
    struct job_block *next;
    struct slurm *slurm;
    uint64_t block;
    uint32_t id;      /* 0: not known yet */
    int output[2][2]; /* pipes of sbatch */
    bool granted, released, cancelled, own_comment;
    int timer;
    int64_t end_time_s;
    int64_t drain_s; /* when one of its nodes was seen to be drained; 0: none is */
};

/* ---- the request ------------------------------------------------------------------------------- */

static void quote(FILE *f, const char *word)
{
    fputc('\'', f);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", f);
        else
            fputc(*word, f);
    }
    fputc('\'', f);
}

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
    for (const char *const *name = step_removed; *name; name++)
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

struct words {
    const char *list[SLURM_WORDS + 1];
    unsigned n;
    char name[160], output[512], nodes[NUMBER], time[NUMBER], slots[NUMBER];
    char *script; /* owned */
};

static void add(struct words *w, const char *word)
{
    if (w->n < SLURM_WORDS)
        w->list[w->n++] = word;
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

static int build(struct words *w, const struct slurm *s, const struct flm_block_request *r,
                 flm_error *error)
{
    if (goes_elsewhere(r->site_options))
        return slurm_fail(error, FLM_ENOTSUP,
                          "jobs in other clusters (sbatch -M) cannot be followed from here");
    *w = (struct words){.n = 0};
    snprintf(w->name, sizeof(w->name), "--job-name=%.120s", r->name && *r->name ? r->name : "flame");
    snprintf(w->nodes, sizeof(w->nodes), "--nodes=%u", r->nodes ? r->nodes : 1);
    add(w, "sbatch");
    add(w, "--parsable");
    add(w, "--no-requeue"); /* a block that is lost is asked for again, if it is still wanted */
    add(w, "--no-kill");
    snprintf(w->output, sizeof(w->output), "--output=%s", s->output ? s->output : "/dev/null");
    add(w, w->output);
    add(w, w->name);
    add(w, w->nodes);
    if (r->time_s) {
        snprintf(w->time, sizeof(w->time), "--time=%u", (r->time_s + 59) / 60);
        add(w, w->time);
    }
    if (r->slots) {
        snprintf(w->slots, sizeof(w->slots), "--ntasks-per-node=%u", r->slots);
        add(w, w->slots);
    } else if (!says_how_much(r->site_options)) {
        add(w, "--exclusive");
    }
    for (const char *const *word = r->site_options; word && *word; word++)
        add(w, *word);
    w->script = script(s, r);
    if (!w->script)
        return slurm_fail(error, FLM_ENOMEM, "backend slurm: no memory for a job's script");
    add(w, "--wrap");
    add(w, w->script);
    if (w->n < SLURM_WORDS)
        return 0;
    free(w->script);
    return slurm_fail(error, FLM_ETOOBIG, "backend slurm: the options for sbatch are too many words");
}

int jobs_describe(const struct slurm *s, const struct flm_block_request *request, char *text, size_t size,
                  flm_error *error)
{
    struct words w;
    int rc = build(&w, s, request, error);
    if (rc < 0)
        return rc;
    FILE *f = fmemopen(text, size, "w");
    for (unsigned i = 0; f && i < w.n; i++) {
        if (i)
            fputc(' ', f);
        if (strspn(w.list[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=/.:,") ==
            strlen(w.list[i]))
            fputs(w.list[i], f);
        else
            quote(f, w.list[i]);
    }
    if (f)
        fclose(f);
    free(w.script);
    return 0;
}

/* ---- the life of a job ------------------------------------------------------------------------- */

static void close_pipes(struct job_block *b)
{
    for (int i = 0; i < 4; i++) {
        int *fd = &b->output[i / 2][i % 2];
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
}

static void drop(struct job_block *b)
{
    struct slurm *s = b->slurm;
    for (struct job_block **p = &s->jobs; *p; p = &(*p)->next) {
        if (*p == b) {
            *p = b->next;
            break;
        }
    }
    if (b->timer)
        s->host->cancel_timer(s->host->handle, b->timer);
    close_pipes(b);
    free(b);
    slurm_settle(s);
}

static void look(void *arg);

static void look_again(struct slurm *s, unsigned ms)
{
    if (s->look_timer)
        s->host->cancel_timer(s->host->handle, s->look_timer);
    int timer = s->host->timer(s->host->handle, ms, look, s);
    s->look_timer = timer > 0 ? timer : 0;
}

static void over(struct job_block *b, int code, const char *text)
{
    const struct flm_backend_host *host = b->slurm->host;
    if (b->granted)
        host->ended(host->handle, b->block, b->released ? 0 : code, b->released ? "released" : text);
    else
        host->refused(host->handle, b->block, b->released ? FLM_ECANCELLED : code,
                      b->released ? "released" : text);
    drop(b);
}

/* For us its time is over: what runs is finished, and flmd gives it back. */
static void look_for_drain(struct job_block *b, const struct job_state *state)
{
    char node[NUMBER];
    bool drained = state->nodes && drain_find(state->nodes, node, sizeof(node));
    if (drained && !b->drain_s) {
        slurm_log(b->slurm, "node %s is being drained: job %u begins no more tasks", node, b->id);
        b->drain_s = time(NULL);
    } else if (!drained) {
        b->drain_s = 0;
    }
}

static unsigned granted(const struct slurm *s)
{
    unsigned n = 0;
    for (const struct job_block *b = s->jobs; b; b = b->next)
        n += b->granted;
    return n;
}

static void compare(struct job_block *b, const struct job_state *state)
{
    const struct flm_backend_host *host = b->slurm->host;
    char job[NUMBER];
    switch (state->kind) {
    case JOB_WAITS:
        host->waiting(host->handle, b->block, state->text);
        break;
    case JOB_RUNS:
        snprintf(job, sizeof(job), "%u", b->id);
        if (!b->granted)
            host->granted(host->handle, b->block, job, state->end_time_s);
        else if (state->end_time_s != b->end_time_s)
            host->time_left(host->handle, b->block, state->end_time_s);
        b->granted = true;
        b->end_time_s = state->end_time_s;
        break;
    case JOB_OVER:
        if (state->unknown)
            job_cancel(b->id); /* should it live, it is of no use */
        over(b, FLM_ELOST, state->text);
        break;
    }
}

static void look(void *arg)
{
    struct slurm *s = arg;
    struct job_list *all = NULL;
    bool soon = false;
    /* The nodes of one job at a time: slurmctld has others to serve. */
    unsigned n = granted(s), turn = n ? s->looks++ % n : 0;
    s->look_timer = 0;
    int rc = s->jobs ? job_list_get(&all) : 0;
    for (struct job_block *b = s->jobs, *next; b; b = next) {
        struct job_state state;
        next = b->next;
        soon |= !b->granted || b->released;
        if (b->id && b->released && !b->cancelled && !b->timer)
            b->cancelled = job_cancel(b->id);
        if (!b->id || rc < 0)
            continue;
        job_list_find(all, b->id, &state);
        if (b->granted && turn-- == 0)
            look_for_drain(b, &state);
        if (b->drain_s && state.kind == JOB_RUNS)
            state.end_time_s = b->drain_s;
        compare(b, &state);
    }
    job_list_free(all);
    if (s->jobs)
        look_again(s, soon ? LOOK_SOON_MS : LOOK_MS);
}

static void cancel(struct job_block *b)
{
    if (!b->id || b->cancelled)
        return;
    b->cancelled = job_cancel(b->id);
    look_again(b->slurm, LOOK_SOON_MS / 4);
}

static void read_pipe(int fd, char *text, size_t n)
{
    ssize_t got = read(fd, text, n - 1);
    text[got > 0 ? got : 0] = 0;
    while (got > 0 && text[got - 1] == '\n')
        text[--got] = 0;
}

static void on_submitted(void *arg, int pid, int status)
{
    struct job_block *b = arg;
    char out[200], err[400], text[500];
    (void)pid;
    read_pipe(b->output[0][0], out, sizeof(out));
    read_pipe(b->output[1][0], err, sizeof(err));
    close_pipes(b);
    unsigned long id = strtoul(out, NULL, 10);
    if (!WIFEXITED(status) || WEXITSTATUS(status) || !id || id >= UINT32_MAX) {
        snprintf(text, sizeof(text), "sbatch does not take the job: %s", *err ? err : "it says nothing");
        for (char *p = text; (p = strchr(p, '\n'));)
            *p = ' ';
        over(b, FLM_EPERM, text);
        return;
    }
    b->id = (uint32_t)id;
    snprintf(out, sizeof(out), "%lu", id);
    b->slurm->host->submitted(b->slurm->host->handle, b->block, out);
    if (b->slurm->ending) {
        job_cancel(b->id);
        drop(b);
    } else if (b->released) {
        cancel(b);
    } else {
        look_again(b->slurm, LOOK_SOON_MS / 4);
    }
}

static int make_pipes(struct job_block *b)
{
    memset(b->output, -1, sizeof(b->output));
    for (int i = 0; i < 2; i++)
        if (pipe2(b->output[i], O_CLOEXEC | O_NONBLOCK) < 0)
            return FLM_EFULL;
    return 0;
}

/* The variables of a job that we may be in are not the new one's; which cluster it is stays. */
static int spawn(struct job_block *b, const struct words *w)
{
    const struct flm_backend_host *host = b->slurm->host;
    const char *conf = getenv("SLURM_CONF");
    char keep[4096];
    const char *environment[] = {"SLURM_*", NULL, NULL};
    if (conf && snprintf(keep, sizeof(keep), "SLURM_CONF=%s", conf) < (int)sizeof(keep))
        environment[1] = keep;
    const int output[2] = {b->output[0][1], b->output[1][1]};
    return host->spawn_with_output(host->handle, w->list, environment, output, on_submitted, b);
}

int jobs_start(struct slurm *s, const struct flm_block_request *request, flm_error *error)
{
    struct words w;
    int rc = build(&w, s, request, error);
    if (rc < 0)
        return rc;
    struct job_block *b = calloc(1, sizeof(*b));
    rc = b ? make_pipes(b) : FLM_ENOMEM;
    if (rc == 0) {
        b->slurm = s;
        b->block = request->block;
        b->own_comment = comment_is_given(request->site_options);
        rc = spawn(b, &w);
    }
    free(w.script);
    if (rc < 0) {
        if (b)
            close_pipes(b);
        free(b);
        return slurm_fail(error, rc, "cannot start sbatch: %s (is Slurm's bin directory in PATH?)",
                          flm_strerror(rc));
    }
    for (int i = 0; i < 2; i++) { /* sbatch has them */
        close(b->output[i][1]);
        b->output[i][1] = -1;
    }
    b->next = s->jobs;
    s->jobs = b;
    return 0;
}

static void on_grace_over(void *arg)
{
    struct job_block *b = arg;
    b->timer = 0;
    cancel(b);
}

/* One that waits is cancelled at once; in one that runs flmd tells the agents to end, and then it is over.
 */
static void release(struct job_block *b)
{
    const struct flm_backend_host *host = b->slurm->host;
    if (b->released)
        return;
    b->released = true;
    if (!b->granted) {
        cancel(b);
        return;
    }
    look_again(b->slurm, LOOK_SOON_MS);
    int timer = host->timer(host->handle, GRACE_MS, on_grace_over, b);
    b->timer = timer > 0 ? timer : 0;
}

uint32_t jobs_commented(const struct slurm *s, uint64_t block)
{
    for (const struct job_block *b = s->jobs; b; b = b->next)
        if (b->block == block)
            return b->own_comment ? 0 : b->id;
    return 0;
}

bool jobs_release(struct slurm *s, uint64_t block)
{
    for (struct job_block *b = s->jobs; b; b = b->next) {
        if (b->block == block) {
            release(b);
            return true;
        }
    }
    return false;
}

/* In a session of its own: it goes on when we are gone, and waits for Slurm in our place. */
static bool spawn_apart(const char *const *argv)
{
    posix_spawnattr_t attributes;
    pid_t pid;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    int rc = posix_spawnp(&pid, argv[0], NULL, &attributes, (char *const *)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attributes);
    return rc == 0;
}

/* The process does not live to see them end. */
void jobs_release_all(struct slurm *s)
{
    if (s->look_timer)
        s->host->cancel_timer(s->host->handle, s->look_timer);
    s->look_timer = 0;
    const char *argv[SLURM_WORDS + 2] = {"scancel"};
    static char ids[SLURM_WORDS][16];
    unsigned n = 0;
    for (struct job_block *b = s->jobs, *next; b; b = next) {
        next = b->next;
        if (!b->id)
            continue; /* sbatch is still at it: cancelled when it is done */
        if (n == SLURM_WORDS) {
            job_cancel(b->id);
        } else {
            snprintf(ids[n], sizeof(ids[n]), "%u", b->id);
            argv[n + 1] = ids[n];
            n++;
        }
        drop(b);
    }
    if (n && !spawn_apart(argv))
        for (unsigned i = 0; i < n; i++)
            job_cancel((uint32_t)strtoul(ids[i], NULL, 10));
}
