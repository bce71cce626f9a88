/* flm/admin.h - applications, and a look at what a session manager does.
 *
 * Every function here is one request to the manager: it waits for the answer at
 * most the client's timeout_ms (FLM_ETIMEDOUT). Lists are arrays that the caller
 * frees with the function named beside each; texts in them die with them and
 * are never NULL.
 */
#ifndef FLM_ADMIN_H
#define FLM_ADMIN_H

#include <flm/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How an executor runs a service. */
enum flm_shim {
    FLM_SHIM_SO = 1,    /* dlopen: command[0] is the file */
    FLM_SHIM_EXEC = 2,  /* one process per task */
    FLM_SHIM_STDIO = 3, /* one process per session, framed messages on stdin and stdout */
    FLM_SHIM_SELF = 4,  /* the program calls flm_service_run */
    FLM_SHIM_MPI = 5,   /* an MPI program per task: as EXEC, started by the node's launcher (mpirun, srun)
                           as ranks_per_task ranks (0: one), in as many slots of one node */
};
FLM_API const char *flm_shim_name(int shim);      /* "so", ...; never NULL */
FLM_API int flm_shim_parse(const char *name);     /* enum flm_shim or FLM_EINVAL */

/* Where the shims `exec` and `mpi` put the input of a task, and what its output is; of several ranks rank 0
 * gets stdin, and stdout and stderr are those of all. */
enum flm_exec_mode {
    FLM_EXEC_STDIN = 0, /* input on stdin; output is stdout */
    FLM_EXEC_ARGS = 1,  /* input is arguments, each ended by a zero byte, put after the command's;
                           stdin empty; output is stdout */
    FLM_EXEC_CAPTURE = 2, /* as ARGS; the output begins with struct flm_exec_output, followed by
                             stdout, then stderr */
};
struct flm_exec_output { /* little endian, 24 bytes */
    uint32_t status;       /* as from wait(2); of shim mpi its launcher's */
    uint32_t reserved;
    uint64_t stdout_size;  /* bytes that follow; the rest is stderr */
    uint64_t run_ns;       /* from start to end of the process */
};

struct flm_application {
    size_t size;
    const char *name;
    int shim;                    /* enum flm_shim */
    int exec_mode;               /* enum flm_exec_mode, for the shims exec and mpi */
    const char *const *command;  /* NULL-terminated: file and arguments. Found relative to the
                                    working directory, or in the PATH of the environment. May be NULL
                                    for FLM_EXEC_ARGS and _CAPTURE: the first argument in the input of
                                    a task is then the file */
    const char *const *environment; /* NULL-terminated NAME=VALUE, beside the agent's; may be NULL */
    const char *working_directory;  /* default: the agent's */
    const char *description;
    unsigned min_instances, max_instances; /* see struct flm_session_options */
    unsigned delay_release_ms;
    unsigned deadline_ms;
    unsigned ranks_per_task;     /* a world of so many MPI ranks; 0: no MPI */
    int temporary;               /* not 0: unregistered when no client is connected any more that
                                    registered it so; its sessions go on */
    const char *output_type;     /* of the columns in result files, as flm-application(5) tells; default
                                    bytes */
};

/* Registers an application; the same name again replaces it for sessions that
 * are created later, provided replace is set; else FLM_EEXIST unless it is the
 * same. */
FLM_API int flm_register_application(flm_client *client, const struct flm_application *application,
                                     int replace, flm_error *error);
/* FLM_EBUSY while a session of it is open. */
FLM_API int flm_unregister_application(flm_client *client, const char *name, flm_error *error);

/* Reads an application from a file as flm-application(5) describes it. The
 * result is freed with flm_free_applications. */
FLM_API struct flm_application *flm_read_application(const char *file, flm_error *error);

/* Returns how many (>= 0), or an error. */
FLM_API int flm_list_applications(flm_client *client, struct flm_application **list, flm_error *error);
FLM_API void flm_free_applications(struct flm_application *list, int n);

/* What happened to a session, a task or an executor. */
struct flm_event {
    int64_t time_ns;   /* since the epoch */
    int code;          /* 0: news; else FLM_E* */
    uint64_t task;     /* 0: not about a task */
    int executor;      /* -1: not about an executor */
    const char *text;
};

/* Where tasks of a session ran. */
struct flm_place_view {
    const char *node, *block; /* as in struct flm_node_view; both "": very many others */
    uint64_t tasks;           /* that were finished there */
    unsigned executors;       /* bound there now */
};

/* What went wrong in a session for one reason. */
struct flm_reason_count {
    int reason;     /* enum flm_reason */
    uint64_t tasks; /* that failed or were cancelled for it */
    uint64_t lost;  /* attempts that ended so with their executor, and were or will be made again */
};

