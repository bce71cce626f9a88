/* A world of MPI ranks, for flm-executor: the module flm-mpi-openmpi.so or flm-mpi-mpich.so, by the MPI
 * that this file is compiled with. What each function promises stands in executor/world.h.
 *
 * The engine talks on a duplicate of MPI_COMM_WORLD, so that nothing of it can meet the messages of a
 * service, which has MPI_COMM_WORLD for itself. All broadcasts are MPI_Ibcast, also the impatient ones:
 * MPI does not match blocking with non-blocking collectives.
 */
#include "executor/world.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef OPEN_MPI
#define MPI_NAME "openmpi"
#else
#define MPI_NAME "mpich"
#endif

/* How a waiting rank looks: often at first, then less and less, so that an idle world costs next to
 * nothing and a busy one loses little. */
enum { EAGER_LOOKS = 200, FIRST_NAP_NS = 20 * 1000, LONGEST_NAP_NS = 2 * 1000 * 1000 };

static MPI_Comm engine_comm = MPI_COMM_NULL;
static MPI_Comm service_comm;

#ifdef OPEN_MPI
/* Removes the name of each piece of Open MPI's shared memory that we have mapped. */
static void forget_names(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[1024];
    if (!maps)
        return;
    while (fgets(line, sizeof(line), maps)) {
        char *path = strstr(line, "/dev/shm/vader_segment.");
        char *end = path ? strpbrk(path, " \n") : NULL;
        if (!end || strstr(path, " (deleted)"))
            continue;
        *end = 0;
        unlink(path);
    }
    fclose(maps);
}

/* Open MPI removes its files in /dev/shm in MPI_Finalize; ranks that are killed leave them there for ever.
 * So all ranks of a node meet each other once, which maps what they share, and then the files lose their
 * names. (A rank that a service spawns later talks to them by other ways.) */
static void leave_nothing_behind(void)
{
    MPI_Comm node;
    int me, n;
    if (MPI_Comm_split_type(engine_comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node) != MPI_SUCCESS)
        return;
    MPI_Comm_rank(node, &me);
    MPI_Comm_size(node, &n);
    for (int i = 1; i < n; i++) {
        char out = 0, in;
        MPI_Sendrecv(&out, 1, MPI_CHAR, (me + i) % n, 0, &in, 1, MPI_CHAR, (me - i + n) % n, 0, node,
                     MPI_STATUS_IGNORE);
    }
    MPI_Barrier(node);
    forget_names();
    MPI_Comm_free(&node);
}
#else
static void leave_nothing_behind(void) /* MPICH does so itself */
{
}
#endif

static int world_init(flm_error *error)
{
    int provided = MPI_THREAD_SINGLE;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) == MPI_SUCCESS &&
        provided >= MPI_THREAD_FUNNELED && MPI_Comm_dup(MPI_COMM_WORLD, &engine_comm) == MPI_SUCCESS) {
        service_comm = MPI_COMM_WORLD;
        leave_nothing_behind();
        return 0;
    }
    if (error) {
        error->code = FLM_ENOTSUP;
        snprintf(error->text, sizeof(error->text),
                 "MPI (" MPI_NAME ") cannot be initialised for a process with several threads (level %d)",
                 provided);
    }
    return FLM_ENOTSUP;
}

static int world_rank(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

static int world_size(void)
{
    int size = 1;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

static void *world_comm(void)
{
    return &service_comm;
}

static int wait_patiently(MPI_Request *request)
{
    long nap = FIRST_NAP_NS;
    for (int looks = 0;; looks++) {
        int done = 0;
        if (MPI_Test(request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return FLM_EIO;
        if (done)
            return 0;
        if (looks < EAGER_LOOKS)
            continue;
        nanosleep(&(struct timespec){0, nap}, NULL);
        if (nap < LONGEST_NAP_NS)
            nap += nap / 4;
    }
}

static int world_broadcast(void *data, size_t n, bool patient)
{
    MPI_Request request;
    if (MPI_Ibcast(data, (int)n, MPI_BYTE, 0, engine_comm, &request) != MPI_SUCCESS)
        return FLM_EIO;
    if (patient)
        return wait_patiently(&request);
    return MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS ? 0 : FLM_EIO;
}

static int world_agree(int code, char *message, size_t n, int *rank)
{
    int size = world_size(), me = world_rank();
    int mine = code ? me : size, first = size;
    *rank = 0;
    if (MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, engine_comm) != MPI_SUCCESS)
        return FLM_EIO;
    if (first == size)
        return 0;
    *rank = first;
    MPI_Bcast(&code, 1, MPI_INT, first, engine_comm);
    MPI_Bcast(message, (int)n, MPI_CHAR, first, engine_comm);
    message[n - 1] = 0;
    return code;
}

static void world_finalize(void)
{
    MPI_Comm_free(&engine_comm);
    MPI_Finalize();
}

const struct flm__world_ops flm__world_module = {
    .abi = FLM__WORLD_ABI,
    .name = MPI_NAME,
    .init = world_init,
    .rank = world_rank,
    .size = world_size,
    .comm = world_comm,
    .broadcast = world_broadcast,
    .agree = world_agree,
    .finalize = world_finalize,
};
