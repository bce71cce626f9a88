/* flm/client.h - open a session, run tasks in it, receive their results.
 *
 *     flm_client  *c = flm_connect(NULL, NULL, &err);
 *     flm_session *s = flm_create_session(c, &(struct flm_session_options){
 *                          .size = sizeof(struct flm_session_options), .application = "pi"}, &err);
 *     for (i = 0; i < n; i++)
 *         flm_run_task(s, &input[i], sizeof(input[i]), on_result, &sum);
 *     flm_wait(s, -1);
 *     flm_close_session(s, &err);
 *     flm_disconnect(c);
 *
 * Progress. By default (FLM_PROGRESS_CALLER) there is no hidden thread:
 * callbacks run inside flm_wait, flm_poll, flm_take_results, flm_invoke,
 * flm_sync, flm_close_session, flm_cancel_session, inside an flm_run_task that
 * must wait for room and an flm_update_common_data that must wait for another
 * manager; never anywhere else. flm_fd joins any event loop.
 * With FLM_PROGRESS_THREAD a thread of the library runs the callbacks, for
 * programs that compute for long between calls. So should be one that is on
 * another node than the session manager and submits large inputs: these stay in
 * its memory, and are read there when their tasks are about to run, which some
 * networks do only while the client is in such a call. A callback may submit tasks
 * (that never waits: what finds no room is kept in the client's memory and sent
 * later, in order), cancel tasks and take results; calls that wait return
 * FLM_EINVAL there, and flm_disconnect does nothing.
 *
 * Threads. One handle per thread needs no lock and takes none. One handle for
 * several threads is allowed when it was opened with FLM_SHARED (or with
 * FLM_PROGRESS_THREAD, which implies it): then every call takes the handle's
 * lock. Callbacks run with that lock held by the running thread, which may call
 * back into the handle. A session is closed, and a client disconnected, by one
 * thread while no other uses it.
 *
 * Manager gone. Results that had come are delivered; then every other task gets
 * its callback, FLM_TASK_FAILED with FLM_REASON_DISCONNECTED. All later calls
 * return FLM_EDISCONNECTED, and nothing waits.
 *
 * Not so with durable sessions: the library tries to connect again to the same
 * endpoints for some time (reconnect_ms), in whatever call makes progress. Once
 * a session manager is there that has them (flmd --state-dir), they are opened
 * again, what it lacks is submitted again, and results that come a second time
 * are dropped. Meanwhile the sessions are as full ones: flm_run_task waits or
 * returns FLM_EAGAIN, flm_wait waits; other requests wait at most timeout_ms.
 * flm_fd stays as it is. Sessions without durability end as above. When the time
 * is over, or a session is not there any more, the durable ones do, too.
 *
 * Exactly once. A living client gets the result of each task exactly once. A
 * task may be executed more than once when executors are lost.
 *
 * After fork(2) the child must not use a handle of its parent.
 *
 * Structures that end in _options begin with their size, so that they can
 * grow: set .size = sizeof(the structure) and leave what you do not know zero.
 * A zero means the default everywhere.
 */
#ifndef FLM_CLIENT_H
#define FLM_CLIENT_H

#include <flm/error.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flm_client flm_client;
typedef struct flm_session flm_session;

/* The largest input or output of one task and the largest common data, bytes. */
#define FLM_MAX_PAYLOAD ((size_t)1 << 30)

/* The longest session id and application name, without the final zero. They
 * consist of letters, digits and the characters . _ - : @ + */
#define FLM_MAX_NAME 127

enum flm_progress { FLM_PROGRESS_CALLER = 0, FLM_PROGRESS_THREAD = 1 };

enum flm_connection {
    FLM_CONNECTION_LOST = 1,     /* text: why; it is tried to connect again */
    FLM_CONNECTION_BACK = 2,     /* all durable sessions that could be are open again */
    FLM_CONNECTION_GIVEN_UP = 3, /* text: why */
};

