#include "manager/tables.h"

#include "base/time.h"
#include "manager/child.h"
#include "manager/executor.h"
#include "manager/session.h"
#include "manager/verbs.h"
#include "net/conn.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    RETRY_S = 10,
    STOP_MS = 5000,
    SESSIONS_AT_ONCE = 200, /* in one heartbeat */
};

struct tables {
    struct flm__conn *conn; /* NULL: none runs */
    int pid;
    int64_t next_start_ns;
    uint64_t said; /* of say_events */
};

/* ---- what is new ------------------------------------------------------------------------------------- */

static bool send_reply(struct tables *t, Flm__Reply *r)
{
    FLM__MESSAGE(m, reply, REPLY, r);
    return flm__conn_send(t->conn, &m, NULL, 0) == 0;
}

/* What a row of the session is made of, but the rates. */
static uint64_t fingerprint(const Flm__SessionView *v)
{
    uint64_t numbers[] = {v->pending,     v->running, v->succeed, v->failed,
                          v->cancelled,   v->retried, v->slots,   (uint64_t)v->closed_ns,
                          v->results_rows};
    uint64_t h = XXH3_64bits(numbers, sizeof(numbers));
    const char *texts[] = {v->id, v->state, v->client, v->trouble};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        h = XXH3_64bits_withSeed(texts[i], strlen(texts[i]), h);
    return h | 1;
}

/* Whether there was something to tell. */
static bool tell_session(struct tables *t, struct session *s)
{
    Flm__SessionView v, *views = &v;
    void **pointers = NULL;
    verbs_fill_session(&v, s);
    uint64_t now = fingerprint(&v);
    if (now == s->told && s->events.n == s->told_events)
        return false;
    Flm__Event *events = verbs_collect_events(&s->events, s->told_events, 0, &pointers, &v.n_events);
    Flm__Reply r = FLM__REPLY__INIT;
    v.events = (Flm__Event **)pointers;
    r.n_sessions = 1;
    r.sessions = &views;
    if (events && send_reply(t, &r)) {
        s->told = now;
        s->told_events = s->events.n;
    }
    free(events);
    return true;
}

/* Events of flmd itself, or of an executor. */
static void tell_events(struct tables *t, const struct events *e, uint64_t *told, int executor)
{
    void **pointers = NULL;
    Flm__Reply r = FLM__REPLY__INIT;
    if (e->n == *told)
        return;
    Flm__Event *events = verbs_collect_events(e, *told, 0, &pointers, &r.n_events);
    for (size_t i = 0; events && i < r.n_events; i++)
        if (executor >= 0)
            events[i].executor = executor;
    r.events = (Flm__Event **)pointers;
    if (events && send_reply(t, &r))
        *told = e->n;
    free(events);
}

static void tell_applications(struct tables *t, struct manager *m)
{
    for (struct application *a = m->applications; a; a = a->hh.next) {
        Flm__Reply r = FLM__REPLY__INIT;
        r.n_applications = 1;
        r.applications = &a->description;
        if (!a->told && send_reply(t, &r))
            a->told = true;
    }
}

static void tell(struct tables *t, struct manager *m)
{
    unsigned n = 0;
    tell_applications(t, m);
    for (struct session *s = m->sessions; s && n < SESSIONS_AT_ONCE; s = s->hh.next)
        n += tell_session(t, s);
    for (unsigned i = 0; i < m->n_executors; i++)
        tell_events(t, &m->executors[i]->events, &m->executors[i]->told_events, (int)i);
    tell_events(t, say_events(), &t->said, -1);
}

/* ---- the process ----------------------------------------------------------------------------------- */

static void begin(struct tables *t, struct manager *m)
{
    flm_error error = {0};
    char *argv[] = {NULL, (char *)(uintptr_t)m->options.state_dir, NULL};
    t->next_start_ns = m->now + RETRY_S * 1000000000LL;
    int fd = child_start("flm-tables", argv, &t->pid, &error);
    if (fd < 0) {
        t->next_start_ns = INT64_MAX; /* it is not installed */
        return;
    }
    t->conn = flm__conn_new_take(fd);
    if (!t->conn) {
        close(fd);
        child_kill(t->pid);
        return;
    }
    for (struct session *s = m->sessions; s; s = s->hh.next)
        s->told = 0;
    for (struct application *a = m->applications; a; a = a->hh.next)
        a->told = false;
}

static void end(struct tables *t)
{
    flm__conn_free(t->conn);
    t->conn = NULL;
    child_kill(t->pid);
}

void tables_start(struct manager *m)
{
    if (!m->options.state_dir)
        return;
    m->tables = calloc(1, sizeof(*m->tables));
    if (m->tables)
        begin(m->tables, m);
}

void tables_look(struct manager *m)
{
    struct tables *t = m->tables;
    if (!t)
        return;
    if (!t->conn && m->now >= t->next_start_ns)
        begin(t, m);
    if (!t->conn)
        return;
    if (flm__conn_flush(t->conn) < 0)
        end(t);
    else if (!flm__conn_pending(t->conn)) /* else it is slow: it hears of all at once, later */
        tell(t, m);
}

void tables_stop(struct manager *m)
{
    struct tables *t = m->tables;
    if (!t)
        return;
    m->tables = NULL;
    if (t->conn) {
        int64_t deadline_ns = flm__now_ns() + STOP_MS * 1000000LL;
        tell(t, m);
        flm__conn_wait_sent(t->conn, deadline_ns);
        flm__conn_free(t->conn);
        child_wait(t->pid, deadline_ns);
    }
    free(t);
}
