/* The journal's thread: takes what is published, writes it as one frame, syncs if that is wanted, tells.
 *
 * While it writes, the owner goes on and publishes more: the next frame is the larger the slower the disk
 * is. So groups form without a timer, and a lone record waits for nothing. */
#define _GNU_SOURCE
#include "base/error.h"
#include "store/inside.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    RETRY_MS = 1000,
    FRAME_BYTES = 256 << 10,
};

/* ---- Telling the owner ---- */

/* After any store that the owner may wait for; all of these are sequentially consistent, as are those of
 * flm__journal_arm: either it sees the news or we see that it waits. */
static void tell_owner(struct flm__journal_inside *j)
{
    if (atomic_load(&j->shared.waits) && atomic_exchange(&j->shared.waits, false))
        flm__journal_ring(j->event_fd);
}

static void set_state(struct flm__journal_inside *j, int state)
{
    if (atomic_load_explicit(&j->shared.state, memory_order_relaxed) == state)
        return;
    atomic_store(&j->shared.state, state);
    tell_owner(j);
}

/* Errors that may pass. */
static bool may_pass(int why)
{
    return why == ENOSPC || why == EDQUOT || why == EFBIG || why == ENOMEM || why == EMFILE ||
           why == ENFILE;
}

static const char *advice(int why)
{
    switch (why) {
    case EFBIG:
        return "a limit on the size of files (ulimit -f) is in the way";
    case EDQUOT:
        return "make room in your quota; what was taken waits meanwhile, and nothing is lost";
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return "it is tried again each second; what was taken waits meanwhile, and nothing is lost";
    case ENOSPC:
        return "make room on that disk; what was taken waits meanwhile, and nothing is lost";
    default:
        return "what was acknowledged is in the journal; end this and start again with a disk that works";
    }
}

static void failed(struct flm__journal_inside *j, int why, const char *doing)
{
    bool passes = may_pass(why) && !j->thread.lost;
    pthread_mutex_lock(&j->error_lock);
    flm__error_set(&j->error, FLM_EIO, "cannot %s the journal's %s/%s: %s: %s", doing, j->folder.path,
                   flm__segment_name(j->thread.segment.first).text, strerror(why),
                   advice(j->thread.lost ? EIO : why));
    pthread_mutex_unlock(&j->error_lock);
    set_state(j, passes ? FLM__JOURNAL_FULL : FLM__JOURNAL_FAILED);
}

/* ---- Writing ---- */

static int frame(struct flm__journal_inside *j, const void *records, uint64_t bytes)
{
    const char *doing;
    int why = flm__segment_frame(j, records, bytes, &doing);
    if (why) {
        failed(j, why, doing);
        return why;
    }
    j->thread.position += bytes;
    return 0;
}

static void tell_written(struct flm__journal_inside *j)
{
    atomic_store_explicit(&j->shared.head, j->thread.position - j->thread.beyond, memory_order_release);
    atomic_store(&j->shared.written, j->thread.position);
    set_state(j, FLM__JOURNAL_GOOD);
    tell_owner(j);
}

static int special(struct flm__journal_inside *j, const struct flm__special *s)
{
    const char *doing;
    if (s->record) {
        if (frame(j, s->record, s->bytes))
            return -1;
        free(s->record);
        j->thread.beyond += s->bytes;
        atomic_fetch_add_explicit(&j->shared.specials_freed, s->bytes, memory_order_release);
    } else {
        int why = flm__segment_end(j, &doing);
        if (!why)
            why = flm__segment_begin(j, &doing);
        if (why) {
            failed(j, why, doing);
            return -1;
        }
    }
    atomic_store_explicit(&j->shared.specials_head, ++j->thread.special, memory_order_release);
    tell_written(j);
    return 1;
}

/* The special to come, if there is one before `end`, or a mark at it. */
static const struct flm__special *next_special(struct flm__journal_inside *j, uint64_t end)
{
    if (atomic_load(&j->shared.specials_tail) == j->thread.special)
        return NULL;
    const struct flm__special *s = &j->shared.specials[j->thread.special % FLM__SPECIALS];
    return s->position < end || (s->position == end && !s->record) ? s : NULL;
}

/* Up to which records of the ring make a frame: all, or as much as stays in a core's cache between the
 * checksum and the write. */
static uint64_t whole_records(const char *records, uint64_t bytes)
{
    if (bytes <= FRAME_BYTES)
        return bytes;
    uint64_t at = 0;
    while (at < FRAME_BYTES)
        at += flm__journal_bytes(((const struct flm__journal_record *)(const void *)(records + at))->size);
    return at < bytes ? at : bytes;
}

/* 1: something was written; 0: there is nothing; -1: it failed. */
static int write_some(struct flm__journal_inside *j)
{
    uint64_t end = atomic_load(&j->shared.published);
    const struct flm__special *s = next_special(j, end);
    if (s && s->position == j->thread.position)
        return special(j, s);
    if (s)
        end = s->position;
    if (end <= j->thread.position)
        return 0;
    const char *records = j->front.ring + ((j->thread.position - j->thread.beyond) & j->front.mask);
    if (frame(j, records, whole_records(records, end - j->thread.position)))
        return -1;
    tell_written(j);
    return 1;
}

