#include "manager/results.h"

#include "base/error.h"
#include "base/paths.h"
#include "base/time.h"
#include "manager/client.h"
#include "manager/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum {
    RETRY_MAX_S = 10,
    STOP_PATIENCE_MS = 10000, /* without a word, at the end */
};

/* ---- beginning and end ---------------------------------------------------------------------------- */

int results_make_file(const char *file, flm_error *error)
{
    char program[PATH_MAX];
    if (!file[0])
        return 0;
    if (file[0] != '/')
        return flm__error_set(error, FLM_EINVAL, "the file of results '%.140s' is to be a full path", file);
    if (flm__find_program("flm-results", program, sizeof(program)) < 0)
        return flm__error_set(error, FLM_ENOTSUP,
                              "this Flame cannot write files of results: it was built without HDF5");
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST)
        return flm__error_set(
            error, FLM_EEXIST,
            "the file of results %.300s is there already: remove it, or choose another name", file);
    if (fd < 0)
        return flm__error_errno(error, FLM_EIO, errno, "cannot make the file of results %.300s", file);
    close(fd);
    return 0;
}

int results_new(struct session *s, const char *file, flm_error *error)
{
    if (!file[0])
        return 0;
    struct results *r = calloc(1, sizeof(*r));
    if (r)
        r->file = strdup(file);
    if (!r || !r->file) {
        free(r);
        return flm__error_set(error, FLM_ENOMEM, "no memory for a session");
    }
    r->session = s;
    s->results = r;
    return 0;
}

static void unlist(struct results *r)
{
    struct durable *d = r->session->manager->durable;
    for (struct results **at = &d->results; d && *at; at = &(*at)->next)
        if (*at == r) {
            *at = r->next;
            return;
        }
}

/* How far it was is of no use any more. */
static void remove_progress(const struct results *r)
{
    static const char *const endings[] = {"", ".now", ".new", ".lock"};
    const struct manager *m = r->session->manager;
    char path[PATH_MAX];
    if (m->stopping || !m->durable || !r->session->serial)
        return;
    for (unsigned i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
        snprintf(path, sizeof(path), "%s/results/%u%s", m->options.state_dir, r->session->serial,
                 endings[i]);
        unlink(path);
    }
}

void results_free(struct session *s)
{
    struct results *r = s->results;
    if (!r)
        return;
    unlist(r);
    results_writer_free(r->writer);
    remove_progress(r);
    free(r->file);
    free(r);
    s->results = NULL;
}

/* ---- what writers say ------------------------------------------------------------------------------- */

static void set_trouble(struct results *r, const char *text)
{
    struct session *s = r->session;
    if (!strcmp(r->trouble, text))
        return;
    snprintf(r->trouble, sizeof(r->trouble), "%s", text);
    snprintf(r->refusal, sizeof(r->refusal),
             "no more tasks are taken before the file of results is written again (--results-lag): %s",
             r->trouble);
    if (text[0]) {
        fprintf(stderr, "flmd: session %s: %s\n", s->id, text);
        events_add(&s->events, FLM_EIO, 0, -1, "%s", text);
    } else {
        fprintf(stderr, "flmd: session %s: its file of results is written again\n", s->id);
        events_add(&s->events, 0, 0, -1, "the file of results is written again");
    }
    if (text[0] && s->state == SESSION_CLOSED)
        client_answer_closers(s);
}

static void begin(struct results *r)
{
    flm_error error = {0};
    r->next_start_ns = INT64_MAX;
    r->counted = r->session->outbox.put;
    if (results_writer_start(r, &error) == 0)
        return;
    set_trouble(r, error.text);
    results_lost(r);
}

static void finished(struct results *r)
{
    struct session *s = r->session;
    r->done = true;
    r->over = false;
    unlist(r);
    durable_touch(s, DURABLE_STATE_CHANGED);
    durable_drop(s->manager->durable);
    if (s->state == SESSION_CLOSED)
        client_answer_closers(s);
    s->manager->forget = true;
}

