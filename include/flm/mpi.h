/* flm/mpi.h - Flame and MPI: services whose tasks are run by several ranks together (ranks_per_task), and MPI
 * programs whose ranks are clients and executors of an instance in their own job (flm_mpi_init; -lflm_mpi).
 *
 * A service of several ranks is compiled with the MPI compiler, and says so:
 *
 *     #include <flm/mpi.h>
 *
 *     static int invoke(struct flm_task_context *task, void *state)
 *     {
 *         MPI_Comm comm = flm_task_comm(task);
 *         ...
 *     }
 *     FLM_SERVICE = { .abi = FLM_SERVICE_ABI, .mpi = FLM_MPI, .name = "pi", .on_task_invoke = invoke };
 *
 * The communicator holds exactly the ranks that run the task, 0 to k - 1, each of which is called with the
 * same input. The output of rank 0 is the result, an error of any rank fails the task. MPI has been
 * initialised (MPI_THREAD_FUNNELED) and is not to be finalized by the service. Main thread only.
 */
#ifndef FLM_MPI_H
#define FLM_MPI_H

#include <flm/client.h>
#include <flm/service.h>
#include <mpi.h>

/* For flm_service.mpi: without a communicator, or in a world of another MPI than this, the executor does not
 * enter the session and says why. */
#ifdef OPEN_MPI
#define FLM_MPI FLM_MPI_OPEN_MPI
#else
#define FLM_MPI FLM_MPI_MPICH
#endif

/* MPI_COMM_NULL: the session has no ranks_per_task. */
static inline MPI_Comm flm_session_comm(const struct flm_session_info *info)
{
    return info->mpi_comm ? *(MPI_Comm *)info->mpi_comm : MPI_COMM_NULL;
}

static inline MPI_Comm flm_task_comm(const struct flm_task_context *task)
{
    const void *comm = flm_task_mpi_comm(task);
    return comm ? *(const MPI_Comm *)comm : MPI_COMM_NULL;
}

/* ---- an instance inside an MPI job ---- */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flm_mpi flm_mpi;

enum flm_mpi_role { FLM_MPI_DEFAULT = 0, FLM_MPI_CLIENT = 1, FLM_MPI_EXECUTOR = 2 };

struct flm_mpi_options {
    size_t size;
    int role; /* of this rank; default: rank 0 is a client, all others are executors */
    const struct flm_service *const *services; /* NULL-terminated, the same in all ranks: what executors can
                                                  run. Each is an application by its name */
};

/* Collective over comm, of an MPI that allows MPI_THREAD_FUNNELED at least; options are needed. One instance in a
 * process at a time. A session manager is started as a child of the first client. In a client it returns when
 * tasks can be submitted; in an executor it serves and returns when all clients have called flm_mpi_finalize. comm
 * itself is used for nothing but a duplicate of it. NULL: error says why; in all ranks, but FLM_ELOST: in one
 * executor whose agent is gone, and MPI_Abort is what is left.
 * FLM_EINVAL: no client, no executor, no services or one without a name, an instance is there already (only the
 * calling rank fails), MPI is not initialised (the same); FLM_ENOTSUP: thread level; FLM_ELOAD: a program of Flame
 * is not found; FLM_ECONNECT, FLM_ETIMEDOUT, FLM_EIO. */
FLM_API flm_mpi *flm_mpi_init(MPI_Comm comm, const struct flm_mpi_options *options, flm_error *error);

/* The connection of a client, to create sessions with (.application = the name of a service); NULL in an
 * executor. It is closed by flm_mpi_finalize. */
FLM_API flm_client *flm_mpi_client(const flm_mpi *mpi);

/* Collective. Sessions that are still open are cancelled. Afterwards comm is as it was, and none of our
 * processes is left, also when an error is returned. NULL is allowed. FLM_ELOST, in the first client: the session
 * manager had ended before; FLM_EINVAL: it has been called already. */
FLM_API int flm_mpi_finalize(flm_mpi *mpi, flm_error *error);

#ifdef __cplusplus
}
#endif

#endif
