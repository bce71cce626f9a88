/* executor/objects.h - objects that a service asks for (flm_task_object), and those that the input of a
 * task names. The main thread asks the agent and waits; the second thread brings the answer.
 *
 * Of the latter (inputs.c) the last ones stay mapped, so that most tasks ask nobody. An object whose
 * version is past, or that its node has given up, is let go as soon as no task looks at it: the second
 * thread hears of it.
 */
#ifndef FLM_EXECUTOR_OBJECTS_H
#define FLM_EXECUTOR_OBJECTS_H

#include "wire/frame.h"
#include "wire/record.h"

#include <flm/object.h>
#include <pthread.h>

struct flm__executor;

/* One that a task has named. */
struct flm__kept_object {
    char name[FLM_MAX_NAME + 1]; /* "": none */
    struct flm_object object;
    uint64_t used; /* when, last */
    uint64_t told; /* when its node has heard of that */
    bool busy;     /* the running task looks at it */
    bool gone;     /* to be let go then */
};

struct flm__objects {
    pthread_mutex_t lock;
    pthread_cond_t came;
    uint64_t asked;     /* lock: number of the question that waits; 0: none */
    uint64_t questions; /* main thread */
    bool answered;      /* lock */
    flm_error error;    /* lock, as all of the answer */
    bool everywhere;    /* it is the same on all nodes */
    struct flm_object object;

    struct flm__kept_object kept[FLM__OBJECTS]; /* lock */
    uint64_t clock, fetched;                    /* lock: counts uses; when the last was fetched */
    uint64_t gone;                              /* lock: so often the second thread has heard of one */
};

void flm__objects_init(struct flm__objects *o);
void flm__objects_fini(struct flm__objects *o);

/* Main thread: for flm_task_context.object; task->owner is the executor. */
int flm__objects_get(struct flm_task_context *task, const char *name, uint64_t newer_than,
                     struct flm_object *object, flm_error *error);

/* The same, with all that can be said; lane, life and number are filled in. */
int flm__objects_ask(struct flm__executor *e, Flm__GetObject *get, struct flm_object *object,
                     flm_error *error);

/* inputs.c, main thread: gets what the input of the task names, into e->task. 0 or an error;
 * FLM_EDISCONNECTED: with the session manager the task is lost, too. */
int flm__inputs_take(struct flm__executor *e, const struct flm__task_objects *objects, flm_error *error);
/* The task is over. */
void flm__inputs_done(struct flm__executor *e);
/* The session is left. */
void flm__inputs_forget(struct flm__executor *e);
/* Second thread: versions of it up to this one are not asked for any more. */
void flm__inputs_gone(struct flm__executor *e, const Flm__ObjectGone *gone);
/* Second thread: the session manager is lost, and its objects with it. */
void flm__inputs_lose(struct flm__executor *e);

/* Second thread: an answer; fd is borrowed. */
void flm__objects_got(struct flm__executor *e, const Flm__GotObject *got, int fd);
/* Second thread: the session manager is lost, who waits hears that. */
void flm__objects_lose(struct flm__objects *o);

#endif
