/* A journal as its owner sees it. */
#define _GNU_SOURCE
#include "base/error.h"
#include "store/inside.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    RING_BYTES = 4 << 20, /* one of 16 MiB is never in a cache: 1 KiB records cost a third more */
    LEAST_RING_BYTES = 64 << 10,
    SEGMENT_BYTES = 64 << 20,
    LEAST_SEGMENT_BYTES = 4 << 20,
    LARGE_RINGS = 4, /* records that did not fit the ring hold so many times its size at most */
};

void flm__journal_ring(int fd)
{
    uint64_t one = 1;
    if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
        return; /* a full counter: it is ringing already */
}

/* ---- Opening ---- */

/* Twice in a row, so that what wraps around the end is one piece. No memfd: a limit on the size of files
 * would hold for it. */
static char *map_ring(size_t bytes)
{
    char *ring =
        mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ring == MAP_FAILED)
        return NULL;
    /* of size 0: a second mapping of the same pages */
    if (mremap(ring, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, ring + bytes) != MAP_FAILED)
        return ring;
    munmap(ring, 2 * bytes);
    return NULL;
}

static int take_options(struct flm__journal_inside *j, const struct flm__journal_options *o,
                        flm_error *error)
{
    static const struct flm__journal_options defaults = {.event_fd = -1};
    static const struct flm__journal_io system = {pwritev, fdatasync};
    o = o ? o : &defaults;
    j->ring_bytes = o->ring_bytes ? o->ring_bytes : RING_BYTES;
    j->segment_bytes = o->segment_bytes ? o->segment_bytes : SEGMENT_BYTES;
    j->event_fd = o->event_fd;
    j->io = o->io ? *o->io : system;
    if (j->ring_bytes < LEAST_RING_BYTES || j->ring_bytes & (j->ring_bytes - 1))
        return flm__error_set(error, FLM_EINVAL,
                              "the ring of a journal is a power of two from %d bytes, not %zu",
                              LEAST_RING_BYTES, (size_t)j->ring_bytes);
    return 0;
}

struct flm__journal *flm__journal_open(const char *path, const struct flm__journal_options *options,
                                       flm_error *error)
{
    struct flm__journal_inside *j =
        aligned_alloc(FLM__LINE, (sizeof(*j) + FLM__LINE - 1) / FLM__LINE * FLM__LINE);
    if (!j) {
        flm__error_set(error, FLM_ENOMEM, "no memory for the journal in %s", path);
        return NULL;
    }
    memset(j, 0, sizeof(*j));
    j->folder.fd = j->folder.lock = j->thread.fd = j->bell = -1;
    pthread_mutex_init(&j->error_lock, NULL);
    if (take_options(j, options, error) || flm__folder_open(&j->folder, path, true, error))
        goto fail;
    j->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    j->front.ring = map_ring(j->ring_bytes);
    j->front.mask = j->ring_bytes - 1;
    if (j->bell < 0 || !j->front.ring) {
        flm__error_errno(error, FLM_ENOMEM, errno, "cannot make the ring of the journal in %s", path);
        goto fail;
    }
    return &j->front;
fail:
    flm__journal_close(&j->front);
    return NULL;
}

/* ---- Starting ---- */

static int start_thread(struct flm__journal_inside *j)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the owner's; SIGXFSZ becomes an error */
    int why = pthread_create(&j->id_of_thread, NULL, flm__journal_thread, j);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return why;
}

static void begin_at(struct flm__journal_inside *j, uint64_t end)
{
    j->front.beyond = end;
    j->owner.segment_first = j->owner.published = j->owner.seen_written = end;
    j->owner.seen_synced = j->was_synced < end ? j->was_synced : end;
    j->thread.position = j->thread.beyond = end;
    atomic_store(&j->shared.published, end);
    atomic_store(&j->shared.written, end);
    atomic_store(&j->shared.synced, j->owner.seen_synced);
    if (j->was_synced) { /* it was told to sync once: what is there goes to the disk at once */
        j->owner.sync_wanted = end;
        atomic_store(&j->shared.sync_wanted, end);
    }
}

