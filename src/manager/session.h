/* manager/session.h - a session: tasks of one application, its counters, its events, its results that
 * wait for the client. State machine: session.dot.
 */
#ifndef MANAGER_SESSION_H
#define MANAGER_SESSION_H

#include "manager/application.h"
#include "manager/blob_store.h"
#include "manager/core_time.h"
#include "manager/events.h"
#include "manager/outbox.h"
#include "manager/peer.h"
#include "manager/places.h"
#include "manager/queue.h"
#include "manager/reasons.h"

#include <flm/client.h>

enum session_state { SESSION_OPEN, SESSION_CLOSING, SESSION_CANCELLING, SESSION_CLOSED };

struct session {
    struct manager *manager;
    uint32_t number;
    char id[FLM_MAX_NAME + 1];
    enum session_state state;
    struct application *application; /* counted reference */
    struct peer *client;             /* attached; NULL: none */
    uint64_t client_key;             /* of the last that was: the same when it comes again */
    struct session *next_attached, *next_blocked;
    bool in_blocked;
    bool detached; /* outlives its clients, so their results are kept until they are acknowledged */
    uint64_t told, told_events; /* of tables.c */
    bool deleted;               /* goes as soon as it can */
    int64_t
        grace_ns;  /* detached only until then, for its client to come back; 0: it is there, or no matter */
    bool graced;   /* it is detached for nothing else */
    bool given_up; /* the client has closed it, and stays attached for the results that wait */
    UT_hash_handle hh;

    unsigned min_instances, max_instances, weight, delay_release_ms, deadline_ms, retry_limit, ranks;
    uint64_t queue_bytes, result_bytes;
    struct blob *common;             /* common.h; NULL: none */
    struct common_next *common_next; /* newer ones that are not durable yet */
    uint64_t common_version;         /* 0: there were never any */
    uint64_t common_believed; /* versions up to this are ours, also where an executor says that it has them
                                 from an earlier session manager */

    struct queue queue;
    struct outbox outbox; /* results that wait for the client */
    uint64_t last_task;   /* id of the newest received: what is not larger is a duplicate */
    uint64_t refused; /* of a durable session: from this task on none was taken, until it is opened again */
    uint64_t pending, running, succeed, failed, cancelled, retried;
    /* As flow control counts, see session_credit. */
    uint64_t finished_bytes; /* since the beginning */
    uint64_t blob_bytes;     /* not finished: large inputs (the others are queue.bytes) */
    uint64_t attached_bytes; /* received before the present client came, finished or not */
    uint64_t credit_told;    /* the credit that the client knows */
    uint64_t fetching;       /* inputs on the way by RMA */

    uint64_t nodes;        /* of its executors, as node_bit, and whether some are on flmd's own: */
    int64_t nodes_seen_ns; /* of this turn */
    bool here;

    struct executor **bound; /* executors in Binding, Bound or Unbinding with this session */
    unsigned n_bound, bound_room;
    double served;     /* executor-seconds / weight: who has the least is next */
    unsigned deserved; /* by the scheduler */

    int durability;  /* enum flm_durability */
    uint32_t serial; /* in the journal: never used twice there */
    uint64_t from;   /* position in the journal: no record of it before this is needed */
    unsigned dirty;  /* see durable_touch */
    struct session *next_dirty, *next_syncing;
    bool in_syncing;
    struct results *results; /* NULL: they go to no file */
    struct unread *unread;   /* tasks whose output the client reads elsewhere, see unread.h, */
    uint64_t unread_bytes;   /* so much of it, */
    unsigned n_unread;       /* so many */
    uint64_t clients;        /* so many have attached */
    uint64_t fetching_task;  /* of a durable session, which has one at a time */
    struct deferred *syncs;  /* requests to answer when all is durable */
    bool opening;            /* one of them opens the session: its client does not know it yet */

    bool paused;
    bool sweeping;       /* its waiting tasks are being ended, */
    uint64_t sweep_from; /* from this id on */

    unsigned bind_failures; /* in a row */
    int64_t bind_retry_ns;  /* not before */
    char trouble[EVENT_TEXT];
    bool spread;     /* its ranks are on as many nodes as can be */
    bool impossible; /* no node has so many slots as its ranks need: it was said */
    double task_ns;  /* duration of a task, as the executor measured that left last; 0: not known */
    char too_long[EVENT_TEXT]; /* of too_long.c; "": nothing is known of that */
    uint64_t too_long_succeed; /* then */
    struct events events;
    struct notes notes; /* exceptional tasks */
    struct reasons reasons;
    struct places places;
    struct core_time core_time; /* of executors that have left it, and of lost attempts; running_ns 0 */
    int64_t core_time_recorded; /* sum of what was */
    int64_t created_ns, closed_ns;
    int64_t rate_ns;
    uint64_t rate_done;
    double rate;
    struct deferred *closers; /* requests to answer when it is closed */
};

