/* libflm/handle.h - the handles behind <flm/client.h>: a client and its sessions.
 *
 * One task travels: task.c (a slot in the table of outstanding tasks, a record in the link) -> manager ->
 * progress.c (records out of the link) -> deliver.c (the slot is freed, the callback runs). What does not
 * fit in that: overflow.c (submitted in a callback, no room), blob_send.c and blob_receive.c (large
 * payloads), results.c (no callback), invoke.c (one task, waiting). Control messages: control.c, requests
 * and their replies: request.c. Waiting: wait.c.
 *
 * Threads. Without FLM_SHARED one thread owns all of this and nothing is locked. With it, `mutex` (which
 * is recursive, because callbacks run with it and call back) guards everything here; it is given up only
 * while sleeping, in wait.c. The fields that only wait.c touches stand together.
 *
 * Exactly once: a slot of the table is taken by one task from its submission until its callback has been
 * chosen to run; it is freed before the callback runs, so nothing can deliver it again.
 */
#ifndef FLM_LIBFLM_HANDLE_H
#define FLM_LIBFLM_HANDLE_H

#include "base/hash.h"
#include "net/blob_pool.h"
#include "net/sources.h"
#include "net/conn.h"
#include "net/fabric.h"
#include "net/link.h"
#include "wire/record.h"

#include <flm/client.h>
#include <pthread.h>
#include <string.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <utlist.h>

/* A task that has been submitted and not delivered. Dense, 32 bytes: there may be millions. */
struct flm__outstanding {
    uint64_t id;           /* of the task; in a free slot the index of the next free one */
    flm_task_fn *callback; /* NULL: the result is kept for flm_take_results */
    void *arg;
    flm_session *session; /* NULL: the slot is free */
};

struct flm__queued_task;
struct flm__arrived_blob;
struct flm__checked_task;
struct flm__exposed_blob;
struct flm__output_room;
struct flm__buffer;
struct flm__blob_read;
struct flm__kept_chunk;
struct flm__kept_blob;
struct flm__call;
struct flm__inproc;
struct flm__invoke_copy;
struct flm__retained_chunk;
struct flm__reconnect;
struct retained;

/* Why a session's fast path is closed; see task.c. */
enum flm__special {
    FLM__SPECIAL_OVERFLOW = 1, /* older tasks wait in the overflow */
    FLM__SPECIAL_CLOSED = 2,   /* closing or cancelled: no more tasks */
    FLM__SPECIAL_LOST = 4,     /* the manager is gone, or has lost the session */
    FLM__SPECIAL_SHARED = 8,   /* the lock must be taken */
    FLM__SPECIAL_RETAINS = 16, /* tasks are kept until they are recorded: retained.c */
};

struct flm_session {
    /* Every task. */
    flm_client *client;
    unsigned special; /* enum flm__special */
    uint32_t number;
    uint64_t submitted; /* id of the newest task, also of those that are queued */
    uint64_t outstanding;
    uint64_t spent, credit; /* bytes, as flow control counts */
    uint64_t uncollected;   /* of the outstanding: without a callback */

    uint64_t sent;  /* id of the newest task that went into the link; behind `submitted` only while the
                       overflow is not empty */
    unsigned flags; /* enum flm_session_flags */
    char id[FLM_MAX_NAME + 1];

    /* overflow.c */
    struct flm__queued_task *queue_first, *queue_last;
    uint64_t queued;
    flm_session *next_queued; /* in client->queued_sessions */
    bool in_queued;

    /* results.c: kept results, oldest first, and those that the user has at present */
    struct flm__kept_chunk *kept_first, *kept_last, *given;
    struct flm__kept_blob *given_blobs;
    uint64_t kept;
    uint64_t first_held; /* no result with a lower number, as `taken` counts, is kept or with the user; 0:
                            none is */
    bool out_of_order;   /* some of those kept have come so */

    /* inherited.c: of tasks that earlier clients of a session that outlives them have submitted */
    uint64_t owed;      /* of the outstanding: their results are still to come */
    uint64_t inherited; /* the last of those tasks */
    flm_task_fn *on_inherited;
    void *on_inherited_arg;
    bool acknowledges, given_up;  /* it is being closed: nobody will take what is kept */
    uint64_t taken, acknowledged; /* results, since the session began */
    uint64_t done_before_silence;
    uint64_t released; /* with FLM_KEEP_RESULTS: flm_acknowledge has said that so many are done with */

