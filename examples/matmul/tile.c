/* tile.c - see tile.h */
#include "tile.h"
#include <cblas.h>
#include <time.h>

/* Only OpenBLAS has it; another BLAS takes its threads from the environment. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));

void tile_set_threads(int threads)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(threads);
}

int tile_valid(const struct matmul_common *h, const struct tile *t)
{
    return t->rows >= 1 && t->columns >= 1 && t->rows <= MATMUL_MAX_BLOCK &&
           t->columns <= MATMUL_MAX_BLOCK && t->row < h->m && t->column < h->n &&
           t->rows <= h->m - t->row && t->columns <= h->n - t->column;
}

size_t tile_output_bytes(const struct tile *t)
{
    return t->rows * t->columns * sizeof(double) + sizeof(struct tile_times);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int tile_compute(struct source *s, const struct tile *t, double *c, struct tile_times *times,
                 flm_error *error)
{
    uint64_t depth = source_depth(s, t), count;
    struct panel a, b;

    *times = (struct tile_times){0};
    for (uint64_t from = 0; from < s->head.k; from += count) {
        double started = now(), read;
        int rc;
        count = s->head.k - from < depth ? s->head.k - from : depth;
        rc = source_a(s, t->row, t->rows, from, count, &a, error);
        if (rc == 0)
            rc = source_b(s, t->column, t->columns, from, count, &b, error);
        if (rc)
            return rc;
        read = now();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)t->rows, (int)t->columns, (int)count,
                    1.0, a.data, (int)a.stride, b.data, (int)b.stride, from ? 1.0 : 0.0, c,
                    (int)t->columns);
        times->reading += read - started;
        times->multiplying += now() - read;
    }
    return 0;
}

void tile_multiply(uint64_t m, uint64_t n, uint64_t k, const double *a, const double *b, double *c)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.0, a, (int)k, b,
                (int)n, 0.0, c, (int)n);
}