/* Told of what becomes of the connection (enum flm_connection), for messages to people; in whatever call
 * or thread notices it. Must not call any function with this client. */
typedef void flm_connection_fn(int event, const char *text, void *arg);

enum flm_connect_flags { FLM_SHARED = 1 /* several threads use this handle */ };

struct flm_connect_options {
    size_t size;
    const char *name;        /* shown by flmctl; default: the program's name */
    const char *secret_file; /* for tcp: endpoints; default $FLM_SECRET_FILE, then the file of the
                                instance or of the user (flmd(1)) */
    const char *provider;    /* not "": over libfabric, even on the same node, by the one provider that the
                                session manager has (its --provider, or the best that there is; else FLM_ENOTSUP);
                                default $FLM_PROVIDER, then rings on the node */
    int progress;            /* enum flm_progress */
    unsigned flags;          /* enum flm_connect_flags */
    int timeout_ms;          /* for connecting and for each request; default 10,000 */
    int reconnect_ms;        /* how long to try to connect again when the manager is gone, see "Manager
                                gone"; -1: not at all; default $FLM_RECONNECT (seconds; 0: not at
                                all), then 30,000 */
    flm_connection_fn *on_connection; /* is told of that */
    void *on_connection_arg;
};

/* Connects to a session manager. endpoint: "unix:PATH", "tcp:HOST:PORT", a list
 * of these separated by commas (tried in order), or "inproc:" (see below); NULL:
 * $FLM_ENDPOINT (whose Unix socket may be about to come: $FLM_ENDPOINT_WAIT,
 * flm(7)), then the default endpoint of this user. NULL on failure:
 * FLM_ECONNECT, FLM_EAUTH, FLM_EVERSION, FLM_EINVAL, FLM_ENOMEM.
 *
 * "inproc:" needs no session manager: services of shim `so` run inside this
 * process, in the thread that makes progress (with the program's directory and
 * environment, and without deadlines), for a debugger. */
FLM_API flm_client *flm_connect(const char *endpoint, const struct flm_connect_options *options,
                                flm_error *error);

/* Closes the connection and frees the handle and all its sessions' handles.
 * Tasks that were not delivered get no callback. Sessions that are attached are
 * cancelled; detached ones go on, so what was submitted to them is handed over
 * first, which may take up to timeout_ms. NULL is allowed. */
FLM_API void flm_disconnect(flm_client *client);

struct flm_result;

/* Runs once per task, see "Progress" above. result and all it points to belong
 * to the library and die with the call. */
typedef void flm_task_fn(const struct flm_result *result, void *arg);

enum flm_session_flags {
    FLM_DETACHED = 1, /* the session goes on when its client is gone */
    FLM_NONBLOCK = 2, /* flm_run_task returns FLM_EAGAIN instead of waiting for room */
    FLM_KEEP_RESULTS = 4, /* of a session that outlives its clients: a result is done with when
                             flm_acknowledge says so, not before */
};

enum flm_durability { FLM_DURABILITY_NONE = 0, FLM_DURABILITY_JOURNAL = 1, FLM_DURABILITY_SYNC = 2 };

