/* Keeps the journal as short as what is alive: when it has grown to a multiple of that, sessions are
 * written again into the newest segments, the one that needs the oldest segment first, some in each turn of
 * the loop while tasks flow; and segments that nobody needs any more go at once, so that it gains ground
 * however often it is interrupted, and with little room. What is written so twice is recognised by its
 * number (restore.c).
 */
#include "manager/durable.h"

#include "manager/flow.h"
#include "manager/results.h"

#include <string.h>

enum {
    GROWTH = 3,            /* times what is alive */
    LEAST_SEGMENTS = 4,    /* and so many segments */
    SLICE_BYTES = 1 << 20, /* in one turn */
    LITTLE_ROOM = 32 << 20,
    WORTH_BYTES = 8 << 20,
};

struct alive {
    uint64_t all, largest; /* bytes: of all sessions, of one */
};

static struct alive alive(const struct manager *m)
{
    struct alive found = {0, 0};
    for (const struct session *s = m->sessions; s; s = s->hh.next) {
        uint64_t bytes = session_held_bytes(s) + s->outbox.bytes + (s->common ? s->common->size : 0);
        if (s->durability == FLM_DURABILITY_NONE)
            continue;
        found.all += bytes;
        found.largest = bytes > found.largest ? bytes : found.largest;
    }
    return found;
}

/* The session that needs the oldest part of the journal; NULL: none needs what is to go. */
static struct session *oldest(const struct durable *d)
{
    struct session *oldest = NULL;
    for (struct session *s = d->manager->sessions; s; s = s->hh.next)
        if (s->durability != FLM_DURABILITY_NONE && s->from < d->compaction.first &&
            (!oldest || s->from < oldest->from))
            oldest = s;
    return oldest;
}

/* Where the disk is short of room: as soon as half is dead, and while there is room for what makes some: to
 * write one session again. */
static bool is_time(const struct flm__journal_stats *now, struct alive alive)
{
    if (now->room < 2 * alive.all + LITTLE_ROOM)
        return now->live >= 2 * alive.all + WORTH_BYTES && now->room > alive.largest + WORTH_BYTES;
    return now->segments > LEAST_SEGMENTS && now->live >= GROWTH * alive.all;
}

void compact_consider(struct durable *d, uint64_t first)
{
    struct flm__journal_stats stats;
    flm__journal_stats(d->journal, &stats);
    if (d->compaction.on || !is_time(&stats, alive(d->manager)))
        return;
    if (d->drop_first > results_hold(d))
        return; /* what could go is still being read: writing more again makes no room */
    d->compaction.on = true;
    d->compaction.begun = false;
    d->compaction.first = first;
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
    uint64_t from = flm__journal_position(d->journal);
    if (!durable_session(s) || !durable_common(s) || !durable_core_time(s, &spent))
        return false;
    d->compaction.serial = s->serial;
    d->compaction.from = from;
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

/* Nothing before `first` is needed, as far as all that was appended up to now comes to the disk. */
static void drop_before(struct durable *d, uint64_t first)
{
    if (first <= d->drop_first)
        return;
    d->drop_first = first;
    d->drop_complete = flm__journal_position(d->journal);
    durable_drop(d);
}

unsigned compact_some(struct durable *d)
{
    struct slice l = {.durable = d, .left = SLICE_BYTES};
    struct session *s;
    if (!d->compaction.begun) {
        if (!write_applications(d) || !durable_last_serial(d, d->compaction.last_serial))
            return 0;
        d->compaction.begun = true;
    }
    while ((s = oldest(d))) {
        drop_before(d, s->from);
        if (!write_session(d, s, &l))
            return l.left != SLICE_BYTES;
        s->from = d->compaction.from;
    }
    drop_before(d, d->compaction.first);
    d->compaction.on = false;
    return 1;
}
