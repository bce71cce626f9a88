/* flm-executor: a thin main around the executor core. */
#define _GNU_SOURCE
#include "executor/executor.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static const char usage[] =
    "usage: flm-executor [--world]\n"
    "Runs the tasks of one slot. It is started by flm-node(1), which tells it in its environment where it\n"
    "belongs; there is nothing to start by hand.\n"
    "  --world    one rank of an MPI world of $FLM_WORLD_RANKS ranks\n";

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--version") == 0) {
            puts("flm-executor " FLM_VERSION);
            return 0;
        }
        if (strcmp(argv[i], "--world") != 0) { /* the ranks themselves are in the environment */
            fprintf(stderr, "flm-executor: there is no option %s\n%s", argv[i], usage);
            return 2;
        }
    }
    prctl(PR_SET_NAME, "flm-executor", 0, 0, 0);
    return flm__executor_serve(NULL, "flm-executor");
}
