/* Jobs of our own: asked for while there is work for more executors than there are, given back when nobody
 * uses them. Looked at twice a second, which costs nothing beside what a job costs.
 *
 *     want   executors that there is work for (demand.h)
 *     have   executors on the nodes that are there
 *     coming executors of jobs that were asked for and are not there yet
 */
#define _GNU_SOURCE
#include "manager/backend.h"
#include "manager/blocks_inside.h"
#include "manager/demand.h"
#include "manager/end_time.h"
#include "manager/executor.h"

#include "base/time.h"
#include "manager/say.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum {
    LOOK_MS = 500,
    IDLE_MS = 1000, /* of a job, after the sessions have let go of its executors */
    LEFT_MS = 20000,
    JOIN_MS = 120000, /* for the nodes of a job that runs */
    BACK_OFF_FIRST_MS = 1000,
    BACK_OFF_MAX_MS = 300000,
    FAILURES_BEFORE_GIVING_UP = 5, /* of a private instance that has no node */
};

struct supply {
    uint64_t slots, coming;
    unsigned jobs, jobs_coming;
};

static bool is_alive(const struct block *b)
{
    return b->is_job && b->state != BLOCK_WAITS;
}

/* That are of use. */
static unsigned slots_of(const struct manager *m, uint64_t block)
{
    const struct node *n;
    unsigned slots = 0;
    DL_FOREACH(m->nodes, n)
    if (n->block_number == block && !n->drained && !end_time_is_near(n, m->now))
        slots += n->n_slots;
    return slots;
}

/* Executors of one job: as the last one had, else as they are asked for; 0: not known. */
static unsigned per_job(const struct manager *m)
{
    return m->jobs.slots ? m->jobs.slots : m->options.slots * m->options.block_nodes;
}

static struct supply count(const struct manager *m)
{
    struct supply have = {0};
    const struct node *n;
    const struct block *b;
    DL_FOREACH(m->nodes, n)
    have.slots += n->drained || end_time_is_near(n, m->now) ? 0 : n->n_slots;
    DL_FOREACH(m->blocks, b)
    {
        have.jobs += is_alive(b);
        have.jobs_coming += is_alive(b) && !b->nodes && !b->left_ns;
    }
    unsigned each = per_job(m);
    have.coming = (uint64_t)have.jobs_coming * (each ? each : 1);
    return have;
}

static struct block *free_block(struct manager *m)
{
    struct block *b;
    DL_FOREACH(m->blocks, b)
    if (b->is_job && b->state == BLOCK_WAITS)
        return b;
    b = block_new(m);
    if (b)
        b->is_job = true;
    return b;
}

static void ask_for_more(struct manager *m, const struct demand *d, const struct supply *have)
{
    const struct options *o = &m->options;
    unsigned each = per_job(m), room = o->max_blocks > have->jobs ? o->max_blocks - have->jobs : 0;
    uint64_t lack = d->slots > have->slots + have->coming ? d->slots - have->slots - have->coming : 0;
    uint64_t more = lack ? (lack - 1) / (each ? each : 1) + 1 : 0;
    char name[FLM_MAX_NAME + 16];
    if (!each && more > 1)
        more = 1; /* how much one brings is not known yet */
    if (!each && have->jobs_coming)
        more = 0;
    if (have->jobs + more < o->min_blocks)
        more = o->min_blocks - have->jobs;
    if (!more || !room || flm__now_ns() < m->jobs.not_before_ns)
        return;
    snprintf(name, sizeof(name), "flame:%s", d->first ? d->first->id : "idle");
    for (uint64_t i = 0; i < more && i < room; i++) {
        struct block *b = free_block(m);
        if (!b)
            return;
        snprintf(b->session, sizeof(b->session), "%s", d->first ? d->first->id : "");
        block_ask(b, name);
    }
}

static bool is_used(const struct manager *m, const struct block *b)
{
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    {
        if (n->block_number != b->number)
            continue;
        if (n->unread_bytes)
            return true; /* outputs that lie there */
        for (unsigned i = 0; i < n->n_slots; i++)
            if (n->lanes[i]->session || n->lanes[i]->n)
                return true;
    }
    return false;
}

