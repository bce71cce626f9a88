/* manager/queue.h - the tasks of one session that are not finished, in the order of their submission.
 *
 * Task records lie one after the other, as they came, in chunks of 64 KiB: 24 bytes per task beside its
 * payload, written once and read once in order, and no index. While stored, `type` of a record is its
 * state (enum queue_state) and `lane` the number of its losses. A chunk is freed when all its tasks are
 * finished and the reading has passed it. Tasks that come back (an executor was lost, a recall) wait in a
 * small queue of references in front of the others. Some that were met and are better run by others
 * (inputs.h) stand aside, at most QUEUE_ASIDE_MAX.
 */
#ifndef MANAGER_QUEUE_H
#define MANAGER_QUEUE_H

#include "wire/record.h"

enum queue_state {
    QUEUE_PENDING = 1,
    QUEUE_RUNNING = 2,  /* sent to an executor, not answered */
    QUEUE_FETCHING = 3, /* its payload is still on the way from a remote client */
    QUEUE_DEFERRED = 4, /* fetching, and the reading has passed it */
    QUEUE_DONE = 6,     /* also one that was ended while it waited: skipped when it is met */
};

struct chunk {
    struct chunk *prev, *next;
    uint64_t first_task;     /* id of the first record */
    uint32_t used, capacity; /* bytes */
    uint32_t live;           /* tasks that are not finished */
    uint32_t _pad;
    char data[];
};

struct task_ref {
    struct chunk *chunk;
    uint32_t offset;
};

enum { QUEUE_ASIDE_MAX = 256 };

/* A task that was set aside. */
struct aside {
    struct task_ref ref;
    int64_t since_ns, wait_ns; /* then, and for so long who has nothing to do leaves it to others: */
    uint64_t nodes;            /* those of these nodes */
    uint64_t failed;           /* and who is on one of these does at any time */
};

struct queue {
    struct chunk *head, *tail; /* oldest and newest; NULL when empty */
    struct chunk *read;        /* next to be read is at read_offset of this; NULL: nothing unread */
    uint32_t read_offset;
    struct chunk *spare;   /* one freed chunk is kept */
    uint64_t bytes;        /* stored and not finished, as flow control counts them */
    struct task_ref *back; /* tasks that came back: a ring of back_room (power of two) entries */
    uint32_t back_room, back_first, back_n;
    uint32_t aside_n;
    bool names_objects;  /* some task that was stored here has named objects */
    struct aside *aside; /* oldest first; NULL: there was never one */
    uint64_t aside_seen; /* manager->objects_moved, when `nodes` were looked up */
};

static inline struct flm__record *queue_record(struct task_ref ref)
{
    return (struct flm__record *)(ref.chunk->data + ref.offset);
}

static inline void *queue_payload(struct task_ref ref)
{
    return ref.chunk->data + ref.offset + FLM__RECORD_HEADER;
}

void queue_clear(struct queue *queue);

/* Stores a task: its header, and the payload that belongs to it with its padding. False: no memory. */
bool queue_append(struct queue *queue, const struct flm__record *r, const void *payload,
                  struct task_ref *ref);

/* Puts a task in front of all others. (Without memory the whole queue is read again from its beginning,
 * which finds it too: whoever reads must look at the state of what it gets.) */
void queue_push_back(struct queue *queue, struct task_ref ref);

/* One that came back or was set aside, or each that did, is about to be finished: it will not be met any
 * more. */
void queue_forget(struct queue *queue, struct task_ref ref);
void queue_forget_back(struct queue *queue);

static inline bool queue_aside_full(const struct queue *queue)
{
    return queue->aside_n == QUEUE_ASIDE_MAX;
}
/* False: there is no room. */
bool queue_set_aside(struct queue *queue, const struct aside *aside);
struct task_ref queue_take_aside(struct queue *queue, uint32_t index);

/* The next task to look at, and past it; false when there is none. */
bool queue_next_slow(struct queue *queue, struct task_ref *ref);

static inline bool queue_next(struct queue *queue, struct task_ref *ref)
{
    struct chunk *c = queue->read;
    if (queue->back_n == 0 && c && queue->read_offset < c->used) {
        ref->chunk = c;
        ref->offset = queue->read_offset;
        queue->read_offset += flm__record_bytes(((struct flm__record *)(c->data + ref->offset))->size);
        return true;
    }
    return queue_next_slow(queue, ref);
}

/* Nothing is left to look at (what is left is running). */
bool queue_drained(struct queue *queue);

/* The task is finished: its room can go. ref is dead afterwards. */
void queue_finish_chunk(struct queue *queue, struct chunk *chunk);
static inline void queue_finish(struct queue *queue, struct task_ref ref)
{
    if (--ref.chunk->live == 0)
        queue_finish_chunk(queue, ref.chunk);
}

/* Finds a task by id; false when it is not stored. */
bool queue_find(struct queue *queue, uint64_t task, struct task_ref *ref);

/* Calls fn for each stored task with id >= from, oldest first, until it returns false. fn may finish the
 * task. */
void queue_each(struct queue *queue, uint64_t from, bool (*fn)(struct task_ref ref, void *arg), void *arg);

#endif
