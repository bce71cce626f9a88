/* Layout of the memfd: one page of struct ring_shared for each direction, then the bytes of direction 0
 * (server to peer), then of direction 1. Offsets count bytes for ever and are used modulo the size, so
 * empty is head == tail and full is tail - head == size.
 *
 * Invariants, for each direction:
 *   - only the producer writes tail, only the consumer writes head;
 *   - head <= tail <= head + size, as far as the peer is honest; what we read of the peer is checked
 *     before use, and a peer that lies gets an empty ring for ever (`broken`).
 */
#define _GNU_SOURCE
#include "net/ring.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LINE = 128,
    HEADER_BYTES = 4096,
    WINDOW_BYTES = 4096, /* shown to the peer at the latest when so much is committed */
};

struct ring_shared {
    _Alignas(LINE) _Atomic uint64_t tail;
    _Alignas(LINE) _Atomic uint64_t head;
    _Alignas(LINE) _Atomic uint32_t sleeps; /* the consumer sleeps: ring when something is committed */
    _Atomic uint32_t starves;               /* the producer sleeps: ring when there is room */
};
_Static_assert(sizeof(struct ring_shared) <= HEADER_BYTES, "fits its page");

/* One direction as one side sees it. */
struct half {
    struct ring_shared *shared;
    char *bytes;     /* mapped twice in a row */
    uint64_t mine;   /* our own offset: tail of the producer, head of the consumer */
    uint64_t theirs; /* the other's, as last seen */
};

struct ring {
    struct flm__link link;
    struct half out, in;
    char *settled; /* out.mine has come as far as link.at was here */
    uint32_t size;
    int peer_bell;
    bool broken; /* the peer wrote nonsense */
    char *headers;
};

static struct ring *ring_of(struct flm__link *link)
{
    return (struct ring *)link;
}

static void ring_bell(struct ring *r)
{
    uint64_t one = 1;
    ssize_t n = write(r->peer_bell, &one, sizeof(one)); /* full counter: it is ringing already */
    (void)n;
}

/* How far the peer has come in `half`, if it is within what is possible. */
static uint64_t seen(struct ring *r, _Atomic uint64_t *offset, uint64_t low, uint64_t high)
{
    uint64_t value = atomic_load_explicit(offset, memory_order_acquire);
    if (value - low <= high - low)
        return value;
    r->broken = true;
    return low;
}

/* Shows the peer what was committed. It polls the line of tail: each store takes that away from it, so
 * this is not done for each record. */
static void publish(struct ring *r)
{
    struct half *h = &r->out;
    if (r->settled == r->link.at)
        return;
    h->mine += (uint64_t)(r->link.at - r->settled);
    r->settled = r->link.at;
    atomic_store_explicit(&h->shared->tail, h->mine, memory_order_release);
}

/* Opens the next window. */
static void *ring_reserve(struct flm__link *link, uint32_t bytes)
{
    struct ring *r = ring_of(link);
    struct half *h = &r->out;
    publish(r);
    if (h->mine + bytes - h->theirs > r->size) {
        h->theirs = seen(r, &h->shared->head, h->theirs, h->mine);
        if (h->mine + bytes - h->theirs > r->size)
            return NULL;
    }
    uint64_t room = r->size - (h->mine - h->theirs), most = bytes > WINDOW_BYTES ? bytes : WINDOW_BYTES;
    link->room = (uint32_t)(room < most ? room : most);
    link->at = r->settled = h->bytes + (h->mine & (r->size - 1));
    return link->at;
}