    /* retained.c, reconnect.c: of sessions that a session manager takes up again */
    uint64_t resume; /* names it to that one; 0: it cannot */
    struct flm__retained_chunk *retained_first, *retained_last, *resend_chunk;
    struct retained *resend; /* the next to be looked at, in resend_chunk */
    uint64_t retained_bytes, asked_at;
    uint64_t unsent;                 /* tasks that are to be sent again */
    uint64_t asked;                  /* the request that asks what is recorded; 0: none */
    uint64_t recorded, dropped_task; /* tasks up to these are recorded, and not retained */
    uint64_t seen;                   /* results that had come when a connection was lost */
    uint64_t reads_lost;             /* of these, outputs of inherited tasks that were being read then */
    uint64_t refused;                /* the first task that was, so that it is not recorded; 0: none */
    bool is_durable;
    bool outlives; /* its tasks go on without us */
    flm_error lost_error;

    uint64_t common_version, common_tried; /* that we know of; that was asked for last */
    bool common_busy;                      /* a thread is asking for one */
    bool lost_tasks;                       /* some were told that the manager is gone */

    flm_session *previous, *next; /* in client->sessions */
    UT_hash_handle hh;            /* in client->by_number */
};

struct flm_client {
    /* Every task. */
    struct flm__link *link;
    struct flm__outstanding *slots;
    uint32_t free_slot, n_slots; /* free_slot == FLM__NO_SLOT: none */
    bool in_callback;
    bool unflushed; /* something was committed and not flushed */
    bool shared;
    bool lost, buried;        /* the manager is gone; every task has been told so */
    bool recoverable;         /* lost, and may come again */
    bool away;                /* it has not yet: the link takes nothing. See reconnect.h */
    bool untold;              /* some sessions */
    bool checks_buffers;      /* $FLM_CHECK_BUFFERS */
    bool silent;              /* nobody hears the callbacks: nothing is acknowledged any more */
    uint32_t n_held;          /* results that wait until somebody has read their input */
    uint32_t n_exposed;       /* inputs that a manager may be reading where they lie */
    unsigned n_acknowledging; /* sessions */
    uint64_t result_number;   /* of the result that is being delivered, as its session's `taken` counts */
    uint64_t delivered;       /* results given to callbacks or kept, since the beginning */

    flm_session *sessions, *by_number, *queued_sessions;
    unsigned opening; /* sessions: their first records may be there before they are */
    int timeout_ms;
    struct flm__reconnect *reconnect; /* NULL: never */
    unsigned connections;             /* that were lost */
    uint64_t key;                     /* of this handle, for the manager */
    flm_error lost_error;             /* why */
    bool garbled;                     /* what is left in the link cannot be read */
    bool pump_wants_room;             /* the overflow waits for room in the link, not for credit */

    /* Control connection. */
    struct flm__conn *conn; /* NULL: inproc */
    struct flm__call *calls;
    uint64_t next_request;
    unsigned until_look; /* turns of progress until the control connection is looked at */

    /* Data plane. */
    int bell; /* eventfd that the peer of a ring rings; -1 */
    const struct flm__fabric_ops *fabric_ops;
    struct flm__fabric *fabric;  /* NULL: a ring */
    struct flm__sources sources; /* nodes on which outputs may lie */
    int64_t reads_seen_ns;       /* when it was looked last what comes from there */
    struct flm__inproc *inproc;  /* NULL: a session manager */
    uint64_t next_blob;
    struct flm__arrived_blob *arrived;
    struct flm__exposed_blob *exposed;
    struct flm__checked_task *checked_tasks; /* check_buffers.c */
    struct flm__output_room *output_rooms;   /* of tasks whose output the user wants somewhere: pieces.c */
    struct flm__lent_input *lent;            /* large inputs over a ring that are out: lent.c */
    struct flm__buffer *buffers;             /* the user's, which the node shares: buffers.c */
    struct flm__blob_pool pool;              /* for large inputs over a ring, outputs over a fabric */
    struct flm__blob_maps maps;              /* of large outputs over a ring */
    struct flm__blob_read *reads, *reads_done;
    struct flm__awaited_read *orphans;                          /* reads of objects that took too long */
    struct flm__queued_task *cancelled_first, **cancelled_last; /* of the overflow: to be told so */
    struct flm__invoke_copy *invoke_copies;
    struct flm__result_blob *result_blob; /* of the result that is being delivered; see invoke.c */
    char message[FLM__MESSAGE_MAX + 1];   /* of the result that is being delivered */