struct flm_session_options {
    size_t size;
    const char *application;    /* registered name; required */
    const char *id;             /* the client's choice, unique among sessions that are not closed;
                                   default: made by the manager */
    const void *common;         /* common data, copied; given to every on_session_enter */
    size_t common_size;         /* bytes, at most FLM_MAX_PAYLOAD */
    unsigned flags;             /* enum flm_session_flags */
    unsigned min_instances;     /* executors kept as long as the session is open; default the
                                   application's */
    unsigned max_instances;     /* most executors at once; default the application's, then all */
    unsigned weight;            /* share among sessions, 1..1000; default 1 */
    unsigned delay_release_ms;  /* an executor without tasks stays bound so long; default the
                                   application's, then 1000; 1 is the least */
    unsigned deadline_ms;       /* of each task from the start of its run; 0: none */
    unsigned retry_limit;       /* losses with an executor before a task fails; default 3 */
    uint64_t queue_bytes;       /* most bytes of queued tasks in the manager (payloads and 24 bytes
                                   each); default 1 GiB; from it comes back-pressure */
    uint64_t result_bytes;      /* most bytes of results that wait for the client, beyond which no
                                   more tasks of the session are started; default 64 MiB */
    int durability;             /* enum flm_durability; not NONE: the session outlives its clients
                                   (as FLM_DETACHED) and the manager, which needs a state directory
                                   (flmd --state-dir), else FLM_ENOTSUP */
    unsigned ranks_per_task;    /* size of the MPI world of each executor; default the
                                   application's, then no MPI */
    flm_task_fn *callback;      /* for flm_open_session of a session that outlives its clients: gets the
                                   results of tasks that earlier clients submitted; NULL: they wait for
                                   flm_take_results */
    void *arg;                  /* for callback */
    const char *results;        /* a new HDF5 file that gets a row for each result while the session runs
                                   (flm_create_session(3)); implies FLM_DURABILITY_JOURNAL at least.
                                   FLM_EEXIST: it is there already */
    int spread_ranks;           /* the ranks of a task are on as many nodes of one job as can be; default 0:
                                   on one, or, where none has so many slots, on as few. FLM_ENOTSUP: the
                                   backend starts worlds on one node only */
};

/* Creates a session, open for tasks. The returned handle belongs to the client
 * and lives until flm_close_session, flm_cancel_session or flm_disconnect.
 * FLM_ENOTFOUND: no such application; FLM_EEXIST: the id is taken. */
FLM_API flm_session *flm_create_session(flm_client *client, const struct flm_session_options *options,
                                        flm_error *error);

/* Gets the open session options->id, or creates it. A session has at most one
 * client at a time: FLM_EBUSY when another is attached, or this one already. */
FLM_API flm_session *flm_open_session(flm_client *client, const struct flm_session_options *options,
                                      flm_error *error);

/* Id of the newest task of the session, also of those that earlier clients submitted; 0: none yet. Whoever
 * opens a session again goes on with the task after that one: what is not among them has not arrived. */
FLM_API uint64_t flm_submitted(const flm_session *session);

/* Gives the session new common data, also when it had none; 1 .. FLM_MAX_PAYLOAD
 * bytes, which are copied. Tasks that are submitted after this has returned see
 * them or newer ones (flm_task_common); those that were submitted before see what
 * is newest when they begin to run. *version (NULL: not wanted) is what the new
 * data are called: greater than before (by one, unless another update is under
 * way or has failed). In a session with durability they are durable then. 0 or
 * an error: FLM_EINVAL (also in a callback), FLM_ETOOBIG,
 * FLM_ECLOSED, FLM_ENOMEM, FLM_EAGAIN (the journal has no room): all is as it was;
 * FLM_ETIMEDOUT, FLM_EDISCONNECTED: it is not known whether it is. */
FLM_API int flm_update_common_data(flm_session *session, const void *data, size_t size, uint64_t *version,
                                   flm_error *error);

/* The same where only `size` bytes from `offset` on change: they must lie within
 * the newest common data (else FLM_EINVAL), and a node that has the version
 * before reads no more than them. */
FLM_API int flm_patch_common_data(flm_session *session, size_t offset, const void *data, size_t size,
                                  uint64_t *version, flm_error *error);

/* The version of the session's common data that this client knows of: 1 after
 * flm_create_session with common data, in a session that was opened again what
 * it had then, later what flm_update_common_data or flm_patch_common_data said;
 * 0: it has none. */
FLM_API uint64_t flm_common_version(const flm_session *session);

/* The id of a session; valid as long as the handle. */
FLM_API const char *flm_session_id(const flm_session *session);

