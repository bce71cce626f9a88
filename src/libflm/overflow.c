/* Tasks that were submitted inside a callback when there was no room or no credit: a callback must not
 * wait, so they wait here, each in memory of its own, and are sent in order before anything newer of
 * their session. Bounded by what the callbacks submit. */
#include "libflm/handle.h"
#include "libflm/retained.h"

#include <stdlib.h>
#include <string.h>

struct flm__queued_task {
    struct flm__queued_task *next;
    flm_session *session;
    const void *input; /* small: behind this structure; large: the user's or owned */
    size_t size;
    void *owned;
    struct flm__task_head head; /* its names are behind this structure, before the input */
    uint32_t slot;
};

void flm__overflow_remember(flm_session *s)
{
    s->special |= FLM__SPECIAL_OVERFLOW;
    if (s->in_queued)
        return;
    flm_session **last = &s->client->queued_sessions;
    while (*last)
        last = &(*last)->next_queued;
    *last = s;
    s->next_queued = NULL;
    s->in_queued = true;
}

int flm__overflow_add(flm_session *s, uint32_t slot, const struct flm__submission *task)
{
    bool copy = flm__task_is_small(task->size, &task->head);
    uint32_t names = task->head.name_bytes;
    struct flm__queued_task *q = malloc(sizeof(*q) + names + (copy ? task->size : 0));
    if (!q)
        return FLM_ENOMEM;
    *q = (struct flm__queued_task){.session = s,
                                   .input = task->input,
                                   .size = task->size,
                                   .owned = task->owned,
                                   .head = task->head,
                                   .slot = slot};
    if (names)
        q->head.names = memcpy(q + 1, task->head.names, names);
    if (copy && task->size)
        q->input = memcpy((char *)(q + 1) + names, task->input, task->size);
    if (s->queue_last)
        s->queue_last->next = q;
    else
        s->queue_first = q;
    s->queue_last = q;
    s->queued++;
    flm__overflow_remember(s);
    return 0;
}

static struct flm__queued_task *take_first(flm_session *s)
{
    struct flm__queued_task *q = s->queue_first;
    s->queue_first = q->next;
    if (!s->queue_first) {
        s->queue_last = NULL;
        if (!s->unsent)
            s->special &= ~(unsigned)FLM__SPECIAL_OVERFLOW;
    }
    s->queued--;
    return q;
}

static void free_task(struct flm__queued_task *q)
{
    free(q->owned);
    free(q);
}

/* 0: its queue is empty; else why not. */
static int pump_session(flm_session *s, unsigned *n)
{
    if (s->unsent) {
        int rc = flm__retained_resend(s, n);
        if (rc < 0)
            return rc;
        if (!s->queue_first)
            s->special &= ~(unsigned)FLM__SPECIAL_OVERFLOW;
    }
    while (s->queue_first) {
        struct flm__queued_task *q = s->queue_first;
        int rc = flm__task_send(s, q->slot, q->input, q->size, &q->head, &q->owned);
        if (rc == FLM_EAGAIN || rc == FLM_EFULL || rc == FLM_EDISCONNECTED)
            return rc;
        uint32_t slot = q->slot;
        free_task(take_first(s));
        ++*n;
        if (rc < 0)
            flm__deliver_made(s->client, slot, FLM_TASK_FAILED, FLM_REASON_OUT_OF_MEMORY, rc,
                              "the client had no memory to send the input");
    }
    return 0;
}

unsigned flm__overflow_pump(flm_client *c)
{
    unsigned n = 0;
    flm_session *left = NULL, **left_last = &left;
    int rc = 0;
    c->pump_wants_room = false;
    while (c->queued_sessions) {
        flm_session *s = c->queued_sessions;
        c->queued_sessions = s->next_queued;
        s->in_queued = false;
        if (rc != FLM_EAGAIN)
            rc = pump_session(s, &n);
        if ((!s->queue_first && !s->unsent) || s->in_queued)
            continue;
        s->in_queued = true;
        s->next_queued = NULL;
        *left_last = s;
        left_last = &s->next_queued;
    }
    c->queued_sessions = left;
    c->pump_wants_room = rc == FLM_EAGAIN;
    return n;
}

static void append_cancelled(flm_client *c, struct flm__queued_task *q)
{
    q->next = NULL;
    *c->cancelled_last = q;
    c->cancelled_last = &q->next;
}

bool flm__overflow_cancel(flm_session *s, uint64_t task)
{
    struct flm__queued_task *before = NULL, *q = s->queue_first;
    while (q && s->client->slots[q->slot].id != task) {
        before = q;
        q = q->next;
    }
    if (!q)
        return false;
    if (!before) {
        take_first(s);
    } else {
        before->next = q->next;
        if (s->queue_last == q)
            s->queue_last = before;
        s->queued--;
    }
    append_cancelled(s->client, q);
    return true;
}

void flm__overflow_cancel_all(flm_session *s)
{
    while (s->queue_first)
        append_cancelled(s->client, take_first(s));
}

unsigned flm__overflow_deliver(flm_client *c)
{
    unsigned n = 0;
    while (c->cancelled_first) {
        struct flm__queued_task *q = c->cancelled_first;
        c->cancelled_first = q->next;
        if (!c->cancelled_first)
            c->cancelled_last = &c->cancelled_first;
        uint32_t slot = q->slot;
        free_task(q);
        flm__deliver_made(c, slot, FLM_TASK_CANCELLED, FLM_REASON_CANCELLED, FLM_ECANCELLED,
                          "cancelled before it was sent");
        n++;
    }
    return n;
}

void flm__overflow_drop(flm_session *s)
{
    struct flm__queued_task **at = &s->client->cancelled_first;
    while (s->queue_first)
        free_task(take_first(s));
    while (*at) {
        struct flm__queued_task *q = *at;
        if (q->session == s) {
            *at = q->next;
            free_task(q);
        } else {
            at = &q->next;
        }
    }
    s->client->cancelled_last = at;

    flm_session **list = &s->client->queued_sessions;
    while (*list && *list != s)
        list = &(*list)->next_queued;
    if (*list)
        *list = s->next_queued;
    s->in_queued = false;
}
