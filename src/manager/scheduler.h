/* manager/scheduler.h - which executor is bound to which session.
 *
 * Sessions share the executors in proportion to their weights. Each session wants as many executors as it
 * has use for (its tasks, within min and max). The executors, each with the slots that it takes (group.h),
 * are dealt out one at a time to the session that would have the least per weight; ties go to the one that
 * was served least so far (`served`, executor-seconds per weight), so that more sessions than executors
 * take turns: after a quantum an executor passes on to a session that was served less. Newcomers begin at
 * the least `served` of the others. What an executor was sent ahead is recalled when it must go, so a
 * newcomer waits for one task at most.
 */
#ifndef MANAGER_SCHEDULER_H
#define MANAGER_SCHEDULER_H

#include "manager/executor.h"

/* A task that runs longer than so does not hold those sent behind it. */
enum { STEAL_AFTER_NS = 500000 };

/* It is there, and not on a node that is being drained. */
bool scheduler_can_use(const struct executor *e);
/* About to leave its session, and a long task keeps it: nobody can count on it. */
bool scheduler_is_held_up(const struct executor *e);

/* Binds, unbinds and recalls as things are now. */
void scheduler_run(struct manager *m);

/* How often to run although nothing happens, because time itself brings something about (a quantum, a
 * recall, delay_release, a kill); 0: not at all. */
unsigned scheduler_tick_ms(const struct manager *m);

#endif
