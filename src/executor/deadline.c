#include "executor/deadline.h"

#include "base/time.h"

#include <stdbool.h>
#include <unistd.h>

static const int64_t never = INT64_MAX;
static const int64_t expired = -1;
static const uint64_t longest_ms = (uint64_t)1 << 40;

void flm__deadline_init(struct flm__deadline *d, int wake_fd)
{
    atomic_init(&d->at, 0);
    atomic_init(&d->next_look, never);
    atomic_init(&d->shortest, never);
    atomic_init(&d->begun, 0);
    d->seen = 0;
    d->wake_fd = wake_fd;
}

int64_t flm__deadline_begin(struct flm__deadline *d, uint64_t ms)
{
    int64_t length = (int64_t)(ms < longest_ms ? ms : longest_ms) * 1000000;
    int64_t at = flm__now_ns() + length;
    if (length < atomic_load_explicit(&d->shortest, memory_order_relaxed))
        atomic_store_explicit(&d->shortest, length, memory_order_relaxed);
    atomic_store_explicit(&d->begun, atomic_load_explicit(&d->begun, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    /* Sequentially consistent, as in look: either we see when it looks, or it sees our deadline. */
    atomic_store(&d->at, at);
    if (at < atomic_load(&d->next_look)) {
        uint64_t one = 1;
        ssize_t n = write(d->wake_fd, &one, sizeof(one));
        (void)n;
    }
    return at;
}

void flm__deadline_end(struct flm__deadline *d)
{
    if (atomic_exchange(&d->at, 0) != expired || d->outlived)
        return;
    for (;;)
        pause(); /* the second thread ends the process */
}

int flm__deadline_look(struct flm__deadline *d)
{
    for (;;) {
        int64_t now = flm__now_ns();
        int64_t at = atomic_load(&d->at);
        if (at > 0 && at <= now) {
            if (atomic_compare_exchange_strong(&d->at, &at, expired))
                return -2;
            continue;
        }
        /* While such tasks come, look as often as the shortest could need it. */
        int64_t next = at > 0 ? at : never;
        uint64_t begun = atomic_load_explicit(&d->begun, memory_order_relaxed);
        int64_t shortest = atomic_load_explicit(&d->shortest, memory_order_relaxed);
        if (begun != d->seen && shortest != never && next > now + shortest)
            next = now + shortest;
        atomic_store(&d->next_look, next);
        at = atomic_load(&d->at);
        if (at > 0 && at < next)
            continue;
        d->seen = begun;
        return next == never
                   ? -1
                   : (int)((next - now) / 1000000 < 3600000 ? (next - now) / 1000000 + 1 : 3600000);
    }
}
