/* executor/outputs.h - memory for large outputs, which is used again once nobody reads them any more, as
 * far as that is said (BlobDone, to the second thread). Of those that others still have only the newest are
 * waited for. */
#ifndef FLM_EXECUTOR_OUTPUTS_H
#define FLM_EXECUTOR_OUTPUTS_H

#include "net/blob_pool.h"

#include <pthread.h>

struct flm__outputs {
    pthread_mutex_t lock;
    struct flm__blob_pool pool; /* lock */
    struct flm__lent_output {
        uint64_t id;
        struct flm__room room;
    } lent[FLM__POOLED_MAX]; /* lock; the oldest first */
    unsigned n_lent;         /* lock */
};

void flm__outputs_init(struct flm__outputs *o);
void flm__outputs_fini(struct flm__outputs *o);

/* 0, FLM_ENOMEM or FLM_EIO. */
int flm__outputs_take(struct flm__outputs *o, size_t size, struct flm__room *out);
/* What was taken is not given to anybody. */
void flm__outputs_unused(struct flm__outputs *o, const struct flm__room *room);
/* What was taken goes out, under that id. */
void flm__outputs_lend(struct flm__outputs *o, uint64_t id, const struct flm__room *room);
/* It is not read any more; kept: it is an object now, and its memory no more ours. */
void flm__outputs_back(struct flm__outputs *o, uint64_t id, bool kept);
/* The session is left: all goes, as far as it is ours. */
void flm__outputs_forget(struct flm__outputs *o);
/* Frees what was not used for a while. */
void flm__outputs_trim(struct flm__outputs *o);

#endif
