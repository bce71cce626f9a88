#include "manager/direct.h"

#include "manager/peer.h"
#include "manager/say.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

/* ---- who is reached where ------------------------------------------------------------------------ */

static bool is_reader(const struct peer *p)
{
    return p->state == PEER_NODE && p->node && p->node->relay;
}

uint64_t direct_number(const struct node *n)
{
    return n->number + 1ull;
}

/* size 0: nowhere any more. */
static void tell(struct peer *to, uint64_t number, const void *address, size_t size)
{
    Flm__FabricPeer known = FLM__FABRIC_PEER__INIT;
    known.number = number;
    known.address.data = (uint8_t *)(uintptr_t)address;
    known.address.len = size;
    FLM__MESSAGE(m, fabric_peer, FABRIC_PEER, &known);
    peer_send(to, &m, NULL, 0);
}

/* Each of the other hears where it is. */
static void introduce(struct peer *client, struct peer *reader)
{
    const struct node *n = reader->node;
    tell(reader, client->number, client->address->bytes, client->address->size);
    if (n->fabric_address_size)
        tell(client, direct_number(n), n->fabric_address, n->fabric_address_size);
}

static bool remember_address(struct peer *p, const Flm__Request *r)
{
    p->address = malloc(sizeof(*p->address) + r->fabric_address.len);
    if (!p->address)
        return false;
    p->address->size = r->fabric_address.len;
    memcpy(p->address->bytes, r->fabric_address.data, p->address->size);
    return true;
}

void direct_peer_came(struct peer *p, const Flm__Request *r)
{
    const bool reads = is_reader(p);
    struct peer *other;
    if (!reads && (p->state != PEER_CLIENT || !remember_address(p, r)))
        return; /* it is read from by flmd alone */
    DL_FOREACH(p->manager->peers, other)
    {
        if (reads && other->state == PEER_CLIENT && other->address)
            introduce(other, p);
        else if (!reads && is_reader(other))
            introduce(p, other);
    }
}

void direct_peer_gone(struct peer *p)
{
    struct peer *other;
    DL_FOREACH(p->manager->peers, other)
    {
        if (p->address && is_reader(other))
            tell(other, p->number, NULL, 0);
    }
    free(p->address);
    p->address = NULL;
}

void direct_node_gone(struct manager *m, const struct node *n)
{
    struct peer *client;
    DL_FOREACH(m->peers, client)
    {
        if (client->state == PEER_CLIENT && client->address)
            tell(client, direct_number(n), NULL, 0);
        if (client->unreadable == direct_number(n)) { /* it was not the client's fault */
            client->unreadable = 0;
            client->unreadable_code = 0;
        }
    }
}

/* ---- inputs ---------------------------------------------------------------------------------------- */

/* Whether there are executors that read nothing over the fabric. */
static bool rings_work(const struct manager *m)
{
    const struct node *n;
    DL_FOREACH(m->nodes, n)
    {
        if (n->peer && !n->relay)
            return true;
    }
    return false;
}

bool direct_client(const struct session *s)
{
    return !session_outlives_client(s) && s->client->address;
}

struct blob *direct_take(struct session *s, const struct flm__blob_ref *where)
{
    const struct peer *p = s->client;
    if (!direct_client(s) || p->not_direct || rings_work(s->manager))
        return NULL;
    return blob_remote(p, where);
}

bool direct_can_read(const struct executor *e, const struct blob *b)
{
    const struct peer *p = peer_client(b->manager, b->lender.client);
    return !e->link && p && p->address && !p->not_direct;
}

void direct_failed(struct node *n, unsigned lane, struct blob *b)
{
    struct peer *p = b->remote ? peer_client(b->manager, b->lender.client) : NULL;
    struct executor *e = lane < n->n_slots ? n->lanes[lane] : NULL;
    if (p && !p->not_direct)
        say("node %s cannot read large inputs of client %s (process %d) itself: from now on they go "
            "through the session manager, which is slower",
            n->name, p->name, p->pid);
    if (p)
        p->not_direct = true;
    if (e)
        executor_recall(e); /* what waits there for the input comes back, to be sent with ours */
}
