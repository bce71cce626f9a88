/* How results get into the ring, and large outputs into blobs. See outbox.h for when they are committed.
 *
 * The output of a plain task is written by the service straight into the ring: room for the header and the
 * output is reserved when the service asks for it. Outputs larger than FLM__INLINE_MAX lie in a blob,
 * announced on the control connection before the record is committed. */
#include "executor/executor.h"

#include "base/error.h"
#include "base/time.h"
#include "executor/world.h"
#include "net/blob.h"

#include <flm/client.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

_Static_assert(offsetof(struct flm__record, type) == 4 && offsetof(struct flm__record, flags) == 5 &&
                   offsetof(struct flm__record, lane) == 6 && offsetof(struct flm__record, cookie) == 12 &&
                   offsetof(struct flm__record, task) == 16,
               "as finish writes it");

enum {
    SPINS_FOR_ROOM = 200,
    ROOM_BYTES = 4096,       /* reserved at once, where the ring has it */
    SMALL_BATCH_BYTES = 512, /* of tasks: not worth holding anything back */
};

/* ---- room and commit ---- */

static void wake_second_thread(struct flm__executor *e)
{
    uint64_t one = 1;
    ssize_t n = write(e->control.wake_fd, &one, sizeof(one));
    (void)n;
}

/* Under the lock. */
static void commit_filled(struct flm__executor *e)
{
    struct flm__outbox *o = &e->outbox;
    uint32_t filled = atomic_load_explicit(&o->filled, memory_order_acquire);
    if (filled == o->committed)
        return;
    flm__link_commit(e->link, filled - o->committed);
    o->committed = filled;
    flm__link_flush(e->link);
}

void flm__outbox_publish(struct flm__executor *e)
{
    struct flm__outbox *o = &e->outbox;
    pthread_mutex_lock(&o->lock);
    commit_filled(e);
    pthread_mutex_unlock(&o->lock);
    o->held = 0;
}

/* Results are about to be held: the second thread is to look. Sequentially consistent, as in look: either
 * we see that it has stopped, or it sees that there is a new round. */
void flm__outbox_begin_round(struct flm__executor *e)
{
    struct flm__outbox *o = &e->outbox;
    atomic_store(&o->rounds, atomic_load_explicit(&o->rounds, memory_order_relaxed) + 1);
    if (!atomic_load(&o->looking)) {
        atomic_store(&o->looking, true);
        wake_second_thread(e);
    }
}

/* Enough are held. How long did the tasks take? */
static void publish_and_measure(struct flm__executor *e)
{
    struct flm__outbox *o = &e->outbox;
    o->measured += o->held;
    flm__outbox_publish(e);
    if (o->measured < FLM__HELD_MAX || o->since == 0)
        return;
    int64_t now = flm__now_ns();
    bool are_short = now - o->since < (int64_t)o->measured * FLM__SHORT_TASK_NS;
    o->since = now;
    o->measured = 0;
    o->limit = are_short ? FLM__HELD_MAX : 1;
    if (are_short)
        flm__outbox_begin_round(e);
}

void flm__outbox_batch(struct flm__executor *e, size_t bytes)
{
    struct flm__outbox *o = &e->outbox;
    o->limit = 1;
    o->measured = 0;
    o->since = bytes > SMALL_BATCH_BYTES ? flm__now_ns() : 0;
}

int flm__outbox_look(struct flm__executor *e)
{
    struct flm__outbox *o = &e->outbox;
    if (!atomic_load(&o->looking))
        return -1;
    if (e->world)
        flm__world_look(e);
    flm__outbox_rescue(e);
    uint64_t rounds = atomic_load(&o->rounds);
    if (rounds == o->seen) {
        atomic_store(&o->looking, false);
        if (atomic_load(&o->rounds) == rounds)
            return -1;
        atomic_store(&o->looking, true);
    }
    o->seen = rounds;
    return FLM__HELD_LOOK_MS;
}

void flm__outbox_rescue(struct flm__executor *e)
{
    struct flm__outbox *o = &e->outbox;
    if (!e->link || pthread_mutex_trylock(&o->lock) != 0)
        return; /* the main thread is just doing it */
    commit_filled(e);
    pthread_mutex_unlock(&o->lock);
}

/* The ring is full: until the peer has read. Nothing is held. */
static void *wait_for_room(struct flm__executor *e, uint32_t bytes)
{
    void *p;
    for (int i = 0; i < SPINS_FOR_ROOM; i++) {
        for (int j = 0; j < 16; j++)
            flm__relax();
        if ((p = flm__link_reserve(e->link, bytes)))
            return p;
        sched_yield();
    }
    for (;;) {
        /* Also when there is input: we cannot take it now, and what we armed for is room. */
        flm__link_arm(e->link, true);
        p = flm__link_reserve(e->link, bytes);
        if (!p)
            flm__inbox_sleep(e);
        flm__link_disarm(e->link);
        if (p || (p = flm__link_reserve(e->link, bytes)))
            return p;
        if (atomic_load(&e->control.alone))
            flm__end_now(e, FLM_REASON_NONE, "the agent is gone, and there is no room for the last result");
    }
}

