/* executor/process.h - child processes of the shims: find, start, watch, reap.
 *
 * One child at a time per struct flm__process, in a process group of its own,
 * with default signal dispositions, an empty signal mask and no descriptors but
 * those it is given. Everything here belongs to the main thread of the executor
 * but flm__watch_cancel.
 */
#ifndef FLM_EXECUTOR_PROCESS_H
#define FLM_EXECUTOR_PROCESS_H

#include "base/oom.h"
#include "executor/shim.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* The descriptor under which a child finds the common data. */
enum { FLM__COMMON_CHILD_FD = 3 };

/* What to start. */
struct flm__spawn {
    const char *path; /* of the file, relative to directory or absolute */
    char *const *argv;
    char *const *envp;
    const char *directory; /* NULL: where we are */
    int in, out, err;      /* become 0, 1, 2; -1: inherited */
    int common_fd;         /* becomes FLM__COMMON_CHILD_FD; -1: none */
};

struct flm__process {
    pid_t pid;               /* 0: none */
    int pidfd;               /* -1: none, or the kernel has no such thing */
    struct flm__usage usage; /* of the last one that was reaped */
};

/* 0 or an errno value. A file without #! that is not a program is given to
 * /bin/sh, as a shell would do. */
int flm__process_start(struct flm__process *p, const struct flm__spawn *what);

/* Signals the whole group. Nothing happens when there is no child. */
void flm__process_signal(const struct flm__process *p, int signal);

/* True when the child has ended (it is not reaped yet). */
bool flm__process_ended(const struct flm__process *p);

/* Waits for the end of the child, kills what is left of its group, and returns
 * its status as from wait(2). What it has used is in p->usage. */
int flm__process_reap(struct flm__process *p);

/* --- watching a child: cancel, deadline, and what comes after SIGTERM --- */

enum flm__watch_why { FLM__WATCH_NONE = 0, FLM__WATCH_CANCEL, FLM__WATCH_DEADLINE, FLM__WATCH_LIMIT };

struct flm__watch {
    int wake_fd;                /* eventfd: cancel was called */
    _Atomic uint64_t cancelled; /* the task to cancel */
    atomic_bool cancelled_all;  /* until leave */
    uint64_t task;              /* the rest: of the task that runs */
    int64_t deadline_ns;        /* monotonic; 0: none */
    int64_t kill_ns;            /* when SIGKILL is due; 0: SIGTERM not sent */
    int why;                    /* enum flm__watch_why: the first reason to end the child */
    struct flm__oom oom;        /* kills since the task began */
};

int flm__watch_init(struct flm__watch *w); /* 0 or an errno value */
void flm__watch_fini(struct flm__watch *w);
void flm__watch_cancel(struct flm__watch *w, uint64_t task); /* any thread */
void flm__watch_begin(struct flm__watch *w, uint64_t task, uint64_t deadline_ms);
void flm__watch_forget(struct flm__watch *w); /* on leave: no cancel is pending any more */
bool flm__watch_cancelled(const struct flm__watch *w);

/* Ends the child for this reason: SIGTERM now, SIGKILL later. The first reason
 * stays. */
void flm__watch_end(struct flm__watch *w, const struct flm__process *p, int why);

/* Does what is due. Call it before each poll; fds[0] gets the wake_fd. Returns
 * the timeout for poll, at most `most` ms (-1: no limit). */
int flm__watch_step(struct flm__watch *w, const struct flm__process *p, int most);

/* To be called after each poll when fds of wake_fd is readable. */
void flm__watch_drain(struct flm__watch *w);

/* Waits for the end of the child (it is not reaped), doing what is due. */
void flm__watch_wait(struct flm__watch *w, const struct flm__process *p);

/* --- outcomes --- */

/* Fills the outcome of a task from the end of its child; oom: of the watch. */
void flm__outcome_of_child(struct flm__shim_task *t, int status, int why, struct flm__oom *oom,
                           const char *file);

/* A failed task. */
void flm__outcome_fail(struct flm__shim_task *t, int reason, int code, const char *format, ...)
    FLM_PRINTF(4, 5);

/* --- environment and files --- */

/* A copy of base (NULL: ours) with the variables of the session and the task
 * put in. */
struct flm__environment {
    char **list;   /* NULL-terminated, for posix_spawn */
    char *own;     /* texts that are ours */
    char *task_id; /* FLM_TASK_ID=..., see flm__environment_task */
};
int flm__environment_make(struct flm__environment *e, const char *const *base,
                          const struct flm_session_info *info); /* 0 or FLM_ENOMEM */
void flm__environment_task(struct flm__environment *e, uint64_t task);
void flm__environment_drop_task(struct flm__environment *e); /* no FLM_TASK_ID */
void flm__environment_free(struct flm__environment *e);
const char *flm__environment_get(char *const *list, const char *name); /* NULL: not set */

/* The path of a command as execvp would find it: relative to directory (NULL:
 * where we are) or in PATH of the environment. 0, or an errno value. */
int flm__command_find(const char *command, const char *directory, char *const *environment, char *path,
                      size_t size);

/* A sealed descriptor of these bytes, at offset 0, or -1 and errno. */
int flm__memory_file(const char *name, const void *data, size_t size);

#endif
