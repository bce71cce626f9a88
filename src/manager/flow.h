/* manager/flow.h - the hot path: inbound.c, dispatch.c, outbound.c. */
#ifndef MANAGER_FLOW_H
#define MANAGER_FLOW_H

#include "manager/executor.h"

struct durable;

/* Moves tasks from a client's link to the queues of its sessions; returns how many. May end the peer. */
unsigned inbound_drain(struct peer *client);

/* The input of a task that was about to be sent is with the client, and has to be here: the task comes
 * back when it is. False: that cannot be, and the task has ended. */
bool inbound_fetch(struct session *s, struct task_ref ref);

/* A client comes to a durable session: an input that is still being read from the one before is its task.
 */
void inbound_new_client(struct session *s);

/* Inputs that have been read and wait for room in the journal; all: they are dropped. */
void inbound_unpark(struct durable *d, bool all);

/* Sends tasks to an executor as far as it should have them; returns how many. */
unsigned dispatch_fill(struct executor *e);
/* We have been woken and nobody works: most likely by a task, so who would get it wakes beside us, and not
 * after us. */
void dispatch_rouse(struct manager *m);

/* Takes results from an executor's own ring, or from a relay's link. */
unsigned outbound_drain_executor(struct executor *e);
unsigned outbound_drain_relay(struct node *n);

/* How a task ended, other than by a plain result. */
struct ending {
    int state, reason, code;
    unsigned attempts, executor;
    const char *text;
    int cause;                      /* with the retry limit: the reason of the last loss */
    const struct flm__usage *usage; /* of the process; NULL: not known */
};

/* Delivers a result that flmd makes itself. The task is still stored; it is finished by this. */
void outbound_end_task(struct session *s, struct task_ref ref, const struct ending *ending);

/* The same for a task that waits in the queue, which forgets it. */
void outbound_end_waiting(struct session *s, struct task_ref ref, const struct ending *ending);

/* Answers a task that is not taken into the queue; weight: what flow control counts for it. False: there
 * is no room for the answer, try again later. */
bool outbound_refuse(struct session *s, const struct flm__record *task, uint64_t weight,
                     const struct ending *ending);

/* Answers a task that could not be made durable, as if it had never come. False: no room in the link. */
bool outbound_reject(struct session *s, const struct flm__record *task, uint64_t weight, const char *why);

/* Sends results that waited, after the client has read; returns how many. */
unsigned outbound_pump(struct peer *client);

/* Releases what a stored task holds and its room in the queue. */
void outbound_finish_task(struct session *s, struct task_ref ref);

/* The client is done with so many results of a detached session, counted since its beginning. False: it has
 * not been sent so many. */
bool outbound_acknowledge(struct session *s, uint64_t taken);

/* Drops the results that wait (the client is gone for good). */
void outbound_drop(struct session *s);

/* Tells the client of new credit, if it is worth it. */
void outbound_credit(struct session *s);

/* What a stored record with FLM__RECORD_BLOB keeps of its blob: the pointer in address, NULL while it is
 * being read, and its size in any case. */
static inline struct flm__blob_ref flow_kept(const struct flm__record *r)
{
    struct flm__blob_ref ref;
    __builtin_memcpy(&ref, (const char *)(r + 1) + r->size - sizeof(ref), sizeof(ref));
    return ref;
}
static inline struct blob *flow_blob(const struct flm__record *r)
{
    return (struct blob *)(uintptr_t)flow_kept(r).address;
}

/* Of a stored task; NULL: it is in the record. */
static inline struct blob *flow_input(const struct flm__record *task)
{
    return __builtin_expect(task->flags & FLM__RECORD_BLOB, 0) ? flow_blob(task) : NULL;
}

/* A task that is met and cannot be sent: finished ones are passed, those whose input is still on the way
 * come back by themselves. */
static inline void flow_skip(struct task_ref ref)
{
    struct flm__record *r = queue_record(ref);
    if (r->type == QUEUE_FETCHING)
        r->type = QUEUE_DEFERRED;
}

#endif
