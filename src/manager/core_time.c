#include "manager/core_time.h"

#include "base/time.h"
#include "manager/durable.h"
#include "manager/group.h"

static int64_t cores(const struct executor *e)
{
    return (int64_t)(e->cores ? e->cores : 1) * group_slots(e);
}

/* On tasks that it has not answered. */
static int64_t running(const struct executor *e, int64_t now)
{
    return e->n && e->since_ns && now > e->since_ns ? (now - e->since_ns) * cores(e) : 0;
}

struct core_time core_time_of(const struct session *s)
{
    struct core_time t = s->core_time;
    int64_t now = flm__now_ns();
    for (unsigned i = 0; i < s->n_bound; i++) {
        t.useful_ns += s->bound[i]->busy_ns * cores(s->bound[i]);
        t.running_ns += running(s->bound[i], now);
    }
    return t;
}

bool core_time_lost(struct executor *e, uint64_t began)
{
    if (!e->n || (began && began < executor_inflight(e, 0)->number))
        return false;
    e->session->core_time.wasted_ns += running(e, flm__now_ns());
    return true;
}

void core_time_leave(struct executor *e)
{
    e->session->core_time.useful_ns += e->busy_ns * cores(e);
    e->busy_ns = 0;
}

void core_time_record(struct manager *m)
{
    for (struct session *s = m->sessions; s && m->durable; s = s->hh.next) {
        struct core_time t;
        if (s->durability == FLM_DURABILITY_NONE || s->state == SESSION_CLOSED)
            continue;
        t = core_time_of(s);
        int64_t sum = t.useful_ns + t.wasted_ns + t.running_ns;
        if (sum != s->core_time_recorded && durable_core_time(s, &t))
            s->core_time_recorded = sum;
    }
}

void core_time_restore(struct session *s, const struct core_time *t)
{
    s->core_time.useful_ns = t->useful_ns;
    s->core_time.wasted_ns = t->wasted_ns + t->running_ns;
}
