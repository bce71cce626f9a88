/* executor/shim_launch.h - the launcher of an MPI program that is run for each task (shim mpi).
 *
 * Shim mpi is shim exec with a launcher before the command: the one of the node's worlds, "mpirun -n 4",
 * which the agent gives to the executor (FLM_LAUNCH). A launcher that is killed can leave ranks behind:
 * while such a session is entered they become children of the executor, which ends them after each task.
 * Where the launcher is "{mpirun}" it is that of the MPI that the program was compiled with.
 */
#ifndef FLM_EXECUTOR_SHIM_LAUNCH_H
#define FLM_EXECUTOR_SHIM_LAUNCH_H

#include "executor/process.h"

#include <limits.h>

struct flm__launch {
    char **words;  /* of the launcher; the command follows */
    size_t n;      /* 0: there is none, this is shim exec */
    char **mpirun; /* the word "{mpirun}", which depends on the program; NULL: there is none */
    char **mpi;    /* the word "{mpi}", the same */
    char *text;
    char path[PATH_MAX];
};

/* For the session's app; of shim exec it is empty. 0, or the error says why not. */
int flm__launch_open(struct flm__launch *l, const struct flm__shim_app *app, char *const *environment,
                     flm_error *error);
void flm__launch_close(struct flm__launch *l);

/* For this program, as it was named, in the directory (NULL: where we are). FLM_ENOTSUP, FLM_EBIND: the
 * error says why it cannot be started. Nothing happens where there is no launcher. */
int flm__launch_choose(struct flm__launch *l, const char *program, const char *directory,
                       char *const *environment, flm_error *error);

/* The launcher of a task has ended, with this status as from wait(2): ends what it has left behind, and
 * says in the outcome which signal has ended a rank, when that can be told. */
void flm__launch_ended(const struct flm__launch *l, struct flm__shim_task *task, int status,
                       const char *program);

#endif