enum flm_task_state {
    FLM_TASK_PENDING = 0,
    FLM_TASK_RUNNING = 1,
    FLM_TASK_SUCCEED = 2,
    FLM_TASK_FAILED = 3,
    FLM_TASK_CANCELLED = 4
};

/* Why a task did not succeed. On the wire; values never change. */
enum flm_reason {
    FLM_REASON_NONE = 0,
    FLM_REASON_SERVICE = 1,       /* on_task_invoke returned an error: code is its value */
    FLM_REASON_EXIT = 2,          /* the command ended with a status: code */
    FLM_REASON_SIGNAL = 3,        /* the command was ended by a signal: code */
    FLM_REASON_OUT_OF_MEMORY = 4,
    FLM_REASON_DEADLINE = 5,
    FLM_REASON_EXECUTOR_LOST = 6,
    FLM_REASON_NODE_LOST = 7,
    FLM_REASON_WALLTIME = 8,
    FLM_REASON_CANCELLED = 9,
    FLM_REASON_RETRY_LIMIT = 10,  /* lost with its executor retry_limit times: code is the last
                                     signal or status */
    FLM_REASON_BIND = 11,         /* no executor could enter the session */
    FLM_REASON_DISCONNECTED = 12, /* made by the library: the manager is gone, the outcome unknown */
    FLM_REASON_REFUSED = 13,      /* never taken, since it could not be recorded (a full disk): the message
                                     says why. A session takes none after it until it is opened again */
    FLM_REASON_OBJECT = 14,       /* an object that its input names could not be had; code: FLM_ENOTFOUND (there
                                     is none), FLM_ESTALE (it has another version). One that cannot be read
                                     is no failure of the task, but the loss of its executor; unless the
                                     manager itself cannot read it: FLM_EIO (flmd --object-spill). Or its output
                                     could not become one: FLM_ENOTFOUND, FLM_ESTALE, FLM_EFULL (flmd --object-memory),
                                     FLM_EIO (flmd --object-spill), FLM_EINVAL (it is empty), FLM_ENOMEM */
};
FLM_API const char *flm_reason_name(int reason); /* "service", "exit", ...; never NULL */
FLM_API const char *flm_task_state_name(int state); /* "Pending", ...; never NULL */

/* The outcome of one task. Who gives you one says how long the pointers live. */
struct flm_result {
    uint64_t task;       /* its id */
    int state;           /* FLM_TASK_SUCCEED, _FAILED or _CANCELLED */
    int reason;          /* enum flm_reason */
    int code;            /* the service's code, exit status or signal, by reason */
    unsigned attempts;   /* lost attempts before this one */
    unsigned executor;   /* the executor that ran it, as in flmctl list -e */
    const void *output;  /* aligned to 8 bytes; NULL when size is 0 */
    size_t size;         /* bytes */
    const char *message; /* what the service or Flame said of a failure; never NULL */
    uint64_t object_version; /* that the output has become (flm_task.output_object): there is no output then.
                                0: it has not */
};

/* A piece of an input: `count` blocks of `size` bytes each, one every `stride` bytes from base on. So rows
 * j .. j + 7 of 100 columns from column i on, of a matrix of doubles with n columns, are
 *     {.base = &a[j * n + i], .size = 100 * sizeof(double), .count = 8, .stride = (ptrdiff_t)(n * sizeof(double))} */
struct flm_iov {
    const void *base;
    size_t size;      /* bytes of a block */
    size_t count;     /* blocks; 0: one */
    ptrdiff_t stride; /* bytes from the beginning of a block to that of the next, of any sign; 0: they adjoin */
};

/* An object (flm/object.h) that belongs to the input of a task. */
struct flm_object_ref {
    const char *name;
    uint64_t version; /* it has to have this one; 0: its newest when the task is sent to an executor, or a newer
                         one */
};

