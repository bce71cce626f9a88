/* run.h - submits the tiles of C and collects them. */
#ifndef MATMUL_RUN_H
#define MATMUL_RUN_H

#include "prepare.h"
#include "launch.h"
#include "report.h"
#include "task.h"

struct matrix_writer;

struct run {
    const struct prepared *prepared;
    struct launch launch;
    struct progress progress;
    uint64_t side, tiles; /* tiles are side x side, at the edges smaller */
    uint64_t submitted, done;
    double *c;                  /* all of C when it is to be checked, else NULL */
    struct matrix_writer *file; /* where C goes, or NULL */
    double started, seconds;    /* from the creation of the session to the last tile */
    double writing;             /* seconds: of C to its file, within `seconds` */
    struct tile_times times;    /* of all tiles together */
    int over;
    flm_error failed; /* code not 0: why the run failed */
};

/* Computes all tiles. run->launch is connected; the other inputs are set. */
int run_all(struct run *run, const struct launch_options *launch, const volatile int *interrupted);

#endif