    /* wait.c */
    int wake;         /* eventfd: ends the sleep of the sleeper, or says that flm_fd is ready; -1 */
    int epoll, timer; /* flm_fd; -1 until it is asked for */
    bool armed;       /* for a sleeper on flm_fd */
    pthread_mutex_t mutex;
    _Atomic uint32_t turn; /* changes when something was done, or nobody sleeps in poll any more */
    unsigned waiters;      /* threads that wait for `turn` */
    unsigned data_waiters, room_waiters;
    bool sleeping, sleeps_for_data, sleeps_for_room; /* a thread is in poll, and for what */
    bool own_thread, stop;                           /* thread.c: callbacks run in the library's thread */
    pthread_t thread;
};

enum { FLM__NO_SLOT = UINT32_MAX };

static inline void flm__client_lock(flm_client *c)
{
    if (c->shared)
        pthread_mutex_lock(&c->mutex);
}

static inline void flm__client_unlock(flm_client *c)
{
    if (c->shared)
        pthread_mutex_unlock(&c->mutex);
}

/* ---- connect.c ---- */

/* Connects to one of these endpoints, in order, within timeout_ms each. */
int flm__connect_list(flm_client *c, const char *endpoints, const struct flm_connect_options *o,
                      flm_error *error);

/* The manager is gone, or cannot be understood: notes why, once. Returns FLM_EDISCONNECTED. Callbacks
 * are told by the next progress. */
int flm__client_lost(flm_client *c, int code, const char *format, ...) FLM_PRINTF(3, 4);

/* Nothing more comes of this session, for a reason of its own; the next progress tells its callbacks. */
void flm__session_lost(flm_session *s, int code, const char *text);

/* Lost for good. */
static inline bool flm__client_is_lost(const flm_client *c)
{
    return c->lost && !c->recoverable;
}
static inline bool flm__session_is_lost(const flm_session *s)
{
    return (s->special & FLM__SPECIAL_LOST) && !(s->resume && s->client->recoverable);
}
/* Fills error with why, returns FLM_EDISCONNECTED. */
int flm__session_lost_error(const flm_session *s, flm_error *error);
int flm__client_lost_error(const flm_client *c, flm_error *error);

/* Refuses calls that callbacks must not make: 0 or FLM_EINVAL. */
int flm__client_check_outside(const flm_client *c, flm_error *error);

/* When a call that may take timeout_ms must return, ns; 0 for one turn, FLM__FOR_EVER for negative. */
int64_t flm__client_deadline(int timeout_ms);
enum { FLM__FOR_EVER = -1 };

/* ---- task.c ---- */

/* A slot for a task, or FLM__NO_SLOT when there is no memory. */
uint32_t flm__slot_take(flm_client *c);
static inline void flm__slot_free(flm_client *c, uint32_t slot)
{
    c->slots[slot].session = NULL;
    c->slots[slot].id = c->free_slot;
    c->free_slot = slot;
}

/* What stands before the input in the record of a task. */
struct flm__task_head {
    uint32_t deadline_ms; /* 0: none */
    uint32_t name_bytes;
    uint8_t name_flags; /* FLM__RECORD_OBJECTS, FLM__RECORD_OUTPUT */
    const void *names;  /* the objects that these say, as they stand in the record */
};
static inline uint32_t flm__head_bytes(const struct flm__task_head *head)
{
    return (head->deadline_ms ? (uint32_t)sizeof(uint64_t) : 0) + head->name_bytes;
}
static inline uint8_t flm__head_flags(const struct flm__task_head *head)
{
    return (uint8_t)((head->deadline_ms ? FLM__RECORD_DEADLINE : 0) | head->name_flags);
}
/* Returns where the input comes. */
static inline char *flm__head_write(char *to, const struct flm__task_head *head)
{
    uint64_t ms = head->deadline_ms;
    if (ms)
        to = (char *)memcpy(to, &ms, sizeof(ms)) + sizeof(ms);
    if (head->name_bytes)
        to = (char *)memcpy(to, head->names, head->name_bytes) + head->name_bytes;
    return to;
}
/* Whether the input travels in the record itself. */
static inline bool flm__task_is_small(size_t size, const struct flm__task_head *head)
{
    return size + head->name_bytes <= FLM__INLINE_MAX;
}

