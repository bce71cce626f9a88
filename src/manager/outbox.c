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
};

void *outbox_put(struct outbox *o, uint32_t bytes, uint64_t weight)
{
    uint32_t need = (uint32_t)sizeof(struct entry) + bytes;
    struct outbox_chunk *c = o->tail;
    if (!c || c->capacity - c->used < need) {
        uint32_t capacity = CHUNK_BYTES - sizeof(*c);
        if (need > capacity)
            capacity = need;
        c = malloc(sizeof(*c) + capacity);
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
    }
    struct entry *e = (struct entry *)(c->data + c->used);
    e->bytes = bytes;
    e->weight = weight;
    c->used += need;
    o->bytes += weight;
    return e + 1;
}

void *outbox_first(struct outbox *o, uint32_t *bytes)
{
    if (!o->head)
        return NULL;
    struct entry *e = (struct entry *)(o->head->data + o->offset);
    *bytes = e->bytes;
    return e + 1;
}

void outbox_drop_first(struct outbox *o)
{
    struct entry *e = (struct entry *)(o->head->data + o->offset);
    o->bytes -= e->weight;
    o->offset += (uint32_t)sizeof(*e) + e->bytes;
    if (o->offset < o->head->used)
        return;
    struct outbox_chunk *done = o->head;
    o->head = done->next;
    if (!o->head)
        o->tail = NULL;
    o->offset = 0;
    free(done);
}
