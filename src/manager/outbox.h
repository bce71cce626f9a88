/* manager/outbox.h - results that wait for their client, oldest first, in chunks. */
#ifndef MANAGER_OUTBOX_H
#define MANAGER_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

struct outbox_chunk;

struct outbox {
    struct outbox_chunk *head, *tail;
    uint32_t offset; /* of the first unread record in head */
    uint64_t bytes;  /* with the sizes of the blobs that the records refer to */
};

/* Room for a record; filled by the caller at once. weight: what it counts. NULL: no memory. */
void *outbox_put(struct outbox *o, uint32_t bytes, uint64_t weight);

/* The oldest record, NULL when empty; *bytes as put. */
void *outbox_first(struct outbox *o, uint32_t *bytes);
void outbox_drop_first(struct outbox *o);

static inline bool outbox_empty(const struct outbox *o)
{
    return !o->head;
}

#endif
