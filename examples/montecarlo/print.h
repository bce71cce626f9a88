/* print.h - what the user sees at the end. */
#ifndef MONTECARLO_PRINT_H
#define MONTECARLO_PRINT_H

#include "results.h"

/* output and plot: the files that were written, or NULL. */
void print_json(const struct outcome *outcome, const char *output, const char *plot);
void print_estimate(const struct outcome *outcome);
void print_files(const char *output, const char *plot);

#endif
