/* manager/unread.h - large outputs that their client reads on the node where they were made.
 *
 * Where inputs may stay with their client (manager/direct.h) outputs may stay with their node: the client
 * gets a reference with the node's number, reads there, and says BlobDone. Until then the task is not over:
 * if the output cannot be read, because the node is lost or the client cannot reach it, the task is run
 * again, and from then on flmd reads what is for this client. So no result is lost, nor counted twice.
 */
#ifndef MANAGER_UNREAD_H
#define MANAGER_UNREAD_H

#include "manager/executor.h"

/* Sends the plain result of the session's task, which the executor has answered, and whose output is where
 * its node says. False: it has to come here first. */
bool unread_send(struct executor *e, struct session *s, struct task_ref ref,
                 const struct flm__blob_ref *where);

/* BlobDone of a client; false: it is about something else. */
bool unread_done(struct peer *client, const Flm__BlobDone *done);

/* Every two seconds: says which clients cannot read on a node. */
void unread_look(struct manager *m);

/* Nobody waits until the tasks' outputs were read: they run again, or are over as the session is being
 * cancelled. A client that is still there may be reading, so the outputs stay until it says. */
void unread_run_again(struct session *s);

/* It is gone, and its sessions go on without it. */
void unread_client_gone(const struct peer *client);
/* What was there waits for what the clients say. */
void unread_node_gone(struct manager *m, const struct node *n);
/* The session is freed, with all its tasks. */
void unread_forget(struct session *s);

#endif
