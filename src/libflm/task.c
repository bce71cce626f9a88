/* flm_run_task: a slot in the table of outstanding tasks, a record in the link. The plain case makes no
 * system call, takes no lock, allocates nothing and reads no clock; everything else is submit_slow. */
#include "libflm/handle.h"
#include "libflm/options.h"
#include "libflm/retained.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024 };

/* Doubles the table. */
static bool grow(flm_client *c)
{
    uint64_t n = c->n_slots ? (uint64_t)c->n_slots * 2 : FIRST_SLOTS;
    if (n >= FLM__NO_SLOT)
        return false;
    struct flm__outstanding *slots = realloc(c->slots, n * sizeof(*slots));
    if (!slots)
        return false;
    c->slots = slots;
    /* The lowest first: a client with few tasks stays within few cache lines. */
    for (uint64_t i = n; i-- > c->n_slots;)
        flm__slot_free(c, (uint32_t)i);
    c->n_slots = (uint32_t)n;
    return true;
}

uint32_t flm__slot_take(flm_client *c)
{
    if (c->free_slot == FLM__NO_SLOT && !grow(c))
        return FLM__NO_SLOT;
    uint32_t slot = c->free_slot;
    c->free_slot = (uint32_t)c->slots[slot].id;
    return slot;
}

uint64_t flm__task_weight(size_t size, const struct flm__task_head *head)
{
    uint32_t before = flm__head_bytes(head);
    if (flm__task_is_small(size, head))
        return flm__record_bytes(before + (uint32_t)size);
    return flm__record_bytes(before + sizeof(struct flm__blob_ref)) + size;
}

/* A session with nothing on the way may send any one task, however small its queue is. */
bool flm__task_has_credit(const flm_session *s, uint64_t weight)
{
    return s->spent + weight <= s->credit || s->outstanding == s->queued + s->unsent;
}

static inline void write_record(char *to, const flm_session *s, uint32_t slot, uint64_t id,
                                const void *input, uint32_t size, const struct flm__task_head *head)
{
    struct flm__record r = {
        .size = (head ? flm__head_bytes(head) : 0) + size,
        .type = FLM__TASK,
        .flags = head ? flm__head_flags(head) : 0,
        .session = s->number,
        .cookie = slot,
        .task = id,
    };
    memcpy(to, &r, sizeof(r));
    to += sizeof(r);
    if (head)
        to = flm__head_write(to, head);
    if (size & 7)
        memset(to + (size & ~7u), 0, 8);
    if (size)
        memcpy(to, input, size);
}

int flm__task_transmit(flm_session *s, uint32_t slot, const void *input, size_t size,
                       const struct flm__task_head *head, void **owned)
{
    flm_client *c = s->client;
    uint64_t weight = flm__task_weight(size, head);
    if (flm__session_is_lost(s))
        return FLM_EDISCONNECTED;
    if (c->lost)
        return FLM_EAGAIN; /* until it is back */
    if (!flm__task_has_credit(s, weight))
        return FLM_EFULL;
    if (!flm__task_is_small(size, head)) {
        int rc = flm__blob_send_task(s, slot, input, size, head, owned);
        if (rc == FLM_EDISCONNECTED && !flm__session_is_lost(s))
            return FLM_EAGAIN; /* it went just now */
        if (rc < 0)
            return rc;
    } else {
        char *to = flm__link_reserve(c->link, (uint32_t)weight);
        if (!to)
            return FLM_EAGAIN;
        write_record(to, s, slot, c->slots[slot].id, input, (uint32_t)size, head);
        flm__link_commit(c->link, (uint32_t)weight);
        free(*owned);
    }
    *owned = NULL;
    s->spent += weight;
    s->sent = c->slots[slot].id;
    flm__progress_flush(c);
    return 0;
}

int flm__task_send(flm_session *s, uint32_t slot, const void *input, size_t size,
                   const struct flm__task_head *head, void **owned)
{
    void *none = NULL;
    if (!(s->special & FLM__SPECIAL_RETAINS))
        return flm__task_transmit(s, slot, input, size, head, owned);
    if (flm__session_is_lost(s))
        return FLM_EDISCONNECTED;
    if (flm__retained_full(s))
        return FLM_EFULL;
    if (!flm__retained_add(s, slot, input, size, head, owned))
        return FLM_ENOMEM;
    int rc = flm__task_transmit(s, slot, input, size, head, &none);
    if (rc < 0) {
        flm__retained_undo(s, owned);
        return rc;
    }
    free(*owned); /* of a small input, which was copied */
    *owned = NULL;
    return 0;
}

