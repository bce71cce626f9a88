/* tools/quantity.h - numbers on command lines. */
#ifndef FLM_TOOLS_QUANTITY_H
#define FLM_TOOLS_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

/* "1000", "10k", "2M", "1G" (powers of 1000), "1e6". False when text is nothing like it
 * or larger than max. */
bool quantity_count(const char *text, uint64_t max, uint64_t *out);

/* "1000", "64k" or "64K" or "64KiB", "1M", "1G" (powers of 1024). */
bool quantity_bytes(const char *text, uint64_t max, uint64_t *out);

/* A duration, "1.5", "2ms", "10us", "3s", "500ns", in nanoseconds; a bare number counts
 * in `unit` nanoseconds. */
bool quantity_duration(const char *text, uint64_t unit, uint64_t max, uint64_t *out);

#endif
