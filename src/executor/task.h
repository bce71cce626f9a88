/* executor/task.h - what stands behind the opaque struct flm_task_context of <flm/service.h>.
 *
 * Whoever runs a service owns one context and reuses it for each task: the executor (executor/run.c)
 * and a client that hosts services itself (endpoint "inproc:"). The owner says where outputs go.
 */
#ifndef FLM_EXECUTOR_TASK_H
#define FLM_EXECUTOR_TASK_H

#include "wire/record.h"

#include <flm/object.h>
#include <stdatomic.h>

/* Cancelled task numbers, each at its number modulo the size, so that the owner's other thread can
 * write them while tasks run. `all`: everything is to stop. */
enum { FLM__CANCELS = 64 };
struct flm__cancels {
    _Atomic uint64_t numbers[FLM__CANCELS];
    atomic_bool all;
};

struct flm_task_context {
    /* Set by the owner for its whole life. */
    void *(*room)(struct flm_task_context *task, size_t size); /* memory for an output of size bytes (at
                                        most FLM_MAX_PAYLOAD), aligned to 8; replaces an earlier one;
                                        NULL: none. Does not touch `output` */
    void *owner;
    const struct flm__cancels *cancels; /* NULL: nothing is ever cancelled */

    /* Set by flm__task_start for each task. */
    uint64_t id;
    uint64_t number; /* in the owner's own count, for cancels */
    const void *input;
    size_t input_size;
    int64_t deadline_ns; /* flm__now_ns; 0: none. Cleared by start, set by the owner after it */

    /* What came of it. */
    void *output; /* NULL: none was set */
    size_t output_size;
    size_t output_room;    /* bytes that were asked for */
    uint32_t message_size; /* bytes of message, at most FLM__MESSAGE_MAX; not terminated */
    char message[FLM__MESSAGE_MAX + 1];

    const struct flm_session_info *info; /* the owner's: of the task's session */
    /* The owner's: as flm_task_object; NULL: there are none. */
    int (*object)(struct flm_task_context *task, const char *name, uint64_t newer_than,
                  struct flm_object *object, flm_error *error);

    /* The owner's: the objects that the input names. */
    unsigned n_objects;
    struct flm_object objects[FLM__OBJECTS];
};

static inline void flm__task_start(struct flm_task_context *task, uint64_t id, uint64_t number,
                                   const void *input, size_t size)
{
    task->id = id;
    task->number = number;
    task->input = input;
    task->input_size = size;
    task->deadline_ns = 0;
    task->output = NULL;
    task->output_size = 0;
    task->output_room = 0;
    task->message_size = 0;
}

#endif
