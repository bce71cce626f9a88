#define _GNU_SOURCE
#include "executor/executor.h"

#include "net/ring.h"

#include <sched.h>

enum { LOOKS = 1000 }; /* until a task that has just begun has its id in the context */

void flm__stock_init(struct flm__stock *stock)
{
    *stock = (struct flm__stock){0};
    pthread_mutex_init(&stock->lock, NULL);
}

/* The main thread writes these as it likes: `number` behind `id`, and both behind the begin. */
static uint64_t running_task(struct flm__executor *e, uint64_t began)
{
    for (int i = 0; i < LOOKS; i++) {
        if (__atomic_load_n(&e->task.number, __ATOMIC_ACQUIRE) == began)
            return atomic_load_explicit(&e->status->busy, memory_order_relaxed)
                       ? __atomic_load_n(&e->task.id, __ATOMIC_RELAXED)
                       : 0;
        sched_yield();
    }
    return 0;
}

/* Numbers above began will be given to other tasks. */
static void forget_cancels(struct flm__executor *e, uint64_t began)
{
    for (unsigned i = 0; i < FLM__CANCELS; i++)
        if (atomic_load(&e->cancels->numbers[i]) > began)
            atomic_store(&e->cancels->numbers[i], 0);
}

uint64_t flm__stock_take(struct flm__executor *e, uint64_t round, uint64_t *task)
{
    struct flm__stock *s = &e->stock;
    pthread_mutex_lock(&s->lock);
    s->round = round;
    s->began = flm__recall_all(&e->recall);
    s->skip = flm__ring_written(e->link);
    forget_cancels(e, s->began);
    flm__arrivals_lose(&e->arrivals);
    s->taken = true;
    flm__control_halt(e);
    uint64_t began = s->began;
    pthread_mutex_unlock(&s->lock);
    *task = running_task(e, began);
    return began;
}

static void skip(struct flm__executor *e, uint64_t upto)
{
    const void *data;
    size_t n;
    uint64_t left;
    while ((left = upto - flm__ring_read(e->link)) && (n = flm__link_peek(e->link, &data)))
        flm__link_consume(e->link, n < left ? n : left);
}

void flm__stock_settle(struct flm__executor *e)
{
    struct flm__stock *s = &e->stock;
    pthread_mutex_lock(&s->lock);
    uint64_t round = s->round;
    bool taken = s->taken;
    s->taken = false;
    if (!taken) {
        pthread_mutex_unlock(&s->lock);
        return;
    }
    skip(e, s->skip);
    e->number = s->began;
    flm__recall_end(&e->recall, s->began);
    flm__arrivals_resume(&e->arrivals);
    pthread_mutex_unlock(&s->lock);
    flm__outbox_settled(e, round);
}
