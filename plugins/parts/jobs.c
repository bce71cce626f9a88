#define _GNU_SOURCE
#include "jobs.h"

#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOK_NOW_MS = 250,   /* after a change */
    LOOK_SOON_MS = 1000, /* while a job waits or ends */
    LOOK_MS = 5000,
    MOST_AT_ONCE = 200, /* for one program that cancels */
    GRACE_MS = 3000,    /* for agents, which flmd has told to end, before the job is cancelled */
};

struct job {
    struct job *next;
    struct jobs *all;
    uint64_t block;
    char id[JOB_ID]; /* "": not known yet */
    struct command *submitting;
    char *file; /* what it reads; NULL: nothing */
    bool granted, released, cancelled, own_comment;
    bool asked; /* the answer that we wait for will tell of it */
    int timer;
    int64_t end_time_s;
    int64_t drain_s; /* when one of its nodes was seen to be drained; 0: none is */
};

static int64_t now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

void jobs_init(struct jobs *all, const struct flm_backend_host *host, const struct job_system *system,
               void *state)
{
    *all = (struct jobs){.host = host, .system = system, .state = state, .look_ms = LOOK_MS};
}

int jobs_describe(struct jobs *all, const struct flm_block_request *request, char *text, size_t size,
                  flm_error *error)
{
    struct words w = {.n = 0};
    int rc = all->system->build(all->state, request, &w, NULL, error);
    if (rc == 0)
        words_print(&w, text, size);
    words_free(&w);
    return rc;
}

/* ---- looking ----------------------------------------------------------------------------------- */

static void remove_file(struct job *b)
{
    if (b->file)
        unlink(b->file);
    free(b->file);
    b->file = NULL;
}

static void drop(struct job *b)
{
    struct jobs *all = b->all;
    for (struct job **p = &all->list; *p; p = &(*p)->next) {
        if (*p == b) {
            *p = b->next;
            break;
        }
    }
    if (b->timer)
        all->host->cancel_timer(all->host->handle, b->timer);
    remove_file(b);
    free(b);
    all->system->settle(all->state);
}

static void look(void *arg)
{
    struct jobs *all = arg;
    all->look_timer = 0;
    if (all->looking || !all->list)
        return;
    all->looking = true;
    for (struct job *b = all->list; b; b = b->next)
        b->asked = *b->id;
    all->system->look(all->state);
}

static void look_again(struct jobs *all, unsigned ms)
{
    if (all->look_timer)
        all->host->cancel_timer(all->host->handle, all->look_timer);
    int timer = all->ending ? 0 : all->host->timer(all->host->handle, ms, look, all);
    all->look_timer = timer > 0 ? timer : 0;
}

static void look_after_change(struct jobs *all, unsigned ms)
{
    all->changed_s = now_s();
    look_again(all, ms);
}

static void over(struct job *b, int code, const char *text)
{
    const struct flm_backend_host *host = b->all->host;
    if (b->granted)
        host->ended(host->handle, b->block, b->released ? 0 : code, b->released ? "released" : text);
    else
        host->refused(host->handle, b->block, b->released ? FLM_ECANCELLED : code,
                      b->released ? "released" : text);
    drop(b);
}

static unsigned granted(const struct jobs *all)
{
    unsigned n = 0;
    for (const struct job *b = all->list; b; b = b->next)
        n += b->granted;
    return n;
}

/* For us its time is over: what runs is finished, and flmd gives it back. */
static void look_for_drain(struct job *b, const struct job_state *state, unsigned i, unsigned n)
{
    char node[128];
    int drained = b->all->system->drained(b->all->state, state, i, n, node, sizeof(node));
    if (drained > 0 && !b->drain_s) {
        plugin_log(b->all->host, "node %s is being drained: job %s begins no more tasks", node, b->id);
        b->drain_s = time(NULL);
    } else if (drained == 0) {
        b->drain_s = 0;
    }
}

static void compare(struct job *b, const struct job_state *state)
{
    const struct flm_backend_host *host = b->all->host;
    switch (state->kind) {
    case JOB_WAITS:
        if (!b->granted)
            host->waiting(host->handle, b->block, state->text);
        break;
    case JOB_RUNS:
        if (!b->granted)
            host->granted(host->handle, b->block, b->id, state->end_time_s);
        else if (state->end_time_s != b->end_time_s)
            host->time_left(host->handle, b->block, state->end_time_s);
        b->granted = true;
        b->end_time_s = state->end_time_s;
        break;
    case JOB_OVER:
        if (state->unknown)
            b->all->system->cancel(b->all->state, b->id); /* should it live, it is of no use */
        over(b, FLM_ELOST, state->text);
        break;
    }
}

static bool cancel_again(struct job *b)
{
    if (*b->id && b->released && !b->cancelled && !b->timer)
        b->cancelled = b->all->system->cancel(b->all->state, b->id);
    return !b->granted || b->released;
}

