/* executor/recall.h - who runs a task that the manager wants back: decided without cost per task.
 *
 * The main thread stores `began = n` before it runs task n and then loads `recalling`; only if that is
 * set it takes the lock and asks whether n was given back. The second thread, under the lock, sets
 * `recalling`, makes the main thread's earlier store visible (membarrier), and reads `began`: what is
 * larger is given back. Either the second thread sees began >= n, or the main thread sees `recalling`
 * and then, under the lock, that n is in the range. So each task is run or given back, never both.
 *
 * Where the kernel has no membarrier both sides use sequentially consistent operations instead.
 */
#ifndef FLM_EXECUTOR_RECALL_H
#define FLM_EXECUTOR_RECALL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct flm__recall {
    _Atomic uint64_t *began; /* in the status page */
    atomic_bool recalling;
    bool fenced; /* no membarrier: the main thread fences */
    pthread_mutex_t lock;
    uint64_t from, upto; /* lock: from+1 .. upto are not run */
};

/* began: where the main thread says what it began. */
void flm__recall_init(struct flm__recall *r, _Atomic uint64_t *began);
void flm__recall_fini(struct flm__recall *r);

/* Main thread, only from flm__recall_begin: true when n was given back. */
bool flm__recall_skips(struct flm__recall *r, uint64_t n);

/* Main thread: begins task n. false: it was given back, do not run it. */
static inline bool flm__recall_begin(struct flm__recall *r, uint64_t n)
{
    if (__builtin_expect(r->fenced, false)) {
        atomic_exchange(r->began, n);
        return !atomic_load(&r->recalling) || !flm__recall_skips(r, n);
    }
    atomic_store_explicit(r->began, n, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the other half is the membarrier */
    if (__builtin_expect(atomic_load_explicit(&r->recalling, memory_order_relaxed), false))
        return !flm__recall_skips(r, n);
    return true;
}

/* Second thread: gives back what has not begun of the tasks up to `upto`. Returns `from`: the tasks
 * from+1 .. upto will not be run; from == upto: none. Those that were given back before are not among them,
 * unless one before them was spared then and is not now. spared: counts as begun, if it is the next; 0:
 * none.
 */
uint64_t flm__recall_take(struct flm__recall *r, uint64_t upto, uint64_t spared);

/* Second thread: gives back all that has not begun and whatever is met from now on. Returns the number of
 * the last that has begun. */
uint64_t flm__recall_all(struct flm__recall *r);
/* Main thread: the end of that; what is met next is number `began` + 1 and is to be run. */
void flm__recall_end(struct flm__recall *r, uint64_t began);

#endif
