#include "libflm/retained.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10 };

struct retained {
    uint64_t task;
    const void *input; /* behind this, or the user's, or owned */
    void *owned;
    struct flm__task_head head; /* its names are behind this, before the input */
    uint32_t size, slot;
    uint32_t bytes; /* of this and what is behind it */
    uint32_t _pad;
};

struct flm__retained_chunk {
    struct flm__retained_chunk *next;
    struct retained *last;
    uint32_t room, written;
    _Alignas(8) char data[];
};

static struct flm__retained_chunk *chunk_for(flm_session *s, uint32_t bytes)
{
    struct flm__retained_chunk *k = s->retained_last;
    if (k && k->room - k->written >= bytes)
        return k;
    uint32_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    k = malloc(sizeof(*k) + room);
    if (!k)
        return NULL;
    *k = (struct flm__retained_chunk){.room = room};
    if (s->retained_last)
        s->retained_last->next = k;
    else
        s->retained_first = k;
    s->retained_last = k;
    return k;
}

bool flm__retained_add(flm_session *s, uint32_t slot, const void *input, size_t size,
                       const struct flm__task_head *head, void **owned)
{
    bool copy = flm__task_is_small(size, head);
    uint32_t names = head->name_bytes;
    uint32_t bytes = (uint32_t)(sizeof(struct retained) + names + (copy ? (size + 7) & ~(size_t)7 : 0));
    struct flm__retained_chunk *k = chunk_for(s, bytes);
    if (!k)
        return false;
    struct retained *r = (struct retained *)(k->data + k->written);
    char *behind = (char *)(r + 1) + names;
    *r = (struct retained){.task = s->client->slots[slot].id,
                           .input = copy ? behind : input,
                           .owned = copy ? NULL : *owned,
                           .size = (uint32_t)size,
                           .slot = slot,
                           .head = *head,
                           .bytes = bytes};
    if (names)
        r->head.names = memcpy(r + 1, head->names, names);
    if (copy && size)
        memcpy(behind, input, size);
    if (!copy)
        *owned = NULL;
    k->last = r;
    k->written += bytes;
    s->retained_bytes += bytes;
    return true;
}

void flm__retained_undo(flm_session *s, void **owned)
{
    struct flm__retained_chunk *k = s->retained_last;
    struct retained *r = k->last;
    if (r->owned)
        *owned = r->owned;
    k->written -= r->bytes;
    s->retained_bytes -= r->bytes;
    r->owned = NULL;
    r->task = 0; /* the last of the chunk still, and over */
}

/* The task has its result. */
static bool is_over(const flm_session *s, const struct retained *r)
{
    const struct flm__outstanding *o = &s->client->slots[r->slot];
    return o->session != s || o->id != r->task;
}

static struct retained *first_of(struct flm__retained_chunk *k)
{
    return (struct retained *)k->data;
}

static struct retained *after(struct retained *r)
{
    return (struct retained *)((char *)r + r->bytes);
}

static bool has(const struct flm__retained_chunk *k, const struct retained *r)
{
    return (const char *)r < k->data + k->written;
}

/* A task that was refused has its result without having been recorded, nor what came before it. */
static bool all_over(const flm_session *s, struct flm__retained_chunk *k)
{
    for (struct retained *r = first_of(k); has(k, r); r = after(r))
        if (r->task > s->recorded && !is_over(s, r))
            return false;
    return true;
}

static bool is_recorded(const flm_session *s, struct flm__retained_chunk *k)
{
    const struct retained *last = k->last;
    if (last->task && last->task <= s->recorded)
        return true;
    if (s->refused || !last->task)
        return all_over(s, k);
    return is_over(s, last);
}

static void drop_first(flm_session *s)
{
    struct flm__retained_chunk *k = s->retained_first;
    for (struct retained *r = first_of(k); has(k, r); r = after(r)) {
        free(r->owned);
        s->retained_bytes -= r->bytes;
        if (r->task > s->dropped_task && !s->refused)
            s->dropped_task = r->task;
    }
    s->retained_first = k->next;
    if (!k->next)
        s->retained_last = NULL;
    free(k);
}

/* Its answer is taken by flm__request_reply_take. */
static void ask(flm_session *s)
{
    Flm__Request request = FLM__REQUEST__INIT;
    request.verb_case = FLM__REQUEST__VERB_SYNC_SESSION;
    request.sync_session = s->number;
    request.submitted = s->sent;
    s->asked_at = s->retained_bytes;
    if (flm__request(s->client, &request, NULL, 0, FLM__REQUEST_SEND, 0, NULL, NULL) == 0)
        s->asked = request.id;
}

void flm__retained_trim(flm_session *s)
{
    while (s->retained_first && !s->unsent && is_recorded(s, s->retained_first))
        drop_first(s);
    if (s->retained_bytes < s->asked_at)
        s->asked_at = s->retained_bytes;
    if (!s->asked && s->retained_bytes >= s->asked_at + FLM__RETAINED_ASK && !s->unsent)
        ask(s);
    if (s->asked)
        s->client->until_look = 0; /* for the answer */
}

void flm__retained_recorded(flm_session *s, uint64_t task)
{
    if (task > s->recorded)
        s->recorded = task; /* and the next turn drops them: a task may just be being sent */
}

void flm__retained_refused(flm_session *s, uint64_t task)
{
    if (!s->refused || task < s->refused)
        s->refused = task;
}

/* ---- again ---------------------------------------------------------------------------------------- */

bool flm__retained_rewind(flm_session *s, uint64_t task)
{
    bool whole = task >= s->recorded && task >= s->dropped_task;
    s->unsent = 0;
    s->resend_chunk = s->retained_first;
    s->resend = s->retained_first ? first_of(s->retained_first) : NULL;
    s->asked = 0;
    for (struct flm__retained_chunk *k = s->retained_first; k; k = k->next)
        for (struct retained *r = first_of(k); has(k, r); r = after(r))
            s->unsent += r->task > task && !is_over(s, r);
    if (task > s->recorded)
        s->recorded = task;
    return whole;
}

/* The next that is to be sent; NULL: none. */
static struct retained *next_unsent(flm_session *s)
{
    while (s->resend_chunk) {
        struct flm__retained_chunk *k = s->resend_chunk;
        for (; has(k, s->resend); s->resend = after(s->resend))
            if (s->resend->task > s->recorded && !is_over(s, s->resend))
                return s->resend;
        s->resend_chunk = k->next;
        s->resend = k->next ? first_of(k->next) : NULL;
    }
    return NULL;
}

int flm__retained_resend(flm_session *s, unsigned *n)
{
    struct retained *r;
    while ((r = next_unsent(s))) {
        void *none = NULL;
        int rc = flm__task_transmit(s, r->slot, r->input, r->size, &r->head, &none);
        if (rc == FLM_EAGAIN || rc == FLM_EFULL || rc == FLM_EDISCONNECTED)
            return rc;
        uint32_t slot = r->slot;
        s->resend = after(r);
        s->unsent--;
        ++*n;
        if (rc < 0)
            flm__deliver_made(s->client, slot, FLM_TASK_FAILED, FLM_REASON_OUT_OF_MEMORY, rc,
                              "the client had no memory to send the input again");
    }
    s->unsent = 0;
    return 0;
}

void flm__retained_free(flm_session *s)
{
    s->unsent = 0;
    while (s->retained_first)
        drop_first(s);
}
