/* executor/world_inside.h - what the parts of a world share: world.c (its life, sessions), world_span.c
 * (rank 0: tasks), world_follow.c (the other ranks). */
#ifndef FLM_EXECUTOR_WORLD_INSIDE_H
#define FLM_EXECUTOR_WORLD_INSIDE_H

#include "executor/status.h"
#include "executor/world.h"
#include "executor/world_memory.h"
#include "wire/record.h"

#include <pthread.h>

/* What rank 0 tells the others. Then `size` bytes and `common` bytes: the input of a task that fits lies
 * behind its command in the memory, all else is broadcast. */
enum command_kind { COMMAND_ENTER = 1, COMMAND_TASK, COMMAND_LEAVE, COMMAND_END, COMMAND_COMMON };
struct command {
    uint64_t kind;
    uint64_t size;         /* ENTER: the packed Bind; TASK: the input */
    uint64_t common;       /* ENTER, COMMON: common data */
    uint64_t task, number; /* COMMON: number is their version */
    uint64_t deadline_ms;
};

/* A task that rank 0 has run and the others perhaps not yet. */
struct flm__held {
    struct flm__record record;
    uint64_t number;
    uint32_t entry;
    uint32_t at, size; /* of the output, in flm__world.outputs */
};

enum { FLM__WORLD_OUTPUTS = 64 * 1024 };

struct flm__world {
    const struct flm__world_ops *ops;
    unsigned rank, size;
    struct flm__world_memory *memory; /* NULL: the ranks are on several nodes, or too many */
    int memory_fd;
    bool shared; /* flm__world_share has been called */
    /* The other ranks. */
    uint32_t entry;                /* the last that was read */
    struct flm__status_page *page; /* of rank 0, where each tells how far it is */

    /* Rank 0: the span of tasks whose results are held until all have done them. */
    pthread_mutex_t lock; /* held, n_held; and who answers what is held */
    struct flm__held held[FLM__WORLD_SPAN_MAX];
    _Atomic unsigned n_held;
    unsigned limit;
    int64_t span_ns;       /* when it began */
    uint32_t used;         /* of memory->entries */
    uint32_t failures;     /* that were looked at, of all ranks */
    uint32_t outputs_used; /* by what is held, or was; what runs has its output behind that */
    bool direct;           /* the output of what runs is not here, but in the ring or a blob */
    void *(*ring_room)(struct flm_task_context *task, size_t size);
    char *outputs;
};

/* The command and its `size` bytes of data. */
void flm__world_tell(struct flm__world *w, const struct command *command, const void *data);

/* All ranks: whether all have entered; else those that have leave again, and error is what rank 0 is to
 * say. */
int flm__world_agree_on_enter(struct flm__executor *e, int rc, flm_error *error);
/* By messages: where there is no memory. */
int flm__world_invoke_and_agree(struct flm__executor *e);

/* Rank 0, with the memory: room for outputs that wait. */
int flm__world_span_init(struct flm__executor *e, flm_error *error);

#endif
