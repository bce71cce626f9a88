/* manager/logs.h - what services wrote: asked of the node agents, which hold it. */
#ifndef MANAGER_LOGS_H
#define MANAGER_LOGS_H

#include "manager/peer.h"

/* A client's question: goes to all nodes; it is answered when each has answered, is gone, or has been
 * silent for too long. Lines of nodes that are missing are replaced by one that says so. */
void logs_ask(struct peer *p, uint64_t id, const Flm__LogQuery *query);

/* The answer of a node. Takes the message. */
void logs_reply(struct node *n, Flm__Message *message);

/* The node will not answer any more. */
void logs_node_gone(struct node *n);

/* The client is gone: its questions are forgotten. */
void logs_forget(struct peer *p);

/* At each heartbeat: answers questions for which a node is overdue. */
void logs_overdue(struct manager *m);

#endif
