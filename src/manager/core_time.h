/* manager/core_time.h - what the executors of a session have spent their time on: tasks whose outcomes
 * count, and attempts that came to nothing, since their executor, node or job ended before they did. In
 * nanoseconds of cores.
 *
 * Counted with each batch of results and each end of an executor, never per task. Of durable sessions it is
 * recorded once a second, so that not more than that is missing after the end of the session manager; the
 * attempts that were running then have come to nothing.
 */
#ifndef MANAGER_CORE_TIME_H
#define MANAGER_CORE_TIME_H

#include <stdbool.h>
#include <stdint.h>

struct executor;
struct manager;
struct session;

/* As it is recorded; later ones have larger sums. */
struct core_time {
    int64_t useful_ns, wasted_ns;
    int64_t running_ns; /* so far on tasks that are not answered */
};

/* Up to now. */
struct core_time core_time_of(const struct session *s);
/* What the executor had not finished comes to nothing. began: number of the last task that it began; 0: not
 * known. False: it had begun nothing. */
bool core_time_lost(struct executor *e, uint64_t began);
/* It leaves its session. */
void core_time_leave(struct executor *e);

/* Once a second, and at the end. */
void core_time_record(struct manager *m);
/* The session is taken up with the newest that was recorded. */
void core_time_restore(struct session *s, const struct core_time *recorded);

#endif