static void ring_flush(struct flm__link *link)
{
    struct ring *r = ring_of(link);
    publish(r);
    /* Pairs with the fence in ring_arm: either we see that it sleeps, or it sees what we committed. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&r->out.shared->sleeps, memory_order_relaxed) &&
        atomic_exchange_explicit(&r->out.shared->sleeps, 0, memory_order_relaxed))
        ring_bell(r);
}

/* The store of tail may still be on its way when we look: see link.h. A fence here is a third of what a
 * submission costs. */
static void ring_nudge(struct flm__link *link)
{
    struct ring *r = ring_of(link);
    publish(r);
    if (__builtin_expect(atomic_load_explicit(&r->out.shared->sleeps, memory_order_relaxed), 0) &&
        atomic_exchange_explicit(&r->out.shared->sleeps, 0, memory_order_relaxed))
        ring_bell(r);
}

static size_t ring_peek(struct flm__link *link, const void **data)
{
    struct ring *r = ring_of(link);
    struct half *h = &r->in;
    if (h->theirs == h->mine) {
        h->theirs = seen(r, &h->shared->tail, h->mine, h->mine + r->size);
        if (h->theirs == h->mine)
            return 0;
    }
    *data = h->bytes + (h->mine & (r->size - 1));
    return (size_t)(h->theirs - h->mine);
}

static void ring_consume(struct flm__link *link, size_t bytes)
{
    struct ring *r = ring_of(link);
    struct half *h = &r->in;
    h->mine += bytes;
    atomic_store_explicit(&h->shared->head, h->mine, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&h->shared->starves, memory_order_relaxed) &&
        atomic_exchange_explicit(&h->shared->starves, 0, memory_order_relaxed))
        ring_bell(r);
}

