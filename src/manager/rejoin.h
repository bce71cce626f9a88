/* manager/rejoin.h - agents, executors and the backend that outlive a session manager with a state
 * directory, and how they find the next one.
 *
 * The file `flmd` in the state directory says where we listen and who would outlive us. One that begins
 * with that of a predecessor waits a moment for those (it gathers): until then nothing is started and no
 * task is sent, since a task that waits may be running on an executor that is about to come back. Who comes
 * later is taken, too, as far as its block is still known.
 */
#ifndef MANAGER_REJOIN_H
#define MANAGER_REJOIN_H

#include "manager/node.h"

/* With the state directory ours, and before anything is started. */
int rejoin_open(struct manager *m, flm_error *error);
/* In order, so that nobody is to outlive us. */
void rejoin_stop(struct manager *m);
void rejoin_free(struct manager *m);

bool rejoin_gathers(const struct manager *m);
/* The backend of the predecessor seems to be there: another is started only if it does not come. */
bool rejoin_awaits_backend(const struct manager *m);

/* What is told to those who are to outlive us; borrowed. */
void rejoin_describe(const struct manager *m, Flm__Rejoin *rejoin);

/* Somebody comes from a predecessor: an error to refuse it with. FLM_ECLOSED: it is to end. */
int rejoin_admit(struct peer *p, flm_error *error);
void rejoin_node_is_back(struct node *n);
void rejoin_backend_is_back(struct manager *m);

/* Nodes or the backend have changed: the file is to say so. */
void rejoin_note(struct manager *m);

#endif