static void take_room(struct flm__outbox *o, char *p, uint32_t bytes)
{
    pthread_mutex_lock(&o->lock);
    o->room = p;
    o->room_bytes = bytes;
    o->committed = 0;
    atomic_store_explicit(&o->filled, 0, memory_order_relaxed);
    pthread_mutex_unlock(&o->lock);
}

/* A new piece of the ring, with room for a record of so many bytes at least. */
static char *more_room(struct flm__executor *e, uint32_t bytes)
{
    flm__outbox_publish(e);
    uint32_t wanted = bytes < ROOM_BYTES ? ROOM_BYTES : bytes;
    char *p = flm__link_reserve(e->link, wanted);
    if (!p) {
        wanted = bytes;
        p = flm__link_reserve(e->link, bytes);
    }
    if (!p)
        p = wait_for_room(e, bytes);
    take_room(&e->outbox, p, wanted);
    return p;
}

bool flm__outbox_make_room(struct flm__executor *e, uint32_t bytes)
{
    struct flm__outbox *o = &e->outbox;
    if (atomic_load_explicit(&o->filled, memory_order_relaxed) + bytes <= o->room_bytes)
        return true;
    flm__outbox_publish(e);
    uint32_t wanted = bytes < ROOM_BYTES ? ROOM_BYTES : bytes;
    char *p = flm__link_reserve(e->link, wanted);
    if (p)
        take_room(o, p, wanted);
    return p;
}

/* Where a record of so many bytes can be built. What is left of room that was reserved once stays ours
 * when a part of it is committed: over a ring nobody else can take it. */
static inline char *reserve(struct flm__executor *e, uint32_t bytes)
{
    struct flm__outbox *o = &e->outbox;
    uint32_t filled = atomic_load_explicit(&o->filled, memory_order_relaxed);
    return __builtin_expect(filled + bytes <= o->room_bytes, 1) ? o->room + filled : more_room(e, bytes);
}

/* ---- results ---- */

static void drop_large(struct flm__executor *e)
{
    if (e->large)
        flm__outputs_unused(&e->outputs, &e->large_room);
    e->large = false;
}

static void *room(struct flm_task_context *task, size_t size)
{
    struct flm__executor *e = task->owner;
    if (__builtin_expect(e->large, 0))
        drop_large(e);
    if (__builtin_expect(size <= FLM__INLINE_MAX, 1))
        return reserve(e, flm__record_bytes((uint32_t)size)) + FLM__RECORD_HEADER;
    if (flm__outputs_take(&e->outputs, size, &e->large_room) < 0)
        return NULL;
    e->large = true;
    return e->large_room.map;
}

void flm__outbox_init(struct flm__executor *e)
{
    e->task.room = room;
    e->task.owner = e;
    e->cancels = &e->own_cancels;
    e->task.cancels = e->cancels;
    flm__outputs_init(&e->outputs);
    e->outbox.limit = 1;
    pthread_mutex_init(&e->outbox.lock, NULL);
}

void flm__outbox_fini(struct flm__executor *e)
{
    drop_large(e);
    flm__outputs_fini(&e->outputs);
    pthread_mutex_destroy(&e->outbox.lock);
}

/* The record at p, which is where reserve said, is whole. */
static inline void finish(struct flm__executor *e, char *p, const struct flm__record *r, uint32_t size,
                          uint8_t flags)
{
    /* The header as three words: built field by field and then copied it would stall the processor, which
     * cannot forward many small stores to one large load. */
    uint64_t *words = (uint64_t *)(void *)p, ours;
    memcpy(&ours, &r->session, sizeof(ours)); /* session and cookie go back as they came */
    words[0] = size | (uint64_t)FLM__RESULT << 32 | (uint64_t)flags << 40 | (uint64_t)e->wire_lane << 48;
    words[1] = ours;
    words[2] = r->task;
    if (size & 7) { /* padding is zero */
        uint64_t last;
        char *at = p + FLM__RECORD_HEADER + (size & ~7u);
        memcpy(&last, at, sizeof(last));
        last &= ((uint64_t)1 << (size & 7) * 8) - 1;
        memcpy(at, &last, sizeof(last));
    }
    struct flm__outbox *o = &e->outbox;
    atomic_store_explicit(&o->filled,
                          atomic_load_explicit(&o->filled, memory_order_relaxed) + flm__record_bytes(size),
                          memory_order_release);
    if (++o->held >= o->limit)
        publish_and_measure(e);
}

