#define _GNU_SOURCE
#include "executor/recall.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static long membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0);
}

void flm__recall_init(struct flm__recall *r, _Atomic uint64_t *began)
{
    r->began = began;
    atomic_init(&r->recalling, false);
    pthread_mutex_init(&r->lock, NULL);
    r->from = r->upto = 0;
    r->fenced = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) < 0;
}

void flm__recall_fini(struct flm__recall *r)
{
    pthread_mutex_destroy(&r->lock);
}

bool flm__recall_skips(struct flm__recall *r, uint64_t n)
{
    pthread_mutex_lock(&r->lock);
    bool skips = n > r->from && n <= r->upto;
    if (n >= r->upto)
        atomic_store_explicit(&r->recalling, false, memory_order_relaxed);
    pthread_mutex_unlock(&r->lock);
    return skips;
}

uint64_t flm__recall_take(struct flm__recall *r, uint64_t upto, uint64_t spared)
{
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->recalling, true); /* the main thread clears it when it is past the range */
    if (!r->fenced)
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    uint64_t began = atomic_load(r->began);
    if (began < r->from && spared != r->from) { /* what was spared then is not now */
        r->from = began;
        r->upto = upto > r->upto ? upto : r->upto;
        pthread_mutex_unlock(&r->lock);
        return began;
    }
    if (spared == began + 1 && spared > r->upto)
        began = spared;
    /* The main thread may not be past the range of an earlier recall; it may even have stored `began` in
     * it and wait for our lock to be told to skip that task. Then the range grows, else it begins anew. */
    uint64_t from = began > r->upto ? began : r->upto;
    if (upto > from) {
        if (began > r->upto || r->from == r->upto)
            r->from = began;
        r->upto = upto;
    } else {
        from = upto;
    }
    pthread_mutex_unlock(&r->lock);
    return from;
}

uint64_t flm__recall_all(struct flm__recall *r)
{
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->recalling, true);
    if (!r->fenced)
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    uint64_t began = atomic_load(r->began);
    if (began > r->upto || r->from == r->upto || began < r->from)
        r->from = began; /* else the main thread is within an earlier range, which grows */
    r->upto = UINT64_MAX;
    pthread_mutex_unlock(&r->lock);
    return began;
}

void flm__recall_end(struct flm__recall *r, uint64_t began)
{
    pthread_mutex_lock(&r->lock);
    r->from = r->upto = began;
    atomic_store_explicit(&r->recalling, false, memory_order_relaxed);
    pthread_mutex_unlock(&r->lock);
}
