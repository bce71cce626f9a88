/* Keeps the journal as short as what is alive: when it has grown to a multiple of that, all that is alive
 * is written again into the newest segments, some in each turn of the loop while tasks flow, and then the
 * older segments go. What is written so twice is recognised by its number (restore.c). */
#include "manager/durable.h"

#include "manager/flow.h"
#include "manager/results.h"

#include <string.h>

enum {
    GROWTH = 3,            /* times what is alive */
    LEAST_SEGMENTS = 4,    /* and so many segments */
    SLICE_BYTES = 1 << 20, /* in one turn */
};

static uint64_t alive(const struct manager *m)
{
    uint64_t bytes = 0;
    for (const struct session *s = m->sessions; s; s = s->hh.next)
        if (s->durability != FLM_DURABILITY_NONE)
            bytes += session_held_bytes(s) + s->outbox.bytes + (s->common ? s->common->size : 0);
    return bytes;
}

/* The session with the lowest serial that is not below; NULL: none. */
static struct session *session_from(const struct manager *m, uint32_t serial)
{
    struct session *lowest = NULL;
    for (struct session *s = m->sessions; s; s = s->hh.next)
        if (s->durability != FLM_DURABILITY_NONE && s->serial >= serial &&
            (!lowest || s->serial < lowest->serial))
            lowest = s;
    return lowest;
}

void compact_consider(struct durable *d, uint64_t first)
{
    struct flm__journal_stats stats;
    flm__journal_stats(d->journal, &stats);
    if (d->compaction.on || stats.segments <= LEAST_SEGMENTS || stats.live < GROWTH * alive(d->manager))
        return;
    if (d->drop_first > results_hold(d))
        return; /* what could go is still being read: writing more again makes no room */
    d->compaction.on = true;
    d->compaction.first = first;
    d->compaction.next_serial = 0;
    d->compaction.last_serial = d->next_serial - 1;
    d->compaction.serial = 0;
}

struct slice {
    struct durable *durable;
    struct session *session;
    uint64_t left;
    bool full;
};

static bool slice_is_over(struct slice *l, uint64_t bytes)
{
    l->full = l->left < bytes || !durable_half_free(l->durable);
    if (!l->full)
        l->left -= bytes;
    return l->full;
}

static bool write_task(struct task_ref ref, void *arg)
{
    struct slice *l = arg;
    struct flm__record *r = queue_record(ref);
    struct blob *large = r->flags & FLM__RECORD_BLOB ? flow_blob(r) : NULL;
    if (r->task > l->durable->compaction.last_task)
        return false;
    if (r->flags & FLM__RECORD_BLOB && !large)
        return true; /* not there yet, and so not recorded yet */
    l->durable->compaction.task = r->task;
    if (slice_is_over(l, r->size) || !durable_stored_task(l->session, r, large)) {
        l->full = true;
        return false;
    }
    if (r->lane)
        durable_lost(l->session, &(struct loss){.task = r->task, .attempts = r->lane});
    return true;
}

static bool write_result(void *record, uint32_t bytes, uint64_t number, void *arg)
{
    struct slice *l = arg;
    struct flm__record *r = record;
    (void)bytes;
    if (number > l->durable->compaction.last_result)
        return false;
    l->durable->compaction.result = number;
    if (slice_is_over(l, r->size) || !durable_result_again(l->session, r, number)) {
        l->full = true;
        return false;
    }
    return true;
}

static bool begin_session(struct durable *d, struct session *s)
{
    struct core_time spent = core_time_of(s);
    if (!durable_session(s) || !durable_common(s) || !durable_core_time(s, &spent))
        return false;
    d->compaction.serial = s->serial;
    d->compaction.task = d->compaction.result = 0;
    d->compaction.last_task = s->last_task;
    d->compaction.last_result = s->outbox.put;
    return true;
}

/* False: more of it is left. */
static bool write_session(struct durable *d, struct session *s, struct slice *l)
{
    l->session = s;
    if (d->compaction.serial != s->serial && !begin_session(d, s))
        return false;
    if (d->compaction.result == 0)
        queue_each(&s->queue, d->compaction.task, write_task, l);
    if (!l->full)
        outbox_each(&s->outbox, d->compaction.result, write_result, l);
    return !l->full;
}

static bool write_applications(struct durable *d)
{
    for (struct application *a = d->manager->applications; a; a = a->hh.next)
        if (!durable_application(d->manager, a, true))
            return false;
    return true;
}

unsigned compact_some(struct durable *d)
{
    struct slice l = {.durable = d, .left = SLICE_BYTES};
    struct session *s;
    if (d->compaction.next_serial == 0) {
        if (!write_applications(d) || !durable_last_serial(d, d->compaction.last_serial))
            return 0;
        d->compaction.next_serial = 1;
    }
    while ((s = session_from(d->manager, d->compaction.next_serial)) &&
           s->serial <= d->compaction.last_serial) {
        if (!write_session(d, s, &l))
            return l.left != SLICE_BYTES;
        d->compaction.next_serial = s->serial + 1;
    }
    d->drop_first = d->compaction.first;
    d->drop_complete = flm__journal_position(d->journal);
    durable_drop(d);
    d->compaction.on = false;
    return 1;
}