/* A node that relays and has the newest common data of a session, or is to read them. */
struct flm_common_place {
    const char *node, *from; /* from: the node where it reads or has read them; "": the manager */
    const char *state;       /* "waits", "reads", "has" */
    uint64_t bytes;          /* that it has read */
};

struct flm_session_view {
    const char *id, *application, *client; /* client: "" when none is attached */
    const char *state;                     /* "Open", "Closing", "Closed" */
    unsigned slots;                        /* executors bound now */
    uint64_t pending, running, succeed, failed, cancelled, retried; /* tasks; running: begun, one on
                                              an executor; what waits at one is pending */
    uint64_t queue_bytes, result_bytes;    /* held by the manager now */
    int64_t created_ns, closed_ns;         /* since the epoch; 0: not yet */
    unsigned min_instances, max_instances, weight;
    double tasks_per_second;               /* over the last seconds */
    const char *trouble;                   /* "" or why it does not go on */
    struct flm_event *events;              /* oldest first, bounded; only from flm_get_session */
    int n_events;
    struct flm_place_view *places;         /* oldest first, bounded; only from flm_get_session */
    int n_places;
    const char *results_file;              /* "" or the file that gets the results */
    uint64_t results_rows, results_lag;    /* in it; bytes of the journal that it is behind */
    const char *results_trouble;           /* "" or why it is not written */
    double useful_s, wasted_s; /* core-seconds of executors: on tasks that have ended, and on attempts
                                  that were cut off and came to nothing */
    struct flm_reason_count *reasons; /* what went wrong how often; only from flm_get_session */
    int n_reasons;
    uint64_t common_version, common_size;   /* of its newest common data; 0: it has none. These, and what */
    uint64_t common_sent;                   /* follows, only from flm_get_session. Sent by the manager */
    struct flm_common_place *common_places; /* nodes on which the manager itself runs need no copy */
    int n_common_places;
};
FLM_API int flm_list_sessions(flm_client *client, struct flm_session_view **list, flm_error *error);
FLM_API int flm_get_session(flm_client *client, const char *id, struct flm_session_view **view,
                            flm_error *error);
FLM_API void flm_free_sessions(struct flm_session_view *list, int n);

struct flm_task_view {
    uint64_t id;
    int state, reason, code; /* enum flm_task_state, enum flm_reason, as in struct flm_result */
    uint64_t input_size;     /* bytes; 0 once it has ended */
    unsigned attempts;       /* lost ones */
    int executor;            /* that runs it or ran it; -1: none */
    const char *message;     /* "" or what was said of its failure */
    int64_t started_ns;      /* of the attempt that runs, since the epoch; 0: it does not run */
    uint64_t deadline_ms;    /* from its start; 0: none, or it has ended */
    struct flm_event *events; /* oldest first, bounded */
    int n_events;
    const char *node, *block; /* where that executor is or was; "": not known */
    int cause;                /* where the reason is FLM_REASON_RETRY_LIMIT: that of the last loss */
    double user_s, system_s;  /* processor time of the process that ended in it, in its life, */
    uint64_t max_rss_kib;     /* and the most memory; 0: not known */
};
/* Tasks that the manager holds (pending, running) and the exceptional ones that
 * it remembers (failed, retried), by id from `from` on, at most n. */
FLM_API int flm_list_tasks(flm_client *client, const char *session, uint64_t from, int n,
                           struct flm_task_view **list, flm_error *error);
FLM_API int flm_get_task(flm_client *client, const char *session, uint64_t task,
                         struct flm_task_view **view, flm_error *error);
FLM_API void flm_free_tasks(struct flm_task_view *list, int n);

/* Calls fn for each event of the session that is newer than *cursor (begin
 * with 0), then stores the new cursor. Returns how many. */
typedef void flm_event_fn(const struct flm_event *event, void *arg);
FLM_API int flm_watch_session(flm_client *client, const char *session, uint64_t *cursor, int timeout_ms,
                              flm_event_fn *fn, void *arg, flm_error *error);

struct flm_executor_view {
    unsigned id;
    const char *node, *state, *session; /* see flmctl(1): "Idle", "Bound", ..., "Failed" */
    int pid;
    const char *cpus;      /* list as in Linux, "0-3,8"; "" when not bound */
    const char *transport; /* "ring" or the provider */
    uint64_t done;         /* tasks */
    unsigned restarts;
    const char *trouble;   /* "" or why none can be started in its slot */
};
FLM_API int flm_list_executors(flm_client *client, struct flm_executor_view **list, flm_error *error);
FLM_API void flm_free_executors(struct flm_executor_view *list, int n);

/* After the nodes: jobs that were asked for and have no nodes yet. Their name is "", their state "Pending" or
 * "Starting", and trouble is why they wait. */
