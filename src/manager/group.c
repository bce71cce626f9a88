#include "manager/group.h"

#include "base/error.h"
#include "manager/backend.h"
#include "manager/blocks.h"
#include "manager/end_time.h"
#include "manager/scheduler.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* ---- is it possible ---------------------------------------------------------------------------- */

/* Slots of the largest node that is there. */
static unsigned largest_present(const struct manager *m)
{
    const struct node *n;
    unsigned most = m->options.slots;
    DL_FOREACH(m->nodes, n)
    if (n->n_slots > most)
        most = n->n_slots;
    return most;
}

/* The same of those that may come, too; UINT_MAX: nobody can tell. */
static unsigned largest_node(const struct manager *m)
{
    return m->options.slots || (m->nodes && !blocks_may_bring_more(m)) ? largest_present(m) : UINT_MAX;
}

/* How many nodes a block has is only known where flmd was told; else no more are expected once none has
 * come for so long. Nothing but a refusal waits for that. */
static const int64_t SETTLED_NS = INT64_C(30000000000);

static bool may_still_come(const struct manager *m)
{
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    if (!m->options.nodes && m->now - n->began_ns < SETTLED_NS)
        return true;
    return !m->nodes || blocks_may_bring_more(m);
}

/* Slots of the largest block; UINT_MAX: nobody can tell. */
static unsigned largest_block(const struct manager *m)
{
    const struct node *n, *o;
    unsigned most = 0;
    if (may_still_come(m))
        return UINT_MAX;
    DL_FOREACH(m->nodes, n)
    {
        unsigned slots = 0;
        DL_FOREACH(m->nodes, o)
        slots += strcmp(n->block, o->block) == 0 ? o->n_slots : 0;
        most = slots > most ? slots : most;
    }
    return most;
}

int group_possible(const struct manager *m, unsigned ranks, bool spread, flm_error *error)
{
    bool can_spread = backend_spreads_worlds(m);
    if (backend_begins(m)) /* see group_look */
        return 0;
    if (spread && ranks > 1 && !can_spread)
        return flm__error_set(
            error, FLM_ENOTSUP,
            "the ranks of a task cannot be spread: the nodes here start MPI ranks on one node "
            "each (the backends slurm and pbs can do more)");
    unsigned most = can_spread ? largest_block(m) : largest_node(m);
    if (ranks <= most)
        return 0;
    if (can_spread)
        return flm__error_set(
            error, FLM_EINVAL,
            "each task needs %u ranks, which are slots of the nodes of one job, and no job has "
            "more than %u: ask for more nodes, or for fewer ranks",
            ranks, most);
    return flm__error_set(
        error, FLM_EINVAL,
        "each task needs %u ranks, which are slots of one node, and no node has more than "
        "%u: ask for more slots per node (-n of flmrun and flmd, -j of flmexec), or for fewer ranks",
        ranks, most);
}

void group_look(struct manager *m)
{
    flm_error error = {0, ""};
    for (struct session *s = m->sessions; s; s = s->hh.next) {
        if (s->ranks < 2 || s->state == SESSION_CLOSED || s->trouble[0] ||
            group_possible(m, s->ranks, s->spread, &error) == 0)
            continue;
        if (!s->durability)
            session_fail(s, "no executor can serve the session", error.text);
        else if (!s->impossible)
            events_add(&s->events, FLM_EBIND, 0, -1, "its tasks wait: %s", error.text);
        s->impossible = true;
    }
}

/* ---- places ------------------------------------------------------------------------------------ */

/* Its groups may be on several nodes: also where larger nodes may come some day. */
static bool is_wide(const struct manager *m, const struct session *s)
{
    return group_width(s) > 1 && backend_spreads_worlds(m) && (s->spread || s->ranks > largest_present(m));
}

/* Whether a node is of the place that has this first one. */
static bool is_of(const struct node *n, const struct node *first, bool wide)
{
    return n == first || (wide && strcmp(n->block, first->block) == 0);
}

/* ---- free ones --------------------------------------------------------------------------------- */

static bool is_free(const struct executor *e, const struct session *s)
{
    return e->state == EXECUTOR_IDLE && scheduler_can_use(e) && !e->lent_to && !e->earmarked &&
           (!e->node->end_ns || end_time_tasks(e, s));
}

