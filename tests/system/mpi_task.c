/* An MPI program that knows nothing of Flame, for shim mpi: rank 0 prints what all ranks have added up, and
 * how many they are. Words after the number say what happens then: "fail" rank 1 ends with status 7, "kill"
 * it kills itself, "hang" all wait for ever, "err" rank 0 writes to stderr, "copy" it copies its stdin to
 * stdout, "pids FILE" each rank puts its number as a process there. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note_pid(const char *path)
{
    FILE *f = fopen(path, "a");
    if (!f)
        MPI_Abort(MPI_COMM_WORLD, 9);
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
}

static void copy(void)
{
    for (int c; (c = getchar()) != EOF;)
        putchar(c);
    putchar(' ');
}

int main(int argc, char **argv)
{
    int rank, ranks, mine, sum;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    mine = (argc > 1 ? atoi(argv[1]) : 1) * (rank + 1);
    MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "fail") == 0 && rank == 1)
            exit(7);
        if (strcmp(argv[i], "kill") == 0 && rank == 1)
            raise(SIGKILL);
        if (strcmp(argv[i], "err") == 0 && rank == 0)
            fprintf(stderr, "on stderr\n");
        if (strcmp(argv[i], "copy") == 0 && rank == 0)
            copy();
        if (strcmp(argv[i], "pids") == 0 && i + 1 < argc)
            note_pid(argv[i + 1]);
        if (strcmp(argv[i], "hang") == 0)
            for (;;)
                pause();
    }
    if (rank == 0)
        printf("%d of %d ranks\n", sum, ranks);
    MPI_Finalize();
    return 0;
}
