#define _GNU_SOURCE
#include "libflm/inproc.h"
#include "base/error.h"
#include "base/time.h"
#include "net/blob.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

static struct flm__inproc *inproc_of(struct flm__link *link)
{
    return (struct flm__inproc *)link;
}

/* ---- the client's side: tasks in ---------------------------------------- */

/* The queue ends behind what was committed. */
static void settle(struct flm__inproc *p)
{
    if (p->link.at)
        p->end = (size_t)(p->link.at - p->data);
    p->link.at = NULL;
    p->link.room = 0;
}

/* Makes room behind the end. */
static bool make_room(struct flm__inproc *p, uint32_t bytes)
{
    if (p->room - p->end >= bytes)
        return true;
    if (p->start >= p->room / 2 && p->start >= bytes) {
        memmove(p->data, p->data + p->start, p->end - p->start);
        p->end -= p->start;
        p->start = 0;
        return true;
    }
    size_t room = p->room ? p->room : FLM__RECORD_MAX;
    while (room - p->end < bytes)
        room *= 2;
    char *data = realloc(p->data, room);
    if (!data)
        return false;
    p->data = data;
    p->room = room;
    return true;
}

static void *reserve(struct flm__link *link, uint32_t bytes)
{
    struct flm__inproc *p = inproc_of(link);
    settle(p);
    if (!make_room(p, bytes))
        return NULL;
    link->room = bytes;
    return link->at = p->data + p->end;
}

static void flush(struct flm__link *link)
{
    flm_client *c = inproc_of(link)->client;
    if (c->sleeping || c->armed)
        flm__wait_wake(c);
}

/* ---- one task --------------------------------------------------------------- */

static void drop_large(struct flm__inproc *p)
{
    flm__blob_unmap(p->large, p->large_size);
    p->large = NULL;
}

/* Room for an output: in the result, where it stays if the task plainly succeeds, or in memory of its
 * own, which the client unmaps after the callback. */
static void *output_room(struct flm_task_context *task, size_t size)
{
    struct flm__inproc *p = task->owner;
    drop_large(p);
    if (size <= FLM__INLINE_MAX)
        return p->result + FLM__RECORD_HEADER;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    p->large = map;
    p->large_size = size;
    return map;
}

/* Gives back the pages that a shortened output does not need, since its reader does not know of them. */
static void trim_large(struct flm__inproc *p, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t had = (p->large_size + page - 1) / page * page;
    size_t keeps = (size + page - 1) / page * page;
    if (keeps < had)
        munmap((char *)p->large + keeps, had - keeps);
    p->large_size = size;
}

/* Writes the result of the task in p->task; outcome NULL: plain success. */
static void write_result(struct flm__inproc *p, const struct flm__record *task,
                         const struct flm__outcome *outcome)
{
    const struct flm_task_context *t = &p->task;
    char *at = p->result + FLM__RECORD_HEADER;
    uint32_t size = p->large ? 0 : (uint32_t)t->output_size, before = 0;
    struct flm__record r = {
        .type = FLM__RESULT, .session = task->session, .cookie = task->cookie, .task = task->task};

    if (p->large && t->output_size == 0)
        drop_large(p);
    if (outcome) {
        before = (uint32_t)sizeof(*outcome) + flm__record_padded(outcome->text);
        memmove(at + before, at, size);
        memset(at, 0, before);
        memcpy(at, outcome, sizeof(*outcome));
        memcpy(at + sizeof(*outcome), t->message, outcome->text);
        r.flags |= FLM__RECORD_OUTCOME;
    }
    if (p->large) {
        trim_large(p, t->output_size);
        struct flm__blob_ref ref = {.size = t->output_size, .address = (uintptr_t)p->large};
        memcpy(at + before, &ref, sizeof(ref));
        size = sizeof(ref);
        r.flags |= FLM__RECORD_BLOB;
        p->large = NULL; /* the client's from now on */
    }
    r.size = before + size;
    memset(at + r.size, 0, flm__record_padded(r.size) - r.size);
    memcpy(p->result, &r, sizeof(r));
    p->result_size = flm__record_bytes(r.size);
}

static void write_failure(struct flm__inproc *p, const struct flm__record *task, int state, int reason,
                          int code)
{
    struct flm__outcome outcome = {
        .state = (uint8_t)state,
        .reason = (uint8_t)reason,
        .text = (uint16_t)p->task.message_size,
        .code = code,
    };
    write_result(p, task, &outcome);
}

