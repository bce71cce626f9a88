/* Memory that the user fills and the node shares: a large input that begins there need not be copied for a
 * manager on this node (lent.c). Nobody else is told of it before a task names it; to a fabric it is memory
 * like any other. */
#define _GNU_SOURCE
#include "libflm/handle.h"
#include "base/error.h"
#include "net/blob.h"

#include <stdint.h>
#include <stdlib.h>

struct flm__buffer {
    uintptr_t begin; /* key of the hash */
    struct flm__room room;
    UT_hash_handle hh;
};

static struct flm__buffer *find(const flm_client *c, const void *begin)
{
    struct flm__buffer *b;
    uintptr_t key = (uintptr_t)begin;
    HASH_FIND(hh, c->buffers, &key, sizeof(key), b);
    return b;
}

int flm__buffer_fd(const flm_client *c, const void *input, size_t size)
{
    const struct flm__buffer *b = c->buffers ? find(c, input) : NULL;
    return b && size <= b->room.size ? b->room.fd : -1;
}

static struct flm__buffer *make(size_t size, flm_error *error)
{
    struct flm__buffer *b = calloc(1, sizeof(*b));
    if (!b) {
        flm__error_set(error, FLM_ENOMEM, "no memory for a buffer of %zu bytes", size);
        return NULL;
    }
    if (flm__room_make(size, &b->room, error) < 0) {
        free(b);
        return NULL;
    }
    b->begin = (uintptr_t)b->room.map;
    return b;
}

static void destroy(struct flm__buffer *b)
{
    flm__room_free(&b->room);
    free(b);
}

/* Without the lock as far as may be: pages take long to make and to free. */
void *flm_alloc_buffer(flm_client *c, size_t size, flm_error *error)
{
    if (!c || !size || size > FLM_MAX_PAYLOAD) {
        flm__error_set(error, !c || !size ? FLM_EINVAL : FLM_ETOOBIG,
                       "a buffer needs a client and 1 to %zu bytes, not %zu", (size_t)FLM_MAX_PAYLOAD,
                       size);
        return NULL;
    }
    struct flm__buffer *b = make(size, error);
    if (!b)
        return NULL;
    flm__client_lock(c);
    HASH_ADD(hh, c->buffers, begin, sizeof(b->begin), b);
    bool is_in = flm__hash_added(&b->hh);
    flm__client_unlock(c);
    if (is_in)
        return b->room.map;
    destroy(b);
    flm__error_set(error, FLM_ENOMEM, "no memory for a buffer of %zu bytes", size);
    return NULL;
}

int flm_free_buffer(flm_client *c, void *buffer)
{
    if (!c || !buffer)
        return buffer ? FLM_EINVAL : 0;
    flm__client_lock(c);
    struct flm__buffer *b = find(c, buffer);
    if (b)
        HASH_DEL(c->buffers, b);
    flm__client_unlock(c);
    if (!b)
        return FLM_EINVAL;
    destroy(b);
    return 0;
}

void flm__buffers_free(flm_client *c)
{
    struct flm__buffer *b, *next;
    HASH_ITER(hh, c->buffers, b, next)
    {
        HASH_DEL(c->buffers, b);
        destroy(b);
    }
}
