/* executor/control.h - the control connection, and the second thread that listens to it. */
#ifndef FLM_EXECUTOR_CONTROL_H
#define FLM_EXECUTOR_CONTROL_H

#include "net/conn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct flm__executor;

/* For the main thread: a Bind or Unbind with its descriptor (-1: none). */
struct flm__event {
    struct flm__event *next;
    Flm__Message *message;
    int fd;
};

enum { FLM__EVENTS_MAX = 64 };

struct flm__control {
    struct flm__conn *conn; /* lock */
    pthread_mutex_t lock;
    struct flm__event *first, **last; /* lock */
    unsigned n;                       /* lock */
    atomic_bool events;               /* the list is not empty, or halt was set */
    atomic_bool stopping;             /* told to end: by the agent or by SIGTERM */
    atomic_bool halt;                 /* the main thread is to look before it goes on: stopping, the session
                                         manager is lost (stock.h), or there are new common data (common.c) */

    atomic_bool
        alone; /* of a guest: the agent has let go of it, or is gone; it finishes its task and leaves */

    int wake_fd; /* eventfd: the second thread is to look at deadlines, what is to be sent, and quit */
    atomic_bool quit;
    pthread_t thread;
    bool started;
};

int flm__control_init(struct flm__control *c, flm_error *error); /* makes wake_fd */
void flm__control_fini(struct flm__control *c);

/* From here on the second thread reads e->control.conn. FLM_ENOMEM. */
int flm__control_start(struct flm__executor *e, flm_error *error);
void flm__control_stop(struct flm__executor *e);

/* Any thread. As flm__conn_send. */
int flm__control_send(struct flm__executor *e, const Flm__Message *message, const int *fds, unsigned n_fds);

/* Main thread: the oldest event, the caller's from here on; NULL: none. */
struct flm__event *flm__control_take(struct flm__executor *e);

/* Main thread, between tasks: halt was set, and what it was set for is about to be looked at. */
void flm__control_heed(struct flm__control *c);
/* Any thread: sets halt, and wakes the main thread. */
void flm__control_halt(struct flm__executor *e);

/* In a signal handler, too: the process is to end in good order. */
void flm__control_stop_soon(struct flm__control *c);

#endif
