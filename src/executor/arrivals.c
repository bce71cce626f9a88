#include "executor/arrivals.h"

#include "base/error.h"
#include "base/time.h"
#include "net/blob.h"

#include <stdlib.h>
#include <string.h>

void flm__arrivals_init(struct flm__arrivals *a)
{
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->came, NULL);
    a->first = NULL;
    a->last = &a->first;
    a->n = 0;
    a->lost = false;
    memset(&a->maps, 0, sizeof(a->maps));
}

/* Under the lock, or when nobody else is there. */
static void drop_all(struct flm__arrivals *a)
{
    while (a->first) {
        struct flm__arrival *gone = a->first;
        a->first = gone->next;
        flm__maps_put(&a->maps, gone->map, gone->size);
        free(gone);
    }
    a->last = &a->first;
    a->n = 0;
}

void flm__arrivals_lose(struct flm__arrivals *a)
{
    pthread_mutex_lock(&a->lock);
    drop_all(a);
    a->lost = true;
    pthread_cond_signal(&a->came);
    pthread_mutex_unlock(&a->lock);
}

void flm__arrivals_resume(struct flm__arrivals *a)
{
    pthread_mutex_lock(&a->lock);
    a->lost = false;
    pthread_mutex_unlock(&a->lock);
}

void flm__arrivals_fini(struct flm__arrivals *a)
{
    drop_all(a);
    flm__maps_clear(&a->maps);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->came);
}

/* Under the lock. */
static int put(struct flm__arrivals *a, struct flm__arrival *arrival, bool reused, int fd, flm_error *error)
{
    if (a->n >= FLM__ARRIVALS_MAX)
        return flm__error_set(error, FLM_EFULL, "more than %d large inputs were announced ahead",
                              FLM__ARRIVALS_MAX);
    arrival->map = reused ? flm__maps_get(&a->maps, fd, arrival->size, error)
                          : flm__blob_map(fd, arrival->size, error);
    if (!arrival->map)
        return FLM_EPROTO;
    *a->last = arrival;
    a->last = &arrival->next;
    a->n++;
    pthread_cond_signal(&a->came);
    return 0;
}

int flm__arrivals_put(struct flm__arrivals *a, const Flm__Blob *blob, int fd, flm_error *error)
{
    struct flm__arrival *arrival = calloc(1, sizeof(*arrival));
    if (!arrival)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a large input");
    arrival->id = blob->id;
    arrival->size = blob->size;
    pthread_mutex_lock(&a->lock);
    int rc = put(a, arrival, blob->reused, fd, error);
    pthread_mutex_unlock(&a->lock);
    if (rc < 0)
        free(arrival);
    return rc;
}

/* Under the lock. */
static struct flm__arrival *take(struct flm__arrivals *a, uint64_t id)
{
    for (struct flm__arrival **at = &a->first; *at; at = &(*at)->next) {
        struct flm__arrival *found = *at;
        if (found->id != id)
            continue;
        *at = found->next;
        if (!*at)
            a->last = at;
        a->n--;
        return found;
    }
    return NULL;
}

const void *flm__arrivals_wait(struct flm__arrivals *a, uint64_t id, size_t *size)
{
    struct flm__arrival *found;
    pthread_mutex_lock(&a->lock);
    while (!(found = take(a, id)) && !a->lost)
        pthread_cond_wait(&a->came, &a->lock);
    pthread_mutex_unlock(&a->lock);
    *size = 0;
    if (!found)
        return NULL;
    const void *map = found->map;
    *size = found->size;
    free(found);
    return map;
}

void flm__arrivals_done(struct flm__arrivals *a, const void *map, size_t size)
{
    if (!map)
        return;
    pthread_mutex_lock(&a->lock);
    flm__maps_put(&a->maps, map, size);
    pthread_mutex_unlock(&a->lock);
}

void flm__arrivals_forget(struct flm__arrivals *a)
{
    pthread_mutex_lock(&a->lock);
    flm__maps_clear(&a->maps);
    pthread_mutex_unlock(&a->lock);
}

void flm__arrivals_trim(struct flm__arrivals *a)
{
    pthread_mutex_lock(&a->lock);
    flm__maps_trim(&a->maps, flm__now_ns());
    pthread_mutex_unlock(&a->lock);
}
