/* libflm/retained.h - tasks of durable sessions that the session manager may not have recorded yet: they
 * are kept, to be sent again after it was lost (reconnect.h).
 *
 * One FIFO per session, in chunks. A chunk goes when its last task is known to be recorded: it has its
 * result (tasks are recorded in their order, results after them), or the manager said so, which it is asked
 * from time to time where many tasks wait. Small inputs are copied; large ones are the user's to leave
 * alone until the callback.
 */
#ifndef FLM_LIBFLM_RETAINED_H
#define FLM_LIBFLM_RETAINED_H

#include "libflm/handle.h"

enum {
    FLM__RETAINED_ASK =
        1 << 20, /* with so many bytes more the manager is asked up to where all is recorded */
    FLM__RETAINED_MAX = 64 << 20, /* with so many no more tasks are sent until it has answered */
};

/* Keeps a task that is about to be sent; takes *owned. False: no memory. */
bool flm__retained_add(flm_session *s, uint32_t slot, const void *input, size_t size,
                       const struct flm__task_head *head, void **owned);
/* It was not sent: takes the newest out again, and gives back *owned. */
void flm__retained_undo(flm_session *s, void **owned);

/* Drops what is recorded; asks the manager. Once per turn. */
void flm__retained_trim(flm_session *s);
/* The manager has recorded all up to this task; the next trim drops them. */
void flm__retained_recorded(flm_session *s, uint64_t task);
/* This one was refused: it is not recorded, though it has a result. */
void flm__retained_refused(flm_session *s, uint64_t task);
/* Whether so much is kept that no more can be sent. */
static inline bool flm__retained_full(const flm_session *s)
{
    return s->retained_bytes >= FLM__RETAINED_MAX;
}

/* What is newer than `task` is to be sent again. False: not all of that is here, or was recorded. */
bool flm__retained_rewind(flm_session *s, uint64_t task);
/* Sends of that what can be: 0 when all is sent, else an error as of flm__task_send. */
int flm__retained_resend(flm_session *s, unsigned *n);

void flm__retained_free(flm_session *s);

#endif
