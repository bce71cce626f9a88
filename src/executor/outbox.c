/* Results. The output of a plain task is written by the service straight into the ring: room for the
 * header and the output is reserved when the service asks for it, and committed when it has returned.
 * Outputs larger than FLM__INLINE_MAX lie in a blob, announced on the control connection before the
 * record is committed. */
#include "executor/executor.h"

#include "base/error.h"
#include "base/time.h"
#include "net/blob.h"

#include <flm/client.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

_Static_assert(offsetof(struct flm__record, type) == 4 && offsetof(struct flm__record, flags) == 5 &&
                   offsetof(struct flm__record, lane) == 6 && offsetof(struct flm__record, cookie) == 12 &&
                   offsetof(struct flm__record, task) == 16,
               "as finish writes it");

enum { SPINS_FOR_ROOM = 200 };

/* The ring is full: until the peer has read. */
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
    }
}

static inline char *reserve(struct flm__executor *e, uint32_t bytes)
{
    void *p = flm__link_reserve(e->link, bytes);
    return __builtin_expect(p != NULL, 1) ? p : wait_for_room(e, bytes);
}

static void drop_large(struct flm__executor *e)
{
    flm__blob_unmap(e->large_map, e->large_size);
    if (e->large_fd >= 0)
        close(e->large_fd);
    e->large_map = NULL;
    e->large_fd = -1;
}

static void *room(struct flm_task_context *task, size_t size)
{
    struct flm__executor *e = task->owner;
    if (__builtin_expect(e->large_fd >= 0, 0))
        drop_large(e);
    if (__builtin_expect(size <= FLM__INLINE_MAX, 1))
        return reserve(e, flm__record_bytes((uint32_t)size)) + FLM__RECORD_HEADER;
    int fd = flm__blob_create(size, &e->large_map, NULL);
    if (fd < 0)
        return NULL;
    e->large_fd = fd;
    e->large_size = size;
    return e->large_map;
}

void flm__outbox_init(struct flm__executor *e)
{
    e->task.room = room;
    e->task.owner = e;
    e->task.cancels = &e->cancels;
    e->large_fd = -1;
}

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
    flm__link_commit(e->link, flm__record_bytes(size));
    flm__link_flush(e->link);
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
    FLM__MESSAGE(message, blob, BLOB, &blob);
    int rc = flm__control_send(e, &message, &e->large_fd, 1);
    if (rc < 0)
        flm__end_now(e, FLM_REASON_NONE, "cannot hand over an output of %zu bytes: %s", e->task.output_size,
                     flm_strerror(rc));
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
    drop_large(e);
    char *p = reserve(e, flm__record_bytes(sizeof(ref)));
    memcpy(p + FLM__RECORD_HEADER, &ref, sizeof(ref));
    finish(e, p, r, sizeof(ref), FLM__RECORD_BLOB);
}

void flm__outbox_success(struct flm__executor *e, const struct flm__record *r)
{
    if (__builtin_expect(e->large_fd >= 0, 0)) {
        succeed_large(e, r);
        return;
    }
    char *output = e->task.output;
    char *p = output ? output - FLM__RECORD_HEADER : reserve(e, FLM__RECORD_HEADER);
    finish(e, p, r, (uint32_t)e->task.output_size, 0);
}

void flm__outbox_failure(struct flm__executor *e, const struct flm__record *r, int state, int reason,
                         int code)
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

    if (e->large_fd >= 0 && t->output_size > FLM__INLINE_MAX) {
        ref = announce(e);
        output = &ref;
        size = sizeof(ref);
        flags |= FLM__RECORD_BLOB;
    } else if (e->large_fd < 0 && size) {
        /* It lies where the record will begin, or elsewhere in the ring: out of the way. */
        memcpy(e->scratch, output, size);
        output = e->scratch;
    }
    uint32_t payload = (uint32_t)sizeof(outcome) + text + size;
    char *p = reserve(e, flm__record_bytes(payload));
    char *at = p + FLM__RECORD_HEADER;
    memcpy(at, &outcome, sizeof(outcome));
    at += sizeof(outcome);
    memset(at, 0, text);
    memcpy(at, t->message, t->message_size);
    if (size)
        memcpy(at + text, output, size);
    drop_large(e);
    finish(e, p, r, payload, flags);
}