/* Gives the slot to the task, which is now submitted. */
static int64_t enter(flm_session *s, uint32_t slot, const struct flm__submission *t)
{
    struct flm__outstanding *o = &s->client->slots[slot];
    o->id = ++s->submitted;
    o->callback = t->callback;
    o->arg = t->arg;
    o->session = s;
    s->outstanding++;
    if (!t->callback)
        s->uncollected++;
    return (int64_t)o->id;
}

/* One task that wants to be sent. */
struct attempt {
    flm_session *session;
    struct flm__submission task;
    uint32_t slot;
    int rc;
};

static bool try_to_send(struct flm__wait *wait)
{
    struct attempt *a = wait->arg;
    flm_session *s = a->session;
    if (s->special & FLM__SPECIAL_CLOSED) {
        a->rc = FLM_ECLOSED;
        return true;
    }
    if (s->queue_first || s->unsent) {
        if (flm__session_is_lost(s)) {
            a->rc = FLM_EDISCONNECTED;
            return true;
        }
        wait->what = FLM__WAIT_DATA; /* the pump says what it waits for */
        a->rc = FLM_EFULL;
        return false;
    }
    s->client->slots[a->slot].id = s->submitted + 1;
    a->rc = flm__task_send(s, a->slot, a->task.input, a->task.size, &a->task.head, &a->task.owned);
    wait->what = a->rc == FLM_EAGAIN ? FLM__WAIT_ROOM : FLM__WAIT_DATA;
    return a->rc != FLM_EAGAIN && a->rc != FLM_EFULL;
}

/* Has the task sent, or queued, or says why not. */
static int send_or_wait(struct attempt *a)
{
    flm_session *s = a->session;
    struct flm__wait wait = {.what = FLM__WAIT_ROOM,
                             .done = try_to_send,
                             .arg = a,
                             .deadline = a->task.invoked ? a->task.send_by : FLM__FOR_EVER};
    if (s->queue_first && !s->client->in_callback)
        flm__overflow_pump(s->client);
    if (try_to_send(&wait))
        return a->rc;
    if (s->client->in_callback) {
        int rc = flm__overflow_add(s, a->slot, &a->task);
        return rc < 0 ? rc : 1;
    }
    if ((s->flags & FLM_NONBLOCK) && !a->task.invoked)
        return FLM_EAGAIN;
    int rc = flm__wait_until(s->client, &wait);
    return rc < 0 ? rc : a->rc;
}

int64_t flm__task_submit(flm_session *s, const struct flm__submission *task)
{
    flm_client *c = s->client;
    struct attempt a = {.session = s, .task = *task};
    int rc = 0;
    if (!task->input && task->size)
        rc = FLM_EINVAL;
    else if (task->size > FLM_MAX_PAYLOAD)
        rc = FLM_ETOOBIG;
    else if (flm__session_is_lost(s))
        rc = FLM_EDISCONNECTED;
    else if (s->special & FLM__SPECIAL_CLOSED)
        rc = FLM_ECLOSED;
    else if ((a.slot = flm__slot_take(c)) == FLM__NO_SLOT)
        rc = FLM_ENOMEM;
    else if (task->output && (rc = flm__output_expect(c, a.slot, task->output, task->output_size)) < 0)
        flm__slot_free(c, a.slot);
    if (rc < 0) {
        free(a.task.owned);
        return rc;
    }
    rc = send_or_wait(&a);
    if (rc >= 0) {
        int64_t id = enter(s, a.slot, task);
        if (c->checks_buffers)
            flm__buffers_note(c, a.slot, task);
        return id;
    }
    free(a.task.owned);
    if (task->output)
        flm__output_forget(c, a.slot);
    flm__slot_free(c, a.slot);
    return rc;
}

static int64_t submit_locked(flm_session *s, const struct flm__submission *t)
{
    flm_client *c = s->client;
    flm__client_lock(c);
    int64_t id = flm__task_submit(s, t);
    flm__client_unlock(c);
    return id;
}

