/* Tasks of several ranks without Flame: rank 0 broadcasts the input of each task, and all agree that it is
 * done. Prints tasks per second. For make bench, under mpirun. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT = 64, FIRST = 1000 };

static void run(long tasks)
{
    char input[INPUT];
    memset(input, 1, sizeof(input));
    for (long i = 0; i < tasks; i++) {
        int failed = 0, any;
        MPI_Bcast(input, INPUT, MPI_BYTE, 0, MPI_COMM_WORLD);
        MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    }
}

int main(int argc, char **argv)
{
    long tasks = argc > 1 ? atol(argv[1]) : 100000;
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    run(FIRST);
    double begin = MPI_Wtime();
    run(tasks);
    if (rank == 0)
        printf("%.0f\n", (double)tasks / (MPI_Wtime() - begin));
    MPI_Finalize();
    return 0;
}