/* What a task is made of. */
struct flm__submission {
    const void *input;
    size_t size;
    struct flm__task_head head;
    flm_task_fn *callback;
    void *arg;
    void *output; /* NULL, or where the output goes */
    size_t output_size;
    void *owned;     /* memory behind input that is freed when it is done with; NULL: the user's */
    bool invoked;    /* of flm_invoke, which waits for room until send_by even in FLM_NONBLOCK */
    int64_t send_by; /* flm__client_deadline */
};
/* For $FLM_CHECK_BUFFERS: a task was submitted; it is delivered; nobody will hear of it. */
void flm__buffers_note(flm_client *c, uint32_t slot, const struct flm__submission *task);
void flm__buffers_check(flm_client *c, uint32_t slot);
void flm__buffers_forget(flm_client *c, uint32_t slot);

/* flm_submit_task with the lock held. */
int64_t flm__task_submit(flm_session *s, const struct flm__submission *task);

/* Writes the record of the task in slot (its id is there) into the link: 0, FLM_EAGAIN (no room in the
 * link), FLM_EFULL (no credit, or the control connection is full), FLM_ENOMEM, FLM_EDISCONNECTED. On
 * success *owned is taken. */
int flm__task_send(flm_session *s, uint32_t slot, const void *input, size_t size,
                   const struct flm__task_head *head, void **owned);
/* The same for a task that is retained already. */
int flm__task_transmit(flm_session *s, uint32_t slot, const void *input, size_t size,
                       const struct flm__task_head *head, void **owned);

/* Bytes of a task as flow control counts them. */
uint64_t flm__task_weight(size_t size, const struct flm__task_head *head);
/* Whether the session may send so much more. */
bool flm__task_has_credit(const flm_session *s, uint64_t weight);

/* ---- pieces.c ---- */

/* Writes down the objects that a task names, at head->names, in memory to be freed. 0, FLM_EINVAL,
 * FLM_ENOTSUP, FLM_ENOMEM. */
int flm__objects_name(const flm_session *s, const struct flm_task *task, struct flm__task_head *head);

/* Makes these pieces the task's input. 0, FLM_EINVAL, FLM_ETOOBIG, FLM_ENOMEM. */
int flm__pieces_gather(const struct flm_iov *iov, size_t n, struct flm__submission *task);
/* The output of the task in slot goes to that memory. 0 or FLM_ENOMEM. */
int flm__output_expect(flm_client *c, uint32_t slot, void *memory, size_t size);
void flm__output_forget(flm_client *c, uint32_t slot);
/* Puts the output where it was to go, if it was; then true, and the result is changed accordingly. */
bool flm__output_put(flm_client *c, uint32_t slot, struct flm_result *result);

/* ---- overflow.c ---- */

/* Queues a task that has its slot and id; copies a small input. 0 or FLM_ENOMEM. */
int flm__overflow_add(flm_session *s, uint32_t slot, const struct flm__submission *task);
/* The session has tasks to send before any other: no more fast path, the pump comes to it. */
void flm__overflow_remember(flm_session *s);
/* Sends what can be sent; returns how many. */
unsigned flm__overflow_pump(flm_client *c);
/* Takes a task out, if it is there; its callback is told CANCELLED by the next progress. */
bool flm__overflow_cancel(flm_session *s, uint64_t task);
void flm__overflow_cancel_all(flm_session *s);
/* Delivers those; returns how many. */
unsigned flm__overflow_deliver(flm_client *c);
/* Frees all that is here of the session; slots are not touched. */
void flm__overflow_drop(flm_session *s);

/* ---- deliver.c ---- */

