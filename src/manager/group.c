#include "manager/group.h"

#include "base/error.h"
#include "manager/blocks.h"
#include "manager/end_time.h"
#include "manager/scheduler.h"

#include <limits.h>
#include <utlist.h>

/* ---- is it possible ---------------------------------------------------------------------------- */

/* Slots of the largest node that there is or may be; UINT_MAX: nobody can tell. */
static unsigned largest_node(const struct manager *m)
{
    const struct node *n;
    unsigned most = m->options.slots;
    DL_FOREACH(m->nodes, n)
    if (n->n_slots > most)
        most = n->n_slots;
    return m->options.slots || (m->nodes && !blocks_may_bring_more(m)) ? most : UINT_MAX;
}

int group_possible(const struct manager *m, unsigned ranks, flm_error *error)
{
    unsigned most = largest_node(m);
    if (ranks <= most)
        return 0;
    return flm__error_set(
        error, FLM_EINVAL,
        "each task needs %u ranks, which are slots of one node, and no node has more than "
        "%u: ask for more slots per node (-n), or for fewer ranks",
        ranks, most);
}

void group_look(struct manager *m)
{
    flm_error error = {0, ""};
    for (struct session *s = m->sessions; s; s = s->hh.next) {
        if (s->ranks < 2 || s->state == SESSION_CLOSED || s->trouble[0] ||
            group_possible(m, s->ranks, &error) == 0)
            continue;
        if (!s->durability)
            session_fail(s, "no executor can serve the session", error.text);
        else if (!s->impossible)
            events_add(&s->events, FLM_EBIND, 0, -1, "its tasks wait: %s", error.text);
        s->impossible = true;
    }
}

/* ---- free ones --------------------------------------------------------------------------------- */

static bool is_free(const struct executor *e, const struct session *s)
{
    return e->state == EXECUTOR_IDLE && scheduler_can_use(e) && !e->lent_to && !e->earmarked &&
           (!e->node->end_ns || end_time_tasks(e, s));
}

static unsigned count_free(const struct node *n, const struct session *s)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n->n_slots; i++)
        count += is_free(n->lanes[i], s);
    return count;
}

/* Those that were lent to this one last time and could be again: its world still lives. */
static bool is_warm(const struct executor *leader, const struct session *s)
{
    unsigned count = 1;
    if (leader->ranks != s->ranks)
        return false;
    for (unsigned i = 0; i < leader->node->n_slots; i++) {
        const struct executor *e = leader->node->lanes[i];
        count += e->lent_before == leader && is_free(e, s);
    }
    return count >= s->ranks;
}

/* On this node, which has enough: one with a world, else one without any, else any. */
static struct executor *choose_leader(const struct node *n, const struct session *s)
{
    struct executor *plain = NULL, *other = NULL;
    for (unsigned i = 0; i < n->n_slots; i++) {
        struct executor *e = n->lanes[i];
        if (!is_free(e, s))
            continue;
        if (is_warm(e, s))
            return e;
        if (!plain && !e->ranks)
            plain = e;
        if (!other)
            other = e;
    }
    return plain ? plain : other;
}

static struct executor *find_group(struct manager *m, const struct session *s)
{
    struct executor *best = NULL;
    unsigned least = UINT_MAX;
    bool best_warm = false;
    struct node *n;
    DL_FOREACH(m->nodes, n)
    {
        unsigned count = count_free(n, s);
        if (count < s->ranks)
            continue;
        struct executor *e = choose_leader(n, s);
        bool warm = e && is_warm(e, s);
        /* The fullest node that will do leaves the others to larger groups. */
        if (!e || best_warm > warm || (best_warm == warm && count >= least))
            continue;
        best = e;
        best_warm = warm;
        least = count;
    }
    return best;
}

struct executor *group_find(struct manager *m, const struct session *s)
{
    struct executor *any = NULL;
    if (group_width(s) > 1)
        return find_group(m, s);
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (!is_free(e, s))
            continue;
        if (e->ranks == s->ranks)
            return e;
        if (!any)
            any = e;
    }
    return any;
}

/* ---- taken and given back ---------------------------------------------------------------------- */

static void lend(struct executor *e, struct executor *leader)
{
    e->lent_to = leader;
    if (e->ranks && e->state == EXECUTOR_IDLE) /* a world that waits there would take time of this one */
        executor_send_home(e, "its slot is needed for another world");
}

void group_take(struct executor *leader, const struct session *s)
{
    enum { LAST_TIMES, PLAIN, ANY, WAYS };
    unsigned lack = group_width(s) - 1;
    const struct node *n = leader->node;
    for (int way = LAST_TIMES; way < WAYS && lack; way++)
        for (unsigned i = 0; i < n->n_slots && lack; i++) {
            struct executor *e = n->lanes[i];
            if (e == leader || !is_free(e, s) || (way == LAST_TIMES && e->lent_before != leader) ||
                (way == PLAIN && e->ranks))
                continue;
            lend(e, leader);
            lack--;
        }
}

