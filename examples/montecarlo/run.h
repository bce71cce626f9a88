/* run.h - submits the tasks of a run and collects their sums. */
#ifndef MONTECARLO_RUN_H
#define MONTECARLO_RUN_H

#include "history.h"
#include "options.h"
#include "launch.h"
#include "report.h"
#include "results.h"

#define RUN_WINDOW    16384u /* tasks under way at most; a power of two */
#define RUN_EXECUTORS 65536u /* executor numbers that are told apart */

struct run {
    const struct options *options;
    struct launch launch;
    struct reduce reduce;
    struct history history;
    struct progress progress;
    uint64_t submitted, done; /* tasks; done: results received, in any order */
    int over;                 /* no more is needed: all done, precise enough, or failed */
    double started, seconds;  /* seconds: with those of earlier programs that worked on the run */
    unsigned executors;       /* that sent results */
    unsigned char seen[RUN_EXECUTORS];
    flm_error failed; /* code not 0: why the run failed */
    int lasting;      /* it goes on later when it is not over: resume.h */
    double saved_at;  /* report_clock() */
    uint64_t saved_done;
    struct progress_file progress_file;
};

/* Runs until all samples are done, the error is small enough, *interrupted is
 * set, or a failure. 0 or a negative FLM_E*; run->reduce has what was computed. */
int run_all(struct run *run, const struct launch_options *launch, const volatile int *interrupted);

/* What the run has given so far. */
struct outcome run_outcome(const struct run *run, int interrupted);

void run_fini(struct run *run);

#endif
