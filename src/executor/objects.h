/* executor/objects.h - objects that a service asks for (flm_task_object). The main thread asks the agent
 * and waits; the second thread brings the answer. */
#ifndef FLM_EXECUTOR_OBJECTS_H
#define FLM_EXECUTOR_OBJECTS_H

#include "wire/frame.h"

#include <flm/object.h>
#include <pthread.h>

struct flm__executor;

struct flm__objects {
    pthread_mutex_t lock;
    pthread_cond_t came;
    uint64_t asked;     /* lock: number of the question that waits; 0: none */
    uint64_t questions; /* main thread */
    bool answered;      /* lock */
    int code;           /* lock, as all of the answer */
    struct flm_object object;
    char text[200];
};

void flm__objects_init(struct flm__objects *o);
void flm__objects_fini(struct flm__objects *o);

/* Main thread: for flm_task_context.object; task->owner is the executor. */
int flm__objects_get(struct flm_task_context *task, const char *name, uint64_t newer_than,
                     struct flm_object *object, flm_error *error);

/* Second thread: an answer; fd is borrowed. */
void flm__objects_got(struct flm__executor *e, const Flm__GotObject *got, int fd);
/* Second thread: the session manager is lost, who waits hears that. */
void flm__objects_lose(struct flm__objects *o);

#endif
