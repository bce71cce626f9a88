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

/* They are gone: the tasks of the client are over, those on the node wait for what the client says. */
void unread_client_gone(struct peer *client);
void unread_node_gone(struct manager *m, const struct node *n);
/* The session is freed, with all its tasks. */
void unread_forget(struct session *s);

#endif
