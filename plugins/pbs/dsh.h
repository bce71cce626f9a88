/* pbs/dsh.h - pbsdsh, which starts a task on a node of the job, and itself always succeeds. */
#ifndef PLUGIN_PBS_DSH_H
#define PLUGIN_PBS_DSH_H

/* Of what "pbsdsh -v" has said about its one task: the status with which that has ended, 256 + n when it
 * was signal n. -1: it does not say so. */
int dsh_status(const char *said);

#endif
