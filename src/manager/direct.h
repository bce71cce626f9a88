/* manager/direct.h - large inputs that stay with their client until who runs the task reads them there.
 *
 * A client with a fabric link shows its inputs where they lie. flmd reads those of sessions that outlive
 * their client, and all that executors on its own node may run. Others it passes on as references, so that
 * they cross the network once: such a blob is `remote`, has no memory here, and holds the client's until it
 * is released, which the client is told (blob_lent_by). A node that cannot read there says so, and from
 * then on flmd reads what this client has and will have.
 *
 * A client is known to nodes by its number (FabricPeer), which the references carry.
 */
#ifndef MANAGER_DIRECT_H
#define MANAGER_DIRECT_H

#include "manager/executor.h"

/* A peer of the fabric has told its address; it is gone. */
void direct_peer_came(struct peer *p, const Flm__Request *address);
void direct_peer_gone(struct peer *p);

/* A relay is gone. */
void direct_node_gone(struct manager *m, const struct node *n);
/* As clients know a relay. */
uint64_t direct_number(const struct node *n);

/* Whether the session's client is on a fabric, and the session no longer than that. */
bool direct_client(const struct session *s);

/* The input of a task that has just come, to be left where it is; NULL: flmd is to read it. */
struct blob *direct_take(struct session *s, const struct flm__blob_ref *where);

/* Whether the executor's node can read it there; else flmd has to, first. */
bool direct_can_read(const struct executor *e, const struct blob *b);

/* A node says that it could not. */
void direct_failed(struct node *n, unsigned lane, struct blob *b);

/* A task with this input ends: flag of its result, while a node may still read it. */
static inline uint8_t direct_flag(const struct blob *b)
{
    return b && b->remote && b->refs > 1 ? FLM__RECORD_HELD : 0;
}

#endif
