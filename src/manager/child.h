/* manager/child.h - programs of ours that flmd starts while it runs, each at the other end of a socket. */
#ifndef MANAGER_CHILD_H
#define MANAGER_CHILD_H

#include <flm/error.h>
#include <stdint.h>

/* Starts argv[0], which is set to the full path of the program `name`, with its end of a socket pair as
 * descriptor 3 and in a process group of its own. Returns our end (close-on-exec), or an error. */
int child_start(const char *name, char **argv, int *pid, flm_error *error);

/* Kills it, without waiting: the kernel may hold one whose disk does not answer. */
void child_kill(int pid);
/* Takes note of the end of those. Each second. */
void child_reap(void);

/* At the end of flmd: waits for its end, and at the deadline (flm__now_ns) kills it. */
void child_wait(int pid, int64_t deadline_ns);

#endif
