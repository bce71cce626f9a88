/* manager/outbox.h - results that wait for their client, oldest first, in chunks.
 *
 * Three places in it: results are put at the end, sent from `next`, and dropped at the head; those between
 * head and next are with a client that has not said that it is done with them.
 */
#ifndef MANAGER_OUTBOX_H
#define MANAGER_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

struct outbox_chunk;

struct outbox {
    struct outbox_chunk *head, *tail, *next; /* next NULL: all are sent */
    uint32_t offset;                         /* of the oldest record, in head */
    uint32_t next_offset;
    uint64_t bytes;   /* with the sizes of the blobs that the records refer to */
    uint64_t dropped; /* records since the beginning */
    uint64_t sent;    /* of those since the beginning; those dropped count as sent */
    uint64_t put;
};

/* Room for a record; filled by the caller at once. weight: what it counts; durable: the place in the
 * journal after which it may be sent (0: at once). NULL: no memory. */
void *outbox_put(struct outbox *o, uint32_t bytes, uint64_t weight, uint64_t durable);

/* The oldest record, NULL when empty; *bytes as put. */
void *outbox_first(struct outbox *o, uint32_t *bytes);
void outbox_drop_first(struct outbox *o);

/* The oldest record that is not sent; NULL when there is none, or none that may be sent yet. */
void *outbox_next(struct outbox *o, uint32_t *bytes, uint64_t durable);
void outbox_sent(struct outbox *o); /* it is now */
/* Calls fn for each record from this number on (the first ever put is 1) until it returns false. */
void outbox_each(struct outbox *o, uint64_t from,
                 bool (*fn)(void *record, uint32_t bytes, uint64_t number, void *arg), void *arg);
/* All that are here are to be sent again. */
void outbox_rewind(struct outbox *o);

static inline bool outbox_empty(const struct outbox *o)
{
    return !o->head;
}

static inline bool outbox_all_sent(const struct outbox *o)
{
    return !o->next;
}

#endif
