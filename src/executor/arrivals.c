#include "executor/arrivals.h"

#include "base/error.h"
#include "net/blob.h"

#include <stdlib.h>

void flm__arrivals_init(struct flm__arrivals *a)
{
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->came, NULL);
    a->first = NULL;
    a->last = &a->first;
    a->n = 0;
    a->lost = false;
}

/* Under the lock, or when nobody else is there. */
static void drop_all(struct flm__arrivals *a)
{
    while (a->first) {
        struct flm__arrival *gone = a->first;
        a->first = gone->next;
        flm__blob_unmap(gone->map, gone->size);
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
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->came);
}

int flm__arrivals_put(struct flm__arrivals *a, uint64_t id, size_t size, int fd, flm_error *error)
{
    struct flm__arrival *arrival = calloc(1, sizeof(*arrival));
    if (!arrival)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a large input");
    arrival->id = id;
    arrival->size = size;
    arrival->map = flm__blob_map(fd, size, error);
    if (!arrival->map) {
        free(arrival);
        return FLM_EPROTO;
    }
    pthread_mutex_lock(&a->lock);
    int rc = a->n < FLM__ARRIVALS_MAX ? 0 : FLM_EFULL;
    if (rc == 0) {
        *a->last = arrival;
        a->last = &arrival->next;
        a->n++;
        pthread_cond_signal(&a->came);
    }
    pthread_mutex_unlock(&a->lock);
    if (rc < 0) {
        flm__blob_unmap(arrival->map, size);
        free(arrival);
        flm__error_set(error, rc, "more than %d large inputs were announced ahead", FLM__ARRIVALS_MAX);
    }
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
