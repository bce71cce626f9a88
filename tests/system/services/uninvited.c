/* A service that calls MPI and does not say so: no .mpi, and nobody has called MPI_Init where its session
 * has no ranks. Compiled with each MPI. The output is the number of ranks. */
#include <flm/service.h>
#include <mpi.h>
#include <stdio.h>

static int invoke(struct flm_task_context *task, void *state)
{
    char text[16];
    int ranks = 0;
    (void)state;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int n = snprintf(text, sizeof(text), "%d", ranks);
    return flm_task_set_output(task, text, (size_t)n);
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI, .name = "uninvited", .on_task_invoke = invoke};