struct flm_node_view {
    const char *name, *state, *transport, *block; /* "Up", "Drained" or "Failed"; block: "local" or
                                                     the job's id */
    int pid;                                      /* of the agent */
    unsigned slots, executors;
    int64_t time_left_s; /* -1: no end known */
    const char *trouble; /* "" or why none of its executors can be started */
};
FLM_API int flm_list_nodes(flm_client *client, struct flm_node_view **list, flm_error *error);
FLM_API void flm_free_nodes(struct flm_node_view *list, int n);

/* Objects (flm/object.h), by name. */
struct flm_object_view {
    const char *name;
    uint64_t version, size;   /* of the newest; bytes */
    unsigned held;            /* reads of it that are under way: so long its memory stays, whatever becomes of it */
    const char *const *nodes; /* that have it in their memory, beside the manager's; NULL-terminated */
    uint64_t sent;            /* bytes of it that the manager has sent to nodes, which send it on to each other */
    int spilled;              /* 1: the manager has it in a file (flmd --object-spill), and not in its memory */
};
FLM_API int flm_list_objects(flm_client *client, struct flm_object_view **list, flm_error *error);
FLM_API void flm_free_objects(struct flm_object_view *list, int n);

/* The manager itself. */
struct flm_instance_view {
    const char *id, *version, *endpoint, *provider;
    int pid;
    int64_t started_ns;
    uint64_t tasks, refused; /* refused: connections and batches of strangers */
    uint64_t objects, object_bytes, object_limit; /* how many there are, bytes in memory, and how many these may be */
    uint64_t object_file_bytes;                   /* in files of flmd --object-spill */
};
FLM_API int flm_get_instance(flm_client *client, struct flm_instance_view **view, flm_error *error);
FLM_API void flm_free_instance(struct flm_instance_view *view);

/* Lines that services wrote to stdout and stderr, oldest first, bounded per
 * executor. session NULL: all; executor -1: all; *cursor: begin with 0, ask again
 * for news. */
struct flm_log_line {
    int64_t time_ns;
    unsigned executor;
    const char *session; /* "" outside a session */
    int error_stream;    /* 1: stderr */
    const char *text;    /* without the newline */
};
FLM_API int flm_read_logs(flm_client *client, const char *session, int executor, uint64_t *cursor,
                          struct flm_log_line **list, flm_error *error);
FLM_API void flm_free_logs(struct flm_log_line *list, int n);

/* Closing waits for the tasks (the call does not); cancelling does not. */
FLM_API int flm_admin_close_session(flm_client *client, const char *id, flm_error *error);
FLM_API int flm_admin_cancel_session(flm_client *client, const char *id, flm_error *error);
FLM_API int flm_admin_cancel_task(flm_client *client, const char *id, uint64_t task, flm_error *error);
/* The manager forgets a session that is Closed, with results that nobody has taken; its file of results
 * stays. FLM_EBUSY: it is not closed, a client is attached, or its file is not complete; force not 0: any
 * session, which is cancelled first. */
FLM_API int flm_admin_delete_session(flm_client *client, const char *id, int force, flm_error *error);
/* Lets a node's executors finish what they run and take nothing new; undo: 0. */
FLM_API int flm_admin_drain(flm_client *client, const char *node, int drain, flm_error *error);
/* Writes into text[size], cut to that, what the manager would ask its backend for: a job of its own (new_job
 * not 0), or the nodes that are here. nodes 0: as the manager was told. Nothing is asked for. FLM_ENOTSUP: the
 * backend cannot say. */
FLM_API int flm_admin_dry_run(flm_client *client, int new_job, unsigned nodes, char *text, size_t size,
                              flm_error *error);
/* Ends the manager: sessions are cancelled, executors end. */
FLM_API int flm_admin_shutdown(flm_client *client, flm_error *error);

/* The journal of a state directory that no manager uses now: verifies every byte, and calls fn (may be NULL) for
 * each damage. repair not 0: cuts off a torn end of the last segment; other damage is only told. Needs no
 * manager. 0, also where there is damage, with *found (may be NULL) filled; FLM_ENOTFOUND (no journal there),
 * FLM_EBUSY (in use), FLM_EIO. */
struct flm_store_damage {
    const char *file, *what; /* valid during the call; what: a sentence */
    uint64_t offset, bytes;  /* in the file */
    int repaired;
};
typedef void flm_store_damage_fn(const struct flm_store_damage *damage, void *arg);
struct flm_store_state {
    uint64_t segments, frames, records, bytes; /* what is whole */
    uint64_t damages, repaired;                /* repaired of all damages */
};
FLM_API int flm_check_store(const char *folder, int repair, flm_store_damage_fn *fn, void *arg,
                            struct flm_store_state *found, flm_error *error);

#ifdef __cplusplus
}
#endif
#endif