int flm__journal_start(struct flm__journal *front, flm_error *error)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    if (j->phase == FLM__PHASE_OPEN) {
        int status = flm__journal_replay(front, NULL, NULL, NULL, error);
        if (status)
            return status;
    }
    if (j->phase != FLM__PHASE_REPLAYED)
        return flm__error_set(error, FLM_EINTERNAL, "the journal in %s cannot be started now",
                              j->folder.path);
    if (!j->id && getrandom(&j->id, sizeof(j->id), 0) != sizeof(j->id))
        return flm__error_errno(error, FLM_EIO, errno, "no random numbers for the journal in %s",
                                j->folder.path);
    begin_at(j, j->end);
    const char *doing = "begin";
    int why = flm__segment_begin(j, &doing);
    if (!why)
        why = start_thread(j);
    if (why)
        return flm__error_errno(error, FLM_EIO, why, "cannot %s the journal in %s", doing, j->folder.path);
    j->owner.rolled = true;
    j->phase = FLM__PHASE_RUNNING;
    front->limit = j->ring_bytes;
    return 0;
}

/* ---- Appending ---- */

static bool push_special(struct flm__journal_inside *j, struct flm__journal_record *record, uint64_t bytes)
{
    if (j->owner.specials - atomic_load_explicit(&j->shared.specials_head, memory_order_acquire) ==
        FLM__SPECIALS)
        return false;
    j->shared.specials[j->owner.specials % FLM__SPECIALS] = (struct flm__special){
        .position = flm__journal_position(&j->front), .record = record, .bytes = bytes};
    atomic_store(&j->shared.specials_tail, ++j->owner.specials);
    return true;
}

/* A record of more than a quarter of the ring gets memory of its own, within a limit. */
static struct flm__journal_record *reserve_large(struct flm__journal_inside *j, size_t size)
{
    uint64_t bytes = flm__journal_bytes(size), head = atomic_load(&j->shared.specials_head);
    uint64_t held =
        j->owner.specials_bytes - atomic_load_explicit(&j->shared.specials_freed, memory_order_acquire);
    if (j->owner.specials - head == FLM__SPECIALS || (held && held + bytes > LARGE_RINGS * j->ring_bytes))
        return NULL;
    free(j->owner.large); /* reserved and not put */
    j->owner.large = malloc(bytes);
    if (!j->owner.large)
        return NULL;
    memset((char *)j->owner.large + bytes - 8, 0, 8);
    j->owner.large->size = (uint32_t)size;
    return j->owner.large;
}

struct flm__journal_record *flm__journal_reserve_slow(struct flm__journal *front, size_t size)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    if (j->phase != FLM__PHASE_RUNNING || size > FLM__JOURNAL_LARGEST)
        return NULL;
    uint64_t bytes = flm__journal_bytes(size);
    if (bytes > front->mask / 4)
        return reserve_large(j, size);
    front->limit = atomic_load_explicit(&j->shared.head, memory_order_acquire) + j->ring_bytes;
    return front->tail + bytes > front->limit ? NULL : flm__journal_reserve(front, size);
}

uint64_t flm__journal_put_slow(struct flm__journal *front, struct flm__journal_record *record)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    uint64_t bytes = flm__journal_bytes(record->size);
    if (record != j->owner.large || !push_special(j, record, bytes))
        return 0; /* cannot be: there was room when it was reserved */
    j->owner.large = NULL;
    j->owner.specials_bytes += bytes;
    front->beyond += bytes;
    front->records++;
    return flm__journal_position(front);
}

/* ---- Committing ---- */

static void wake_thread(struct flm__journal_inside *j)
{
    if (atomic_load(&j->shared.sleeps) && atomic_exchange(&j->shared.sleeps, false))
        flm__journal_ring(j->bell);
}

/* Room is made by whole segments: of what is left on the disk none takes more than a part. */
static bool is_enough(const struct flm__journal_inside *j, uint64_t bytes)
{
    return bytes >= j->segment_bytes ||
           (bytes >= LEAST_SEGMENT_BYTES &&
            bytes >= atomic_load_explicit(&j->shared.room, memory_order_relaxed) / 8);
}

/* What is appended from now on belongs to the next segment, if this one has enough. */
static bool roll(struct flm__journal_inside *j, uint64_t position)
{
    if (!is_enough(j, position - j->owner.segment_first) || !push_special(j, NULL, 0))
        return false;
    j->owner.segment_first = position;
    j->owner.rolled = true;
    return true;
}

void flm__journal_commit(struct flm__journal *front, bool sync)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    uint64_t position = flm__journal_position(front);
    bool news = false;
    if (j->phase != FLM__PHASE_RUNNING)
        return;
    if (position != j->owner.published) {
        j->owner.published = position;
        atomic_store(&j->shared.published, position);
        news = true;
    }
    if (sync && position != j->owner.sync_wanted) {
        j->owner.sync_wanted = position;
        atomic_store(&j->shared.sync_wanted, position);
        news = true;
    }
    if (news | roll(j, position))
        wake_thread(j);
}