static bool ring_arm(struct flm__link *link, bool want_room)
{
    struct ring *r = ring_of(link);
    publish(r);
    atomic_store_explicit(&r->in.shared->sleeps, 1, memory_order_relaxed);
    if (want_room)
        atomic_store_explicit(&r->out.shared->starves, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (r->broken)
        return true;
    if (atomic_load_explicit(&r->in.shared->tail, memory_order_relaxed) != r->in.mine)
        return false;
    /* Half the room, so that a waiting producer is not woken for each record. */
    return !want_room ||
           r->out.mine - atomic_load_explicit(&r->out.shared->head, memory_order_relaxed) > r->size / 2;
}

static void ring_disarm(struct flm__link *link)
{
    struct ring *r = ring_of(link);
    atomic_store_explicit(&r->in.shared->sleeps, 0, memory_order_relaxed);
    atomic_store_explicit(&r->out.shared->starves, 0, memory_order_relaxed);
}

static void unmap_half(struct half *h, uint32_t size)
{
    if (h->bytes)
        munmap(h->bytes, (size_t)size * 2);
}

static void ring_destroy(struct flm__link *link)
{
    struct ring *r = ring_of(link);
    unmap_half(&r->out, r->size);
    unmap_half(&r->in, r->size);
    if (r->headers)
        munmap(r->headers, 2 * HEADER_BYTES);
    if (r->peer_bell >= 0)
        close(r->peer_bell);
    free(r);
}

static const struct flm__link_ops ring_ops = {
    .name = "ring",
    .reserve = ring_reserve,
    .flush = ring_flush,
    .nudge = ring_nudge,
    .peek = ring_peek,
    .consume = ring_consume,
    .arm = ring_arm,
    .disarm = ring_disarm,
    .destroy = ring_destroy,
};

bool flm__ring_is(const struct flm__link *link)
{
    return link->ops == &ring_ops;
}

bool flm__ring_broken(const struct flm__link *link)
{
    return ((const struct ring *)link)->broken;
}

bool flm__ring_empty(struct flm__link *link)
{
    const void *data;
    return ring_peek(link, &data) == 0;
}

int flm__ring_create(uint32_t bytes, int *memfd, flm_error *error)
{
    if (bytes < 4096 || (bytes & (bytes - 1)))
        return flm__error_set(error, FLM_EINVAL, "a ring of %u bytes: the size must be a power of two",
                              bytes);
    int fd = memfd_create("flm-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot make a ring");
    if (ftruncate(fd, 2 * HEADER_BYTES + 2 * (off_t)bytes) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int e = errno;
        close(fd);
        return flm__error_errno(error, FLM_ENOMEM, e, "cannot make a ring of %u bytes", bytes);
    }
    *memfd = fd;
    return 0;
}

/* Maps `size` bytes at `offset` twice in a row. */
static char *map_twice(int fd, off_t offset, uint32_t size)
{
    char *at = mmap(NULL, (size_t)size * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    for (int i = 0; i < 2; i++) {
        void *p =
            mmap(at + (size_t)i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset);
        if (p == MAP_FAILED) {
            munmap(at, (size_t)size * 2);
            return NULL;
        }
    }
    return at;
}

/* The peer could resize the memory under us unless it is sealed. */
static bool memory_is_sound(int fd, uint32_t bytes)
{
    int seals = fcntl(fd, F_GET_SEALS);
    off_t size = lseek(fd, 0, SEEK_END);
    return seals >= 0 && (seals & F_SEAL_SHRINK) && size >= 2 * HEADER_BYTES + 2 * (off_t)bytes;
}

struct flm__link *flm__ring_open(int memfd, uint32_t bytes, bool server, int peer_bell, flm_error *error)
{
    if (bytes < 4096 || (bytes & (bytes - 1)) || bytes > (1u << 30) || !memory_is_sound(memfd, bytes)) {
        flm__error_set(error, FLM_EPROTO, "the memory of the ring is not what was announced");
        return NULL;
    }
    struct ring *r = calloc(1, sizeof(*r));
    if (!r) {
        flm__error_set(error, FLM_ENOMEM, "no memory for a ring");
        return NULL;
    }
    r->link.ops = &ring_ops;
    r->size = bytes;
    r->peer_bell = fcntl(peer_bell, F_DUPFD_CLOEXEC, 3);
    r->headers = mmap(NULL, 2 * HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (r->headers == MAP_FAILED)
        r->headers = NULL;
    struct half *down = server ? &r->out : &r->in;
    struct half *up = server ? &r->in : &r->out;
    down->bytes = map_twice(memfd, 2 * HEADER_BYTES, bytes);
    up->bytes = map_twice(memfd, 2 * HEADER_BYTES + (off_t)bytes, bytes);
    if (r->peer_bell < 0 || !r->headers || !down->bytes || !up->bytes) {
        flm__error_errno(error, FLM_ENOMEM, errno, "cannot map a ring of %u bytes", bytes);
        ring_destroy(&r->link);
        return NULL;
    }
    down->shared = (struct ring_shared *)r->headers;
    up->shared = (struct ring_shared *)(r->headers + HEADER_BYTES);
    return &r->link;
}

struct flm__link *flm__ring_take_over(int memfd, uint32_t bytes, int peer_bell, flm_error *error)
{
    struct flm__link *link = flm__ring_open(memfd, bytes, true, peer_bell, error);
    if (!link)
        return NULL;
    struct ring *r = ring_of(link);
    struct half *halves[] = {&r->out, &r->in};
    uint64_t tails[2], heads[2];
    for (int i = 0; i < 2; i++) {
        tails[i] = atomic_load(&halves[i]->shared->tail);
        heads[i] = atomic_load(&halves[i]->shared->head);
        r->broken |= tails[i] - heads[i] > r->size;
    }
    r->out.mine = tails[0];
    r->out.theirs = r->broken ? tails[0] : heads[0];
    r->in.mine = r->in.theirs = heads[1];
    ring_disarm(link); /* the dead one may have been asleep */
    return link;
}

uint64_t flm__ring_written(const struct flm__link *link)
{
    return atomic_load(&((const struct ring *)link)->in.shared->tail);
}

uint64_t flm__ring_read(const struct flm__link *link)
{
    return ((const struct ring *)link)->in.mine;
}

/* The descriptor keeps its number, so that a thread that is about to ring needs no lock. */
int flm__ring_change_bell(struct flm__link *link, int peer_bell)
{
    struct ring *r = ring_of(link);
    if (dup3(peer_bell, r->peer_bell, O_CLOEXEC) < 0)
        return FLM_EFULL;
    ring_bell(r);
    return 0;
}
