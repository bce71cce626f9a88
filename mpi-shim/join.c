/* flm_mpi_init and flm_mpi_finalize. Whatever fails in one rank before all are ready is agreed on by all,
 * so that none waits for another. */
#include "join.h"

#include <flm/admin.h>

#include <stdio.h>
#include <string.h>

/* One at a time in a process: executors are in flm_mpi_init all the while. */
static struct flm_mpi the_instance;

/* ---- who is what ------------------------------------------------------------------------------- */

/* What a rank can know before it talks to the others. */
static int check_alone(const struct flm_mpi *mpi, flm_error *error)
{
    int initialized = 0, finalized = 0;
    if (mpi->live)
        return join_fail(error, FLM_EINVAL,
                         "there is an instance in this process already: flm_mpi_finalize comes first");
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    return initialized && !finalized
               ? 0
               : join_fail(error, FLM_EINVAL,
                           "flm_mpi_init is called between MPI_Init_thread and MPI_Finalize");
}

static int check_thread_level(flm_error *error)
{
    int level;
    MPI_Query_thread(&level);
    return level >= MPI_THREAD_FUNNELED
               ? 0
               : join_fail(error, FLM_ENOTSUP,
                           "an executor has a second thread: initialise MPI by MPI_Init_thread with "
                           "MPI_THREAD_FUNNELED at least");
}

static int check_services(const struct flm_service *const *services, flm_error *error)
{
    for (const struct flm_service *const *s = services; s && *s; s++) {
        if (!(*s)->name || !*(*s)->name)
            return join_fail(error, FLM_EINVAL,
                             "a service without a name: clients name it as an application");
        if ((*s)->mpi)
            return join_fail(error, FLM_EINVAL,
                             "service %s needs a communicator (.mpi), which tasks in the ranks of an MPI "
                             "program do not get: leave that out",
                             (*s)->name);
    }
    return services && *services
               ? 0
               : join_fail(error, FLM_EINVAL,
                           "flm_mpi_init was given no services, or options without their size");
}

/* Whether all have succeeded; else each has an error. */
static int agree(const struct flm_mpi *mpi, int rc, flm_error *error)
{
    int mine = rc < 0 ? mpi->rank : mpi->size, first;
    char text[sizeof(error->text)] = "";
    MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, mpi->comm);
    if (first == mpi->size)
        return 0;
    if (first == mpi->rank)
        snprintf(text, sizeof(text), "%s", error->text);
    MPI_Bcast(&rc, 1, MPI_INT, first, mpi->comm);
    MPI_Bcast(text, sizeof(text), MPI_CHAR, first, mpi->comm);
    return first == mpi->rank ? rc : join_fail(error, rc, "rank %d: %.400s", first, text);
}

/* All take part, also one whose wish makes no sense. */
static int choose_role(struct flm_mpi *mpi, int wish, flm_error *error)
{
    enum { CLIENTS, EXECUTORS, WRONG, KINDS };
    int mine[KINDS] = {0}, all[KINDS];
    mpi->role = wish ? wish : mpi->rank == 0 ? FLM_MPI_CLIENT : FLM_MPI_EXECUTOR;
    mine[mpi->role == FLM_MPI_CLIENT ? CLIENTS : mpi->role == FLM_MPI_EXECUTOR ? EXECUTORS : WRONG] = 1;
    MPI_Allreduce(mine, all, KINDS, MPI_INT, MPI_SUM, mpi->comm);
    if (mine[WRONG])
        return join_fail(error, FLM_EINVAL, "there is no role %d", wish);
    if (!all[CLIENTS])
        return join_fail(error, FLM_EINVAL, "no rank is a client");
    if (!all[EXECUTORS])
        return join_fail(
            error, FLM_EINVAL,
            "no rank is an executor: run at least two ranks (mpirun -n 2), by the launcher of the MPI that "
            "the program is compiled with: another's makes each rank a program of its own");
    return 0;
}

