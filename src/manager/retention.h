/* manager/retention.h - how long sessions that are Closed are kept, to be looked at and, where they are
 * durable, until somebody takes their results: while there are few of them, or as long and as much as
 * --keep-closed and --keep-size say; or until somebody deletes them. */
#ifndef MANAGER_RETENTION_H
#define MANAGER_RETENTION_H

#include "manager/session.h"

/* Those that nobody needs, while there are more than this. */
enum { SESSION_CLOSED_KEPT = 256 };

/* Frees sessions, so: between turns only, when manager->forget says so. */
void retention_forget(struct manager *m);

/* Now and then, likewise: the limits of age and size. */
void retention_look(struct manager *m);

/* Deletes the session, which is Closed and has no client; with force any: it is cancelled, and goes when
 * its client has gone. FLM_EBUSY. */
int retention_delete(struct session *s, bool force, flm_error *error);

#endif
