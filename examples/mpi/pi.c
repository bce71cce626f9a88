/* pi by an MPI program whose ranks are a client and executors of an instance in their own job:
 *
 *     mpicc pi.c -o pi -lflm_mpi -lflm && mpirun -n 4 ./pi 1000
 *
 * Rank 0 submits the tasks and adds up what comes back; the other ranks run them. Nothing is started by
 * hand.
 */
#include <flm/client.h>
#include <flm/mpi.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 100000 };

/* A strip of the integral of 4 / (1 + x^2) from 0 to 1. */
struct strip {
    uint64_t number, of;
};

static int invoke(struct flm_task_context *task, void *state)
{
    size_t size;
    const struct strip *strip = flm_task_input(task, &size);
    double *sum = flm_task_output(task, sizeof(*sum)), width;
    (void)state;
    if (!sum || size != sizeof(*strip))
        return 1;
    width = 1.0 / (double)strip->of / STEPS;
    *sum = 0;
    for (uint64_t i = 0; i < STEPS; i++) {
        double x = ((double)strip->number * STEPS + (double)i + 0.5) * width;
        *sum += 4 / (1 + x * x) * width;
    }
    return 0;
}

static const struct flm_service strips = {
    .abi = FLM_SERVICE_ABI, .name = "pi-strips", .on_task_invoke = invoke};

static void add(const struct flm_result *r, void *arg)
{
    double *pi = arg;
    if (r->state == FLM_TASK_SUCCEED && r->size == sizeof(double))
        *pi += *(const double *)r->output;
    else
        fprintf(stderr, "a strip failed: %s\n", r->message);
}

static int submit(flm_client *client, uint64_t tasks, double *pi, flm_error *error)
{
    const struct flm_session_options options = {.size = sizeof(options), .application = "pi-strips"};
    flm_session *session = flm_create_session(client, &options, error);
    if (!session)
        return error->code;
    for (uint64_t i = 0; i < tasks; i++) {
        struct strip strip = {i, tasks};
        int64_t id = flm_run_task(session, &strip, sizeof(strip), add, pi);
        if (id < 0)
            return (int)id;
    }
    return flm_close_session(session, error);
}

int main(int argc, char **argv)
{
    const struct flm_service *const services[] = {&strips, NULL};
    const struct flm_mpi_options options = {.size = sizeof(options), .services = services};
    uint64_t tasks = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    int level, rc = 0;
    flm_error error = {0};
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
    flm_mpi *mpi = flm_mpi_init(MPI_COMM_WORLD, &options, &error);
    if (!mpi) {
        fprintf(stderr, "pi: %s\n", error.text);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    if (flm_mpi_client(mpi)) { /* else this rank has served, and all is done */
        double pi = 0;
        rc = submit(flm_mpi_client(mpi), tasks, &pi, &error);
        if (rc < 0)
            fprintf(stderr, "pi: %s\n", error.text);
        else
            printf("pi is %.12f, off by %.1e\n", pi, fabs(pi - 3.14159265358979323846));
    }
    flm_mpi_finalize(mpi, NULL);
    MPI_Finalize();
    return rc < 0;
}
