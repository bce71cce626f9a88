#include "manager/demand.h"

#include "manager/group.h"

#include <math.h>

/* Seconds for a task of the session; 0: not known. */
static double duration(const struct session *s)
{
    double sum = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_bound; i++) {
        const struct executor *e = s->bound[i];
        /* One that has answered nothing for longer than it ever took has a longer task. */
        double ns = e->task_ns;
        if (e->n && e->since_ns && (double)(s->manager->now - e->since_ns) > ns)
            ns = (double)(s->manager->now - e->since_ns);
        if (ns > 0) {
            sum += ns;
            n++;
        }
    }
    return (n ? sum / n : s->task_ns) / 1e9;
}

/* Tasks that need an executor. */
static uint64_t work(const struct session *s)
{
    return session_unfinished(s) - s->n_unread;
}

static uint64_t slots_of(const struct session *s, double task_s, unsigned backlog_s)
{
    uint64_t tasks = work(s);
    double wanted = ceil((double)tasks * task_s / backlog_s);
    uint64_t slots = wanted < (double)tasks ? (uint64_t)wanted : tasks;
    return slots < s->max_instances ? slots : s->max_instances;
}

void demand_compute(const struct manager *m, unsigned backlog_s, struct demand *out)
{
    struct session *s, *next;
    uint64_t most = 0;
    *out = (struct demand){0};
    HASH_ITER(hh, m->sessions, s, next)
    {
        if (s->state == SESSION_CLOSED || s->trouble[0])
            continue;
        out->any = true;
        if (m->options.block_time_s && duration(s) > m->options.block_time_s)
            continue; /* no job that we may ask for has time for one of its tasks */
        uint64_t slots = s->state == SESSION_OPEN ? s->min_instances : 0;
        double task_s = duration(s);
        if (work(s) && task_s <= 0) {
            out->unknown = true;
            slots = slots ? slots : 1;
        } else if (work(s)) {
            uint64_t n = slots_of(s, task_s, backlog_s);
            slots = n > slots ? n : slots;
        }
        slots *= group_width(s);
        out->slots += slots;
        if (slots > most) {
            most = slots;
            out->first = s;
        }
    }
}
