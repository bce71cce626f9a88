#include "manager/node.h"

#include "base/error.h"
#include "manager/blocks.h"
#include "manager/client.h"
#include "manager/end_time.h"
#include "manager/executor.h"
#include "manager/logs.h"
#include "manager/objects.h"
#include "manager/rejoin.h"
#include "manager/spread.h"
#include "net/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum { SLOTS_MAX = 4096 };

struct node *node_by_name(struct manager *m, const char *name)
{
    struct node *n;
    DL_FOREACH(m->nodes, n)
    if (strcmp(n->name, name) == 0)
        return n;
    return NULL;
}

static void node_free(struct node *n)
{
    free(n->lanes);
    free(n);
}

int node_join(struct peer *p, const Flm__Node *d, flm_error *error)
{
    struct manager *m = p->manager;
    if (!d || d->n_slots == 0 || d->n_slots > SLOTS_MAX)
        return flm__error_set(error, FLM_EINVAL, "a node must have 1 to %d slots", SLOTS_MAX);
    if (m->backend && !rejoin_awaits_backend(m) && d->block_number && !blocks_know(m, d->block_number))
        return flm__error_set(error, FLM_ECLOSED, "this block was given back");
    char name[sizeof(((struct node *)0)->name)];
    snprintf(name, sizeof(name), "%s", d->name);
    const struct node *other = node_by_name(m, name);
    if (other && strcmp(other->block, d->block) != 0) { /* two jobs share the machine */
        snprintf(name, sizeof(name), "%.60s.%.60s", d->name, d->block);
        other = node_by_name(m, name);
    }
    if (other)
        return flm__error_set(error, FLM_EEXIST, "there is already a node %.100s", name);
    struct node *n = calloc(1, sizeof(*n));
    if (n)
        n->lanes = calloc(d->n_slots, sizeof(*n->lanes));
    if (!n || !n->lanes) {
        free(n);
        return flm__error_set(error, FLM_ENOMEM, "no memory for node %.100s", d->name);
    }
    snprintf(n->name, sizeof(n->name), "%s", name);
    snprintf(n->block, sizeof(n->block), "%s", d->block);
    n->block_number = d->block_number;
    n->began_ns = m->now;
    snprintf(n->own_name, sizeof(n->own_name), "%s", d->name);
    n->peer = p;
    n->number = m->nodes_come++;
    n->relay = p->hello->provider[0] || !flm__conn_is_unix(p->conn);
    end_time_set(n, d->end_time_s);
    n->heard_ns = m->now;
    for (unsigned i = 0; i < d->n_slots; i++) {
        Flm__Slot slot = *d->slots[i];
        slot.lane = i;
        n->lanes[i] = executor_new(m, n, &slot);
        if (!n->lanes[i])
            break;
        n->n_slots++;
    }
    n->coming_back = p->hello->came != NULL;
    p->node = n;
    DL_APPEND(m->nodes, n);
    blocks_node_joined(m, n);
    rejoin_note(m);
    return 0;
}

void node_set_fabric_address(struct node *n, const Flm__Request *r)
{
    n->heard_ns = n->peer->manager->now;
    if (r->fabric_address.len > sizeof(n->fabric_address))
        return; /* it is refused, too */
    memcpy(n->fabric_address, r->fabric_address.data, r->fabric_address.len);
    n->fabric_address_size = r->fabric_address.len;
}

void node_gone(struct node *n, const char *why)
{
    struct manager *m = n->peer->manager;
    char text[200];
    snprintf(text, sizeof(text), "node %.100s is lost: %.80s", n->name, why);
    logs_node_gone(n);
    objects_node_gone(m, n);
    spread_node_gone(m, n);
    for (unsigned i = 0; i < n->n_slots; i++)
        executor_node_gone(n->lanes[i], FLM_REASON_NODE_LOST, text);
    n->peer->node = NULL;
    n->peer = NULL;
    DL_DELETE(m->nodes, n);
    blocks_node_left(m, n);
    node_free(n);
    rejoin_note(m);
    m->schedule = true;
}

void node_free_all(struct manager *m)
{
    struct node *n, *next;
    DL_FOREACH_SAFE(m->nodes, n, next)
    {
        DL_DELETE(m->nodes, n);
        node_free(n);
    }
    for (unsigned i = 0; i < m->n_executors; i++)
        executor_free(m->executors[i]);
    free(m->executors);
    m->executors = NULL;
    m->n_executors = 0;
}

void node_drain(struct node *n, bool drain)
{
    n->drained = drain;
    for (unsigned i = 0; drain && i < n->n_slots; i++) {
        /* Its slots may be lent to a world whose first rank is on another node. */
        struct executor *e = n->lanes[i]->lent_to ? n->lanes[i]->lent_to : n->lanes[i];
        if (e->state == EXECUTOR_BOUND || e->state == EXECUTOR_BINDING)
            executor_unbind(e);
    }
    for (unsigned i = 0; !drain && i < n->n_slots; i++)
        executor_forget_trouble(n->lanes[i]); /* the agent tries again at once */
    n->peer->manager->schedule = true;
    Flm__NodeDrained drained = FLM__NODE_DRAINED__INIT;
    drained.drain = drain;
    FLM__MESSAGE(message, node_drained, NODE_DRAINED, &drained);
    peer_send(n->peer, &message, NULL, 0);
}

