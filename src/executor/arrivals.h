/* executor/arrivals.h - large inputs: announced on the control connection, asked for by their records.
 * The second thread puts them in, the main thread takes them out, mostly in the same order. */
#ifndef FLM_EXECUTOR_ARRIVALS_H
#define FLM_EXECUTOR_ARRIVALS_H

#include "net/blob_pool.h"
#include "wire/flame.pb-c.h"

#include <flm/error.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than a ring full of records can refer to. */
enum { FLM__ARRIVALS_MAX = 1 << 16 };

struct flm__arrival {
    struct flm__arrival *next;
    uint64_t id;
    size_t size;
    const void *map; /* read-only */
};

struct flm__arrivals {
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct flm__arrival *first, **last; /* lock */
    unsigned n;                         /* lock */
    bool lost;                          /* lock: who announces is gone, nothing will come */
    struct flm__blob_maps maps;         /* lock */
};

void flm__arrivals_init(struct flm__arrivals *a);
void flm__arrivals_fini(struct flm__arrivals *a);

/* Maps and keeps what fd holds; fd stays the caller's. FLM_EPROTO, FLM_ENOMEM, FLM_EFULL. */
int flm__arrivals_put(struct flm__arrivals *a, const Flm__Blob *blob, int fd, flm_error *error);

/* Who has announced them is gone: drops them all, and nobody waits for more; until somebody else is there.
 */
void flm__arrivals_lose(struct flm__arrivals *a);
void flm__arrivals_resume(struct flm__arrivals *a);

/* Waits for the input with this id, until flm__arrivals_done. NULL: it will not come. */
const void *flm__arrivals_wait(struct flm__arrivals *a, uint64_t id, size_t *size);
void flm__arrivals_done(struct flm__arrivals *a, const void *map, size_t size); /* NULL is allowed */
/* The session is left: mappings that were kept for its next inputs go. */
void flm__arrivals_forget(struct flm__arrivals *a);
/* Drops mappings that were not used for a while. */
void flm__arrivals_trim(struct flm__arrivals *a);

#endif
