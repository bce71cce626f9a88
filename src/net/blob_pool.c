#define _GNU_SOURCE
#include "net/blob_pool.h"

#include "base/time.h"
#include "net/blob.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- who fills --------------------------------------------------------------------------------- */

void flm__room_free(const struct flm__room *room)
{
    if (room->map)
        munmap(room->map, room->size);
    if (room->fd >= 0)
        close(room->fd);
}

static struct flm__room take_out(struct flm__blob_pool *pool, unsigned i)
{
    struct flm__room room = pool->rooms[i];
    pool->bytes -= room.size;
    pool->n--;
    memmove(&pool->rooms[i], &pool->rooms[i + 1], (pool->n - i) * sizeof(room));
    return room;
}

static void drop_oldest(struct flm__blob_pool *pool)
{
    struct flm__room room = take_out(pool, 0);
    flm__room_free(&room);
}

/* The newest first: it may be in the cache still. Not one that is much too large. */
bool flm__pool_find(struct flm__blob_pool *pool, size_t size, struct flm__room *out)
{
    for (unsigned i = pool->n; i-- > 0;) {
        const struct flm__room *room = &pool->rooms[i];
        if (room->size < size || room->size / 2 > size)
            continue;
        *out = take_out(pool, i);
        if (!out->map)
            out->map = mmap(NULL, out->size, PROT_READ | PROT_WRITE, MAP_SHARED, out->fd, 0);
        if (out->map != MAP_FAILED)
            return true;
        out->map = NULL;
        flm__room_free(out);
        return false;
    }
    return false;
}

int flm__room_make(size_t size, struct flm__room *out, flm_error *error)
{
    *out = (struct flm__room){.size = size};
    out->fd = flm__blob_create(size, &out->map, error);
    return out->fd < 0 ? out->fd : 0;
}

int flm__pool_take(struct flm__blob_pool *pool, size_t size, struct flm__room *out, flm_error *error)
{
    return flm__pool_find(pool, size, out) ? 0 : flm__room_make(size, out, error);
}

void flm__pool_give(struct flm__blob_pool *pool, const struct flm__room *room)
{
    if (room->size > FLM__POOLED_BYTES) {
        flm__room_free(room);
        return;
    }
    while (pool->n == FLM__POOLED_MAX || pool->bytes + room->size > FLM__POOLED_BYTES)
        drop_oldest(pool);
    pool->rooms[pool->n] = *room;
    pool->rooms[pool->n++].since = flm__now_ns();
    pool->bytes += room->size;
}

static bool is_old(int64_t since, int64_t now_ns)
{
    return now_ns - since > FLM__POOL_TRIM_MS * INT64_C(1000000);
}

void flm__pool_trim(struct flm__blob_pool *pool, int64_t now_ns)
{
    while (pool->n && is_old(pool->rooms[0].since, now_ns))
        drop_oldest(pool);
}

void flm__pool_clear(struct flm__blob_pool *pool)
{
    while (pool->n)
        drop_oldest(pool);
}

/* ---- who reads --------------------------------------------------------------------------------- */

static void forget(struct flm__blob_maps *maps, struct flm__seen_blob *s)
{
    munmap(s->map, s->size);
    maps->bytes -= s->size;
    *s = (struct flm__seen_blob){0};
}

/* A free place, once there is room for so many bytes. What nobody has used for longest makes room. NULL:
 * too much is in use. */
static struct flm__seen_blob *make_place(struct flm__blob_maps *maps, size_t size)
{
    if (size > FLM__POOLED_BYTES)
        return NULL;
    for (;;) {
        struct flm__seen_blob *place = NULL, *oldest = NULL;
        for (int i = 0; i < FLM__POOLED_MAX; i++) {
            struct flm__seen_blob *s = &maps->seen[i];
            if (!s->map)
                place = s;
            else if (!s->users && (!oldest || s->since < oldest->since))
                oldest = s;
        }
        if (place && maps->bytes + size <= FLM__POOLED_BYTES)
            return place;
        if (!oldest)
            return NULL;
        forget(maps, oldest);
    }
}

const void *flm__maps_get(struct flm__blob_maps *maps, int fd, size_t size, flm_error *error)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)size)
        return flm__blob_map(fd, size, error); /* which says what is wrong */
    for (int i = 0; i < FLM__POOLED_MAX; i++) {
        struct flm__seen_blob *s = &maps->seen[i];
        if (s->map && s->inode == st.st_ino && s->device == st.st_dev && s->size >= size) {
            s->users++;
            return s->map;
        }
    }
    struct flm__seen_blob *place = make_place(maps, (size_t)st.st_size);
    const void *map = flm__blob_map(fd, place ? (size_t)st.st_size : size, error);
    if (!map || !place)
        return map;
    *place = (struct flm__seen_blob){.device = st.st_dev,
                                     .inode = st.st_ino,
                                     .map = (void *)(uintptr_t)map,
                                     .size = (size_t)st.st_size,
                                     .users = 1};
    maps->bytes += place->size;
    return map;
}

void flm__maps_put(struct flm__blob_maps *maps, const void *map, size_t size)
{
    for (int i = 0; map && i < FLM__POOLED_MAX; i++) {
        struct flm__seen_blob *s = &maps->seen[i];
        if (s->map != map)
            continue;
        s->users--;
        s->since = flm__now_ns();
        return;
    }
    flm__blob_unmap(map, size);
}

void flm__maps_trim(struct flm__blob_maps *maps, int64_t now_ns)
{
    for (int i = 0; i < FLM__POOLED_MAX; i++) {
        struct flm__seen_blob *s = &maps->seen[i];
        if (s->map && !s->users && is_old(s->since, now_ns))
            forget(maps, s);
    }
}

void flm__maps_clear(struct flm__blob_maps *maps)
{
    flm__maps_trim(maps, INT64_MAX);
}
