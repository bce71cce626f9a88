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

/* at NULL: nowhere any more. */
static void tell(struct peer *reader, const struct peer *client, const struct peer_address *at)
{
    Flm__FabricPeer known = FLM__FABRIC_PEER__INIT;
    known.number = client->number;
    if (at) {
        known.address.data = (uint8_t *)(uintptr_t)at->bytes;
        known.address.len = at->size;
    }
    FLM__MESSAGE(m, fabric_peer, FABRIC_PEER, &known);
    peer_send(reader, &m, NULL, 0);
}

static void tell_readers(const struct peer *client, const struct peer_address *at)
{
    struct peer *p;
    DL_FOREACH(client->manager->peers, p)
    {
        if (is_reader(p))
            tell(p, client, at);
    }
}

void direct_peer_came(struct peer *p, const Flm__Request *r)
{
    struct peer *client;
    if (is_reader(p)) {
        DL_FOREACH(p->manager->peers, client)
        {
            if (client->state == PEER_CLIENT && client->address)
                tell(p, client, client->address);
        }
        return;
    }
    struct peer_address *at = p->state == PEER_CLIENT ? malloc(sizeof(*at) + r->fabric_address.len) : NULL;
    if (!at)
        return; /* it is read from by flmd alone */
    at->size = r->fabric_address.len;
    memcpy(at->bytes, r->fabric_address.data, at->size);
    p->address = at;
    tell_readers(p, at);
}

void direct_peer_gone(struct peer *p)
{
    if (p->address)
        tell_readers(p, NULL);
    free(p->address);
    p->address = NULL;
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

struct blob *direct_take(struct session *s, const struct flm__blob_ref *where)
{
    const struct peer *p = s->client;
    bool outlives_client = s->durability || s->detached || s->manager->options.client_grace_s;
    if (outlives_client || !p->address || p->not_direct || rings_work(s->manager))
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
