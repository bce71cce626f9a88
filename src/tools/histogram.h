/* tools/histogram.h - how durations are distributed, in fixed memory.
 *
 * Log-linear: below 64 each value has its own cell, above that each power of two
 * has 32 cells, so that a percentile is at most 3.1 % too large. The largest and
 * the sum are kept exactly. One thread.
 */
#ifndef FLM_TOOLS_HISTOGRAM_H
#define FLM_TOOLS_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_CELLS = 64 + 58 * 32 };

struct histogram {
    uint64_t count, max;
    double sum;
    uint64_t cells[HISTOGRAM_CELLS];
};

/* The structure begins zeroed. */
void histogram_add(struct histogram *h, uint64_t value);

/* The value that `share` (0..1) of the values do not exceed, at most the largest; 0
 * without values. */
uint64_t histogram_percentile(const struct histogram *h, double share);

/* 0 without values. */
double histogram_mean(const struct histogram *h);

#endif
