/* results.h - what a run gave, and the file of it. */
#ifndef MONTECARLO_RESULTS_H
#define MONTECARLO_RESULTS_H

#include "checkpoint.h"

struct outcome {
    struct model model;
    struct estimate estimate;
    double exact;
    double target;      /* of --error; 0: none */
    uint64_t tasks;     /* that the estimate is made of */
    unsigned executors; /* that computed them */
    double seconds;
    double useful_s, wasted_s; /* core-seconds; of a run that can go on later */
    int interrupted;
    const char *version;                  /* of Flame */
    const struct progress_file *progress; /* NULL: it cannot go on later */
};

/* Writes the history and all that is needed to repeat it: as HDF5, or as CSV
 * where path ends in .csv. 0 or a negative FLM_E*. */
int results_write(const char *path, const struct outcome *outcome, const struct history *history,
                  flm_error *error);

/* Whether this build can write HDF5. */
int results_have_hdf5(void);

/* The image of the file in memory; the caller frees *image. Only with HDF5. */
int results_hdf5(const struct outcome *outcome, const struct history *history, void **image, size_t *size,
                 flm_error *error);

#endif
