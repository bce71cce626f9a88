/* pbs/dsh.h - pbsdsh, which starts a task on a node of the job, and itself always succeeds. */
#ifndef PLUGIN_PBS_DSH_H
#define PLUGIN_PBS_DSH_H

#include <stddef.h>

/* Reads into said what "pbsdsh -v" has written to that file about its one task. Returns the status with
 * which the task has ended, 256 + n when it was signal n. -1: it does not say so. */
int dsh_read(int fd, char *said, size_t size);

#endif