struct session *session_by_id(struct manager *m, const char *id);
/* The durable session with this number in the journal that agents know by that number; NULL: there is none.
 */
struct session *session_known_as(struct manager *m, uint32_t serial, uint32_t number);
/* The durable one with this number in the journal, also one that has given its id to another. */
struct session *session_by_serial(struct manager *m, uint64_t serial);
/* By the number in records; NULL also for a number that is past. */
struct session *session_by_number(struct manager *m, uint32_t number);

/* Bit in the flags of a stored record: somebody asked to cancel this task, which is running or whose input
 * is being read. Never travels. */
enum { SESSION_CANCEL_WANTED = 0x80 };

/* Creates a session; NULL: error. common is taken. */
struct session *session_create(struct manager *m, const Flm__SessionSpec *spec, struct blob *common,
                               struct peer *client, flm_error *error);
/* A session of the journal, as it was created; see restore.c. */
struct session *session_restore(struct manager *m, struct application *a, const Flm__StoredSession *stored,
                                flm_error *error);
void session_attach(struct session *s, struct peer *client);
/* The client is gone or gives it up. */
void session_detach(struct session *s);
/* Its connection was lost: what it does not outlive is cancelled, at once or after the grace. */
void session_client_lost(struct session *s);
/* Cancels those whose grace is over. */
void session_end_graces(struct manager *m);

/* No more tasks; Closed when the last is finished. */
void session_close(struct session *s);
/* Pending tasks are answered CANCELLED, running ones are asked to stop. */
void session_cancel(struct session *s, const char *why);
/* No more tasks are sent to its executors; those that did not begin come back. */
void session_pause(struct session *s);
int session_cancel_task(struct session *s, uint64_t task, flm_error *error);

/* Answers a task that waits: cancelled, or failed when no executor can enter the session. One whose input
 * is being read is answered when that is over. */
void session_end_waiting(struct session *s, struct task_ref ref);
/* Answers a task that waits, or was sent and did not begin: cancelled. */
void session_end_cancelled(struct session *s, struct task_ref ref);
/* The task's own deadline, else the session's; 0: none. */
uint64_t session_deadline_ms(const struct session *s, struct task_ref ref);
/* Goes on with ending the waiting tasks of sessions that were cancelled or cannot go on, while
 * manager->sweeping is not 0. Returns how many it ended: 0 when their clients have to take results first.
 */
unsigned session_sweep(struct manager *m);

/* Goes on with cancelling, or with failing its tasks, as its state says. */
void session_resume(struct session *s);

/* Looks whether it can become Closed, and answers who waits for that. */
void session_settle(struct session *s);

/* The executors cannot enter: after some tries the tasks fail and the session says why. */
void session_bind_failed(struct session *s, int executor, int code, const char *text);
/* Its tasks fail, now and from now on. */
void session_fail(struct session *s, const char *what, const char *why);
void session_bind_succeeded(struct session *s);

static inline uint64_t session_unfinished(const struct session *s)
{
    return s->pending + s->running;
}

/* Bytes of tasks that are not finished, as flow control counts. */
static inline uint64_t session_held_bytes(const struct session *s)
{
    return s->queue.bytes + s->blob_bytes;
}

/* What the present client may have sent since it attached, so that never more than queue_bytes are
 * unfinished: what another client left unfinished takes its part. */
static inline uint64_t session_credit(const struct session *s)
{
    uint64_t limit = s->finished_bytes + s->queue_bytes;
    return limit > s->attached_bytes ? limit - s->attached_bytes : 0;
}

/* Its tasks go on without its client. */
static inline bool session_outlives_client(const struct session *s)
{
    return s->durability || s->detached || s->manager->options.client_grace_s;
}

/* Id of the newest task that is not lost when its client is: who opens the session goes on behind it. */
static inline uint64_t session_newest(const struct session *s)
{
    return s->refused && s->refused <= s->last_task ? s->refused - 1 : s->last_task;
}

/* Results wait beyond the limit: no more tasks are started. */
static inline bool session_results_full(const struct session *s)
{
    return s->outbox.bytes + s->unread_bytes > s->result_bytes;
}

/* Its tasks may be started. */
static inline bool session_runs(const struct session *s)
{
    return s->state != SESSION_CANCELLING && !s->paused && !session_results_full(s);
}

/* Whose end it is: retention.c; between turns only. A durable one is forgotten by the journal, too. */
void session_free(struct session *s);
void session_free_all(struct manager *m);

const char *session_state_name(const struct session *s);

#endif