void jobs_looked(struct jobs *all, bool answered)
{
    bool soon = false;
    unsigned n = granted(all), i = 0;
    all->looking = false;
    for (struct job *b = all->list, *next; b; b = next) {
        struct job_state state = {.end_time_s = -1};
        next = b->next;
        soon |= cancel_again(b);
        if (!b->asked || !answered)
            continue;
        all->system->find(all->state, b->id, &state);
        if (b->granted && state.kind == JOB_RUNS)
            look_for_drain(b, &state, i++, n);
        if (b->drain_s && state.kind == JOB_RUNS)
            state.end_time_s = b->drain_s;
        compare(b, &state);
    }
    soon &= now_s() - all->changed_s <= (int64_t)all->system->calm_after_s;
    if (all->list && !all->look_timer)
        look_again(all, soon ? LOOK_SOON_MS : all->look_ms);
}

void jobs_not_cancelled(struct jobs *all, const char *id)
{
    for (struct job *b = all->list; b; b = b->next)
        if (strcmp(b->id, id) == 0)
            b->cancelled = false; /* at the next look */
}

/* ---- the beginning ----------------------------------------------------------------------------- */

/* At the end. As a child that the host knows: it waits for it, and kills what it does not know. */
static void cancel_all(const struct jobs *all, const char *const *argv)
{
    all->host->spawn(all->host->handle, argv, NULL, NULL, NULL);
}

static void cancel(struct job *b)
{
    if (!*b->id || b->cancelled)
        return;
    b->cancelled = b->all->system->cancel(b->all->state, b->id);
    look_after_change(b->all, LOOK_NOW_MS);
}

static void on_submitted(void *arg, const struct answer *a)
{
    struct job *b = arg;
    struct jobs *all = b->all;
    char text[500];
    remove_file(b);
    if (!a->exited || a->status || !a->out || !all->system->read_id(a->out, b->id)) {
        snprintf(text, sizeof(text), "%s does not take the job: %s", basename(all->system->submit),
                 a->err && *a->err ? a->err : "it says nothing");
        over(b, FLM_EPERM, text);
        return;
    }
    if (all->ending) {
        const char *const argv[] = {all->system->cancel_all, b->id, NULL};
        cancel_all(all, argv);
        drop(b);
        return;
    }
    all->host->submitted(all->host->handle, b->block, b->id);
    if (b->released)
        cancel(b);
    else
        look_after_change(all, LOOK_NOW_MS);
}

int jobs_start(struct jobs *all, const struct flm_block_request *request, flm_error *error)
{
    struct words w = {.n = 0};
    struct job *b = calloc(1, sizeof(*b));
    if (!b)
        return plugin_fail(error, FLM_ENOMEM, "no memory for a job");
    *b = (struct job){.all = all, .block = request->block};
    b->own_comment = all->system->comment_is_given && all->system->comment_is_given(request->site_options);
    int rc = all->system->build(all->state, request, &w, &b->file, error);
    if (rc == 0) {
        rc = command_start(all->host, w.list, all->system->environment(all->state), 0, on_submitted, b,
                           &b->submitting);
        if (rc < 0)
            plugin_fail(error, rc, "cannot start %s: %s (is %s's bin directory in PATH?)",
                        all->system->submit, flm_strerror(rc), all->system->name);
    }
    words_free(&w);
    if (rc < 0) {
        remove_file(b);
        free(b);
        return rc;
    }
    b->next = all->list;
    all->list = b;
    return 0;
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void on_grace_over(void *arg)
{
    struct job *b = arg;
    b->timer = 0;
    cancel(b);
}

/* One that waits is cancelled at once; in one that runs flmd tells the agents to end, and then it is over.
 */
static void release(struct job *b)
{
    const struct flm_backend_host *host = b->all->host;
    if (b->released)
        return;
    b->released = true;
    if (!b->granted) {
        cancel(b);
        return;
    }
    look_after_change(b->all, LOOK_SOON_MS);
    int timer = host->timer(host->handle, GRACE_MS, on_grace_over, b);
    b->timer = timer > 0 ? timer : 0;
}

bool jobs_release(struct jobs *all, uint64_t block)
{
    for (struct job *b = all->list; b; b = b->next) {
        if (b->block == block) {
            release(b);
            return true;
        }
    }
    return false;
}

void jobs_release_all(struct jobs *all)
{
    struct words w = {.n = 0};
    all->ending = true;
    if (all->look_timer)
        all->host->cancel_timer(all->host->handle, all->look_timer);
    all->look_timer = 0;
    words_add(&w, all->system->cancel_all);
    for (struct job *b = all->list, *next; b; b = next) {
        next = b->next;
        if (!*b->id)
            continue; /* it is being submitted: cancelled when that is done */
        words_addf(&w, "%s", b->id);
        if (w.n == MOST_AT_ONCE) {
            cancel_all(all, w.list);
            words_free(&w);
            words_add(&w, all->system->cancel_all);
        }
        drop(b);
    }
    if (w.n > 1)
        cancel_all(all, w.list);
    words_free(&w);
}

/* ---- looking at them --------------------------------------------------------------------------- */

const char *jobs_id(const struct jobs *all, unsigned i)
{
    for (const struct job *b = all->list; b; b = b->next)
        if (b->asked && i-- == 0)
            return b->id;
    return NULL;
}

const char *jobs_commented(const struct jobs *all, uint64_t block)
{
    for (const struct job *b = all->list; b; b = b->next)
        if (b->block == block)
            return b->own_comment || !*b->id ? NULL : b->id;
    return NULL;
}
