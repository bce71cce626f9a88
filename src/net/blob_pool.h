/* net/blob_pool.h - memory of blobs that is used again. A page that is new has to be found, cleared, mapped
 * by each who looks at it, and freed, which costs several times what filling it does (facts.md, section I).
 *
 * Who fills blobs has a pool: a blob comes back to it once nobody else reads it any more, which its user
 * has to know. Who gets blobs that are used again (Blob.reused) keeps their mappings: the same memory comes
 * again, as another descriptor, and is known by its inode, which is no other's while it is mapped here.
 *
 * Both are bounded, and what was not used for a while goes when somebody calls trim. Nothing here locks.
 */
#ifndef FLM_NET_BLOB_POOL_H
#define FLM_NET_BLOB_POOL_H

#include <flm/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FLM__POOLED_MAX = 32, /* blobs */
    FLM__POOL_TRIM_MS = 2000,
};
#define FLM__POOLED_BYTES ((size_t)256 << 20)

/* Memory for one payload. */
struct flm__room {
    int fd;
    void *map;   /* writable; NULL: there is none yet, flm__room_map */
    size_t size; /* at least that of the payload */
    int64_t since;
};

struct flm__blob_pool {
    struct flm__room rooms[FLM__POOLED_MAX]; /* the oldest first */
    unsigned n;
    size_t bytes;
};

/* Takes one for a payload of so many bytes out of the pool. False: it has none that fits. */
bool flm__pool_find(struct flm__blob_pool *pool, size_t size, struct flm__room *out);
/* The same, or makes one; it is mapped. 0, FLM_ENOMEM or FLM_EIO. */
int flm__pool_take(struct flm__blob_pool *pool, size_t size, struct flm__room *out, flm_error *error);
/* Makes one. */
int flm__room_make(size_t size, struct flm__room *out, flm_error *error);
/* Nobody reads or writes it any more. */
void flm__pool_give(struct flm__blob_pool *pool, const struct flm__room *room);
/* Frees what was not taken for FLM__POOL_TRIM_MS. */
void flm__pool_trim(struct flm__blob_pool *pool, int64_t now_ns);
void flm__pool_clear(struct flm__blob_pool *pool);
void flm__room_free(const struct flm__room *room);

struct flm__seen_blob {
    uint64_t device, inode;
    void *map; /* NULL: free */
    size_t size;
    unsigned users;
    int64_t since; /* nobody uses it */
};

struct flm__blob_maps {
    struct flm__seen_blob seen[FLM__POOLED_MAX];
    size_t bytes;
};

/* Maps a received blob read-only, as flm__blob_map does, or finds that it is. */
const void *flm__maps_get(struct flm__blob_maps *maps, int fd, size_t size, flm_error *error);
/* What flm__maps_get or flm__blob_map gave for that size is not looked at any more; NULL is allowed. */
void flm__maps_put(struct flm__blob_maps *maps, const void *map, size_t size);
void flm__maps_trim(struct flm__blob_maps *maps, int64_t now_ns);
/* Those in use go when they are put. */
void flm__maps_clear(struct flm__blob_maps *maps);

#endif