void group_take_again(struct executor *leader, const uint32_t *lanes, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct executor *e = lanes[i] < leader->node->n_slots ? leader->node->lanes[lanes[i]] : leader;
        if (e != leader && !e->lent_to)
            e->lent_to = leader;
    }
}

void group_release(struct executor *leader)
{
    const struct node *n = leader->node;
    for (unsigned i = 0; i < n->n_slots; i++) {
        struct executor *e = n->lanes[i];
        if (e->lent_to != leader)
            continue;
        e->lent_before = leader;
        e->lent_to = NULL;
    }
}

void group_lanes(const struct executor *leader, uint32_t *lanes)
{
    const struct node *n = leader->node;
    unsigned count = 0;
    lanes[count++] = leader->lane;
    for (unsigned i = 0; i < n->n_slots && count < leader->session->ranks; i++)
        if (n->lanes[i]->lent_to == leader)
            lanes[count++] = n->lanes[i]->lane;
}

/* ---- dealing out ------------------------------------------------------------------------------- */

/* Its slot can be dealt out; not while a task that takes long keeps it from whoever is to get it. */
static bool counts(const struct executor *e)
{
    return scheduler_can_use(e) && !scheduler_is_held_up(e->lent_to ? e->lent_to : e);
}

unsigned group_count(struct manager *m)
{
    unsigned all = 0;
    struct node *n;
    DL_FOREACH(m->nodes, n)
    {
        n->undealt = 0;
        for (unsigned i = 0; i < n->n_slots; i++)
            n->undealt += counts(n->lanes[i]);
        all += n->undealt;
    }
    return all;
}

bool group_deal(struct manager *m, const struct session *s, unsigned *slots)
{
    unsigned width = group_width(s);
    struct node *n, *best = NULL;
    if (*slots < width)
        return false;
    if (width > 1) {
        DL_FOREACH(m->nodes, n)
        if (n->undealt >= width && (!best || n->undealt < best->undealt))
            best = n;
        if (!best)
            return false;
        best->undealt -= width;
    }
    *slots -= width;
    return true;
}

/* ---- claims ------------------------------------------------------------------------------------ */

/* What it costs others when its slot is claimed. */
enum { FREE, SOON_FREE, TO_SPARE, IN_USE, WORLD_TO_SPARE, WORLD_IN_USE, COSTS, NEVER = COSTS };

static int cost(const struct executor *e, const struct session *s)
{
    const struct executor *holder = e->lent_to ? e->lent_to : e;
    const struct session *other = holder->session;
    if (!counts(e) || e->earmarked || other == s || (e->node->end_ns && !end_time_tasks(e, s)))
        return NEVER;
    if (!other)
        return e->state == EXECUTOR_IDLE ? FREE : NEVER;
    if (holder->state == EXECUTOR_UNBINDING || holder->leaving)
        return SOON_FREE;
    bool spare = other->n_bound > other->deserved;
    if (group_width(other) > 1)
        return spare ? WORLD_TO_SPARE : WORLD_IN_USE;
    return spare ? TO_SPARE : IN_USE;
}

/* Of the cheapest slots that are enough; UINT_MAX: there are not enough. */
static unsigned node_cost(const struct node *n, const struct session *s)
{
    static const unsigned weights[COSTS] = {0, 1, 2, 4, 6, 8};
    unsigned found[COSTS + 1] = {0}, lack = group_width(s), sum = 0;
    for (unsigned i = 0; i < n->n_slots; i++)
        found[cost(n->lanes[i], s)]++;
    for (int c = FREE; c < COSTS && lack; c++) {
        unsigned take = found[c] < lack ? found[c] : lack;
        sum += take * weights[c];
        lack -= take;
    }
    return lack ? UINT_MAX : sum;
}

void group_claim(struct manager *m, struct session *s)
{
    struct node *n, *best = NULL;
    unsigned least = UINT_MAX, lack = group_width(s);
    DL_FOREACH(m->nodes, n)
    {
        unsigned sum = node_cost(n, s);
        if (sum >= least)
            continue;
        least = sum;
        best = n;
    }
    for (int c = FREE; best && c < COSTS; c++)
        for (unsigned i = 0; i < best->n_slots && lack; i++) {
            struct executor *e = best->lanes[i], *holder = e->lent_to ? e->lent_to : e;
            if (cost(e, s) != c)
                continue;
            e->earmarked = true;
            lack--;
            executor_unbind(holder);
        }
}

void group_forget_claims(struct manager *m)
{
    for (unsigned i = 0; i < m->n_executors; i++)
        m->executors[i]->earmarked = false;
}
