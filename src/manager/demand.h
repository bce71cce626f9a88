/* manager/demand.h - how many executors there is work for.
 *
 * A session has use for as many as finish what it holds within the backlog time:
 *
 *     min(tasks, max_instances, ceil(tasks x duration of a task / backlog))
 *
 * with the duration that its executors measure; as long as none has, one more block than there is is worth
 * a try, not more: whether tasks take a microsecond or an hour is not known.
 */
#ifndef MANAGER_DEMAND_H
#define MANAGER_DEMAND_H

#include "manager/manager.h"

struct demand {
    uint64_t slots;              /* that there is work for, of known duration */
    bool unknown;                /* work of unknown duration waits */
    bool any;                    /* any session that is not closed */
    const struct session *first; /* the session with the most need; NULL: none */
};

void demand_compute(const struct manager *m, unsigned backlog_s, struct demand *out);

#endif
