/* executor/world.h - an executor that is a world of MPI ranks.
 *
 * The launcher (mpirun -n k) starts k times the same program. Rank 0 attaches to the agent as the
 * executor of its lane; what it is told (Bind, tasks, Unbind) it tells the others, through memory on one
 * node, else by a broadcast, and all ranks do it: each calls on_session_enter and on_task_invoke, the
 * output of rank 0 is the result, an error of any rank fails the task.
 *
 * Neither libflm nor flm-executor links MPI: what they need of it is in a module per MPI
 * (flm-mpi-openmpi.so, flm-mpi-mpich.so; mpi-shim/), this table. Main thread only.
 */
#ifndef FLM_EXECUTOR_WORLD_H
#define FLM_EXECUTOR_WORLD_H

#include <flm/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLM__WORLD_ABI 1u

struct flm__world_ops {
    uint32_t abi; /* FLM__WORLD_ABI */
    const char *name;
    int (*init)(flm_error *error); /* MPI_Init; 0, FLM_ENOTSUP */
    int (*rank)(void);
    int (*size)(void);
    void *(*comm)(void); /* MPI_Comm * of MPI_COMM_WORLD: the services' own */
    /* n bytes (at most FLM_MAX_PAYLOAD) from rank 0 to all, on a communicator of our own. patient: it may
     * be long until rank 0 comes; do not burn the core. FLM_EIO. */
    int (*broadcast)(void *data, size_t n, bool patient);
    /* All learn the code, message and number of the lowest rank whose code is not 0; 0 when all are. */
    int (*agree)(int code, char *message, size_t n, int *rank);
    void (*finalize)(void); /* MPI_Finalize; after it nothing but exit */
};

/* The symbol in the module. */
extern FLM_API const struct flm__world_ops flm__world_module;

struct flm__executor;
struct flm__world;
struct flm_session_info;
struct Flm__Message;
struct flm__identity;
struct flm__record;

/* Loads the module, initialises MPI and checks that the world has the ranks that were asked for. NULL:
 * error says why not. */
struct flm__world *flm__world_open(const struct flm__identity *id, flm_error *error);
int flm__world_rank(const struct flm__world *world);
/* All ranks, rank 0 once it has attached: they find the memory that they share, if all are on one node;
 * then what rank 0 is told to cancel is seen by all. */
int flm__world_share(struct flm__executor *e, flm_error *error);
/* Rank 0 sends the others home; then all finalize. Without a world nothing happens. */
void flm__world_close(struct flm__executor *e);

/* The ranks but 0: do what rank 0 says until it says that it is over. */
int flm__world_follow(struct flm__executor *e, flm_error *error);

/* "openmpi" or "mpich". */
const char *flm__world_mpi(const struct flm__world *world);

/* Fills rank, ranks and communicator. */
void flm__world_info(const struct flm__world *world, struct flm_session_info *info);

/* Rank 0: as flm__session_enter_take and flm__session_leave, by all ranks. */
int flm__world_enter_take(struct flm__executor *e, struct Flm__Message *bind, int fd, flm_error *error);
/* New common data, for all ranks; rank 0 sets them itself. */
void flm__world_common(struct flm__executor *e, const void *data, size_t size, uint64_t version);
void flm__world_leave(struct flm__executor *e);

/* Rank 0: all run the task in e->task. It is answered then, or later with others. */
void flm__world_run(struct flm__executor *e, struct flm__record *r, uint64_t deadline_ms);
/* Rank 0: answers what was run and is not answered. */
void flm__world_settle(struct flm__executor *e);
/* Its second thread: the same, as far as that is possible without waiting. */
void flm__world_look(struct flm__executor *e);

#endif
