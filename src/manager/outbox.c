#include "manager/outbox.h"

#include <stdlib.h>

enum { CHUNK_BYTES = 64 << 10 };

struct outbox_chunk {
    struct outbox_chunk *next;
    uint32_t used, capacity;
    char data[];
};

/* In front of each record. */
struct entry {
    uint32_t bytes, _pad;
    uint64_t weight;
    uint64_t durable;
};

static struct entry *entry_at(struct outbox_chunk *c, uint32_t offset)
{
    return (struct entry *)(c->data + offset);
}

static struct outbox_chunk *add_chunk(struct outbox *o, uint32_t need)
{
    uint32_t capacity = CHUNK_BYTES - sizeof(struct outbox_chunk);
    if (need > capacity)
        capacity = need;
    struct outbox_chunk *c = malloc(sizeof(*c) + capacity);
    if (!c)
        return NULL;
    c->next = NULL;
    c->used = 0;
    c->capacity = capacity;
    if (o->tail)
        o->tail->next = c;
    else
        o->head = c;
    o->tail = c;
    return c;
}

void *outbox_put(struct outbox *o, uint32_t bytes, uint64_t weight, uint64_t durable)
{
    uint32_t need = (uint32_t)sizeof(struct entry) + bytes;
    struct outbox_chunk *c = o->tail;
    if (!c || c->capacity - c->used < need) {
        c = add_chunk(o, need);
        if (!c)
            return NULL;
    }
    struct entry *e = entry_at(c, c->used);
    e->bytes = bytes;
    e->weight = weight;
    e->durable = durable;
    if (!o->next) {
        o->next = c;
        o->next_offset = c->used;
    }
    c->used += need;
    o->bytes += weight;
    o->put++;
    return e + 1;
}

void *outbox_first(struct outbox *o, uint32_t *bytes)
{
    if (!o->head)
        return NULL;
    struct entry *e = entry_at(o->head, o->offset);
    *bytes = e->bytes;
    return e + 1;
}

void outbox_drop_first(struct outbox *o)
{
    struct outbox_chunk *head = o->head;
    struct entry *e = entry_at(head, o->offset);
    if (o->next == head && o->next_offset == o->offset)
        outbox_sent(o);
    o->bytes -= e->weight;
    o->dropped++;
    o->offset += (uint32_t)sizeof(*e) + e->bytes;
    if (o->offset < head->used)
        return;
    o->head = head->next;
    if (!o->head)
        o->tail = NULL;
    o->offset = 0;
    free(head);
}

void *outbox_next(struct outbox *o, uint32_t *bytes, uint64_t durable)
{
    struct entry *e = o->next ? entry_at(o->next, o->next_offset) : NULL;
    if (!e || e->durable > durable)
        return NULL;
    *bytes = e->bytes;
    return e + 1;
}

void outbox_sent(struct outbox *o)
{
    o->next_offset += (uint32_t)sizeof(struct entry) + entry_at(o->next, o->next_offset)->bytes;
    o->sent++;
    if (o->next_offset < o->next->used)
        return;
    o->next = o->next->next;
    o->next_offset = 0;
}

void outbox_each(struct outbox *o, uint64_t from,
                 bool (*fn)(void *record, uint32_t bytes, uint64_t number, void *arg), void *arg)
{
    uint64_t number = o->dropped;
    uint32_t offset = o->offset;
    for (struct outbox_chunk *c = o->head; c; c = c->next, offset = 0)
        while (offset < c->used) {
            struct entry *e = entry_at(c, offset);
            if (++number >= from && !fn(e + 1, e->bytes, number, arg))
                return;
            offset += (uint32_t)sizeof(*e) + e->bytes;
        }
}

void outbox_rewind(struct outbox *o)
{
    o->next = o->head;
    o->next_offset = o->offset;
    o->sent = o->dropped;
}
