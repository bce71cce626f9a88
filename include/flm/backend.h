/* flm/backend.h - the plugin that obtains nodes and starts processes on them.
 *
 * A plugin is a shared object with one symbol, `flm_backend`, that describes it.
 * It runs in the process flm-backend, never in flmd: it may block, and the
 * library it uses may exit, without harm to the session manager. flm-backend
 * calls it from one thread.
 *
 * Requests are answered by events, at once or later, through the host table:
 * each request gets exactly one of granted/refused, a granted block then
 * starting (optional), and in the end `ended`.
 */
#ifndef FLM_BACKEND_H
#define FLM_BACKEND_H

#include <flm/error.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLM_BACKEND_ABI 1u

/* What the session manager wants. Texts live during the call. */
struct flm_block_request {
    uint64_t block;            /* number of the block, chosen by the manager */
    unsigned new_job;          /* 1: a job of its own; 0: nodes that are here already */
    unsigned nodes;            /* 0: the backend's choice: all of an allocation, else one */
    const char *node;          /* NULL: any; else this one of an allocation, whose agent was lost */
    unsigned slots;            /* per node; 0: as many as there are cores */
    unsigned time_s;           /* 0: the site's default, or no end */
    const char *name;          /* of a new job, for people: "flame:SESSION" */
    const char *const *site_options; /* verbatim, NULL-terminated */
    const char *const *agent_command; /* what to run once per node, NULL-terminated: flm-node
                                         with all it needs but the node's name */
};

/* Services of the host. All are called from the plugin's thread only. */
struct flm_backend_host {
    void *handle; /* first argument of all of these */
    void (*granted)(void *handle, uint64_t block, const char *job, int64_t end_time_s /* -1: none */);
    void (*refused)(void *handle, uint64_t block, int code, const char *reason);
    void (*waiting)(void *handle, uint64_t block, const char *reason);
    void (*ended)(void *handle, uint64_t block, int code, const char *reason);
    void (*time_left)(void *handle, uint64_t block, int64_t end_time_s);
    void (*log)(void *handle, const char *text);
    /* Calls fn(arg, fd) when fd is readable; fn NULL: stop. */
    int (*watch_fd)(void *handle, int fd, void (*fn)(void *arg, int fd), void *arg);
    /* Calls fn(arg) once after ms; returns a number for cancel_timer. */
    int (*timer)(void *handle, unsigned ms, void (*fn)(void *arg), void *arg);
    void (*cancel_timer)(void *handle, int timer);
    /* Starts a process in our environment, changed by the NULL-terminated list (NULL: as it is):
     * NAME=VALUE sets, NAME takes away, NAME* all whose name begins so. fn(arg, pid, status as from wait(2)) when it ends. It is killed when
     * flm-backend ends. Returns its pid or a negative FLM_E*. */
    int (*spawn)(void *handle, const char *const *argv, const char *const *environment,
                 void (*fn)(void *arg, int pid, int status), void *arg);
    /* The same with its standard output and error (in this order, may be -1: ours) in these descriptors,
     * which stay the caller's. */
    int (*spawn_with_output)(void *handle, const char *const *argv, const char *const *environment,
                             const int output[2], void (*fn)(void *arg, int pid, int status), void *arg);
    /* A block that is not granted yet has this name in the batch system's queue. */
    void (*submitted)(void *handle, uint64_t block, const char *job);
};

/* What a backend can do, once it has begun. */
enum flm_backend_ability {
    FLM_BACKEND_HAS_NODES = 1,  /* without asking anybody: this machine, the job that we are in */
    FLM_BACKEND_NEW_JOBS = 2,   /* obtains more, see new_job */
    FLM_BACKEND_COMMENTS = 4,   /* see comment */
};

struct flm_backend {
    uint32_t abi; /* FLM_BACKEND_ABI */
    uint32_t size; /* sizeof(struct flm_backend): a plugin of an older minor version is shorter;
                      what it lacks answers FLM_ENOTSUP */
    const char *name;
    const char *description;
    /* configuration: NULL-terminated NAME=VALUE. *state is given to the others. */
    int (*init)(const struct flm_backend_host *host, const char *const *configuration, void **state,
                flm_error *error);
    /* Releases every block first, and asks what it has spawned to end (SIGTERM); what has not ended
     * 4 s later is killed. */
    void (*fini)(void *state);
    int (*get_block)(void *state, const struct flm_block_request *request, flm_error *error);
    int (*release_block)(void *state, uint64_t block, flm_error *error);
    /* Prints into text what get_block would ask for. */
    int (*dry_run)(void *state, const struct flm_block_request *request, char *text, size_t size,
                   flm_error *error);
    /* Fills argv (size n, NULL-terminated; strings live until the next call) with the command that
     * starts a world of `ranks` MPI ranks, each running program, on the node where it is called; or, where a
     * word has "{nodes}", on those that this is replaced by, for each rank one ("n2,n1,n1"), that node first.
     * Asked by agents through flmd. */
    int (*world_command)(void *state, unsigned ranks, const char *const *program, const char **argv,
                         size_t n, flm_error *error);
    /* A sum of enum flm_backend_ability; missing: FLM_BACKEND_HAS_NODES. */
    unsigned (*abilities)(void *state);
    /* What a granted block does now, in a line for those who look at the batch system's queue. Seldom: every
     * half minute at most, and when the block has been released. */
    void (*comment)(void *state, uint64_t block, const char *text);
};

/* The symbol of a plugin. */
extern FLM_API const struct flm_backend flm_backend;

#ifdef __cplusplus
}
#endif
#endif
