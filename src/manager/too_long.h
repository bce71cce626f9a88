/* manager/too_long.h - tasks that take longer than any job's time: they wait, or are cut off again and
 * again. Nothing is done about it but to say so, in the log, in the session's events and as its trouble. */
#ifndef MANAGER_TOO_LONG_H
#define MANAGER_TOO_LONG_H

#include "manager/executor.h"

/* The end of its node takes the running task from an executor, which is about to give it back. */
void too_long_cut_off(struct executor *e);
/* With the heartbeat. */
void too_long_look(struct manager *m);

#endif
