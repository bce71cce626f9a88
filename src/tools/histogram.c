#include "tools/histogram.h"

#include <math.h>

/* Cells 0..63 hold 0..63; from then on 32 for each power of two from 64 on. */
static unsigned cell_of(uint64_t value)
{
    if (value < 64)
        return (unsigned)value;
    unsigned power = 63u - (unsigned)__builtin_clzll(value); /* >= 6 */
    return 64u + (power - 6u) * 32u + (unsigned)(value >> (power - 5u) & 31u);
}

/* The largest value of a cell. */
static uint64_t top_of(unsigned cell)
{
    if (cell < 64)
        return cell;
    unsigned power = 6u + (cell - 64u) / 32u;
    uint64_t low = (32u + (uint64_t)(cell - 64u) % 32u) << (power - 5u);
    return low + ((1ull << (power - 5u)) - 1u);
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->count++;
    h->sum += (double)value;
    if (value > h->max)
        h->max = value;
    h->cells[cell_of(value)]++;
}

uint64_t histogram_percentile(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)h->count), seen = 0;
    if (!h->count)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        seen += h->cells[i];
        if (seen >= wanted && seen)
            return top_of(i) < h->max ? top_of(i) : h->max;
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->count ? h->sum / (double)h->count : 0;
}
