/* options.h - the command line of flm-matmul. */
#ifndef MATMUL_OPTIONS_H
#define MATMUL_OPTIONS_H

#include "task.h"

/* FILE:/dataset; file NULL: the matrix is generated. */
struct options_matrix {
    char *file, *dataset;
};

struct options {
    uint64_t m, n, k; /* 0: not given */
    uint64_t block;   /* 0: chosen from the cache */
    uint64_t seed;
    struct options_matrix a, b;
    int data;           /* enum matmul_data; 0: common where it fits, else HDF5 */
    int check;          /* 1, 0; -1: when it is small */
    const char *output; /* NULL: none */
    const char *inputs; /* where generated matrices go with MATMUL_HDF5 */
    const char *service;
    int quiet, json, progress, inproc;
};

/* Fills options; on a mistake it prints what is wrong and exits with status 2. */
void options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

#endif