/* What flm_run_task does, for a session that retains its tasks. 0: it has to be done slowly. */
static int64_t submit_retained(flm_session *s, const void *input, size_t size, flm_task_fn *callback,
                               void *arg)
{
    flm_client *c = s->client;
    uint32_t slot = c->free_slot;
    uint32_t bytes = flm__record_bytes((uint32_t)size);
    void *none = NULL;
    static const struct flm__task_head plain;
    if (slot == FLM__NO_SLOT || s->spent + bytes > s->credit || flm__retained_full(s))
        return 0;
    char *to = flm__link_reserve(c->link, bytes);
    if (!to)
        return 0;
    uint32_t next = (uint32_t)c->slots[slot].id;
    c->slots[slot].id = s->submitted + 1;
    if (!flm__retained_add(s, slot, input, size, &plain, &none)) {
        c->slots[slot].id = next;
        return 0;
    }
    c->free_slot = next;
    int64_t id = enter(
        s, slot, &(struct flm__submission){.input = input, .size = size, .callback = callback, .arg = arg});
    s->spent += bytes;
    s->sent = (uint64_t)id;
    write_record(to, s, slot, (uint64_t)id, input, (uint32_t)size, NULL);
    flm__link_commit(c->link, bytes);
    flm__progress_flush(c);
    return id;
}

static __attribute__((noinline)) int64_t submit_slow(flm_session *s, const void *input, size_t size,
                                                     flm_task_fn *callback, void *arg)
{
    if (!s)
        return FLM_EINVAL;
    if (s->special == FLM__SPECIAL_RETAINS && size <= FLM__INLINE_MAX && (input || !size)) {
        int64_t id = submit_retained(s, input, size, callback, arg);
        if (id > 0)
            return id;
    }
    return submit_locked(
        s, &(struct flm__submission){.input = input, .size = size, .callback = callback, .arg = arg});
}

int64_t flm_run_task(flm_session *s, const void *input, size_t size, flm_task_fn *callback, void *arg)
{
    if (__builtin_expect(!s || s->special || size > FLM__INLINE_MAX || (!input && size), 0))
        return submit_slow(s, input, size, callback, arg);
    flm_client *c = s->client;
    uint32_t slot = c->free_slot;
    uint32_t bytes = flm__record_bytes((uint32_t)size);
    if (__builtin_expect(slot == FLM__NO_SLOT || s->spent + bytes > s->credit, 0))
        return submit_slow(s, input, size, callback, arg);
    char *to = flm__link_reserve(c->link, bytes);
    if (__builtin_expect(!to, 0))
        return submit_slow(s, input, size, callback, arg);

    struct flm__outstanding *o = &c->slots[slot];
    uint64_t id = ++s->submitted;
    c->free_slot = (uint32_t)o->id;
    o->id = id;
    o->callback = callback;
    o->arg = arg;
    o->session = s;
    s->outstanding++;
    s->uncollected += !callback;
    s->spent += bytes;
    s->sent = id;
    write_record(to, s, slot, id, input, (uint32_t)size, NULL);
    flm__link_commit(c->link, bytes);
    flm__progress_flush(c);
    return (int64_t)id;
}

int64_t flm_submit_task(flm_session *s, const struct flm_task *task)
{
    struct flm_task t;
    if (!s || !task || flm__options_copy(&t, sizeof(t), task) < 0)
        return FLM_EINVAL;
    if (!t.output && t.output_size)
        return FLM_EINVAL;
    struct flm__submission made = {.input = t.input,
                                   .size = t.input_size,
                                   .head = {.deadline_ms = t.deadline_ms},
                                   .callback = t.callback,
                                   .arg = t.arg,
                                   .output = t.output,
                                   .output_size = t.output_size};
    int rc = t.iov_count ? flm__pieces_gather(t.iov, t.iov_count, &made) : 0;
    if (rc < 0)
        return rc;
    if (t.object_count || t.output_object)
        rc = flm__objects_name(s, &t, &made.head);
    if (rc < 0)
        free(made.owned);
    int64_t id = rc < 0 ? rc : submit_locked(s, &made);
    free((void *)(uintptr_t)made.head.names);
    return id;
}

uint64_t flm_outstanding(const flm_session *s)
{
    if (!s)
        return 0;
    flm__client_lock(s->client);
    uint64_t n = s->outstanding;
    flm__client_unlock(s->client);
    return n;
}