/* A blob that belongs to a result; whoever keeps the result beyond the callback takes the map. */
struct flm__result_blob {
    const void *map; /* NULL: taken, or none */
    size_t size;
    uint64_t id;          /* not 0: its memory is used again once the manager hears that it may be, */
    unsigned connections; /* the one from which it came */
    size_t room;          /* not 0: it is memory of ours, of so many bytes, which is used again */
};
/* Its bytes are not looked at any more; NULL in ->map is allowed. */
void flm__result_blob_free(flm_client *c, struct flm__result_blob *blob);

/* The task in this slot is over: frees the slot and gives the result to the callback, or keeps it. */
void flm__deliver(flm_client *c, uint32_t slot, const struct flm_result *result,
                  struct flm__result_blob *blob);

/* The slot that a RESULT is for, or FLM__NO_SLOT when there is no such task. */
static inline uint32_t flm__deliver_slot(const flm_client *c, const struct flm__record *r)
{
    if (__builtin_expect(r->cookie >= c->n_slots, 0))
        return FLM__NO_SLOT;
    const struct flm__outstanding *o = &c->slots[r->cookie];
    if (__builtin_expect(!o->session || o->id != r->task || o->session->number != r->session, 0))
        return FLM__NO_SLOT;
    return r->cookie;
}

/* One record from the link. 0 or FLM_EDISCONNECTED (it made no sense). */
int flm__deliver_record(flm_client *c, const struct flm__record *r, const void *payload);

/* A result that the library makes itself. */
void flm__deliver_made(flm_client *c, uint32_t slot, int state, int reason, int code, const char *text);

/* Tells the tasks of sessions that are lost; returns how many. */
unsigned flm__deliver_lost(flm_client *c);

/* ---- inherited.c ---- */

/* Prepares for results of tasks that are not ours. */
void flm__inherit(flm_session *s, const Flm__Reply *reply, flm_task_fn *callback, void *arg);
/* The manager is gone: they will not come. */
void flm__inherited_lost(flm_session *s);
/* Counts a RESULT that has no slot, and gives it one if it is for such a task; else FLM__NO_SLOT. */
uint32_t flm__inherited_slot(flm_client *c, const struct flm__record *r);
/* Tells the manager which results need not come again, in sessions that acknowledge. */
void flm__acknowledge(flm_client *c);
/* Results of the session that need not come again, since it began. */
uint64_t flm__done_with(const flm_session *s);

/* ---- results.c ---- */

/* Keeps a result until flm_take_results. placed: its output is the user's already. */
void flm__results_keep(flm_session *s, const struct flm_result *result, struct flm__result_blob *blob,
                       bool placed);
void flm__results_free(flm_session *s);

/* ---- invoke.c ---- */
void flm__invoke_free(flm_client *c);
/* The callback of a task of flm_invoke: what it waits with is freed with arg when it is never called. */
void flm__invoke_forget(flm_task_fn *callback, void *arg);

/* ---- blob_send.c ---- */

/* Large inputs are copied at submission (ring), not read where they lie. */
static inline bool flm__client_copies_large(const flm_client *c)
{
    return !c->fabric && !c->inproc;
}

/* Sends a task with a large input; as flm__task_send. */
int flm__blob_send_task(flm_session *s, uint32_t slot, const void *input, size_t size,
                        const struct flm__task_head *head, void **owned);
/* The task in slot is over. */
void flm__blob_conceal(flm_client *c, uint32_t slot);
void flm__blob_conceal_all(flm_client *c);
/* Others may be reading its input. */
bool flm__blob_is_exposed(const flm_client *c, uint32_t slot);
/* BlobDone. */
void flm__blob_done(flm_client *c, uint64_t id, bool in_use);

/* Common data: a descriptor (ring) or a region (fabric) while create_session is under way. */
struct flm__common {
    int fd;        /* -1: none */
    uint32_t slot; /* stands for a task whose input they are; FLM__NO_SLOT: none */
};
int flm__blob_common(flm_client *c, const void *data, size_t size, Flm__BlobRef *ref,
                     struct flm__common *out, flm_error *error);
void flm__blob_common_done(flm_client *c, struct flm__common *common);

/* ---- lent.c ---- */

/* Copies a large input into memory that the manager gets, unless it is in fd, and announces it; fd -1: it
 * is not. 0, FLM_ENOMEM or FLM_EDISCONNECTED. */
