#include "manager/scheduler.h"

#include "manager/group.h"
#include "manager/rejoin.h"

#include <stdlib.h>
#include <utlist.h>

enum {
    SESSIONS_DEALT_MAX = 4096, /* sessions that are dealt executors in one run */
};

/* The tasks of one executor that could run elsewhere at once. */
static uint32_t stuck(const struct executor *e, int64_t now)
{
    return e->n > 1 && !e->recalling && now - e->since_ns > STEAL_AFTER_NS ? e->n - 1 : 0;
}

/* Executors that are with the session and stay there. */
static unsigned held(const struct session *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_bound; i++)
        n += s->bound[i]->state != EXECUTOR_UNBINDING && !s->bound[i]->leaving;
    return n;
}

/* Executors that the session has use for. Those that are about to leave it count as its own until they
 * have: a task may run on them. */
static unsigned wanted(struct session *s, int64_t now)
{
    if (s->state == SESSION_CLOSED || s->trouble[0])
        return 0;
    uint64_t want = 0;
    if (s->state != SESSION_CANCELLING && !session_results_full(s) && now >= s->bind_retry_ns)
        want = s->pending;
    for (unsigned i = 0; i < s->n_bound; i++) /* what ends on one that was taken away needs no other */
        if (s->bound[i]->n && s->bound[i]->state != EXECUTOR_UNBINDING)
            want += 1 + (s->state == SESSION_CANCELLING ? 0 : stuck(s->bound[i], now));
    if (want < s->min_instances && s->state == SESSION_OPEN && now >= s->bind_retry_ns)
        want = s->min_instances;
    unsigned leaving = s->n_bound - held(s);
    unsigned most = s->max_instances > leaving ? s->max_instances - leaving : 0;
    if (want > most)
        want = most;
    return want > MANAGER_EXECUTORS_MAX ? MANAGER_EXECUTORS_MAX : (unsigned)want;
}

/* A relay whose fabric is not there yet has nothing to send tasks by. */
bool scheduler_can_use(const struct executor *e)
{
    if (!e->link && (!e->node || !e->node->peer || !e->node->peer->link))
        return false;
    return e->state != EXECUTOR_VOID && e->state != EXECUTOR_RELEASED && !e->node->drained && !e->dying;
}

bool scheduler_is_held_up(const struct executor *e)
{
    return e->session && e->n && (e->state == EXECUTOR_UNBINDING || e->leaving) &&
           e->session->manager->now - e->since_ns > e->session->manager->options.quantum_ms * 1000000LL;
}

/* Charges the time that executors spent with their sessions. */
static void charge(struct manager *m)
{
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (!e->session)
            continue;
        if (e->n || e->state == EXECUTOR_BINDING)
            e->session->served +=
                (double)(m->now - e->served_ns) * group_width(e->session) / 1e9 / e->session->weight;
        e->served_ns = m->now;
    }
}

struct deal {
    struct session *session;
    unsigned want;
};

/* What the session would have per weight with one executor more. The first one counts as one slot also
 * where it is a group of many: such a session would never be before one that is content with the slots one
 * by one, and so has its turn. */
static double share_with_one_more(const struct session *s)
{
    return (s->deserved ? (s->deserved + 1.0) * group_width(s) : 1.0) / s->weight;
}

/* Who comes next: the least slots per weight, then the least served. One that holds an executor
 * keeps it for a quantum, else two sessions would pass it to and fro. */
static bool before(const struct session *a, const struct session *b, double quantum)
{
    double x = share_with_one_more(a), y = share_with_one_more(b);
    if (x != y)
        return x < y;
    double keep_a = a->n_bound > a->deserved ? quantum / a->weight : 0;
    double keep_b = b->n_bound > b->deserved ? quantum / b->weight : 0;
    return a->served - keep_a < b->served - keep_b;
}

/* Deals `slots` out. O(slots x sessions), but only while somebody still wants some. */
static void deal_out(struct manager *m, struct deal *deals, unsigned n, unsigned slots, double quantum)
{
    uint64_t wants = 0;
    bool groups = false;
    for (unsigned i = 0; i < n; i++) {
        deals[i].session->deserved = 0;
        wants += deals[i].want;
        groups |= group_width(deals[i].session) > 1;
    }
    if (wants <= slots && !groups) { /* enough for all */
        for (unsigned i = 0; i < n; i++)
            deals[i].session->deserved = deals[i].want;
        return;
    }
    while (slots) {
        struct deal *best = NULL;
        for (unsigned i = 0; i < n; i++)
            if (deals[i].session->deserved < deals[i].want &&
                (!best || before(deals[i].session, best->session, quantum)))
                best = &deals[i];
        if (!best)
            return;
        if (group_deal(m, best->session, &slots))
            best->session->deserved++;
        else
            best->want = best->session->deserved; /* no more of this size together */
    }
}

/* Takes `n` executors from a session: idle ones first, then those with the least to do. */
static void take_away(struct session *s, unsigned n)
{
    while (n--) {
        struct executor *least = NULL;
        for (unsigned i = 0; i < s->n_bound; i++) {
            struct executor *e = s->bound[i];
            if (e->state == EXECUTOR_BOUND && (!least || e->n < least->n))
                least = e;
        }
        if (!least)
            return;
        executor_unbind_later(least);
    }
}

