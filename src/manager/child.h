/* manager/child.h - programs of ours that flmd starts while it runs, each at the other end of a socket. */
#ifndef MANAGER_CHILD_H
#define MANAGER_CHILD_H

#include <flm/error.h>

/* Starts argv[0], which is set to the full path of the program `name`, with its end of a socket pair as
 * descriptor 3 and in a process group of its own. Returns our end (close-on-exec), or an error. */
int child_start(const char *name, char **argv, int *pid, flm_error *error);

#endif
