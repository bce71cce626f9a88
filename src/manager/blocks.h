/* manager/blocks.h - the ledger of blocks: what flmd has asked its backend for, and what became of it.
 *
 * There is one block for all nodes, and, where one of its nodes is lost while others stay, one more for
 * that node alone; and jobs of our own, which come and go with the work (block_jobs.c). A block that ends
 * although nobody asked for that is asked for again, later each time. Each attempt has a number of its own,
 * so that what belongs to an earlier one is told apart.
 *
 *     waits --time--> asked --granted--> granted --ended--> waits
 *                       '-----refused-----------------------^
 */
#ifndef MANAGER_BLOCKS_H
#define MANAGER_BLOCKS_H

#include "manager/node.h"

/* The backend is ready; abilities: enum flm_backend_ability. */
void blocks_start(struct manager *m, unsigned abilities);
/* Gives all back, and asks for nothing any more. */
void blocks_stop(struct manager *m);
/* After the loop. */
void blocks_free(struct manager *m);

/* One that a session manager before has asked for; before blocks_start. */
void blocks_back(struct manager *m, const Flm__BlockBack *back);

/* Granted, refused, waiting, ended, time left. */
void blocks_event(struct manager *m, const Flm__BlockEvent *event);

/* With the heartbeat: what they do is told to those who look at the batch system's queue. */
void blocks_comment(struct manager *m);

/* Whether it is wanted, or was given up since. */
bool blocks_know(struct manager *m, uint64_t number);
/* Nodes may come that nobody knows anything of yet. */
bool blocks_may_bring_more(const struct manager *m);
void blocks_node_joined(struct manager *m, struct node *n);
void blocks_node_left(struct manager *m, const struct node *n);

#endif
