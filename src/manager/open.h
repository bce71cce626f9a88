/* manager/open.h - clients create sessions, open those that are there, and come back to those that they
 * had.
 */
#ifndef MANAGER_OPEN_H
#define MANAGER_OPEN_H

#include "manager/client.h"

/* A CreateSession. Takes the message, and takes or closes the descriptors. */
void open_request(struct peer *p, Flm__Message *m, int *fds, unsigned n_fds);

/* The session is open: says all that its client has to know. */
void open_reply(struct peer *p, uint64_t id, struct session *s);

/* The disk is full, so it may take long until a session is durable that is being opened: true, it is
 * refused now. */
bool open_refuse(struct session *s);

#endif
