#include "manager/end_time.h"

#include "base/time.h"

#include <limits.h>
#include <utlist.h>

void end_time_set(struct node *n, int64_t end_time_s)
{
    n->end_time_s = end_time_s > 0 ? end_time_s : 0;
    n->end_ns = n->end_time_s ? flm__now_ns() + n->end_time_s * 1000000000 - flm__wall_ns() : 0;
}

/* Nanoseconds for a task; 0: nobody knows. */
static double duration(const struct executor *e, const struct session *s)
{
    if (e->session == s && e->task_ns > 0)
        return e->task_ns;
    double sum = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_bound; i++) {
        if (s->bound[i]->task_ns > 0) {
            sum += s->bound[i]->task_ns;
            n++;
        }
    }
    if (n || s->task_ns > 0)
        return n ? sum / n : s->task_ns;
    /* A deadline that is longer than all the time that the node has had says nothing. */
    double deadline = s->deadline_ms * 1e6;
    return deadline < (double)(e->node->end_ns - e->node->began_ns) ? deadline : 0;
}

unsigned end_time_tasks(const struct executor *e, const struct session *s)
{
    if (!e->node->end_ns)
        return UINT_MAX;
    double left = (double)(e->node->end_ns - END_TIME_MARGIN_NS - s->manager->now);
    double one = duration(e, s);
    if (left <= 0)
        return 0;
    double tasks = one > 0 ? left / one : UINT_MAX;
    return tasks < UINT_MAX ? (unsigned)tasks : UINT_MAX;
}

void end_time_look(struct manager *m)
{
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (e->state != EXECUTOR_BOUND || !e->node->end_ns)
            continue;
        unsigned tasks = end_time_tasks(e, e->session);
        if (tasks == 0) /* what runs may end, what has not begun comes back */
            executor_unbind(e);
        else if (e->n > tasks && !e->recalling)
            executor_recall(e);
        m->schedule = true;
    }
}
