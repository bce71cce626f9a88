/* executor/deadline.h - the second thread sees to it that a task ends by its deadline.
 *
 * The main thread writes when the running task is due; the second thread looks at the times that it
 * said it would. Only when that is too late the main thread wakes it, so a stream of short tasks costs
 * two clock reads and no system call each.
 */
#ifndef FLM_EXECUTOR_DEADLINE_H
#define FLM_EXECUTOR_DEADLINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct flm__deadline {
    _Atomic int64_t at;        /* when the running task is due; 0: no deadline; -1: it is over, the
                                  second thread ends the process */
    _Atomic int64_t next_look; /* when the second thread looks again */
    _Atomic int64_t shortest;  /* shortest deadline so far, ns */
    _Atomic uint64_t begun;    /* tasks with a deadline */
    uint64_t seen;             /* of these, at the last look; second thread */
    int wake_fd;               /* eventfd that wakes the second thread; borrowed */
    bool outlived;             /* the process goes on when the deadline is over (a guest) */
};

void flm__deadline_init(struct flm__deadline *d, int wake_fd);

/* Main thread: a task begins that is due after ms (> 0). Returns when, in flm__now_ns. */
int64_t flm__deadline_begin(struct flm__deadline *d, uint64_t ms);
/* Main thread: it has ended. Does not return when that was too late. */
void flm__deadline_end(struct flm__deadline *d);

/* Second thread: how long it may sleep, ms (-1: for ever), or -2: the running task is overdue and will
 * not be able to end any more. */
int flm__deadline_look(struct flm__deadline *d);

#endif
