/* inputs.c - see inputs.h */
#include "inputs.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

/* The finaliser of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 27;
    x *= UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

void inputs_generate(uint64_t seed, int which, uint64_t columns, uint64_t from, uint64_t count, double *to)
{
    uint64_t stream = mix(seed * 2 + (uint64_t)which + 1);

    for (uint64_t i = 0; i < count * columns; i++) {
        uint64_t bits = mix(stream + (from * columns + i + 1) * UINT64_C(0x9E3779B97F4A7C15));
        to[i] = (double)(bits >> 11) * 0x1p-52 - 1;
    }
}

static void row_norms(uint64_t rows, uint64_t columns, const double *x, double *norm)
{
    for (uint64_t i = 0; i < rows; i++) {
        double sum = 0;
        for (uint64_t j = 0; j < columns; j++)
            sum += x[i * columns + j] * x[i * columns + j];
        norm[i] = sqrt(sum);
    }
}

static void column_norms(uint64_t rows, uint64_t columns, const double *x, double *norm)
{
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < columns; j++)
            norm[j] += x[i * columns + j] * x[i * columns + j];
    for (uint64_t j = 0; j < columns; j++)
        norm[j] = sqrt(norm[j]);
}

/* How far two elements are apart, in units of the bound. */
static double compare(double value, double reference, double bound)
{
    double d = fabs(value - reference);

    if (!isfinite(reference) || !isfinite(bound)) /* inputs with NaN or infinity */
        return isfinite(value) && !isfinite(reference) ? INFINITY : 0;
    if (!isfinite(value))
        return INFINITY;
    return d > 0 ? d / bound : 0;
}

int inputs_compare(uint64_t m, uint64_t n, uint64_t k, const double *a, const double *b, const double *c,
                   const double *reference, struct inputs_check *check)
{
    double *row = calloc(m, sizeof(*row)), *column = calloc(n, sizeof(*column));
    double u = DBL_EPSILON / 2, gamma = (double)k * u / (1 - (double)k * u);

    *check = (struct inputs_check){.of_bound = -1};
    if (!row || !column) {
        free(row);
        free(column);
        return FLM_ENOMEM;
    }
    row_norms(m, k, a, row);
    column_norms(k, n, b, column);
    for (uint64_t i = 0; i < m; i++)
        for (uint64_t j = 0; j < n; j++) {
            double x = c[i * n + j], y = reference[i * n + j];
            double off = compare(x, y, 2 * gamma * row[i] * column[j]);
            if (fabs(x - y) > check->difference)
                check->difference = fabs(x - y);
            if (off > check->of_bound) {
                check->of_bound = off;
                check->row = i, check->column = j;
                check->value = x, check->reference = y;
            }
        }
    free(row);
    free(column);
    return 0;
}
