/* manager/executor_inside.h - what executor.c shares with executor_loss.c. */
#ifndef MANAGER_EXECUTOR_INSIDE_H
#define MANAGER_EXECUTOR_INSIDE_H

#include "manager/executor.h"

static inline struct manager *executor_manager(const struct executor *e)
{
    return e->node->peer->manager;
}

bool executor_join_session(struct executor *e, struct session *s);
void executor_leave_session(struct executor *e);
void executor_reset_flow(struct executor *e);

/* A task that did not begin goes back in front, unless somebody wants it no more. */
void executor_give_back(struct session *s, struct task_ref ref);

/* Its process has ended, and what it had answered has been taken: Void. */
void executor_bury(struct executor *e);
void executor_drop_blobs(struct executor *e);

#endif
