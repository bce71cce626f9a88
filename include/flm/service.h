/* flm/service.h - the user's code that answers tasks.
 *
 * In a shared object (shim `so`): define one
 *
 *     FLM_SERVICE = { .abi = FLM_SERVICE_ABI, .name = "pi",
 *                     .on_session_enter = enter, .on_task_invoke = invoke,
 *                     .on_session_leave = leave };
 *
 * and compile with `cc -shared -fPIC`. In a program of its own (shim `self`):
 * fill the same structure and call flm_service_run from main.
 *
 * All three functions are called by the main thread of the executor, one at a
 * time. on_session_enter and on_session_leave may be NULL.
 */
#ifndef FLM_SERVICE_H
#define FLM_SERVICE_H

#include <flm/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLM_SERVICE_ABI 1u

/* What a service learns when its executor enters a session. Lives until
 * on_session_leave has returned. The common data change between tasks when the
 * client updates them: then so does what stands here, and the memory of the
 * older version is gone. */
struct flm_session_info {
    const char *session;     /* the session's id */
    const char *application; /* the application's name */
    const void *common;      /* common data: read-only, page aligned, one copy per node; NULL: none */
    size_t common_size;      /* bytes */
    uint64_t common_version; /* 1, 2, ...; 0: there are none */
    unsigned executor;       /* number of this executor in the instance */
    unsigned cores;          /* cores of the slot */
    int rank, ranks;         /* in the MPI world of the executor; 0 of 1 without MPI */
    void *mpi_comm;          /* MPI_Comm *, only in a world (ranks_per_task); else NULL */
};

/* One task, as the service sees it; valid during on_task_invoke. */
struct flm_task_context;

/* Which MPI a service is compiled with. */
enum flm_mpi_kind { FLM_MPI_NONE = 0, FLM_MPI_OPEN_MPI = 1, FLM_MPI_MPICH = 2 };

struct flm_service {
    uint32_t abi; /* FLM_SERVICE_ABI */
    uint32_t mpi; /* enum flm_mpi_kind: FLM_MPI of <flm/mpi.h> when its tasks need a communicator, else 0 */
    const char *name;
    /* 0, or an error: the executor does not enter. *state is given to the others. */
    int (*on_session_enter)(const struct flm_session_info *info, void **state);
    /* 0, or an error (flm_result.code) that fails this task alone. */
    int (*on_task_invoke)(struct flm_task_context *task, void *state);
    void (*on_session_leave)(void *state);
};

/* The symbol that shim `so` looks for. */
#define FLM_SERVICE FLM_API const struct flm_service flm_service
extern FLM_API const struct flm_service flm_service;

/* The input: *size bytes, aligned to 8; never NULL, also when *size is 0. */
FLM_API const void *flm_task_input(const struct flm_task_context *task, size_t *size);

/* Room for an output of exactly size bytes (aligned to 8), to be filled before
 * on_task_invoke returns; nothing is copied after that. Replaces an earlier
 * output. NULL: no memory or size > FLM_MAX_PAYLOAD. */
FLM_API void *flm_task_output(struct flm_task_context *task, size_t size);

/* The same, shortened: the output is the first size bytes of what
 * flm_task_output gave. FLM_EINVAL when size is larger than that. */
FLM_API int flm_task_shrink_output(struct flm_task_context *task, size_t size);

/* Copies an output. 0, FLM_ENOMEM, FLM_ETOOBIG. */
FLM_API int flm_task_set_output(struct flm_task_context *task, const void *data, size_t size);

/* Says why on_task_invoke is about to return an error (at most 400 bytes are
 * kept); returns code for `return flm_task_fail(task, 3, "no such row %d", i);` */
FLM_API int flm_task_fail(struct flm_task_context *task, int code, const char *format, ...)
    FLM_PRINTF(3, 4);

/* The common data of the session as they are for this task (page aligned,
 * read-only, one copy per node; NULL: none), their size in bytes and their
 * version: the newest when the task began to run, and at least the one that was
 * the newest when it was submitted. size and version may be NULL. Valid until
 * on_task_invoke returns. */
FLM_API const void *flm_task_common(const struct flm_task_context *task, size_t *size, uint64_t *version);

/* The object that the task names as its objects[index] (flm_submit_task): page
 * aligned, read-only, one copy per node; its size in bytes and its version, which
 * may be NULL. NULL: the task names none with this index, or this is not the first
 * rank of several. Valid until on_task_invoke returns. */
FLM_API const void *flm_task_input_object(const struct flm_task_context *task, unsigned index, size_t *size,
                                          uint64_t *version);

FLM_API uint64_t flm_task_id(const struct flm_task_context *task);

/* True once somebody asked to cancel this task or its session: a long task
 * should look from time to time and return. Cheap. If it does not: a cancelled task
 * runs to its end, one of a cancelled session is killed with its executor after
 * 5 s. In a world of MPI ranks those on
 * the node of rank 0 see it, each at its own moment: where ranks are to stop
 * together they have to agree on it. */
FLM_API bool flm_task_cancelled(const struct flm_task_context *task);

/* Milliseconds left until the deadline of this task; -1: it has none. */
FLM_API int64_t flm_task_time_left_ms(const struct flm_task_context *task);

/* MPI_Comm * of the ranks that run this task together, for <flm/mpi.h>; NULL: one process runs it. */
FLM_API const void *flm_task_mpi_comm(const struct flm_task_context *task);

/* For shim `self`: attaches this process to the node agent that started it and
 * serves until it is told to end. argc and argv are those of main. Returns the
 * exit status for main. Started by hand it says so and returns 2. */
FLM_API int flm_service_run(const struct flm_service *service, int argc, char **argv);

/* For libraries that make an executor of a process which no node agent has started, as flm_mpi_init does: serves
 * on behalf of the process at the other end of fd (flm-guest), which an agent has started, until that end is
 * closed. services: NULL-terminated; each serves the applications, of shim `so`, that have its name. 0: told to
 * end, or the agent is gone, and the task that ran has returned; else an error. The caller closes fd. */
FLM_API int flm_service_attend(const struct flm_service *const *services, int fd, flm_error *error);

#ifdef __cplusplus
}
#endif
#endif