int flm__input_announce(flm_client *c, const void *input, int fd, const struct flm__blob_ref *ref);
/* The manager has done with it; in_use: somebody may look at it still. False: it is none of these. */
bool flm__input_back(flm_client *c, uint64_t id, bool in_use);
/* The connection is closed. */
void flm__inputs_lost(flm_client *c);

/* ---- buffers.c ---- */

/* The memory of flm_alloc_buffer at whose beginning the input lies; -1: it is none of these. */
int flm__buffer_fd(const flm_client *c, const void *input, size_t size);
void flm__buffers_free(flm_client *c);

/* ---- blob_await.c ---- */

/* Waits for a blob that is on its way, at most the client's timeout; the caller unmaps it. */
int flm__blob_await(flm_client *c, const struct flm__blob_ref *ref, struct flm__result_blob *out);

/* What a reply names that nobody waits for any more: the manager need not keep it, nor we. */
void flm__blob_unwanted(flm_client *c, uint64_t id);
/* Reads that nobody waits for: those that are over, or all, once the fabric is closed. */
void flm__blob_free_orphans(flm_client *c, bool all);

/* ---- blob_receive.c ---- */

/* The manager hears that we have read it; code < 0: that we cannot. */
void flm__blob_say_done(flm_client *c, uint64_t id);
void flm__blob_say_unread(flm_client *c, uint64_t id, int code);
/* Outputs on nodes of which nothing comes: their tasks run again. True: some are being read. */
bool flm__blob_give_up_silent(flm_client *c, int64_t now_ns);
/* Takes a blob that was announced; false: it has not come. */
bool flm__blob_take_arrived(flm_client *c, uint64_t id, struct flm__result_blob *out);
/* The same; it was sent before what refers to it, so it is on the socket, and a moment passes only when
 * that was full. 0 or FLM_EDISCONNECTED. */
int flm__blob_wait_for(flm_client *c, uint64_t id, struct flm__result_blob *out);

/* A Blob was announced; takes fd (-1: none came). 0 or FLM_EDISCONNECTED. */
int flm__blob_arrived(flm_client *c, const Flm__Blob *announced, int fd);
/* A result whose output is a blob; held: as below; result is complete but for output and size. slot
 * FLM__NO_SLOT: only gets rid of it. 0 or FLM_EDISCONNECTED. */
int flm__blob_result(flm_client *c, uint32_t slot, const struct flm__blob_ref *ref,
                     const struct flm_result *result, bool held);
/* A complete result whose input somebody may read until BlobDone (FLM__RECORD_HELD): it is delivered then,
 * from a copy. False: nobody does, or there is no memory for that. */
bool flm__blob_hold_back(flm_client *c, uint32_t slot, const struct flm_result *result);
/* The input of the task in slot (FLM__NO_SLOT: of all) is not read any more. */
void flm__blob_input_over(flm_client *c, uint32_t slot);
/* Delivers outputs whose reading is over; returns how many. */
unsigned flm__blob_deliver_reads(flm_client *c);
void flm__blob_free_arrived(flm_client *c);
/* The outputs that are being read will come again: notes those that are found by nothing but their ids. */
void flm__blob_note_reads(flm_client *c);
/* After the fabric is closed. */
void flm__blob_free_reads(flm_client *c);

/* ---- control.c ---- */

/* Reads what the control connection has. 0 or FLM_EDISCONNECTED. */
int flm__control_read(flm_client *c);
/* Sends a message; when the manager does not read, waits. 0 or an error with text. */
int flm__control_say(flm_client *c, const Flm__Message *message, const int *fds, unsigned n_fds,
                     flm_error *error);

/* ---- request.c ---- */

/* A request and its reply. */
struct flm__call {
    struct flm__call *next;
    uint64_t id;
    unsigned connection;
    Flm__Message *reply; /* NULL: not yet */
};

/* How to wait for a reply. */
enum flm__request_mode {
    FLM__REQUEST_PLAIN,    /* at most the client's timeout; callbacks do not run */
    FLM__REQUEST_PROGRESS, /* for ever; callbacks run */
    FLM__REQUEST_SEND,     /* not at all: the reply is dropped */
    FLM__REQUEST_ALONE,    /* as PLAIN, and the lock is not given up: while connecting */
};

