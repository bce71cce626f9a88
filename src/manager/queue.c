#include "manager/queue.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10 };

static struct chunk *chunk_new(struct queue *q, uint32_t bytes)
{
    uint32_t capacity = CHUNK_BYTES - sizeof(struct chunk);
    struct chunk *c = NULL;
    if (q->spare && bytes <= q->spare->capacity) {
        c = q->spare;
        q->spare = NULL;
    } else {
        if (bytes > capacity)
            capacity = bytes;
        c = malloc(sizeof(*c) + capacity);
        if (!c)
            return NULL;
        c->capacity = capacity;
    }
    c->next = NULL;
    c->prev = q->tail;
    c->used = c->live = 0;
    c->first_task = 0;
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
    if (!q->read) {
        q->read = c;
        q->read_offset = 0;
    }
    return c;
}

static void chunk_unlink(struct queue *q, struct chunk *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        q->head = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        q->tail = c->prev;
    if (!q->spare && c->capacity == CHUNK_BYTES - sizeof(struct chunk))
        q->spare = c;
    else
        free(c);
}

void queue_clear(struct queue *q)
{
    while (q->head) {
        struct chunk *next = q->head->next;
        free(q->head);
        q->head = next;
    }
    free(q->spare);
    free(q->back);
    free(q->aside);
    memset(q, 0, sizeof(*q));
}

bool queue_append(struct queue *q, const struct flm__record *r, const void *payload, struct task_ref *ref)
{
    struct chunk *c = q->tail;
    uint32_t padded = flm__record_padded(r->size), bytes = FLM__RECORD_HEADER + padded;
    if (!c || c->capacity - c->used < bytes) {
        c = chunk_new(q, bytes);
        if (!c)
            return false;
    }
    ref->chunk = c;
    ref->offset = c->used;
    *queue_record(*ref) = *r;
    flm__record_copy_payload(queue_payload(*ref), payload, padded);
    if (c->used == 0)
        c->first_task = r->task;
    c->used += bytes;
    c->live++;
    if (__builtin_expect(r->flags & FLM__RECORD_OBJECTS, 0))
        q->names_objects = true;
    q->bytes += bytes;
    return true;
}

void queue_push_back(struct queue *q, struct task_ref ref)
{
    if (q->back_n == q->back_room) {
        uint32_t room = q->back_room ? 2 * q->back_room : 64;
        struct task_ref *back = malloc(room * sizeof(*back));
        if (!back) {
            q->back_n = q->aside_n = 0;
            q->read = q->head;
            q->read_offset = 0;
            return;
        }
        for (uint32_t i = 0; i < q->back_n; i++)
            back[i] = q->back[(q->back_first + i) & (q->back_room - 1)];
        free(q->back);
        q->back = back;
        q->back_room = room;
        q->back_first = 0;
    }
    q->back_first = (q->back_first - 1) & (q->back_room - 1);
    q->back[q->back_first] = ref;
    q->back_n++;
}

void queue_forget(struct queue *q, struct task_ref ref)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < q->back_n; i++) {
        struct task_ref at = q->back[(q->back_first + i) & (q->back_room - 1)];
        if (at.chunk != ref.chunk || at.offset != ref.offset)
            q->back[(q->back_first + kept++) & (q->back_room - 1)] = at;
    }
    q->back_n = kept;
    for (uint32_t i = 0; i < q->aside_n; i++)
        if (q->aside[i].ref.chunk == ref.chunk && q->aside[i].ref.offset == ref.offset) {
            queue_take_aside(q, i);
            break;
        }
}

void queue_forget_back(struct queue *q)
{
    q->back_n = q->aside_n = 0;
}

bool queue_set_aside(struct queue *q, const struct aside *aside)
{
    if (!q->aside)
        q->aside = malloc(QUEUE_ASIDE_MAX * sizeof(*q->aside));
    if (!q->aside || queue_aside_full(q))
        return false;
    q->aside[q->aside_n++] = *aside;
    return true;
}

struct task_ref queue_take_aside(struct queue *q, uint32_t index)
{
    struct task_ref ref = q->aside[index].ref;
    q->aside_n--;
    memmove(&q->aside[index], &q->aside[index + 1], (q->aside_n - index) * sizeof(*q->aside));
    return ref;
}

/* Moves the reading on from chunks that are read to their end. */
static void read_on(struct queue *q)
{
    while (q->read && q->read_offset == q->read->used && q->read->next) {
        struct chunk *passed = q->read;
        q->read = passed->next;
        q->read_offset = 0;
        if (passed->live == 0)
            chunk_unlink(q, passed);
    }
}

bool queue_next_slow(struct queue *q, struct task_ref *ref)
{
    if (q->back_n) {
        *ref = q->back[q->back_first];
        q->back_first = (q->back_first + 1) & (q->back_room - 1);
        q->back_n--;
        return true;
    }
    read_on(q);
    if (!q->read || q->read_offset == q->read->used)
        return false;
    ref->chunk = q->read;
    ref->offset = q->read_offset;
    q->read_offset += flm__record_bytes(queue_record(*ref)->size);
    return true;
}

bool queue_drained(struct queue *q)
{
    if (q->back_n || q->aside_n)
        return false;
    read_on(q);
    return !q->read || q->read_offset == q->read->used;
}

void queue_finish_chunk(struct queue *q, struct chunk *c)
{
    if (c == q->read) {
        if (q->read_offset < c->used)
            return;         /* unread ones are not live, they are cancelled; wait until they are skipped */
        if (c == q->tail) { /* all is done: write it again from the start */
            c->used = 0;
            q->read_offset = 0;
            return;
        }
        q->read = c->next;
        q->read_offset = 0;
    }
    chunk_unlink(q, c);
}

bool queue_find(struct queue *q, uint64_t task, struct task_ref *ref)
{
    struct chunk *c = q->tail;
    while (c && (c->used == 0 || c->first_task > task))
        c = c->prev;
    if (!c)
        return false;
    ref->chunk = c;
    for (ref->offset = 0; ref->offset < c->used;) {
        struct flm__record *r = queue_record(*ref);
        if (r->task == task && r->type != QUEUE_DONE) /* one that was given up may have come again */
            return true;
        ref->offset += flm__record_bytes(r->size);
    }
    return false;
}

void queue_each(struct queue *q, uint64_t from, bool (*fn)(struct task_ref ref, void *arg), void *arg)
{
    struct chunk *next;
    bool more = true;
    for (struct chunk *c = q->head; c && more; c = next) {
        next = c->next;
        if (next && next->used && next->first_task <= from)
            continue;
        struct task_ref ref = {c, 0};
        c->live++; /* it stays, whatever fn finishes */
        while (more && ref.offset < c->used) {
            struct flm__record *r = queue_record(ref);
            uint32_t bytes = flm__record_bytes(r->size);
            if (r->task >= from && r->type != QUEUE_DONE)
                more = fn(ref, arg);
            ref.offset += bytes;
        }
        queue_finish(q, ref);
    }
}
