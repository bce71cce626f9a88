/* manager/end_time.h - the end of a block's time: a task that could not be done by then is not begun there.
 *
 * How long a task will take is what its executor has measured, else what others of its session have, else
 * the session's deadline; with none of these it is begun. What the end cuts off all the same runs again
 * elsewhere and is not charged.
 */
#ifndef MANAGER_END_TIME_H
#define MANAGER_END_TIME_H

#include "manager/executor.h"

/* For results to get home, and Slurm to be exact to that. */
#define END_TIME_MARGIN_NS INT64_C(3000000000)
/* A node that has no longer is no help to those who wait. */
#define END_TIME_USELESS_NS INT64_C(15000000000)

/* Sets the node's end; since the epoch, 0: none known. */
void end_time_set(struct node *n, int64_t end_time_s);

/* How many tasks of the session one after the other are done in time; e need not be bound. */
unsigned end_time_tasks(const struct executor *e, const struct session *s);

static inline bool end_time_is_near(const struct node *n, int64_t now)
{
    return n->end_ns && n->end_ns - now < END_TIME_USELESS_NS;
}

/* Lets go of executors whose node's time does not suffice for their session. With the heartbeat. */
void end_time_look(struct manager *m);

#endif
