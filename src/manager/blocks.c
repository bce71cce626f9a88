#define _GNU_SOURCE
#include "manager/blocks_inside.h"

#include "base/time.h"
#include "manager/backend.h"
#include "manager/end_time.h"
#include "manager/peer.h"

#include <flm/backend.h>
#include "manager/say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 10000,
    RETRY_JOINED_MAX_MS = 1600, /* of blocks whose nodes join and then end */
    ATTEMPTS_BEFORE_GIVING_UP = 5,
    STAYED_MS = 10000,       /* a block that lived so long begins to count anew */
    REPLACE_NODE_MS = 500,   /* whether the whole block ends shows by then */
    JOBS_WITHOUT_NODES = 10, /* at most, where there are no other nodes and nobody said how many */
};

static struct block *block_by_number(struct manager *m, uint64_t number)
{
    struct block *b;
    DL_FOREACH(m->blocks, b)
    if (b->number == number && b->state != BLOCK_WAITS)
        return b;
    return NULL;
}

static void on_end(struct block *b, const char *why);

bool blocks_know(struct manager *m, uint64_t number)
{
    return block_by_number(m, number) != NULL;
}

bool blocks_may_bring_more(const struct manager *m)
{
    const struct block *b;
    if (m->jobs.can && m->options.max_blocks)
        return true;
    DL_FOREACH(m->blocks, b)
    if (b->state != BLOCK_GRANTED || !b->nodes || (!b->node[0] && b->nodes < m->options.nodes))
        return true;
    return !m->blocks; /* agents that were started by hand */
}

void block_ask(struct block *b, const char *name)
{
    struct manager *m = b->manager;
    b->number = ++m->block_numbers;
    b->state = BLOCK_ASKED;
    b->asked_ns = flm__now_ns();
    b->nodes = 0;
    b->idle_ns = b->left_ns = 0;
    b->end_time_s = 0;
    b->job[0] = b->waits_for[0] = b->comment[0] = 0;
    b->comment_ns = 0;
    if (backend_ask(m, b->number, b->node, b->slots, b->is_job ? name : NULL) < 0)
        on_end(b, "flm-backend takes no requests");
}

static void ask_again(uv_timer_t *timer)
{
    struct block *b = timer->data;
    if (!b->manager->stopping)
        block_ask(b, NULL);
}

struct block *block_new(struct manager *m)
{
    struct block *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->manager = m;
    uv_timer_init(&m->uv, &b->again);
    b->again.data = b;
    DL_APPEND(m->blocks, b);
    return b;
}

/* The block of the nodes that are here, "", or of one of them. */
static struct block *block_of_node(struct manager *m, const char *node)
{
    struct block *b;
    DL_FOREACH(m->blocks, b)
    if (!b->is_job && strcmp(b->node, node) == 0)
        return b;
    b = block_new(m);
    if (b)
        snprintf(b->node, sizeof(b->node), "%s", node);
    return b;
}

void block_give_back(struct block *b, const char *why)
{
    struct manager *m = b->manager;
    struct node *n;
    uv_timer_stop(&b->again);
    if (b->state == BLOCK_WAITS)
        return;
    Flm__Shutdown text = FLM__SHUTDOWN__INIT;
    text.text = (char *)(uintptr_t)why;
    FLM__MESSAGE(message, shutdown, SHUTDOWN, &text);
    DL_FOREACH(m->nodes, n)
    if (n->block_number == b->number && n->peer)
        peer_send(n->peer, &message, NULL, 0);
    backend_release(m, b->number);
    block_comment(b, true);
    b->state = BLOCK_WAITS;
}

/* ---- the end of an attempt --------------------------------------------------------------------- */

static unsigned wait_before_next(struct block *b)
{
    if (flm__now_ns() - b->asked_ns > STAYED_MS * 1000000LL)
        b->ends = 0;
    unsigned most = b->failures > 1 ? RETRY_MAX_MS : RETRY_JOINED_MAX_MS;
    unsigned ms = RETRY_FIRST_MS << (b->ends < 8 ? b->ends : 8);
    b->ends++;
    return ms < most ? ms : most;
}

static void say_end(const struct block *b, const char *why)
{
    if (b->node[0])
        say("the replacement of node %s ended: %s", b->node, why);
    else
        say("the block of nodes ended: %s", why);
}

static void on_end(struct block *b, const char *why)
{
    struct manager *m = b->manager;
    struct block *other;
    if (b->is_job) {
        block_job_ended(b, why);
        return;
    }
    b->state = BLOCK_WAITS;
    b->failures++;
    say_end(b, why);
    if (!b->node[0]) {
        DL_FOREACH(m->blocks, other)
        if (other != b && !other->is_job)
            block_give_back(other, "all nodes are asked for again"); /* then it is one of them */
        if (b->failures >= ATTEMPTS_BEFORE_GIVING_UP || (m->options.private_instance && b->failures > 1)) {
            m->exit_status = 1;
            manager_stop(m, "no node can be had");
            return;
        }
    }
    uv_timer_start(&b->again, ask_again, wait_before_next(b), 0);
}

