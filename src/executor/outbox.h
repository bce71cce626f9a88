/* executor/outbox.h - results on their way into the ring.
 *
 * Records are built in place, one behind the other, in room that was reserved in the ring; `filled` says
 * how much of it is whole records, `committed` how much of that the peer can see. With tasks of a
 * microsecond and more each result is committed at once. With shorter ones that would cost more than the
 * tasks: each commit moves a cache line to the peer's core and back. Then up to FLM__HELD_MAX results are
 * committed together. Should a long task come behind short ones, the second thread, which looks every
 * millisecond while results are held, commits them: results never wait behind a long task.
 *
 * Main thread but for flm__outbox_look and flm__outbox_rescue. lock: who calls commit and flush of the
 * link; as long as nothing is held that is the main thread alone.
 */
#ifndef FLM_EXECUTOR_OUTBOX_H
#define FLM_EXECUTOR_OUTBOX_H

#include "net/link.h"
#include "wire/record.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct flm__executor;

enum {
    FLM__HELD_MAX = 32,
    FLM__HELD_LOOK_MS = 1,
    FLM__SHORT_TASK_NS = 1000,
};

struct flm__outbox {
    char *room; /* reserved in the ring */
    uint32_t room_bytes;
    uint32_t held;           /* records that are not committed */
    uint32_t limit;          /* of these: 1 or FLM__HELD_MAX */
    uint32_t measured;       /* tasks since `since` */
    int64_t since;           /* flm__now_ns */
    _Atomic uint32_t filled; /* bytes of room that are whole records */

    pthread_mutex_t lock;
    uint32_t committed; /* lock: of filled */

    _Atomic uint64_t rounds; /* of holding */
    atomic_bool looking;     /* the second thread does */
    uint64_t seen;           /* second thread: rounds, at its last look */
};

void flm__outbox_init(struct flm__executor *e);
void flm__outbox_fini(struct flm__executor *e);

/* The task succeeded with the output in its context. */
void flm__outbox_success(struct flm__executor *e, const struct flm__record *r);

/* It succeeded with this output, of at most FLM__INLINE_MAX bytes. */
void flm__outbox_copy(struct flm__executor *e, const struct flm__record *r, const void *output,
                      uint32_t size);

/* It did not; text: message_size bytes of the context's message. Its output, if any, goes along. usage: of
 * its process; NULL: not known. */
void flm__outbox_failure(struct flm__executor *e, const struct flm__record *r, int state, int reason,
                         int code, const struct flm__usage *usage);

/* Says that everything before it is answered (stock.h). */
void flm__outbox_settled(struct flm__executor *e, uint64_t round);

/* Results are about to be held: the second thread is to look. */
void flm__outbox_begin_round(struct flm__executor *e);
/* Room for records of so many bytes together, if that can be had without waiting. */
bool flm__outbox_make_room(struct flm__executor *e, uint32_t bytes);

/* Commits what is held. */
void flm__outbox_publish(struct flm__executor *e);

/* A batch of so many bytes of tasks begins: whether results may be held. */
void flm__outbox_batch(struct flm__executor *e, size_t bytes);

/* Second thread: commits what is held. Returns how long it may sleep, ms; -1: for ever. */
int flm__outbox_look(struct flm__executor *e);

/* Any thread, before the process ends: commits what is held, unless that is just being done. */
void flm__outbox_rescue(struct flm__executor *e);

#endif