static void invoke(struct flm__inproc *p, struct flm__inproc_session *s, const struct flm__record *task,
                   const struct flm__task_parts *parts)
{
    struct flm__blob_ref ref;
    const void *input = parts->input;
    size_t size = parts->size;
    uint64_t deadline_ms = parts->deadline_ms ? parts->deadline_ms : s->deadline_ms;
    if (parts->blob) {
        memcpy(&ref, parts->input, sizeof(ref));
        input = (const void *)(uintptr_t)ref.address;
        size = (size_t)ref.size;
    }
    flm__task_start(&p->task, task->task, task->task, input, size);
    p->task.info = &s->info;
    if (deadline_ms)
        p->task.deadline_ns = flm__now_ns() + (int64_t)deadline_ms * 1000000;
    int code = s->service->on_task_invoke(&p->task, s->state);
    if (code == 0) {
        s->succeed++;
        write_result(p, task, NULL);
    } else {
        s->failed++;
        write_failure(p, task, FLM_TASK_FAILED, FLM_REASON_SERVICE, code);
    }
}

static uint64_t blob_size(const struct flm__task_parts *parts)
{
    struct flm__blob_ref ref;
    memcpy(&ref, parts->input, sizeof(ref));
    return ref.size;
}

/* The room of a task in the queue is free again. */
static void give_credit(struct flm__inproc *p, const struct flm__record *task, uint64_t weight)
{
    flm_session *s = flm__session_by_number(p->client, task->session);
    if (s)
        s->credit += weight;
}

/* Runs the first task that waits. */
static void run_one(struct flm__inproc *p)
{
    struct flm__record r;
    struct flm__task_parts parts;
    const char *record = p->data + p->start;
    uint32_t bytes = flm__record_read(record, p->end - p->start, &r);
    struct flm__inproc_session *s = flm__inproc_session(p, r.session);
    bool sound = flm__task_split(&r, record + FLM__RECORD_HEADER, &parts);
    if (!s || flm__inproc_is_cancelled(s, r.task) || !sound) {
        flm__task_start(&p->task, r.task, r.task, "", 0);
        if (s)
            s->cancels++;
        write_failure(p, &r, FLM_TASK_CANCELLED, FLM_REASON_CANCELLED, FLM_ECANCELLED);
    } else {
        invoke(p, s, &r, &parts);
    }
    give_credit(p, &r, bytes + (parts.blob ? blob_size(&parts) : 0));
    p->start += bytes;
    if (p->start == p->end)
        p->start = p->end = 0;
}

/* ---- the client's side: results out ----------------------------------------- */

static size_t peek(struct flm__link *link, const void **data)
{
    struct flm__inproc *p = inproc_of(link);
    settle(p);
    if (!p->result_size && p->start < p->end)
        run_one(p);
    *data = p->result;
    return p->result_size;
}

static void consume(struct flm__link *link, size_t bytes)
{
    (void)bytes; /* there is one record at a time */
    inproc_of(link)->result_size = 0;
}

static bool arm(struct flm__link *link, bool want_room)
{
    struct flm__inproc *p = inproc_of(link);
    (void)want_room;
    settle(p);
    return !p->result_size && p->start == p->end;
}

static void disarm(struct flm__link *link)
{
    (void)link;
}

static void destroy(struct flm__link *link)
{
    struct flm__inproc *p = inproc_of(link);
    while (p->sessions)
        flm__inproc_leave(p->client, p->sessions->number);
    drop_large(p);
    flm__inproc_free_applications(p);
    free(p->result);
    free(p->data);
    free(p);
}

static const struct flm__link_ops inproc_ops = {
    .name = "inproc",
    .reserve = reserve,
    .flush = flush,
    .nudge = flush,
    .peek = peek,
    .consume = consume,
    .arm = arm,
    .disarm = disarm,
    .destroy = destroy,
};

int flm__inproc_open(flm_client *c, flm_error *error)
{
    struct flm__inproc *p = calloc(1, sizeof(*p));
    char *result = p ? malloc(FLM__RECORD_MAX) : NULL;
    if (!result) {
        free(p);
        return flm__error_set(error, FLM_ENOMEM, "no memory for a client");
    }
    p->link.ops = &inproc_ops;
    p->client = c;
    p->result = result;
    p->task.room = output_room;
    p->task.owner = p;
    c->inproc = p;
    c->link = &p->link;
    return 0;
}

void flm__inproc_close(flm_client *c)
{
    flm__link_destroy(&c->inproc->link);
    c->inproc = NULL;
}
