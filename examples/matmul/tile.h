/* tile.h - the numerics of one task: a tile of C. */
#ifndef MATMUL_TILE_H
#define MATMUL_TILE_H

#include "source.h"

/* Whether the tile lies within C. */
int tile_valid(const struct matmul_common *head, const struct tile *tile);

/* Bytes of the output of a task. */
size_t tile_output_bytes(const struct tile *tile);

/* c (rows x columns, row-major) = rows of A times columns of B. */
int tile_compute(struct source *source, const struct tile *tile, double *c, struct tile_times *times,
                 flm_error *error);

/* BLAS threads of this process; nothing where the BLAS has no such call. */
void tile_set_threads(int threads);

/* c = a b, row-major and dense: one dgemm. */
void tile_multiply(uint64_t m, uint64_t n, uint64_t k, const double *a, const double *b, double *c);

#endif
