/* executor/session.h - the session that an executor has entered: its service, its common data, its
 * surroundings. Main thread, except flm__session_cancel. */
#ifndef FLM_EXECUTOR_SESSION_H
#define FLM_EXECUTOR_SESSION_H

#include "executor/shim.h"
#include "executor/shim_so.h"
#include "wire/frame.h"

#include <pthread.h>
#include <stdbool.h>

struct flm__executor;

/* A variable as it was before the session. */
struct flm__old_variable {
    char *name;
    char *value; /* NULL: it was not set */
};

struct flm__session {
    bool entered;
    uint32_t number;
    uint32_t deadline_ms;  /* of tasks that have none of their own; 0: none */
    bool timed;            /* results tell how long their tasks took (flm__record_duration) */
    Flm__Message *message; /* the Bind: all texts below live in it */
    struct flm_session_info info;
    struct flm__shim_app app;

    /* What serves: a service that is called (so, self), or a shim. */
    const struct flm_service *service;
    void *state;
    struct flm__shim *shim; /* of the second thread, too: under lock */
    bool spoilt;            /* the shim serves no more tasks */

    pthread_mutex_t lock;
    uint64_t running; /* lock: number of the task that the shim runs; 0: none */
    uint64_t running_id;

    /* Surroundings. */
    int old_directory; /* -1: not changed */
    struct flm__old_variable *old;
    size_t n_old;
    const char **command;     /* NULL-terminated copies of the arrays of the message */
    const char **environment; /* for children: the whole of it; NULL: ours */
    int common_fd;            /* read-only, for children; -1: none */

    struct flm__so_cache loaded;
};

void flm__session_init(struct flm__session *s);
void flm__session_fini(struct flm__session *s);

/* Takes message (a Bind) and fd (its common data, or -1). 0 or an error with text; then it is as if
 * nothing had happened. */
int flm__session_enter_take(struct flm__executor *e, Flm__Message *message, int fd, flm_error *error);

/* After the shim said that it serves no more tasks: leaves and enters the same session. */
int flm__session_renew(struct flm__executor *e, flm_error *error);

/* Nothing happens when no session is entered. */
void flm__session_leave(struct flm__executor *e);

/* Second thread: the task with this number is to end, if a shim runs it; 0: whatever runs or will. */
void flm__session_cancel(struct flm__executor *e, uint64_t number);

/* surroundings.c: directory and environment of the application, and back. */
int flm__surroundings_enter(struct flm__session *s, const Flm__Application *app, flm_error *error);
void flm__surroundings_leave(struct flm__session *s);
/* The environment for children: ours with the application's variables. NULL-terminated array (one
 * allocation, texts borrowed); NULL with *error set, or NULL when there are no variables. */
int flm__surroundings_merge(const Flm__Application *app, const char ***environment, flm_error *error);

#endif
