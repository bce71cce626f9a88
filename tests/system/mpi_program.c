/* An MPI program for mpi_program.sh: ranks that are clients and executors of an instance in their job.
 *
 *     mpi_program CASE...
 *
 * One instance after the other: twice, clients (the two lowest ranks are), nobody (is a client), one (has a
 * wrong role), single (thread level; comes first), nameless, unknown (a service that is not there), groups
 * (ranks_per_task), stubborn (tasks that heed neither deadline nor cancelling), lost (the session manager
 * is killed), dies (an executor, in a task), nodes (each rank is on one of its
 * own: over TCP, with a secret), halves (of the ranks, an instance each), outside (all ranks are clients of
 * the session manager at FLM_ENDPOINT, with the service in $OUTSIDE).
 */
#define _GNU_SOURCE
#include <flm/admin.h>
#include <flm/client.h>
#include <flm/mpi.h>

#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIE = 1000000, STAY };

/* A task that heeds nothing ends when this file is there, and removes it. */
static const char release[] = "release";

static void stay(void)
{
    while (unlink(release) < 0)
        usleep(1000);
}

static int invoke(struct flm_task_context *task, void *state)
{
    size_t size;
    const int *x = flm_task_input(task, &size);
    int y;
    (void)state;
    if (size != sizeof(*x) || *x < 0)
        return flm_task_fail(task, 7, "no number");
    if (*x == DIE)
        _Exit(3);
    if (*x == STAY)
        stay();
    y = 2 * *x;
    return flm_task_set_output(task, &y, sizeof(y));
}

static const struct flm_service twice = {.abi = FLM_SERVICE_ABI, .name = "twice", .on_task_invoke = invoke};
static const struct flm_service again = {.abi = FLM_SERVICE_ABI, .name = "again", .on_task_invoke = invoke};
static const struct flm_service nameless = {.abi = FLM_SERVICE_ABI, .on_task_invoke = invoke};

static int echoed;

struct sum {
    long right, failed;
    char why[200];
};

static void on_result(const struct flm_result *r, void *arg)
{
    struct sum *sum = arg;
    if (r->state == FLM_TASK_SUCCEED) {
        sum->right += *(const int *)r->output;
        return;
    }
    sum->failed++;
    snprintf(sum->why, sizeof(sum->why), "%s: %s", flm_reason_name(r->reason), r->message);
}

/* Tasks with 0 .. n-1, and one that fails. */
static int submit(flm_client *client, const char *application, unsigned ranks, int n, int last)
{
    flm_error error = {0, ""};
    struct sum sum = {0};
    const struct flm_session_options options = {
        .size = sizeof(options), .application = application, .ranks_per_task = ranks};
    flm_session *session = flm_create_session(client, &options, &error);
    for (int i = 0; session && i < n; i++)
        flm_run_task(session, &i, sizeof(i), on_result, &sum);
    if (session)
        flm_run_task(session, &last, sizeof(last), on_result, &sum);
    if (!session || flm_close_session(session, &error) < 0) {
        printf("%s\n", error.text);
        return 0;
    }
    printf("%s: sum %ld, %ld failed (%s)\n", application, sum.right, sum.failed, sum.why);
    return 0;
}

static void let_go(void)
{
    FILE *f = fopen(release, "w");
    if (f)
        fclose(f);
}

/* The deadline of a task, and then a cancelled session, take the executor away from what it does; it comes
 * back when that ends. */
static int submit_stubborn(flm_client *client)
{
    flm_error error = {0, ""};
    struct sum sum = {0};
    const int stay = STAY, zero = 0;
    const struct flm_session_options options = {.size = sizeof(options), .application = "twice"};
    flm_session *session = flm_create_session(client, &options, &error);
    const struct flm_task task = {.size = sizeof(task),
                                  .input = &stay,
                                  .input_size = sizeof(stay),
                                  .callback = on_result,
                                  .arg = &sum,
                                  .deadline_ms = 50};
    unlink(release);
    if (!session || flm_submit_task(session, &task) < 0 || flm_wait(session, -1) < 0)
        return 1;
    printf("stubborn: %ld failed (%s)\n", sum.failed, sum.why);
    let_go();
    flm_run_task(session, &zero, sizeof(zero), on_result, &sum); /* it is back */
    flm_wait(session, -1);
    flm_run_task(session, &stay, sizeof(stay), NULL, NULL);
    flm_cancel_session(session, &error);
    let_go();
    return submit(client, "again", 0, 1000, -1);
}

/* Kills flmd, which is our only child. */
static int lose_manager(flm_client *client)
{
    char path[64];
    int pid = 0, zero = 0, rc = 0;
    struct flm_result result;
    const struct flm_session_options options = {.size = sizeof(options), .application = "twice"};
    flm_session *session = flm_create_session(client, &options, NULL);
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "r");
    if (!session || !f || fscanf(f, "%d", &pid) != 1 || pid <= 1)
        return 1;
    fclose(f);
    kill(pid, SIGKILL);
    while ((rc = flm_invoke(session, &zero, sizeof(zero), -1, &result)) >= 0)
        ;
    printf("lost: %s\n", flm_strerror(rc));
    flm_close_session(session, NULL);
    return 0;
}