/* Whether there are segments to give up, and all that replaces them is written. A demand is served before
 * the next is looked at: else an owner that is always one ahead would never see any go. The owner stores
 * drop_complete first: with a later one we only wait longer. */
static bool may_drop(struct flm__journal_inside *j)
{
    if (j->thread.drop_first <= j->thread.dropped) {
        j->thread.drop_first = atomic_load(&j->shared.drop_first);
        j->thread.drop_complete = atomic_load(&j->shared.drop_complete);
    }
    return j->thread.drop_first > j->thread.dropped && j->thread.drop_complete <= j->thread.position;
}

/* Up to which a sync is wanted; also of what replaces segments. A wish is served before the next is looked
 * at: one that a busy owner renews would always be ahead of what is written. */
static uint64_t wanted(struct flm__journal_inside *j)
{
    if (j->thread.want > atomic_load_explicit(&j->shared.synced, memory_order_relaxed))
        return j->thread.want;
    j->thread.want = atomic_load(&j->shared.sync_wanted);
    if (j->thread.syncs && may_drop(j) && j->thread.drop_complete > j->thread.want)
        j->thread.want = j->thread.drop_complete;
    return j->thread.want;
}

static int sync_some(struct flm__journal_inside *j, uint64_t want)
{
    const char *doing;
    uint64_t synced = atomic_load_explicit(&j->shared.synced, memory_order_relaxed);
    if (want <= synced || j->thread.position < want)
        return 0;
    int why = flm__segment_sync(j, &doing);
    if (why) {
        failed(j, why, doing);
        return -1;
    }
    atomic_store(&j->shared.synced, j->thread.position);
    set_state(j, FLM__JOURNAL_GOOD);
    tell_owner(j);
    return 1;
}

static int drop_some(struct flm__journal_inside *j)
{
    if (!may_drop(j))
        return 0;
    if (j->thread.syncs &&
        atomic_load_explicit(&j->shared.synced, memory_order_relaxed) < j->thread.drop_complete)
        return 0;
    flm__segments_drop(j, j->thread.drop_first);
    j->thread.dropped = j->thread.drop_first;
    return 1;
}

/* A turn writes one frame at most, so that a sync of what is written need not wait for what is not. */
static int turn(struct flm__journal_inside *j)
{
    uint64_t want = wanted(j);
    int dropped = drop_some(j); /* first: a full disk gets room by it */
    int wrote = write_some(j), synced = wrote < 0 ? 0 : sync_some(j, want);
    return wrote < 0 || synced < 0 ? -1 : dropped | wrote | synced;
}

/* ---- Sleeping ---- */

static void wait_for_bell(struct flm__journal_inside *j, int ms)
{
    struct pollfd p = {.fd = j->bell, .events = POLLIN};
    uint64_t count;
    if (poll(&p, 1, ms) > 0 && read(j->bell, &count, sizeof(count)) < 0)
        return; /* somebody else's turn of the counter: there is nobody else */
}

static bool nothing_new(struct flm__journal_inside *j)
{
    return atomic_load(&j->shared.published) == j->thread.position &&
           !next_special(j, j->thread.position) && wanted(j) <= atomic_load(&j->shared.synced) &&
           !may_drop(j) && !atomic_load(&j->shared.stop);
}

static void sleep_until_bell(struct flm__journal_inside *j)
{
    atomic_store(&j->shared.sleeps, true);
    if (nothing_new(j))
        wait_for_bell(j, -1);
    atomic_store(&j->shared.sleeps, false);
}

/* Full: until there may be room; failed: until the end. Commits do not ring here. */
static void wait_for_room(struct flm__journal_inside *j)
{
    bool full = atomic_load(&j->shared.state) == FLM__JOURNAL_FULL;
    while (!atomic_load(&j->shared.stop)) {
        wait_for_bell(j, full ? RETRY_MS : -1);
        if (full)
            return;
    }
}

static void finish(struct flm__journal_inside *j)
{
    const char *doing;
    int why = flm__segment_end(j, &doing);
    if (why)
        failed(j, why, doing);
    else if (j->thread.syncs)
        atomic_store(&j->shared.synced, j->thread.position);
}

void *flm__journal_thread(void *journal)
{
    struct flm__journal_inside *j = journal;
    for (;;) {
        bool stop = atomic_load(&j->shared.stop);
        int done = atomic_load(&j->shared.state) == FLM__JOURNAL_FAILED ? -1 : turn(j);
        if (stop && done <= 0) {
            if (done == 0)
                finish(j);
            return NULL;
        }
        if (done < 0)
            wait_for_room(j);
        else if (done == 0)
            sleep_until_bell(j);
    }
}
