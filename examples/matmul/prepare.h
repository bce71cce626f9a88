/* prepare.h - gets A and B and makes the common data of the session. */
#ifndef MATMUL_PREPARE_H
#define MATMUL_PREPARE_H

#include "options.h"
#include <flm/error.h>
#include <stddef.h>

struct prepared {
    struct matmul_common head;
    char *common; /* starts with head */
    size_t common_size;
    const double *a, *b; /* in memory: with MATMUL_COMMON, or where C is to be checked; else NULL */
    double *own_a, *own_b;
    int check;
    int inputs_written; /* options->inputs was made */
    double reading;     /* seconds: of files into the common data */
};

/* 0 or FLM_E*. */
int prepare(struct prepared *prepared, const struct options *options, flm_error *error);
void prepare_free(struct prepared *prepared);

#endif
