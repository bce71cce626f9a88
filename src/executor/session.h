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

/* One version of a session's common data. */
struct flm__common_map {
    const void *map; /* read-only; NULL: none */
    size_t size;
    uint64_t version;
    int fd; /* read-only, for children; -1: none */
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
    const char **command;          /* NULL-terminated copies of the arrays of the message */
    const char **environment;      /* for children: the whole of it; NULL: ours */
    struct flm__common_map common; /* as in info */

    /* A newer version that the main thread has not taken yet: common.c. */
    struct flm__common_map next_common; /* lock */
    uint32_t next_common_session;       /* lock: number of its session; 0: there is none */

    struct flm__so_cache loaded;
};

void flm__session_init(struct flm__session *s);
void flm__session_fini(struct flm__session *s);

/* Takes message (a Bind) and fd (its common data, or -1). 0 or an error with text; then it is as if
 * nothing had happened. */
int flm__session_enter_take(struct flm__executor *e, Flm__Message *message, int fd, flm_error *error);

/* The shim serves no more tasks, or new common data (NULL: the same) have come: leaves and enters the same
 * session. When it cannot be entered that is the end of the executor. */
void flm__session_renew(struct flm__executor *e, const struct flm__common_map *common);

/* Nothing happens when no session is entered. */
void flm__session_leave(struct flm__executor *e);

/* Second thread: the task with this number is to end, if a shim runs it; 0: whatever runs or will. */
void flm__session_cancel(struct flm__executor *e, uint64_t number);

/* common.c. Maps what a Bind or Common brings; fd stays the caller's. ref NULL, or of no bytes: nothing. */
int flm__common_open(struct flm__common_map *out, const Flm__BlobRef *ref, int fd, flm_error *error);
void flm__common_close(struct flm__common_map *common);

/* Second thread: takes a newer version, which every task sees that begins after this, and answers. */
void flm__common_arrive(struct flm__executor *e, const Flm__Common *message, int fd);
/* Main thread, between tasks: goes over to the newer version, if there is one. */
void flm__common_take(struct flm__executor *e);
/* The session sees this version from here on; closes the one that it had. */
void flm__common_set(struct flm__session *s, const struct flm__common_map *common);
/* The session is left: drops what nobody has taken. */
void flm__common_drop(struct flm__session *s);

/* surroundings.c: directory and environment of the application, and back. */
int flm__surroundings_enter(struct flm__session *s, const Flm__Application *app, flm_error *error);
void flm__surroundings_leave(struct flm__session *s);
/* The environment for children: ours with the application's variables. NULL-terminated array (one
 * allocation, texts borrowed); NULL with *error set, or NULL when there are no variables. */
int flm__surroundings_merge(const Flm__Application *app, const char ***environment, flm_error *error);

#endif