static unsigned count_free(const struct manager *m, const struct node *first, bool wide,
                           const struct session *s)
{
    unsigned count = 0;
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    for (unsigned i = 0; is_of(n, first, wide) && i < n->n_slots; i++)
        count += is_free(n->lanes[i], s);
    return count;
}

/* Those that were lent to this one last time could be again: its world still lives. */
static bool is_warm(const struct executor *leader, const struct session *s, bool wide)
{
    unsigned count = 1;
    const struct node *n;
    if (leader->ranks != s->ranks || leader->spread != s->spread)
        return false;
    DL_FOREACH(s->manager->nodes, n)
    for (unsigned i = 0; is_of(n, leader->node, wide) && i < n->n_slots; i++)
        count += n->lanes[i]->lent_before == leader && is_free(n->lanes[i], s);
    return count >= s->ranks;
}

/* On this node, whose place has enough: one with a world, else one without any, else any. */
static struct executor *choose_leader(const struct node *n, const struct session *s, bool wide)
{
    struct executor *plain = NULL, *other = NULL;
    for (unsigned i = 0; i < n->n_slots; i++) {
        struct executor *e = n->lanes[i];
        if (!is_free(e, s))
            continue;
        if (is_warm(e, s, wide))
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
    bool best_warm = false, wide = is_wide(m, s);
    struct node *n;
    DL_FOREACH(m->nodes, n)
    {
        unsigned count = count_free(m, n, wide, s);
        if (count < s->ranks)
            continue;
        struct executor *e = choose_leader(n, s, wide);
        bool warm = e && is_warm(e, s, wide);
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

enum { LAST_TIMES, PLAIN, ANY, WAYS };

/* One more slot of this node. False: it has none. */
static bool lend_one(const struct node *n, struct executor *leader, const struct session *s, int way)
{
    for (unsigned i = 0; i < n->n_slots; i++) {
        struct executor *e = n->lanes[i];
        if (e == leader || !is_free(e, s) || (way == LAST_TIMES && e->lent_before != leader) ||
            (way == PLAIN && e->ranks))
            continue;
        lend(e, leader);
        return true;
    }
    return false;
}

/* From the nodes of the place but the leader's: as many as there are, or (spread) one from each. */
static unsigned lend_from_others(struct executor *leader, const struct session *s, int way, unsigned lack)
{
    const struct node *n;
    DL_FOREACH(s->manager->nodes, n)
    {
        if (n == leader->node || !is_of(n, leader->node, true))
            continue;
        while (lack && lend_one(n, leader, s, way)) {
            lack--;
            if (s->spread)
                break;
        }
    }
    return lack;
}

void group_take(struct executor *leader, const struct session *s)
{
    unsigned lack = group_width(s) - 1;
    bool wide = is_wide(s->manager, s);
    int first = is_warm(leader, s, wide) ? LAST_TIMES : PLAIN;
    for (int way = first; way < WAYS; way++)
        for (unsigned before = lack + 1; lack && lack < before;) {
            before = lack;
            if (wide && s->spread)
                lack = lend_from_others(leader, s, way, lack);
            while (lack && lend_one(leader->node, leader, s, way)) {
                lack--;
                if (wide && s->spread)
                    break;
            }
            if (wide && !s->spread)
                lack = lend_from_others(leader, s, way, lack);
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
    const struct manager *m = leader->session->manager;
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (e->lent_to != leader)
            continue;
        e->lent_before = leader;
        e->lent_to = NULL;
    }
}

void group_tear(struct executor *e, const char *text)
{
    struct executor *leader = e->lent_to;
    e->lent_to = e->lent_before = NULL;
    if (!leader || leader->node == e->node || leader->torn || !leader->session)
        return;
    leader->torn = true;
    executor_kill(leader, FLM_REASON_NODE_LOST, text);
    leader->kill_reason = 0; /* nobody is to blame */
}

/* ---- told -------------------------------------------------------------------------------------- */

enum { PLACE_TEXT = 256 }; /* the name of a node, the processors of a slot */

int group_places_init(struct group_places *p, const struct session *s)
{
    bool wide = is_wide(s->manager, s);
    *p = (struct group_places){.room = wide ? (size_t)s->ranks * PLACE_TEXT : 1};
    p->lanes = malloc((s->ranks + 1) * sizeof(*p->lanes));
    p->nodes = malloc(p->room);
    p->cpus = malloc(p->room);
    if (!p->lanes || !p->nodes || !p->cpus) {
        group_places_free(p);
        return FLM_ENOMEM;
    }
    p->nodes[0] = p->cpus[0] = 0;
    return 0;
}

void group_places_free(struct group_places *p)
{
    free(p->lanes);
    free(p->nodes);
    free(p->cpus);
    *p = (struct group_places){0};
}

/* One rank more. */
static void add_rank(struct group_places *p, const struct executor *e, size_t *nodes, size_t *cpus)
{
    bool more = *nodes > 0;
    *nodes +=
        (size_t)snprintf(p->nodes + *nodes, p->room - *nodes, "%s%s", more ? "," : "", e->node->own_name);
    *cpus += (size_t)snprintf(p->cpus + *cpus, p->room - *cpus, "%s%s", more ? ";" : "", e->cpus);
}

void group_tell(const struct executor *leader, struct group_places *p)
{
    const struct manager *m = leader->session->manager;
    const struct node *n;
    size_t nodes = 0, cpus = 0;
    bool wide = p->room > 1;
    p->lanes[p->n_lanes++] = leader->lane;
    for (unsigned i = 0; i < leader->node->n_slots; i++)
        if (leader->node->lanes[i]->lent_to == leader)
            p->lanes[p->n_lanes++] = leader->node->lanes[i]->lane;
    for (size_t i = 0; wide && i < p->n_lanes; i++)
        add_rank(p, leader->node->lanes[p->lanes[i]], &nodes, &cpus);
    DL_FOREACH(m->nodes, n)
    for (unsigned i = 0; wide && n != leader->node && i < n->n_slots; i++)
        if (n->lanes[i]->lent_to == leader)
            add_rank(p, n->lanes[i], &nodes, &cpus);
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

static unsigned undealt(const struct manager *m, const struct node *first, bool wide)
{
    unsigned sum = 0;
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    sum += is_of(n, first, wide) ? n->undealt : 0;
    return sum;
}

bool group_deal(struct manager *m, const struct session *s, unsigned *slots)
{
    unsigned width = group_width(s), least = UINT_MAX, lack = width;
    struct node *n, *best = NULL;
    if (*slots < width)
        return false;
    if (width > 1) {
        bool wide = is_wide(m, s);
        DL_FOREACH(m->nodes, n)
        {
            unsigned sum = undealt(m, n, wide);
            if (sum < width || sum >= least)
                continue;
            best = n;
            least = sum;
        }
        if (!best)
            return false;
        DL_FOREACH(m->nodes, n)
        {
            unsigned take = !is_of(n, best, wide) ? 0 : n->undealt < lack ? n->undealt : lack;
            n->undealt -= take;
            lack -= take;
        }
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
static unsigned place_cost(const struct manager *m, const struct node *first, bool wide,
                           const struct session *s)
{
    static const unsigned weights[COSTS] = {0, 1, 2, 4, 6, 8};
    unsigned found[COSTS + 1] = {0}, lack = group_width(s), sum = 0;
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    for (unsigned i = 0; is_of(n, first, wide) && i < n->n_slots; i++)
        found[cost(n->lanes[i], s)]++;
    for (int c = FREE; c < COSTS && lack; c++) {
        unsigned take = found[c] < lack ? found[c] : lack;
        sum += take * weights[c];
        lack -= take;
    }
    return lack ? UINT_MAX : sum;
}

static void claim_of_node(const struct node *n, const struct session *s, int at_cost, unsigned *lack)
{
    for (unsigned i = 0; i < n->n_slots && *lack; i++) {
        struct executor *e = n->lanes[i], *holder = e->lent_to ? e->lent_to : e;
        if (cost(e, s) != at_cost)
            continue;
        e->earmarked = true;
        (*lack)--;
        executor_unbind(holder);
    }
}

void group_claim(struct manager *m, struct session *s)
{
    struct node *n, *best = NULL;
    unsigned least = UINT_MAX, lack = group_width(s);
    bool wide = is_wide(m, s);
    DL_FOREACH(m->nodes, n)
    {
        unsigned sum = place_cost(m, n, wide, s);
        if (sum >= least)
            continue;
        least = sum;
        best = n;
    }
    for (int c = FREE; best && c < COSTS; c++)
        DL_FOREACH(m->nodes, n)
    if (is_of(n, best, wide))
        claim_of_node(n, s, c, &lack);
}

void group_forget_claims(struct manager *m)
{
    for (unsigned i = 0; i < m->n_executors; i++)
        m->executors[i]->earmarked = false;
}