/* Nobody uses it, and nobody will soon. */
static bool is_superfluous(struct manager *m, struct block *b, const struct demand *d)
{
    if (b->nodes && is_used(m, b)) {
        b->idle_ns = 0;
        return false;
    }
    if (!b->idle_ns)
        b->idle_ns = m->now;
    return !b->nodes || !d->any || m->now - b->idle_ns > IDLE_MS * 1000000LL;
}

/* All its nodes are: another job may come in its place. */
static bool is_at_its_end(const struct manager *m, const struct block *b)
{
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    if (n->block_number == b->number && !end_time_is_near(n, m->now))
        return false;
    return b->nodes > 0;
}

static void give_back_what_is_left(struct manager *m, const struct demand *d, struct supply *have)
{
    struct block *b;
    for (int with_nodes = 0; with_nodes < 2; with_nodes++) /* those that still wait first */
        DL_FOREACH(m->blocks, b)
        {
            if (!is_alive(b) || (b->nodes > 0) != with_nodes)
                continue;
            if (b->state == BLOCK_GRANTED && !b->nodes && !b->left_ns &&
                m->now - b->granted_ns > JOIN_MS * 1000000LL) {
                block_give_back(b, "its nodes do not join");
                block_job_ended(b, "it runs, and its nodes have not joined in time");
                continue;
            }
            if (b->left_ns) { /* what became of it the backend tells soon */
                if (m->now - b->left_ns > LEFT_MS * 1000000LL)
                    block_give_back(b, "its nodes have left");
                continue;
            }
            bool superfluous = is_superfluous(m, b, d);
            unsigned each = per_job(m);
            uint64_t brings = b->nodes ? slots_of(m, b->number) : each ? each : 1;
            bool needed =
                have->jobs <= m->options.min_blocks || have->slots + have->coming < d->slots + brings;
            if (!superfluous || (needed && !is_at_its_end(m, b)))
                continue;
            have->jobs--;
            *(b->nodes ? &have->slots : &have->coming) -= brings;
            block_give_back(b, "there is no work for it");
        }
}

static void look(uv_timer_t *timer)
{
    struct manager *m = timer->data;
    struct demand d;
    if (m->stopping)
        return;
    m->now = flm__now_ns();
    demand_compute(m, m->options.backlog_s, &d);
    struct supply have = count(m);
    give_back_what_is_left(m, &d, &have);
    ask_for_more(m, &d, &have);
}

void block_jobs_start(struct manager *m)
{
    uv_timer_init(&m->uv, &m->jobs.look);
    m->jobs.look.data = m;
    m->jobs.can = true;
    uv_timer_start(&m->jobs.look, look, LOOK_MS, LOOK_MS);
}

void block_jobs_stop(struct manager *m)
{
    if (m->jobs.can)
        uv_timer_stop(&m->jobs.look);
    m->jobs.can = false;
}

void block_job_joined(struct block *b)
{
    struct manager *m = b->manager;
    m->jobs.failures = 0;
    m->jobs.not_before_ns = 0;
    b->idle_ns = b->left_ns = 0;
    if (b->nodes == m->options.block_nodes)
        m->jobs.slots = slots_of(m, b->number);
}

/* Refused, or it has ended although nobody asked for that. */
void block_job_ended(struct block *b, const char *why)
{
    struct manager *m = b->manager;
    bool had_nodes = b->nodes || b->left_ns;
    b->state = BLOCK_WAITS;
    if (strcmp(m->jobs.trouble, why) != 0)
        say("a job for more nodes: %s", why);
    snprintf(m->jobs.trouble, sizeof(m->jobs.trouble), "%s", why);
    if (had_nodes)
        return;
    unsigned shift = m->jobs.failures < 12 ? m->jobs.failures : 12;
    int64_t ms = (int64_t)BACK_OFF_FIRST_MS << shift;
    m->jobs.not_before_ns = flm__now_ns() + (ms < BACK_OFF_MAX_MS ? ms : BACK_OFF_MAX_MS) * 1000000LL;
    m->jobs.failures++;
    if (m->options.private_instance && !m->nodes && m->jobs.failures >= FAILURES_BEFORE_GIVING_UP) {
        m->exit_status = 1;
        manager_stop(m, "no node can be had");
    }
}