/* ---- What has come of it ---- */

uint64_t flm__journal_written(struct flm__journal *front)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    return j->owner.seen_written = atomic_load_explicit(&j->shared.written, memory_order_acquire);
}

uint64_t flm__journal_synced(struct flm__journal *front)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    return j->owner.seen_synced = atomic_load_explicit(&j->shared.synced, memory_order_acquire);
}

enum flm__journal_state flm__journal_state(struct flm__journal *front)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    j->owner.seen_state = atomic_load_explicit(&j->shared.state, memory_order_acquire);
    return (enum flm__journal_state)j->owner.seen_state;
}

void flm__journal_error(struct flm__journal *front, flm_error *error)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    if (!error || flm__journal_state(front) == FLM__JOURNAL_GOOD)
        return;
    pthread_mutex_lock(&j->error_lock);
    *error = j->error;
    pthread_mutex_unlock(&j->error_lock);
}

uint64_t flm__journal_room(struct flm__journal *front)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    return j->ring_bytes - (front->tail - atomic_load_explicit(&j->shared.head, memory_order_acquire));
}

bool flm__journal_arm(struct flm__journal *front)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    atomic_store(&j->shared.waits, true);
    return atomic_load(&j->shared.written) == j->owner.seen_written &&
           atomic_load(&j->shared.synced) == j->owner.seen_synced &&
           atomic_load(&j->shared.state) == j->owner.seen_state;
}

void flm__journal_disarm(struct flm__journal *front)
{
    atomic_store(&flm__journal_inside(front)->shared.waits, false);
}

void flm__journal_retry(struct flm__journal *front)
{
    flm__journal_ring(flm__journal_inside(front)->bell);
}

/* ---- Segments ---- */

bool flm__journal_rolled(struct flm__journal *front, uint64_t *first)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    if (!j->owner.rolled)
        return false;
    j->owner.rolled = false;
    *first = j->owner.segment_first;
    return true;
}

void flm__journal_drop_before(struct flm__journal *front, uint64_t first, uint64_t complete)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    if (first > j->owner.segment_first)
        first = j->owner.segment_first;
    atomic_store(&j->shared.drop_complete, complete);
    atomic_store(&j->shared.drop_first, first);
    wake_thread(j);
}

void flm__journal_stats(struct flm__journal *front, struct flm__journal_stats *stats)
{
    struct flm__journal_shared *s = &flm__journal_inside(front)->shared;
    *stats = (struct flm__journal_stats){
        .records = front->records,
        .frames = atomic_load_explicit(&s->frames, memory_order_relaxed),
        .syncs = atomic_load_explicit(&s->syncs, memory_order_relaxed),
        .bytes = atomic_load_explicit(&s->bytes, memory_order_relaxed),
        .segments = atomic_load_explicit(&s->segments, memory_order_relaxed),
        .live = atomic_load_explicit(&s->live, memory_order_relaxed),
        .room = atomic_load_explicit(&s->room, memory_order_relaxed),
    };
}

/* ---- The end ---- */

int flm__journal_stop(struct flm__journal *front, flm_error *error)
{
    struct flm__journal_inside *j = flm__journal_inside(front);
    if (j->phase != FLM__PHASE_RUNNING)
        return 0;
    flm__journal_commit(front, false);
    atomic_store(&j->shared.stop, true);
    flm__journal_ring(j->bell);
    pthread_join(j->id_of_thread, NULL);
    j->phase = FLM__PHASE_STOPPED;
    front->limit = 0;
    if (flm__journal_state(front) == FLM__JOURNAL_GOOD)
        return 0;
    flm__journal_error(front, error);
    return FLM_EIO;
}

void flm__journal_close(struct flm__journal *front)
{
    if (!front)
        return;
    struct flm__journal_inside *j = flm__journal_inside(front);
    flm__journal_stop(front, NULL);
    for (uint64_t i = j->thread.special; i < j->owner.specials; i++)
        free(j->shared.specials[i % FLM__SPECIALS].record);
    free(j->owner.large);
    if (j->front.ring)
        munmap(j->front.ring, 2 * j->ring_bytes);
    if (j->bell >= 0)
        close(j->bell);
    if (j->thread.fd >= 0)
        close(j->thread.fd);
    free(j->thread.known);
    flm__folder_close(&j->folder);
    pthread_mutex_destroy(&j->error_lock);
    free(j);
}
