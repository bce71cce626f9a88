/* Which nodes have the newest version of an object in their memory, or are about to read it there, or could
 * not; and which have no more than the version before, but need read only what a patch has changed since.
 */
#include "manager/executor.h"
#include "manager/objects_inside.h"
#include "manager/spread.h"

#include <stdlib.h>

enum { FIRST_ROOM = 4 };

static struct object_node *find(const struct object *o, const struct node *n)
{
    for (unsigned i = 0; i < o->n_nodes; i++)
        if (o->nodes[i].node == n)
            return &o->nodes[i];
    return NULL;
}

/* NULL: no memory. */
static struct object_node *find_or_add(struct object *o, struct node *n)
{
    struct object_node *at = find(o, n);
    if (at)
        return at;
    if (o->n_nodes == o->nodes_room) {
        unsigned room = o->nodes_room ? 2 * o->nodes_room : FIRST_ROOM;
        struct object_node *nodes = realloc(o->nodes, room * sizeof(*nodes));
        if (!nodes)
            return NULL;
        o->nodes = nodes;
        o->nodes_room = room;
    }
    at = &o->nodes[o->n_nodes++];
    *at = (struct object_node){.node = n};
    return at;
}

void object_node_add(struct manager *m, struct object *o, struct node *n, bool has)
{
    struct object_node *at = find_or_add(o, n);
    if (!at)
        return; /* its tasks go where there is room, and are told by nobody */
    m->objects_moved += !at->has && !at->asks;
    at->has |= has;
    at->asks |= !has;
    m->objects_moved += has && at->failed;
    if (has)
        at->failed = at->older = false; /* it tries again, and then needs no other */
}

static void forget(struct manager *m, struct object *o, struct object_node *at)
{
    *at = o->nodes[--o->n_nodes];
    m->objects_moved++;
}

void object_node_unless(struct manager *m, struct object *o, const struct node *n)
{
    struct object_node *at = find(o, n);
    if (!at || at->has || at->failed)
        return;
    at->asks = false;
    if (at->older)
        m->objects_moved++;
    else
        forget(m, o, at);
}

void object_nodes_clear(struct manager *m, struct object *o, bool patched)
{
    Flm__ObjectGone gone = FLM__OBJECT_GONE__INIT;
    gone.name = o->name;
    gone.version = o->version;
    FLM__MESSAGE(message, object_gone, OBJECT_GONE, &gone);
    unsigned kept = 0;
    m->objects_moved += o->n_nodes > 0;
    for (unsigned i = 0; i < o->n_nodes; i++) {
        struct node *n = o->nodes[i].node;
        gone.patched = patched && o->nodes[i].has && spread_has(o->blob, n);
        if (n->peer)
            peer_send(n->peer, &message, NULL, 0);
        if (gone.patched)
            o->nodes[kept++] = (struct object_node){.node = n, .older = true};
    }
    o->n_nodes = kept;
}

void object_nodes_let_go(struct manager *m, struct object *o)
{
    Flm__ObjectGone gone = FLM__OBJECT_GONE__INIT;
    gone.name = o->name;
    gone.version = o->version;
    FLM__MESSAGE(message, object_gone, OBJECT_GONE, &gone);
    for (unsigned i = o->n_nodes; i-- > 0;) {
        struct object_node *at = &o->nodes[i];
        if (at->node->relay)
            continue; /* it has memory of its own */
        if (at->node->peer)
            peer_send(at->node->peer, &message, NULL, 0);
        forget(m, o, at);
    }
}

static uint64_t set_of(const struct object *o, bool failed)
{
    uint64_t set = 0;
    for (unsigned i = 0; i < o->n_nodes; i++)
        if (failed ? o->nodes[i].failed : !o->nodes[i].failed && (o->nodes[i].has || o->nodes[i].asks))
            set |= node_bit(o->nodes[i].node);
    return set;
}

uint64_t object_nodes_set(const struct object *o)
{
    return set_of(o, false);
}

uint64_t object_nodes_failed(const struct object *o)
{
    return set_of(o, true);
}

void objects_node_drops(struct node *n, const Flm__ObjectGone *gone)
{
    struct manager *m = n->peer->manager;
    struct object *o = object_find(m, gone->name, 0, NULL);
    struct object_node *at = NULL;
    if (!o || o->version > gone->version)
        return;
    if (gone->why == FLM__OBJECT_GONE__WHY__NOT_READ && (at = find_or_add(o, n))) {
        at->has = false;
        at->failed = true;
        m->objects_moved++;
    } else if ((at = find(o, n))) {
        forget(m, o, at);
    }
}

void objects_node_gone(struct manager *m, const struct node *n)
{
    struct object *o, *next;
    HASH_ITER(hh, m->objects, o, next)
    {
        struct object_node *at = find(o, n);
        if (at)
            forget(m, o, at);
    }
}
