/* executor/shim.h - the ways an executor can run a service, behind one table.
 *
 * A shim serves one session at a time: enter, then invoke per task, then leave.
 * The main thread of the executor makes these calls. cancel is the one call for
 * its second thread: it may come at any moment between create and destroy.
 */
#ifndef FLM_EXECUTOR_SHIM_H
#define FLM_EXECUTOR_SHIM_H

#include <flm/admin.h>
#include <flm/client.h>
#include <flm/service.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/record.h"

enum { FLM__SHIM_MESSAGE_MAX = 400 };

/* What is known of the application. Everything lives until leave has returned. */
struct flm__shim_app {
    const char *name;
    int shim;                       /* enum flm_shim */
    const char *launch;             /* shim mpi: the words that start its ranks, each a line; else NULL */
    int exec_mode;                  /* enum flm_exec_mode */
    const char *const *command;     /* file and arguments, NULL-terminated; NULL: none */
    const char *const *environment; /* all of it, NULL-terminated; NULL: the one of this process */
    const char *working_directory;  /* NULL: the one of this process */
    uint64_t output_limit;          /* most bytes of output of one task; 0: FLM_MAX_PAYLOAD */
    int common_fd;                  /* a descriptor of the common data that a child may inherit
                                       (read-only), or -1: the shim makes one when it needs it */
};

/* One task: what it is, and what came of it. */
struct flm__shim_task {
    uint64_t task;       /* its id */
    const char *session; /* id of its session */
    const void *input;   /* never NULL, aligned to 8 */
    size_t input_size;
    uint64_t deadline_ms; /* from the start of invoke; 0: none. The shims exec and stdio keep it
                             themselves; for the others the executor does */

    /* Room for an output of exactly size bytes, aligned to 8; NULL: no memory. Called at most
     * once by exec and stdio. A task that failed may have an output, too: pass it on. */
    void *(*output)(struct flm__shim_task *task, size_t size);
    void *owner; /* for output() */

    /* Filled by invoke. */
    int state;  /* FLM_TASK_SUCCEED, _FAILED, _CANCELLED */
    int reason; /* enum flm_reason */
    int code;
    char message[FLM__SHIM_MESSAGE_MAX + 1];
    struct flm__usage usage; /* of its process; all 0: not known */
};

struct flm__shim;

struct flm__shim_ops {
    const char *name; /* "exec" */

    /* NULL: no memory or no descriptors. */
    struct flm__shim *(*create)(flm_error *error);
    void (*destroy)(struct flm__shim *shim); /* after leave; NULL is allowed */

    /* Makes ready for a session's tasks. app and info live until leave has returned. 0, or an
     * error (FLM_EBIND, FLM_ELOAD, ...) that says why the session cannot be served here; then
     * leave is not called. */
    int (*enter)(struct flm__shim *shim, const struct flm__shim_app *app,
                 const struct flm_session_info *info, flm_error *error);

    /* Runs one task and fills its outcome. 0: ready for the next. An error: the outcome is filled
     * all the same, but this shim serves no more tasks until it has left and entered. */
    int (*invoke)(struct flm__shim *shim, struct flm__shim_task *task);

    void (*leave)(struct flm__shim *shim);

    /* Any thread: ends the task with this id if it is the one that runs now or the next to run,
     * else nothing happens. Task 0: whatever goes on now or is asked for until leave, also enter.
     * A child gets SIGTERM, after 2 s SIGKILL; the task then ends as CANCELLED. Does not wait. */
    void (*cancel)(struct flm__shim *shim, uint64_t task);
};

/* Every shim begins with this. */
struct flm__shim {
    const struct flm__shim_ops *ops;
};

extern const struct flm__shim_ops flm__shim_exec;
extern const struct flm__shim_ops flm__shim_stdio;

#endif
