#include "executor/outputs.h"

#include "base/time.h"

#include <string.h>

void flm__outputs_init(struct flm__outputs *o)
{
    memset(o, 0, sizeof(*o));
    pthread_mutex_init(&o->lock, NULL);
}

/* Under the lock. */
static struct flm__room take_lent(struct flm__outputs *o, unsigned i)
{
    struct flm__room room = o->lent[i].room;
    o->n_lent--;
    memmove(&o->lent[i], &o->lent[i + 1], (o->n_lent - i) * sizeof(o->lent[0]));
    return room;
}

/* Those who read it have it mapped. */
static void drop_oldest(struct flm__outputs *o)
{
    struct flm__room room = take_lent(o, 0);
    flm__room_free(&room);
}

void flm__outputs_forget(struct flm__outputs *o)
{
    pthread_mutex_lock(&o->lock);
    while (o->n_lent)
        drop_oldest(o);
    flm__pool_clear(&o->pool);
    pthread_mutex_unlock(&o->lock);
}

void flm__outputs_fini(struct flm__outputs *o)
{
    flm__outputs_forget(o);
    pthread_mutex_destroy(&o->lock);
}

int flm__outputs_take(struct flm__outputs *o, size_t size, struct flm__room *out)
{
    pthread_mutex_lock(&o->lock);
    bool found = flm__pool_find(&o->pool, size, out);
    pthread_mutex_unlock(&o->lock);
    /* Not with the lock: new memory takes long, and the second thread has to answer meanwhile. */
    return found ? 0 : flm__room_make(size, out, NULL);
}

void flm__outputs_unused(struct flm__outputs *o, const struct flm__room *room)
{
    pthread_mutex_lock(&o->lock);
    flm__pool_give(&o->pool, room);
    pthread_mutex_unlock(&o->lock);
}

static size_t lent_bytes(const struct flm__outputs *o)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < o->n_lent; i++)
        bytes += o->lent[i].room.size;
    return bytes;
}

void flm__outputs_lend(struct flm__outputs *o, uint64_t id, const struct flm__room *room)
{
    pthread_mutex_lock(&o->lock);
    while (o->n_lent && (o->n_lent == FLM__POOLED_MAX || lent_bytes(o) + room->size > FLM__POOLED_BYTES))
        drop_oldest(o);
    o->lent[o->n_lent++] = (struct flm__lent_output){id, *room};
    pthread_mutex_unlock(&o->lock);
}

void flm__outputs_back(struct flm__outputs *o, uint64_t id, bool kept)
{
    pthread_mutex_lock(&o->lock);
    for (unsigned i = 0; i < o->n_lent; i++) {
        if (o->lent[i].id != id)
            continue;
        struct flm__room room = take_lent(o, i);
        if (kept)
            flm__room_free(&room);
        else
            flm__pool_give(&o->pool, &room);
        break;
    }
    pthread_mutex_unlock(&o->lock);
}

void flm__outputs_trim(struct flm__outputs *o)
{
    pthread_mutex_lock(&o->lock);
    flm__pool_trim(&o->pool, flm__now_ns());
    pthread_mutex_unlock(&o->lock);
}