/* Tells the peer of the large output and gives it away. */
static struct flm__blob_ref announce(struct flm__executor *e)
{
    struct flm__blob_ref ref = {.id = ++e->next_blob, .size = e->task.output_size};
    Flm__Blob blob = FLM__BLOB__INIT;
    blob.lane = e->identity.lane;
    blob.life = e->identity.life;
    blob.id = ref.id;
    blob.size = ref.size;
    blob.reused = true;
    FLM__MESSAGE(message, blob, BLOB, &blob);
    int rc = flm__control_send(e, &message, &e->large_room.fd, 1);
    bool is_past = atomic_load(&e->control.alone) || (e->hosted && rc == FLM_EDISCONNECTED);
    if (rc < 0 && !is_past)
        flm__end_now(e, FLM_REASON_NONE, "cannot hand over an output of %zu bytes: %s", e->task.output_size,
                     flm_strerror(rc));
    flm__outputs_lend(&e->outputs, ref.id, &e->large_room);
    e->large = false;
    return ref;
}

static void succeed_large(struct flm__executor *e, const struct flm__record *r)
{
    uint32_t size = (uint32_t)e->task.output_size;
    if (size <= FLM__INLINE_MAX) { /* shrunk */
        char *p = reserve(e, flm__record_bytes(size));
        memcpy(p + FLM__RECORD_HEADER, e->task.output, size);
        drop_large(e);
        finish(e, p, r, size, 0);
        return;
    }
    struct flm__blob_ref ref = announce(e);
    char *p = reserve(e, flm__record_bytes(sizeof(ref)));
    memcpy(p + FLM__RECORD_HEADER, &ref, sizeof(ref));
    finish(e, p, r, sizeof(ref), (uint8_t)(FLM__RECORD_BLOB | (r->flags & FLM__RECORD_OUTPUT)));
}

void flm__outbox_success(struct flm__executor *e, const struct flm__record *r)
{
    if (__builtin_expect(e->large, 0)) {
        succeed_large(e, r);
        return;
    }
    char *output = e->task.output;
    char *p = output ? output - FLM__RECORD_HEADER : reserve(e, FLM__RECORD_HEADER);
    finish(e, p, r, (uint32_t)e->task.output_size, 0);
}

void flm__outbox_copy(struct flm__executor *e, const struct flm__record *r, const void *output,
                      uint32_t size)
{
    char *p = reserve(e, flm__record_bytes(size));
    if (size)
        memcpy(p + FLM__RECORD_HEADER, output, size);
    finish(e, p, r, size, 0);
}

void flm__outbox_failure(struct flm__executor *e, const struct flm__record *r, int state, int reason,
                         int code, const struct flm__usage *usage)
{
    struct flm_task_context *t = &e->task;
    struct flm__outcome outcome = {.state = (uint8_t)state,
                                   .reason = (uint8_t)reason,
                                   .code = code,
                                   .text = (uint16_t)t->message_size,
                                   .executor = e->session.info.executor};
    uint32_t text = flm__record_padded(t->message_size);
    uint32_t size = (uint32_t)t->output_size;
    const void *output = t->output;
    uint8_t flags = FLM__RECORD_OUTCOME;
    struct flm__blob_ref ref;

    if (e->large && t->output_size > FLM__INLINE_MAX) {
        ref = announce(e);
        output = &ref;
        size = sizeof(ref);
        flags |= FLM__RECORD_BLOB;
    } else if (!e->large && size) {
        /* It lies where the record will begin, or elsewhere in the ring: out of the way. */
        memcpy(e->scratch, output, size);
        output = e->scratch;
    }
    uint32_t used = usage ? (uint32_t)sizeof(*usage) : 0;
    uint32_t payload = (uint32_t)sizeof(outcome) + used + text + size;
    char *p = reserve(e, flm__record_bytes(payload));
    char *at = p + FLM__RECORD_HEADER;
    memcpy(at, &outcome, sizeof(outcome));
    at += sizeof(outcome);
    if (used)
        memcpy(at, usage, used);
    at += used;
    flags |= used ? FLM__RECORD_USAGE : 0;
    memset(at, 0, text);
    memcpy(at, t->message, t->message_size);
    if (size)
        memcpy(at + text, output, size);
    drop_large(e);
    finish(e, p, r, payload, flags);
}

void flm__outbox_settled(struct flm__executor *e, uint64_t round)
{
    const struct flm__record r = {
        .type = FLM__SETTLED, .lane = e->wire_lane, .session = e->session.number, .task = round};
    struct flm__outbox *o = &e->outbox;
    memcpy(reserve(e, FLM__RECORD_HEADER), &r, sizeof(r));
    atomic_fetch_add_explicit(&o->filled, FLM__RECORD_HEADER, memory_order_release);
    flm__outbox_publish(e);
}
