#include "manager/too_long.h"

#include "base/time.h"
#include "manager/end_time.h"
#include "manager/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LEAST_S = 10 }; /* a node that was there for less tells nothing about its job's time */

static void complain(struct session *s, const char *format, ...) FLM_PRINTF(2, 3);

/* Once, until some task has succeeded again. */
static void complain(struct session *s, const char *format, ...)
{
    va_list args;
    if (s->too_long[0])
        return;
    va_start(args, format);
    vsnprintf(s->too_long, sizeof(s->too_long), format, args);
    va_end(args);
    s->too_long_succeed = s->succeed;
    events_add(&s->events, FLM_ETIMEDOUT, 0, -1, "%s", s->too_long);
    say("session %s: %s", s->id, s->too_long);
}

/* One that has had almost all the time of its node would be cut off in the next one, too. */
void too_long_cut_off(struct executor *e)
{
    struct session *s = e->session;
    const struct node *n = e->node;
    if (!e->n || !n->end_ns || !e->since_ns)
        return;
    int64_t now = flm__now_ns(), ran = now - e->since_ns, all = now - n->began_ns;
    if (all < LEAST_S * INT64_C(1000000000) || ran < all / 10 * 8 || now < n->end_ns - all / 10)
        return;
    complain(s,
             "a task was cut off by the end of a job's time, after the %lld s that it had: it needs jobs "
             "of more "
             "time (--block-time, or -t of sbatch)",
             (long long)(ran / 1000000000));
}

/* No executor that is free has the time for one task. */
static bool nobody_has_time(const struct session *s)
{
    const struct manager *m = s->manager;
    bool any = false;
    for (unsigned i = 0; i < m->n_executors; i++) {
        const struct executor *e = m->executors[i];
        if (e->state != EXECUTOR_IDLE || e->lent_to || e->dying || e->node->drained)
            continue;
        if (end_time_tasks(e, s))
            return false;
        any = true;
    }
    return any;
}

static void look(struct session *s)
{
    const struct options *o = &s->manager->options;
    bool jobs = s->manager->jobs.can && o->max_blocks;
    double seconds = s->task_ns / 1e9;
    if (s->too_long[0] && s->succeed > s->too_long_succeed)
        s->too_long[0] = 0;
    if (!s->pending || s->running || s->n_bound || s->trouble[0] || s->state == SESSION_CLOSED)
        return;
    if (jobs && o->block_time_s && seconds > o->block_time_s)
        complain(
            s,
            "its tasks take about %.0f s, and the jobs that may be asked for have %u s (--block-time): "
            "they wait",
            seconds, o->block_time_s);
    else if (!jobs && nobody_has_time(s))
        complain(s, "its tasks take about %.0f s, and no node has that much time left: they wait",
                 seconds > 0 ? seconds : s->deadline_ms / 1e3);
}

void too_long_look(struct manager *m)
{
    for (struct session *s = m->sessions; s; s = s->hh.next)
        look(s);
}