/* The most of these in one task. */
#define FLM_MAX_TASK_OBJECTS 16

/* A task in full; see flm_run_task for how long input, and all that iov names, must live. */
struct flm_task {
    size_t size;          /* of this structure */
    const void *input;
    size_t input_size;    /* bytes, at most FLM_MAX_PAYLOAD */
    flm_task_fn *callback; /* NULL: the result waits for flm_take_results */
    void *arg;
    unsigned deadline_ms; /* 0: the session's */
    const struct flm_iov *iov; /* instead of input, which is NULL then: the input is these pieces, one behind
                                  the other */
    size_t iov_count;          /* pieces; 0: none, see input */
    void *output;       /* NULL: the library's memory; else flm_result.output is this, which is the library's
                           from now until the callback, or until flm_take_results has given the result. An
                           output that does not fit is not put here, and the task has then failed:
                           FLM_REASON_OUT_OF_MEMORY, FLM_ETOOBIG */
    size_t output_size; /* bytes of room there */
    const struct flm_object_ref *objects; /* besides: objects that the service gets (flm_task_input_object), from
                                             the memory of its node. The task has failed, FLM_REASON_OBJECT, if
                                             one is gone, or has another version, when it is to begin */
    size_t object_count;                  /* of these, at most FLM_MAX_TASK_OBJECTS; 0: none */
    const struct flm_object_ref *output_object; /* NULL: none; else the output of the task, if that succeeds, does
                                                   not come to the client: it becomes the newest version of
                                                   this object, which is made if there is none. version: it
                                                   has to have this one then; 0: whatever it has. Not with
                                                   output, nor in a session with durability (FLM_ENOTSUP) */
};

/* Submits one task; returns its id (1, 2, 3, ... in a session) or a negative
 * FLM_E*: FLM_EAGAIN (FLM_NONBLOCK and no room; no callback runs), FLM_EINVAL,
 * FLM_ETOOBIG, FLM_ECLOSED, FLM_EDISCONNECTED, FLM_ENOMEM. callback NULL: see
 * flm_take_results. FLM_ENOTSUP: objects, and the endpoint is "inproc:", or an
 * output_object, and the session has durability. An input of up to 32 KiB (with
 * objects: 29 KiB) is copied. A larger one is not to be changed or freed before
 * the callback ($FLM_CHECK_BUFFERS, flm(7), finds a client that does). */
FLM_API int64_t flm_run_task(flm_session *session, const void *input, size_t size,
                             flm_task_fn *callback, void *arg);
FLM_API int64_t flm_submit_task(flm_session *session, const struct flm_task *task);

/* Memory for large inputs, of size bytes (1 .. FLM_MAX_PAYLOAD), zeroed: an input that
 * begins where it begins is shared with the executors of the node instead of being
 * copied for them. (Over a fabric each input is read where it lies anyway. It is copied
 * in sessions that outlive their clients, of durability, FLM_DETACHED or flmd
 * --client-grace, and by flm_invoke with a timeout.) It belongs to the client handle and
 * is used as often as the caller likes, for several tasks at once too. Like any large
 * input it is not changed between a task's submission and its callback, or the return of
 * flm_take_results with its result; an attempt whose executor was given up as silent or
 * stopped, and whose result nobody wants, may see what comes later. A child of fork shares
 * it. It counts as memory of this process and as one descriptor. NULL: FLM_EINVAL,
 * FLM_ETOOBIG, FLM_ENOMEM. */
FLM_API void *flm_alloc_buffer(flm_client *client, size_t size, flm_error *error);

/* After the tasks that it was an input of; flm_disconnect frees what is left. 0, or
 * FLM_EINVAL: it is none of this client's. NULL is allowed. */
FLM_API int flm_free_buffer(flm_client *client, void *buffer);

