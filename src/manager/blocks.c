#define _GNU_SOURCE
#include "manager/blocks.h"

#include "base/time.h"
#include "manager/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 10000,
    RETRY_JOINED_MAX_MS = 1600, /* of blocks whose nodes join and then end */
    ATTEMPTS_BEFORE_GIVING_UP = 5,
    STAYED_MS = 10000,    /* a block that lived so long begins to count anew */
    REPLACE_NODE_MS = 500 /* whether the whole block ends shows by then */
};

enum block_state { BLOCK_WAITS, BLOCK_ASKED, BLOCK_GRANTED };

struct block {
    struct block *prev, *next;
    struct manager *manager;
    char node[128]; /* the one that it replaces; "": all */
    uint64_t number;
    enum block_state state;
    char job[64], waits_for[200];
    int64_t asked_ns, end_time_s; /* end: 0 none known */
    unsigned nodes;               /* that are there */
    unsigned failures;            /* in a row, without a node in between */
    unsigned ends;                /* in a row, of attempts that did not stay */
    uv_timer_t again;
};

static void ask(uv_timer_t *timer)
{
    struct block *b = timer->data;
    struct manager *m = b->manager;
    if (m->stopping)
        return;
    b->number = ++m->block_numbers;
    b->state = BLOCK_ASKED;
    b->asked_ns = flm__now_ns();
    b->nodes = 0;
    b->waits_for[0] = 0;
    backend_ask(m, b->number, b->node);
}

static struct block *block_of_node(struct manager *m, const char *node)
{
    struct block *b;
    DL_FOREACH(m->blocks, b)
    if (strcmp(b->node, node) == 0)
        return b;
    b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->manager = m;
    snprintf(b->node, sizeof(b->node), "%s", node);
    uv_timer_init(&m->uv, &b->again);
    b->again.data = b;
    DL_APPEND(m->blocks, b);
    return b;
}

static struct block *block_by_number(struct manager *m, uint64_t number)
{
    struct block *b;
    DL_FOREACH(m->blocks, b)
    if (b->number == number && b->state != BLOCK_WAITS)
        return b;
    return NULL;
}

static void give_back(struct block *b)
{
    uv_timer_stop(&b->again);
    if (b->state != BLOCK_WAITS)
        backend_release(b->manager, b->number);
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
        fprintf(stderr, "flmd: the replacement of node %s ended: %s\n", b->node, why);
    else
        fprintf(stderr, "flmd: the block of nodes ended: %s\n", why);
}

static void on_end(struct block *b, const char *why)
{
    struct manager *m = b->manager;
    struct block *other;
    b->state = BLOCK_WAITS;
    b->failures++;
    say_end(b, why);
    if (!b->node[0]) {
        DL_FOREACH(m->blocks, other)
        if (other != b)
            give_back(other); /* the next attempt has all nodes */
        if (b->failures >= ATTEMPTS_BEFORE_GIVING_UP || (m->options.private_instance && b->failures > 1)) {
            m->exit_status = 1;
            manager_stop(m, "no node can be had");
            return;
        }
    }
    uv_timer_start(&b->again, ask, wait_before_next(b), 0);
}

/* ---- events ------------------------------------------------------------------------------------ */

static void set_end_time(struct block *b, int64_t end_time_s)
{
    struct node *n;
    b->end_time_s = end_time_s > 0 ? end_time_s : 0;
    DL_FOREACH(b->manager->nodes, n)
    if (n->block_number == b->number)
        n->end_time_s = b->end_time_s;
}

void blocks_event(struct manager *m, const Flm__BlockEvent *e)
{
    struct block *b = block_by_number(m, e->block);
    if (!b || m->stopping)
        return; /* of an attempt that we gave up */
    switch (e->kind) {
    case FLM__BLOCK_EVENT__KIND__GRANTED:
        b->state = BLOCK_GRANTED;
        snprintf(b->job, sizeof(b->job), "%s", e->text);
        set_end_time(b, e->end_time_s);
        break;
    case FLM__BLOCK_EVENT__KIND__TIME_LEFT:
        set_end_time(b, e->end_time_s);
        break;
    case FLM__BLOCK_EVENT__KIND__WAITING:
        if (strcmp(b->waits_for, e->text) != 0)
            fprintf(stderr, "flmd: waiting for nodes: %s\n", e->text);
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

void blocks_node_joined(struct manager *m, struct node *n)
{
    struct block *b = block_by_number(m, n->block_number);
    if (!b)
        return;
    b->nodes++;
    b->failures = 0;
    n->end_time_s = b->end_time_s;
}

/* One of several: the others stay, and somebody has to take its place. */
void blocks_node_left(struct manager *m, const struct node *n)
{
    struct block *b = block_by_number(m, n->block_number);
    if (!b || m->stopping || b->nodes == 0)
        return;
    b->nodes--;
    if (b->node[0] || !b->nodes)
        return; /* its block will end */
    struct block *replacement = block_of_node(m, n->name);
    if (replacement && replacement->state == BLOCK_WAITS)
        uv_timer_start(&replacement->again, ask, REPLACE_NODE_MS, 0);
}

/* ---- start and stop ---------------------------------------------------------------------------- */

void blocks_start(struct manager *m)
{
    struct block *b = block_of_node(m, "");
    if (b)
        ask(&b->again);
}

void blocks_stop(struct manager *m)
{
    struct block *b;
    DL_FOREACH(m->blocks, b)
    give_back(b);
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
