/* options.h - the command line of flm-montecarlo. */
#ifndef MONTECARLO_OPTIONS_H
#define MONTECARLO_OPTIONS_H

#include "model.h"

struct options {
    struct model model;
    uint64_t samples;    /* with --error: at most so many */
    uint64_t tasks;      /* that the samples are divided into */
    double error;        /* stop below this standard error; 0: do all samples */
    const char *output;  /* NULL: none */
    const char *plot;    /* NULL: none */
    const char *service; /* NULL: found */
    const char *session; /* that the run goes on in later; NULL: it cannot */
    int resume;
    int quiet, json, progress, inproc;
    int market; /* one of the options of the market was given */
};

/* Fills options; on a mistake it prints what is wrong and exits with status 2. */
void options_parse(struct options *options, int argc, char **argv);

/* How many samples task i has: they are divided evenly, the first ones get the rest. */
uint64_t options_task_samples(const struct options *options, uint64_t i);

#endif
