/* manager/backend.h - flm-backend, the helper process that hosts the plugin which obtains nodes. */
#ifndef MANAGER_BACKEND_H
#define MANAGER_BACKEND_H

#include "manager/node.h"

/* Starts the helper; once it is ready blocks_start is called. Before any transport is opened. */
int backend_start(struct manager *m, flm_error *error);
void backend_stop(struct manager *m); /* asks it to release everything */
void backend_free(struct manager *m);
/* That of a session manager before comes back over this connection, which was greeted; refused where there
 * is another. What it has is told by BlockBack. */
void backend_adopt(struct manager *m, struct peer *p);
int backend_pid(const struct manager *m); /* 0: there is none */
bool backend_running(const struct manager *m);
bool backend_begins(const struct manager *m); /* what it can do is not known yet */
/* It starts worlds of ranks on several nodes of a job. */
bool backend_spreads_worlds(const struct manager *m);

/* Asks for a block with this number: of all nodes that are here, or (node not "") of that one, or (job not
 * NULL) a new job of that name. slots: of the node that was lost. Answered by blocks_event. */
int backend_ask(struct manager *m, uint64_t number, const char *node, unsigned slots, const char *job);
void backend_release(struct manager *m, uint64_t number);
void backend_comment(struct manager *m, uint64_t number, const char *text);

/* Asks the plugin what it would ask for, and tells the client. One at a time. */
void backend_dry_run(struct peer *p, uint64_t id, const Flm__BlockRequest *wanted);

#endif