static int use(const char *what, int rank, flm_client *client)
{
    if (strcmp(what, "unknown") == 0)
        return submit(client, "thrice", 0, 0, -1);
    if (strcmp(what, "groups") == 0)
        return submit(client, "twice", 2, 0, -1);
    if (strcmp(what, "stubborn") == 0)
        return rank == 0 ? submit_stubborn(client) : 0;
    if (strcmp(what, "lost") == 0)
        return lose_manager(client);
    return submit(client, rank ? "again" : "twice", 0, 1000, strcmp(what, "dies") ? -1 : DIE);
}

static void on_echo(const struct flm_result *r, void *arg)
{
    const char *expected = arg;
    if (r->state == FLM_TASK_SUCCEED && r->size == strlen(expected) &&
        !memcmp(r->output, expected, r->size))
        echoed++;
    else
        printf("echo: %s\n", r->message);
}

/* Each rank is a client by itself; their tasks are their own numbers. */
static int run_outside(int rank)
{
    flm_error error = {0, ""};
    const char *const command[] = {getenv("OUTSIDE"), NULL};
    const struct flm_application application = {
        .size = sizeof(application), .name = "echo", .shim = FLM_SHIM_SO, .command = command};
    const struct flm_session_options options = {.size = sizeof(options), .application = "echo"};
    char number[16];
    size_t size = (size_t)snprintf(number, sizeof(number), "%d", rank);
    flm_client *client = flm_connect(NULL, NULL, &error);
    if (client && rank == 0 && flm_register_application(client, &application, 1, &error) < 0)
        printf("%s\n", error.text);
    MPI_Barrier(MPI_COMM_WORLD);
    flm_session *session = client ? flm_create_session(client, &options, &error) : NULL;
    for (int i = 0; session && i < 1000; i++)
        flm_run_task(session, number, size, on_echo, number);
    if (!session || flm_close_session(session, &error) < 0)
        printf("%s\n", error.text);
    printf("outside: %d of 1000 are right\n", echoed);
    flm_disconnect(client);
    return 0;
}

static int run(const char *what, int role, const struct flm_service *const *services)
{
    int rank, sum, rc = 0;
    flm_error error = {0, ""};
    const struct flm_mpi_options options = {.size = sizeof(options), .role = role, .services = services};
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (strcmp(what, "outside") == 0)
        return run_outside(rank);
    MPI_Comm comm;
    MPI_Comm_split(MPI_COMM_WORLD, strcmp(what, "halves") == 0 ? rank % 2 : 0, rank, &comm);
    flm_mpi *mpi = flm_mpi_init(comm, &options, &error);
    MPI_Comm_free(&comm); /* it has its own */
    if (!mpi) {
        printf("rank %d: %s\n", rank, error.text);
        return 0; /* a launcher takes its time for a program that fails */
    }
    if (flm_mpi_init(MPI_COMM_WORLD, &options, &error) || error.code != FLM_EINVAL)
        printf("a second instance in the same process: %s\n", error.text);
    if (flm_mpi_client(mpi))
        rc = use(what, rank, flm_mpi_client(mpi));
    if (flm_mpi_finalize(mpi, &error) < 0)
        printf("rank %d, finalize: %s\n", rank, error.text);
    if (flm_mpi_finalize(mpi, &error) != FLM_EINVAL)
        printf("finalized twice\n");
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD); /* unharmed */
    return rc;
}

/* In place of MPI's, and libflm_mpi uses it: in case "nodes" each rank is on a node of its own. */
static bool on_nodes;
__attribute__((visibility("default"))) int MPI_Comm_split_type(MPI_Comm comm, int type, int key,
                                                               MPI_Info info, MPI_Comm *part)
{
    int rank;
    PMPI_Comm_rank(comm, &rank);
    return on_nodes ? PMPI_Comm_split(comm, rank, key, part)
                    : PMPI_Comm_split_type(comm, type, key, info, part);
}

static int role_of(const char *what, int rank, int size)
{
    if (strcmp(what, "clients") == 0)
        return rank < 2 ? FLM_MPI_CLIENT : FLM_MPI_EXECUTOR;
    if (strcmp(what, "stubborn") == 0)
        return rank < size - 1 ? FLM_MPI_CLIENT : FLM_MPI_EXECUTOR;
    if (strcmp(what, "nobody") == 0)
        return FLM_MPI_EXECUTOR;
    return strcmp(what, "one") == 0 && rank == 1 ? 7 : FLM_MPI_DEFAULT;
}

int main(int argc, char **argv)
{
    const struct flm_service *const services[] = {&twice, &again, NULL}, *const bad[] = {&nameless, NULL};
    int level, rank, size, rc = 0;
    bool single = argc > 1 && strcmp(argv[1], "single") == 0;
    MPI_Init_thread(&argc, &argv, single ? MPI_THREAD_SINGLE : MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int i = 1; i < argc; i++) {
        on_nodes = strcmp(argv[i], "nodes") == 0;
        rc |= run(argv[i], role_of(argv[i], rank, size), strcmp(argv[i], "nameless") ? services : bad);
    }
    MPI_Finalize();
    return rc;
}