static void look_at_nodes(struct flm_mpi *mpi)
{
    MPI_Comm node;
    int here;
    MPI_Comm_split_type(mpi->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_size(node, &here);
    MPI_Comm_free(&node);
    mpi->one_node = here == mpi->size;
}

/* ---- clients ----------------------------------------------------------------------------------- */

static int connect_client(struct flm_mpi *mpi, flm_error *error)
{
    char secret[JOIN_PATH + 32] = "";
    struct join_folder folder = {.path = ""};
    int rc = 0;
    if (mpi->manager.secret_size) {
        rc = join_make_folder(&folder, error);
        if (rc == 0)
            rc = join_write_secret(&mpi->manager, folder.path, secret, sizeof(secret), error);
    }
    if (rc == 0) {
        const struct flm_connect_options options = {
            .size = sizeof(options), .timeout_ms = JOIN_START_MS, .secret_file = secret[0] ? secret : NULL};
        mpi->client = flm_connect(mpi->manager.endpoint, &options, error);
        rc = mpi->client ? 0 : error->code;
    }
    join_remove_folder(&folder);
    return rc;
}

/* Each service is an application; its command, which is never run, says what it is. */
static int register_services(struct flm_mpi *mpi, const struct flm_service *const *services,
                             flm_error *error)
{
    for (int rc = 0; *services; services++) {
        const struct flm_application a = {
            .size = sizeof(a),
            .name = (*services)->name,
            .shim = FLM_SHIM_SO,
            .command = (const char *const[]){(*services)->name, NULL},
            .description = "a service of the ranks of an MPI program",
        };
        rc = flm_register_application(mpi->client, &a, 1, error);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- init and finalize ------------------------------------------------------------------------- */

static void release(struct flm_mpi *mpi)
{
    flm_disconnect(mpi->client);
    mpi->client = NULL;
    if (mpi->peers != MPI_COMM_NULL)
        MPI_Comm_free(&mpi->peers);
    MPI_Comm_free(&mpi->comm);
    mpi->live = false;
}

static int start(struct flm_mpi *mpi, const struct flm_mpi_options *options, flm_error *error)
{
    int first, me, rc;
    look_at_nodes(mpi);
    rc = agree(mpi, check_thread_level(error), error);
    if (rc == 0)
        rc = agree(mpi, check_services(options->services, error), error);
    if (rc == 0)
        rc = agree(mpi, choose_role(mpi, options->role, error), error);
    if (rc < 0)
        return rc;
    MPI_Comm_split(mpi->comm, mpi->role, 0, &mpi->peers);
    MPI_Comm_rank(mpi->peers, &me);
    int mine = mpi->role == FLM_MPI_CLIENT ? mpi->rank : mpi->size;
    MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, mpi->comm);
    if (mpi->rank == first)
        join_start_manager(mpi);
    MPI_Bcast(&mpi->manager, sizeof(mpi->manager), MPI_BYTE, first, mpi->comm);
    if (mpi->manager.code)
        return join_fail(error, mpi->manager.code, "%s", mpi->manager.text);
    if (mpi->role == FLM_MPI_CLIENT)
        rc = connect_client(mpi, error);
    if (rc == 0 && mpi->rank == first)
        rc = register_services(mpi, options->services, error);
    if (mpi->role == FLM_MPI_EXECUTOR)
        rc = join_open_guest(mpi, error);
    return agree(mpi, rc, error);
}

flm_mpi *flm_mpi_init(MPI_Comm comm, const struct flm_mpi_options *options, flm_error *error)
{
    static const struct flm_mpi_options none = {.size = sizeof(none)};
    struct flm_mpi *mpi = &the_instance;
    flm_error own = {0, ""};
    if (!error)
        error = &own;
    if (check_alone(mpi, error) < 0)
        return NULL;
    *mpi = (struct flm_mpi){.live = true, .peers = MPI_COMM_NULL, .over = MPI_REQUEST_NULL, .listener = -1};
    mpi->flmd.parent_fd = mpi->agent.parent_fd = -1;
    MPI_Comm_dup(comm, &mpi->comm);
    MPI_Comm_rank(mpi->comm, &mpi->rank);
    MPI_Comm_size(mpi->comm, &mpi->size);
    if (!options || options->size < sizeof(*options))
        options = &none;
    int rc = start(mpi, options, error);
    mpi->ready = rc == 0;
    if (mpi->ready && mpi->role == FLM_MPI_EXECUTOR) {
        MPI_Ibarrier(mpi->comm, &mpi->over);
        rc = join_serve(mpi, options->services, error);
    }
    if (rc == 0)
        return mpi;
    flm_mpi_finalize(mpi, NULL);
    return NULL;
}

flm_client *flm_mpi_client(const flm_mpi *mpi)
{
    return mpi->client;
}

int flm_mpi_finalize(flm_mpi *mpi, flm_error *error)
{
    if (!mpi)
        return 0;
    if (mpi != &the_instance || !mpi->live)
        return join_fail(error, FLM_EINVAL, "this instance has been finalized already");
    flm_disconnect(mpi->client);
    mpi->client = NULL;
    if (mpi->ready && mpi->role == FLM_MPI_CLIENT)
        MPI_Barrier(mpi->peers);
    int rc = join_end_manager(mpi);
    if (mpi->ready && mpi->role == FLM_MPI_CLIENT) {
        MPI_Ibarrier(mpi->comm, &mpi->over);
        MPI_Wait(&mpi->over, MPI_STATUS_IGNORE);
    }
    join_close_guest(mpi);
    release(mpi);
    return rc == 0
               ? 0
               : join_fail(error, rc,
                           "the session manager of this job had ended too early, or did not end in order");
}
