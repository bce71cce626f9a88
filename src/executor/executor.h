/* executor/executor.h - one executor: the process that runs tasks.
 *
 * Two threads. The **main thread** owns the ring, the session and the user's code: it takes TASK records
 * (inbox.c), runs them (run.c) and writes results (outbox.c). The **second thread** (control.c) owns the
 * receiving side of the control connection and answers while user code runs: Ping, Recall, Cancel,
 * deadlines, Kill, Shutdown, the end of the agent. What needs the main thread (Bind, Unbind) waits for it
 * in a list. Both send control messages, under a lock.
 *
 * A task in: ring -> flm__inbox_run -> flm__run_task -> on_task_invoke. Out: flm_task_output reserved
 * room in the ring already -> flm__outbox_success finishes the record. Nothing is copied.
 */
#ifndef FLM_EXECUTOR_EXECUTOR_H
#define FLM_EXECUTOR_EXECUTOR_H

#include "executor/arrivals.h"
#include "executor/control.h"
#include "executor/deadline.h"
#include "executor/identity.h"
#include "executor/objects.h"
#include "executor/outbox.h"
#include "executor/outputs.h"
#include "executor/recall.h"
#include "executor/session.h"
#include "executor/status.h"
#include "executor/stock.h"
#include "executor/task.h"
#include "net/link.h"
#include "wire/record.h"

struct flm__executor {
    /* Main thread, every task. */
    struct flm__link *link;
    struct flm__status_page *status;
    uint64_t number;         /* of the last task taken from the ring */
    uint64_t direct_session; /* session whose plain tasks are called straight; none: DIRECT_NONE */
    const struct flm_service *service;
    void *state;
    bool large; /* the output of the running task is in large_room, not in the ring */
    struct flm__recall recall;
    struct flm__outbox outbox; /* the second thread, too: see there */
    struct flm_task_context task;

    /* Main thread. */
    struct flm__identity identity;
    uint16_t wire_lane;
    int bell;          /* eventfd: the peer of the ring rings it, and our second thread */
    int64_t waited_ns; /* for work, last time */
    uint64_t next_blob;
    struct flm__session session;
    const struct flm_service *self;          /* shim self: the service of this program */
    const struct flm_service *const *hosted; /* a guest: the services of this program, by name; else NULL */
    int guest_fd;             /* of a guest: it is to end when there is something to read; else -1 */
    struct flm__world *world; /* NULL: no MPI */
    struct flm__room large_room;
    struct flm__outputs outputs;
    char *scratch; /* FLM__INLINE_MAX bytes: the output of a task that failed */
    size_t scratch_size;
    int status_fd; /* of the status page, in a world; else -1 */

    /* Both threads. */
    struct flm__cancels *cancels; /* own_cancels, or in a world memory that its ranks share */
    struct flm__cancels own_cancels;
    struct flm__deadline deadline;
    struct flm__stock stock;
    struct flm__arrivals arrivals; /* large inputs announced on the control connection */
    struct flm__objects objects;   /* that the service asks for */
    struct flm__control control;
};

#define FLM__DIRECT_NONE UINT64_MAX

/* --- attach.c: the beginning --- */

/* Connects to the agent, says hello, and waits for the ring. 0 or an error with text. */
int flm__attach(struct flm__executor *e, flm_error *error);
void flm__detach(struct flm__executor *e);

/* --- inbox.c: records from the ring --- */

/* Serves until told to stop: tasks, and what the second thread hands over. */
void flm__inbox_serve(struct flm__executor *e);

/* Sleeps until the bell rings. Between arming and this the caller has looked whether there is work. */
void flm__inbox_sleep(struct flm__executor *e);

/* --- run.c: one task --- */

/* Runs the task in this record, which is the next of this life, unless it was given back. */
void flm__run_task(struct flm__executor *e, const struct flm__record *r, const void *payload);

/* Calls the service for the task in e->task. */
int flm__run_invoke(struct flm__executor *e);

/* Answers the task in e->task, which the service failed, or gives it back. */
void flm__run_failed(struct flm__executor *e, const struct flm__record *r, int code);

/* In a session that asks for it the result tells how long the task took. */
void flm__run_set_duration(const struct flm__executor *e, struct flm__record *r, int64_t began_ns);

/* --- end.c: ends that are not the normal one --- */

/* Says why on stderr, marks the reason in the status page, kills what children there are, and ends the
 * process at once. Any thread. */
_Noreturn void flm__end_now(struct flm__executor *e, int reason, const char *format, ...) FLM_PRINTF(3, 4);

/* Main thread, after a child has failed: whether we are told to end. At the end of a job's time both are,
 * and the child may be the first: waits for that a moment, at most ms. */
bool flm__end_wanted(struct flm__executor *e, int64_t ms);

/* A descriptor that we need is gone. */
_Noreturn void flm__end_closed(struct flm__executor *e);

/* Kills the children of this process, with their process groups. */
void flm__end_children(void);

/* --- serve.c: all of it --- */

/* The whole life of an executor; self: NULL but in a program with its own service. Returns the exit
 * status of the process. */
int flm__executor_serve(const struct flm_service *self, const char *program);

/* The same in a process that no agent has started (flm_service_attend). 0: it was told to end. */
int flm__executor_attend(const struct flm_service *const *services, const char *identity, int fd,
                         flm_error *error);

#endif
