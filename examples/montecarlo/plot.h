/* plot.h - the convergence as a picture: error against samples, both logarithmic. */
#ifndef MONTECARLO_PLOT_H
#define MONTECARLO_PLOT_H

#include "results.h"

/* Writes an SVG, or a PNG (through rsvg-convert) where path ends in .png. */
int plot_write(const char *path, const struct outcome *outcome, const struct history *history,
               flm_error *error);

/* Whether plot_write knows the kind of file and has what it needs. */
int plot_check(const char *path, flm_error *error);

/* The SVG as text; the caller frees it. NULL: no memory. */
char *plot_svg(const struct outcome *outcome, const struct history *history, size_t *size);

#endif
