#include "executor/task.h"

#include "base/time.h"

#include <flm/client.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const void *flm_task_input(const struct flm_task_context *task, size_t *size)
{
    if (size)
        *size = task->input_size;
    return task->input;
}

void *flm_task_output(struct flm_task_context *task, size_t size)
{
    if (size > FLM_MAX_PAYLOAD)
        return NULL;
    void *room = task->room(task, size);
    task->output = room;
    task->output_size = room ? size : 0;
    task->output_room = task->output_size;
    return room;
}

int flm_task_shrink_output(struct flm_task_context *task, size_t size)
{
    if (size > task->output_room)
        return FLM_EINVAL;
    task->output_size = size;
    return 0;
}

int flm_task_set_output(struct flm_task_context *task, const void *data, size_t size)
{
    if (size > FLM_MAX_PAYLOAD)
        return FLM_ETOOBIG;
    void *room = flm_task_output(task, size);
    if (!room)
        return FLM_ENOMEM;
    if (size)
        memcpy(room, data, size);
    return 0;
}

int flm_task_fail(struct flm_task_context *task, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(task->message, sizeof(task->message), format, args);
    va_end(args);
    task->message_size = n < 0 ? 0 : n > FLM__MESSAGE_MAX ? FLM__MESSAGE_MAX : (uint32_t)n;
    return code;
}

const void *flm_task_common(const struct flm_task_context *task, size_t *size, uint64_t *version)
{
    if (size)
        *size = task->info->common_size;
    if (version)
        *version = task->info->common_version;
    return task->info->common;
}

const void *flm_task_input_object(const struct flm_task_context *task, unsigned index, size_t *size,
                                  uint64_t *version)
{
    static const struct flm_object none;
    const struct flm_object *o = index < task->n_objects ? &task->objects[index] : &none;
    if (size)
        *size = o->size;
    if (version)
        *version = o->version;
    return o->data;
}

uint64_t flm_task_id(const struct flm_task_context *task)
{
    return task->id;
}

const void *flm_task_mpi_comm(const struct flm_task_context *task)
{
    return task->info ? task->info->mpi_comm : NULL;
}

bool flm_task_cancelled(const struct flm_task_context *task)
{
    const struct flm__cancels *c = task->cancels;
    if (!c)
        return false;
    return atomic_load_explicit(&c->numbers[task->number % FLM__CANCELS], memory_order_relaxed) ==
               task->number ||
           atomic_load_explicit(&c->all, memory_order_relaxed);
}

int64_t flm_task_time_left_ms(const struct flm_task_context *task)
{
    if (task->deadline_ns == 0)
        return -1;
    int64_t left = task->deadline_ns - flm__now_ns();
    return left > 0 ? left / 1000000 : 0;
}