void results_heard(struct results *r, char *line)
{
    uint64_t position, rows;
    if (sscanf(line, "at %" SCNu64 " %" SCNu64, &position, &rows) == 2) {
        r->failures = 0;
        r->rows = rows;
        if (position > r->hold)
            r->hold = position;
        set_trouble(r, "");
        durable_drop(r->session->manager->durable);
        results_consider(r->session->manager->durable);
    } else if (sscanf(line, "rows %" SCNu64, &rows) == 1) {
        r->failures = 0;
        r->rows = rows;
        set_trouble(r, "");
    } else if (sscanf(line, "done %" SCNu64, &rows) == 1) {
        r->rows = rows;
        set_trouble(r, "");
        finished(r);
    } else if (!strncmp(line, "note ", 5)) {
        fprintf(stderr, "flmd: %s\n", line + 5);
        events_add(&r->session->events, FLM_EIO, 0, -1, "%s", line + 5);
    } else if (!strcmp(line, "again")) {
        r->hold = 0;
    } else if (!strncmp(line, "trouble", 7)) {
        set_trouble(r, line[7] ? line + 8 : "");
    }
}

/* One that has been killed is replaced at once, one that cannot work now and then. */
void results_lost(struct results *r)
{
    struct manager *m = r->session->manager;
    unsigned wait_s = r->failures < RETRY_MAX_S ? r->failures : RETRY_MAX_S;
    r->failures++;
    r->next_start_ns = m->now + wait_s * 1000000000LL;
    if (r->failures == 3 && !r->trouble[0])
        set_trouble(r, "the process that writes the file of results (flm-results) ends again and again");
}

void results_look(struct manager *m)
{
    struct results *r, *next;
    if (!m->durable)
        return;
    LL_FOREACH_SAFE(m->durable->results, r, next)
    {
        if (r->writer && r->writer->gone && results_writer_reap(r->writer)) {
            results_writer_free(r->writer);
            r->writer = NULL;
        }
        if (!r->writer && m->now >= r->next_start_ns)
            begin(r);
    }
}

/* ---- sessions ------------------------------------------------------------------------------------------
 */

void results_start(struct session *s)
{
    struct results *r = s->results;
    struct durable *d = s->manager->durable;
    r->hold = flm__journal_position(d->journal);
    LL_PREPEND(d->results, r);
    begin(r);
}

/* Until it says where it is, all of the journal is kept. */
void results_resume(struct session *s)
{
    struct results *r = s->results;
    if (!r || r->done)
        return;
    LL_PREPEND(s->manager->durable->results, r);
    begin(r);
}

static void hurry(struct results *r)
{
    static const char word[] = "hurry\n";
    if (!r->writer || r->writer->gone)
        return;
    ssize_t n = send(r->writer->fd, word, sizeof(word) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n; /* it has been told before, then */
}

bool results_finish(struct session *s)
{
    struct results *r = s->results;
    if (!r || r->done || r->trouble[0] || s->manager->stopping)
        return true;
    hurry(r);
    return false;
}

uint64_t results_hold(const struct durable *d)
{
    uint64_t hold = UINT64_MAX;
    for (const struct results *r = d->results; r; r = r->next)
        if (r->hold < hold)
            hold = r->hold;
    return hold;
}

static uint64_t lag(const struct results *r)
{
    uint64_t position = flm__journal_position(r->session->manager->durable->journal);
    return r->done || position < r->hold ? 0 : position - r->hold;
}

void results_consider(struct durable *d)
{
    uint64_t most = (uint64_t)d->manager->options.results_lag_mib << 20;
    for (struct results *r = d->results; r; r = r->next) {
        bool was = r->over;
        r->over = lag(r) > most;
        if (r->over && !was)
            events_add(&r->session->events, 0, 0, -1,
                       "the file of results is so far behind that tasks wait for it");
    }
}

void results_view(const struct results *r, Flm__SessionView *v)
{
    v->results_file = r->file;
    v->results_rows = r->rows;
    v->results_lag = lag(r);
    v->results_trouble = (char *)(uintptr_t)r->trouble;
}

/* ---- the end of flmd --------------------------------------------------------------------------- */

/* False: it is gone, or says nothing any more. */
static bool wait_for(struct results_writer *w)
{
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    int n = poll(&p, 1, STOP_PATIENCE_MS);
    if (n < 0 && errno == EINTR)
        return true;
    return n > 0 && results_writer_read(w);
}

void results_stop(struct durable *d)
{
    for (struct results *r = d->results; r; r = r->next)
        if (r->writer)
            shutdown(r->writer->fd, SHUT_WR);
    struct results *r, *next;
    LL_FOREACH_SAFE(d->results, r, next)
    {
        while (r->writer && wait_for(r->writer))
            ;
    }
}