/* ---- events ------------------------------------------------------------------------------------ */

static void set_end_time(struct block *b, int64_t end_time_s)
{
    struct node *n;
    b->end_time_s = end_time_s > 0 ? end_time_s : 0;
    DL_FOREACH(b->manager->nodes, n)
    if (n->block_number == b->number)
        end_time_set(n, b->end_time_s);
}

void blocks_event(struct manager *m, const Flm__BlockEvent *e)
{
    struct block *b = block_by_number(m, e->block);
    if (!b || m->stopping)
        return; /* of an attempt that we gave up */
    switch (e->kind) {
    case FLM__BLOCK_EVENT__KIND__GRANTED:
        b->state = BLOCK_GRANTED;
        b->granted_ns = flm__now_ns();
        snprintf(b->job, sizeof(b->job), "%s", e->text);
        set_end_time(b, e->end_time_s);
        break;
    case FLM__BLOCK_EVENT__KIND__SUBMITTED:
        snprintf(b->job, sizeof(b->job), "%s", e->text);
        break;
    case FLM__BLOCK_EVENT__KIND__TIME_LEFT:
        set_end_time(b, e->end_time_s);
        break;
    case FLM__BLOCK_EVENT__KIND__WAITING:
        if (strcmp(b->waits_for, e->text) != 0 && !strstr(e->text, ": None"))
            say("waiting for nodes: %s", e->text);
        snprintf(b->waits_for, sizeof(b->waits_for), "%s", e->text);
        break;
    case FLM__BLOCK_EVENT__KIND__REFUSED:
    case FLM__BLOCK_EVENT__KIND__ENDED:
        on_end(b, e->text);
        break;
    default:
        break;
    }
}

void blocks_back(struct manager *m, const Flm__BlockBack *back)
{
    struct node *n;
    struct block *b = back->new_job ? block_new(m) : block_of_node(m, back->node);
    if (!b)
        return;
    b->is_job = back->new_job;
    b->number = back->block;
    b->state = back->granted ? BLOCK_GRANTED : BLOCK_ASKED;
    b->asked_ns = b->granted_ns = flm__now_ns();
    b->slots = back->slots;
    snprintf(b->job, sizeof(b->job), "%s", back->job);
    if (strncmp(back->name, "flame:", 6) == 0)
        snprintf(b->session, sizeof(b->session), "%s", back->name + 6);
    if (m->block_numbers < b->number)
        m->block_numbers = b->number;
    DL_FOREACH(m->nodes, n)
    b->nodes += n->block_number == b->number;
    set_end_time(b, back->end_time_s);
}

void blocks_node_joined(struct manager *m, struct node *n)
{
    struct block *b = block_by_number(m, n->block_number);
    if (!b)
        return;
    b->nodes++;
    b->failures = 0;
    if (b->end_time_s)
        end_time_set(n, b->end_time_s);
    if (b->is_job)
        block_job_joined(b);
}

/* One of several: the others stay, and somebody has to take its place. */
void blocks_node_left(struct manager *m, const struct node *n)
{
    struct block *b = block_by_number(m, n->block_number);
    if (!b || m->stopping || b->nodes == 0)
        return;
    b->nodes--;
    if (b->is_job && !b->nodes)
        b->left_ns = m->now;
    if (b->is_job || b->node[0] || !b->nodes)
        return; /* its block will end */
    struct block *replacement = block_of_node(m, n->own_name);
    if (replacement && replacement->state == BLOCK_WAITS) {
        replacement->slots = n->n_slots;
        uv_timer_start(&replacement->again, ask_again, REPLACE_NODE_MS, 0);
    }
}

/* ---- start and stop ---------------------------------------------------------------------------- */

void blocks_start(struct manager *m, unsigned abilities)
{
    struct options *o = &m->options;
    bool here = abilities & FLM_BACKEND_HAS_NODES;
    m->jobs.can_comment = abilities & FLM_BACKEND_COMMENTS;
    if (here) {
        struct block *b = block_of_node(m, "");
        if (b && b->state == BLOCK_WAITS)
            block_ask(b, NULL);
    } else if (!o->max_blocks_given) {
        o->max_blocks = JOBS_WITHOUT_NODES;
    }
    if (o->max_blocks < o->min_blocks)
        o->max_blocks = o->min_blocks;
    if (abilities & FLM_BACKEND_NEW_JOBS && o->max_blocks)
        block_jobs_start(m);
    else if (o->max_blocks)
        say("this backend has no jobs to ask for: --max-blocks means nothing to it");
}

void blocks_stop(struct manager *m)
{
    struct block *b;
    block_jobs_stop(m);
    DL_FOREACH(m->blocks, b)
    block_give_back(b, "the session manager is ending");
}

void blocks_free(struct manager *m)
{
    struct block *b, *next;
    DL_FOREACH_SAFE(m->blocks, b, next)
    {
        DL_DELETE(m->blocks, b);
        free(b);
    }
}