/* Runs one task and waits for it. What *result points to lives until this
 * thread's next flm_invoke with this client. timeout_ms -1: for ever. 0, or
 * FLM_ETIMEDOUT (the task goes on, its result is dropped; input is free again),
 * FLM_EDISCONNECTED and the errors of flm_run_task, but not FLM_EAGAIN. A task
 * that failed is no error here: see result->state. */
FLM_API int flm_invoke(flm_session *session, const void *input, size_t size, int timeout_ms,
                       struct flm_result *result);

/* Takes up to n results of tasks that were submitted without a callback,
 * waiting at most timeout_ms (-1: for ever) for the first. Returns how many; 0
 * when the time is over or no such task is left; FLM_EDISCONNECTED once the
 * manager is gone and all that had come are taken. The outputs live until the
 * next call of flm_take_results for this session. What is not taken stays in the
 * client's memory. In a callback it never waits. */
FLM_API int flm_take_results(flm_session *session, struct flm_result *results, int n, int timeout_ms);

/* In a session with FLM_KEEP_RESULTS: all results that were given to callbacks
 * (that of a callback that calls this, too) or handed out by flm_take_results
 * are done with; the next client of the session does not get them again. Without
 * that flag a result is done with after its callback, or at the next
 * flm_take_results. Until then results count to result_bytes. 0 or
 * FLM_EDISCONNECTED. */
FLM_API int flm_acknowledge(flm_session *session);

/* Waits until all tasks of the session have been delivered, those too that
 * callbacks (or other threads) submit meanwhile. 0, FLM_ETIMEDOUT,
 * FLM_EDISCONNECTED. timeout_ms -1: for ever. Results that wait for
 * flm_take_results count as delivered. */
FLM_API int flm_wait(flm_session *session, int timeout_ms);

/* Tasks of the session that are submitted and not delivered. */
FLM_API uint64_t flm_outstanding(const flm_session *session);

/* Receives and sends what can be, running callbacks; waits at most timeout_ms
 * for a result (0: not at all, -1: for ever). Returns the number of results
 * delivered, to callbacks or for flm_take_results, or FLM_EDISCONNECTED. With
 * FLM_PROGRESS_THREAD it only waits. */
FLM_API int flm_poll(flm_client *client, int timeout_ms);

/* A descriptor that is readable when flm_poll(client, 0) has something to do.
 * Before sleeping on it, call flm_poll until it returns 0. It belongs to the
 * client. FLM_ENOTSUP with FLM_PROGRESS_THREAD, FLM_ENOMEM. */
FLM_API int flm_fd(flm_client *client);

/* Hands over to the manager all that was submitted, as far as there is room.
 * Needed only before computing for long without other calls. 0 or
 * FLM_EDISCONNECTED. */
FLM_API int flm_flush(flm_client *client);

/* *task: up to this id all tasks are durable (with durability none: received
 * by the manager). Waits, at most the client's timeout_ms for the manager's
 * answer (FLM_ETIMEDOUT: nothing is wrong with the tasks; ask again). */
FLM_API int flm_sync(flm_session *session, uint64_t *task, flm_error *error);

/* Asks to cancel one task. Its result comes as usual: CANCELLED if it was in
 * time, else as it ended. A running service sees flm_task_cancelled(); one
 * that does not heed it runs on, and its outcome counts. In a callback it does not wait for the manager's answer. FLM_ENOTFOUND: there was
 * never such a task. */
FLM_API int flm_cancel_task(flm_session *session, uint64_t task, flm_error *error);

/* Waits for all tasks, closes the session and frees the handle, also when an
 * error is returned (but FLM_EINVAL, in a callback). Takes as long as it takes. */
FLM_API int flm_close_session(flm_session *session, flm_error *error);

/* Cancels what is not done (callbacks run with CANCELLED), closes the session
 * and frees the handle, as flm_close_session does. */
FLM_API int flm_cancel_session(flm_session *session, flm_error *error);

#ifdef __cplusplus
}
#endif
#endif