void node_heartbeat(struct manager *m)
{
    struct node *n, *next;
    DL_FOREACH_SAFE(m->nodes, n, next)
    {
        if (!n->relay || !n->peer)
            continue;
        if (!n->peer->link)
            continue; /* still opening its fabric, which can take long on a loaded node */
        if (m->now - n->heard_ns > m->options.loss_ms * 1000000LL) {
            peer_refuse(n->peer, FLM_ETIMEDOUT, "it has not answered for the loss time");
            continue;
        }
        Flm__Ping ping = FLM__PING__INIT;
        ping.number = ++n->ping;
        FLM__MESSAGE(message, ping, PING, &ping);
        peer_send(n->peer, &message, NULL, 0);
    }
}

/* ---- messages ---------------------------------------------------------------- */

/* The executor that a message is about, if it is about its present life. life 0: any. */
static struct executor *lane(struct node *n, uint32_t l, uint32_t life)
{
    struct executor *e = l < n->n_slots ? n->lanes[l] : NULL;
    return e && (!life || e->life == life) ? e : NULL;
}

/* An announced output. */
static void take_blob(struct executor *e, const Flm__Blob *b, int *fds, unsigned n_fds)
{
    if (n_fds == 1 &&
        arrived_blob_add(&e->blobs, &(struct arrived_blob){
                                        .id = b->id, .size = b->size, .fd = fds[0], .reused = b->reused}))
        return;
    flm__close_fds(fds, n_fds);
    if (n_fds <= 1) /* the result that refers to it could never be taken */
        executor_kill(e, FLM_REASON_OUT_OF_MEMORY, "the session manager has no memory for a large output");
}

void node_message(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds)
{
    struct node *n = p->node;
    struct executor *e;
    n->heard_ns = p->manager->now;
    if (m->body_case == FLM__MESSAGE__BODY_BLOB && (e = lane(n, m->blob->lane, m->blob->life))) {
        take_blob(e, m->blob, fds, n_fds);
        flm__message__free_unpacked(m, NULL);
        return;
    }
    if (m->body_case == FLM__MESSAGE__BODY_EXECUTOR_BACK && (e = lane(n, m->executor_back->lane, 0)))
        executor_back(e, m->executor_back, fds, n_fds);
    flm__close_fds(fds, n_fds);
    switch (m->body_case) {
    case FLM__MESSAGE__BODY_EXECUTOR_UP:
        if ((e = lane(n, m->executor_up->lane, 0)))
            executor_up(e, m->executor_up);
        break;
    case FLM__MESSAGE__BODY_EXECUTOR_LOST:
        if ((e = lane(n, m->executor_lost->lane, m->executor_lost->life)))
            executor_lost(e, m->executor_lost);
        break;
    case FLM__MESSAGE__BODY_EXECUTOR_FAILED:
        if ((e = lane(n, m->executor_failed->lane, 0)))
            executor_failed(e, m->executor_failed);
        break;
    case FLM__MESSAGE__BODY_BOUND:
        if ((e = lane(n, m->bound->lane, m->bound->life)))
            executor_bound(e, m->bound);
        break;
    case FLM__MESSAGE__BODY_BIND_FAILED:
        if ((e = lane(n, m->bind_failed->lane, m->bind_failed->life)))
            executor_bind_failed(e, m->bind_failed);
        break;
    case FLM__MESSAGE__BODY_UNBOUND:
        if ((e = lane(n, m->unbound->lane, m->unbound->life)))
            executor_unbound(e);
        break;
    case FLM__MESSAGE__BODY_RETURNED:
        if ((e = lane(n, m->returned->lane, m->returned->life)))
            executor_returned(e, m->returned);
        break;
    case FLM__MESSAGE__BODY_GET_OBJECT:
        if ((e = lane(n, m->get_object->lane, m->get_object->life)))
            objects_get(e, m->get_object);
        break;
    case FLM__MESSAGE__BODY_OBJECT_GONE:
        objects_node_drops(n, m->object_gone);
        break;
    case FLM__MESSAGE__BODY_COMMON_TAKEN:
        if ((e = lane(n, m->common_taken->lane, m->common_taken->life)))
            executor_common_taken(e, m->common_taken);
        break;
    case FLM__MESSAGE__BODY_SHARED_AT:
        spread_read(n, m->shared_at);
        break;
    case FLM__MESSAGE__BODY_SHARED_GONE:
        spread_unused(n, m->shared_gone);
        break;
    case FLM__MESSAGE__BODY_REPLY:
        logs_reply(n, m);
        return;
    case FLM__MESSAGE__BODY_BLOCK_TIME:
        end_time_set(n, m->block_time->end_time_s);
        break;
    case FLM__MESSAGE__BODY_NODE_BACK:
        n->coming_back = false;
        rejoin_node_is_back(n);
        break;
    case FLM__MESSAGE__BODY_NODE_DRAINED: /* it was told to end, and finishes what it runs */
        node_drain(n, m->node_drained->drain);
        break;
    default: /* Pong, and what a newer agent may say */
        break;
    }
    flm__message__free_unpacked(m, NULL);
}
