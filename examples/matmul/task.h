/* task.h - what travels between flm-matmul and its service.
 *
 * Matrices are row-major doubles: A has m rows and k columns, B k and n, C m and
 * n. The common data is a struct matmul_common, followed
 *   - with MATMUL_COMMON, at `offset`, by A and then B;
 *   - with MATMUL_HDF5, at `offset`, by four texts, each ended by a zero byte:
 *     file and dataset of A, file and dataset of B.
 * The input of a task is a struct tile, its output that tile of C and then a
 * struct tile_times.
 */
#ifndef MATMUL_TASK_H
#define MATMUL_TASK_H

#include <stdint.h>

#define MATMUL_VERSION 2u
#define MATMUL_OFFSET  64u /* keeps A aligned for vector loads */

enum matmul_data { MATMUL_COMMON = 1, MATMUL_HDF5 = 2 };

struct matmul_common {
    uint32_t version; /* MATMUL_VERSION */
    uint32_t data;    /* enum matmul_data */
    uint64_t m, n, k;
    uint64_t reserved[4];
};

struct tile {
    uint64_t row, column; /* of its first element in C */
    uint64_t rows, columns;
};

/* What a tile took, seconds. */
struct tile_times {
    double reading, multiplying;
};

/* Sizes beyond which nothing is tried; products of two of them fit in 64 bits. */
#define MATMUL_MAX_SIDE (UINT64_C(1) << 28)
/* A tile of this side has 512 MiB. */
#define MATMUL_MAX_BLOCK 8192u

#endif
