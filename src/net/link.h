/* net/link.h - the data plane to one peer: put records in, take records out.
 *
 * Two kinds: a ring in shared memory (net/ring.h) and a libfabric peer
 * (net/fabric.h). One thread owns a link; only that thread calls these.
 *
 * Sending: reserve room, write records there, commit. What is committed leaves at
 * flush, or before: by some KiB over a ring, over fabric when a batch is full.
 * flush also wakes a peer that sleeps. nudge is a cheap flush for after each single
 * record of a flood: no fence, so a peer that is just about to sleep may miss it.
 * Who is nudged looks a second time, a millisecond after it has gone to sleep; who
 * nudges calls flush when it has nothing to add.
 * Receiving: peek gives whole batches, consume gives the room back.
 * Sleeping: arm every link; if none says that there is work, sleep on the
 * process's doorbell (ring) and on the fabric's descriptor; then disarm.
 */
#ifndef FLM_NET_LINK_H
#define FLM_NET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flm__link;

struct flm__link_ops {
    const char *name; /* "ring" or the provider */
    void *(*reserve)(struct flm__link *, uint32_t bytes);
    void (*flush)(struct flm__link *);
    void (*nudge)(struct flm__link *);
    size_t (*peek)(struct flm__link *, const void **data);
    void (*consume)(struct flm__link *, size_t bytes);
    bool (*arm)(struct flm__link *, bool want_room);
    void (*disarm)(struct flm__link *);
    void (*destroy)(struct flm__link *);
};

/* Every implementation begins with this. Most records are written and committed without a call: into the
 * window at `at`, which reserve of the implementation opens. What was committed shows from where `at` is.
 */
struct flm__link {
    const struct flm__link_ops *ops;
    char *at;
    uint32_t room; /* bytes of the window that are left */
};

/* Room for one or more records of `bytes` in all (a multiple of 8, at most
 * FLM__RECORD_MAX), or NULL when the peer must read first. The room is lost
 * unless committed before the next call. */
static inline void *flm__link_reserve(struct flm__link *l, uint32_t bytes)
{
    return __builtin_expect(bytes <= l->room, 1) ? l->at : l->ops->reserve(l, bytes);
}

/* The first `bytes` of what was reserved are whole records; send them. */
static inline void flm__link_commit(struct flm__link *l, uint32_t bytes)
{
    l->at += bytes;
    l->room -= bytes;
}

/* Let all that was committed go, and wake the peer if it sleeps. */
static inline void flm__link_flush(struct flm__link *l)
{
    l->ops->flush(l);
}

/* Mostly what flush does, see above. */
static inline void flm__link_nudge(struct flm__link *l)
{
    l->ops->nudge(l);
}

/* Bytes that can be read at *data, 0 for none. They stay until consumed. The
 * peer is not trusted: check each record with flm__record_read. */
static inline size_t flm__link_peek(struct flm__link *l, const void **data)
{
    return l->ops->peek(l, data);
}

/* The first `bytes` of what peek gave are done with. */
static inline void flm__link_consume(struct flm__link *l, size_t bytes)
{
    l->ops->consume(l, bytes);
}

/* About to sleep: ask the peer to ring the doorbell when it sends (and, with
 * want_room, when it makes room). false: there is work already, do not sleep. */
static inline bool flm__link_arm(struct flm__link *l, bool want_room)
{
    return l->ops->arm(l, want_room);
}

static inline void flm__link_disarm(struct flm__link *l)
{
    l->ops->disarm(l);
}

/* NULL is allowed. */
static inline void flm__link_destroy(struct flm__link *l)
{
    if (l)
        l->ops->destroy(l);
}

#endif