/* Makes a request: fills its id, sends it, waits. 0 and *reply (if wanted; freed with
 * flm__message__free_unpacked), or an error: the manager's code and text, FLM_ETIMEDOUT,
 * FLM_EDISCONNECTED. The lock is held. */
int flm__request(flm_client *c, Flm__Request *request, const int *fds, unsigned n_fds,
                 enum flm__request_mode mode, int timeout_ms, Flm__Message **reply, flm_error *error);
/* A Reply came; takes the message. */
void flm__request_reply_take(flm_client *c, Flm__Message *message);

/* ---- session.c ---- */
flm_session *flm__session_by_number(flm_client *c, uint32_t number);
void flm__session_free(flm_session *s);
/* A request about the session, to the present manager; the rest as flm__request. */
int flm__session_ask(flm_session *s, Flm__Request *request, const int *fds, unsigned n_fds,
                     enum flm__request_mode mode, int timeout_ms, Flm__Message **reply, flm_error *error);

/* ---- progress.c ---- */

/* Receives and sends what can be and runs callbacks. Returns how many things it did, 0: nothing to do.
 * Does nothing inside a callback. */
unsigned flm__progress(flm_client *c);
/* Delivers all that has come, of a manager that is gone; returns how many things. */
unsigned flm__progress_drain(flm_client *c);
/* The same for the fabric alone: others may read our memory; no callback runs. */
unsigned flm__progress_fabric(flm_client *c);
/* Lets out what was committed and is not out yet. */
static inline void flm__progress_let_out(flm_client *c)
{
    if (!c->unflushed)
        return;
    c->unflushed = false;
    flm__link_flush(c->link);
}
/* Lets out what was committed: what callbacks submit with the end of their batch, the rest as good as at
 * once, and for certain with the next progress. Another thread that shares the client may sleep then. */
static inline void flm__progress_flush(flm_client *c)
{
    if (__builtin_expect(c->shared && !c->in_callback, 0)) {
        flm__link_flush(c->link);
        return;
    }
    c->unflushed = true;
    if (!c->in_callback)
        flm__link_nudge(c->link);
}

/* ---- wait.c ---- */

/* What is waited for. */
enum flm__wait_for {
    FLM__WAIT_DATA,    /* results: progress is made, callbacks run */
    FLM__WAIT_ROOM,    /* the same, and the peer shall say when it has made room in the link */
    FLM__WAIT_CONTROL, /* a reply: no callback runs */
};
struct flm__wait {
    enum flm__wait_for what; /* done may change it between DATA and ROOM */
    bool (*done)(struct flm__wait *wait);
    void *arg;
    int64_t deadline; /* flm__client_deadline */
};

/* Makes progress until done. 0, FLM_ETIMEDOUT or FLM_EDISCONNECTED (with DATA and ROOM every task has
 * been told so). At least one turn is made. The lock is held, and given up while sleeping. */
int flm__wait_until(flm_client *c, struct flm__wait *wait);
/* flm_fd leaves the descriptors of a connection, or watches those of the present one. */
void flm__fd_leave(flm_client *c);
void flm__fd_join(flm_client *c);
/* Prepares what flm_fd needs before its caller sleeps on it. */
void flm__wait_arm_fd(flm_client *c);
void flm__wait_disarm_fd(flm_client *c);
/* Something was done that another thread may wait for. */
void flm__wait_notify(flm_client *c);
/* Ends the sleep of whoever is in poll. */
void flm__wait_wake(flm_client *c);
int flm__wait_init(flm_client *c, flm_error *error);
void flm__wait_fini(flm_client *c);

/* ---- thread.c ---- */
int flm__thread_start(flm_client *c, flm_error *error);
void flm__thread_stop(flm_client *c); /* also when there is none */

/* ---- inproc.c ---- */
int flm__inproc_open(flm_client *c, flm_error *error);
void flm__inproc_close(flm_client *c);
/* Answers at once: 0 and a Message with a Reply (its code may be an error), or an error. */
int flm__inproc_request(flm_client *c, const Flm__Request *request, Flm__Message **reply, flm_error *error);
/* The session is not used any more. */
void flm__inproc_leave(flm_client *c, uint32_t session);

#endif