/* Tasks stuck behind a long one go to executors of the session that have nothing to do. */
static void steal(struct session *s, int64_t now)
{
    unsigned idle = 0;
    for (unsigned i = 0; i < s->n_bound; i++)
        idle += s->bound[i]->state == EXECUTOR_BOUND && s->bound[i]->n == 0;
    if (!idle || s->pending)
        return;
    for (unsigned i = 0; i < s->n_bound; i++)
        if (stuck(s->bound[i], now))
            executor_recall_rest(s->bound[i]);
}

/* Idle for long enough, beyond the minimum. */
static void release_idle(struct session *s, int64_t now)
{
    for (unsigned i = 0; i < s->n_bound; i++) {
        struct executor *e = s->bound[i];
        if (held(s) <= s->min_instances)
            return;
        if (e->state == EXECUTOR_BOUND && e->n == 0 && s->pending == 0 && e->idle_ns &&
            now - e->idle_ns > s->delay_release_ms * 1000000LL)
            executor_unbind(e);
    }
}

static void kill_overdue(struct manager *m)
{
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (e->kill_ns && m->now > e->kill_ns && e->n && !e->dying)
            executor_kill(e, e->kill_reason, "its task did not heed the request to stop");
    }
}

/* Gives to one who has less than it deserves. False: no executor is free. */
static bool give(struct manager *m, struct session *s, unsigned has)
{
    while (has < s->deserved) {
        struct executor *e = group_find(m, s);
        if (!e)
            return false;
        if (executor_bind(e, s) < 0)
            return false;
        has++;
    }
    return true;
}

/* Groups come first, since single executors can be had anywhere. True: somebody has less than it deserves.
 */
static bool give_groups(struct manager *m, struct deal *deals, unsigned n)
{
    bool short_of = false;
    if (m->claims)
        group_forget_claims(m);
    m->claims = false;
    for (unsigned i = 0; i < n; i++) {
        struct session *s = deals[i].session;
        if (group_width(s) == 1 || give(m, s, s->n_bound))
            continue;
        group_claim(m, s);
        m->claims = short_of = true;
    }
    return short_of;
}

void scheduler_run(struct manager *m)
{
    static struct deal deals[SESSIONS_DEALT_MAX];
    unsigned n = 0;
    bool short_of = false;
    m->schedule = false;
    if (m->rejoin && rejoin_gathers(m))
        return; /* what seems to wait may be running on an executor that is about to come back */
    charge(m);
    kill_overdue(m);
    struct session *s, *next;
    HASH_ITER(hh, m->sessions, s, next)
    {
        unsigned want = n < SESSIONS_DEALT_MAX ? wanted(s, m->now) : 0;
        s->deserved = 0;
        if (want)
            deals[n++] = (struct deal){s, want};
    }
    deal_out(m, deals, n, group_count(m), m->options.quantum_ms / 1e3);
    short_of = give_groups(m, deals, n);
    /* Before those who wait for nothing but executors that are about to leave them. */
    for (unsigned i = 0; i < n; i++)
        if (group_width(deals[i].session) == 1)
            short_of |= !give(m, deals[i].session, deals[i].session->n_bound);
    for (unsigned i = 0; i < n && !short_of; i++)
        short_of |= !give(m, deals[i].session, held(deals[i].session));
    HASH_ITER(hh, m->sessions, s, next)
    {
        if (!s->n_bound)
            continue;
        unsigned has = held(s);
        if (short_of && has > s->deserved)
            take_away(s, has - s->deserved);
        steal(s, m->now);
        release_idle(s, m->now);
    }
}

/* Tasks are set aside that an executor with nothing to do takes after some milliseconds. */
static bool leaves_to_others(const struct session *s)
{
    if (s->queue.aside_n == 0 || !session_runs(s))
        return false;
    for (unsigned i = 0; i < s->n_bound; i++)
        if (s->bound[i]->n == 0 && executor_takes_tasks(s->bound[i]))
            return true;
    return false;
}

/* Tasks run, and somebody could do with the executors: look often. */
enum { TICK_BUSY_MS = 1, TICK_CALM_MS = 10, TICK_IDLE_MS = 100 };

unsigned scheduler_tick_ms(const struct manager *m)
{
    bool busy = false, idle = false, waiting = m->stopping, bound = false, kills = false, aside = false;
    for (unsigned i = 0; i < m->n_executors; i++) {
        const struct executor *e = m->executors[i];
        bound |= e->session != NULL;
        busy |= e->n > 1;
        idle |= e->state == EXECUTOR_IDLE || (e->state == EXECUTOR_BOUND && e->n == 0);
        kills |= e->kill_ns != 0;
        waiting |= e->starved;
    }
    const struct peer *p;
    DL_FOREACH(m->peers, p)
    waiting |= p->stalled;
    for (struct session *s = m->sessions; s; s = s->hh.next) {
        aside = aside || leaves_to_others(s);
        waiting |= s->state != SESSION_CLOSED && s->pending;
    }
    if ((busy && idle) || aside)
        return TICK_BUSY_MS;
    if (waiting || kills)
        return TICK_CALM_MS;
    return bound ? TICK_IDLE_MS : 0;
}
