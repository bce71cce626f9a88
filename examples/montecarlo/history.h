/* history.h - the estimate at numbers of samples that grow by some per cent. */
#ifndef MONTECARLO_HISTORY_H
#define MONTECARLO_HISTORY_H

#include "reduce.h"

#define HISTORY_ROWS   1024 /* enough for 2^64 samples */
#define HISTORY_GROWTH 1.06

struct history_row {
    uint64_t samples;
    double estimate, standard_error, exact, difference; /* difference: estimate - exact */
};

struct history {
    int n;
    uint64_t due; /* samples from which on the next row is taken */
    double exact;
    struct history_row row[HISTORY_ROWS];
};

/* Takes a row if it is due, or anyway; never the same number of samples twice. */
void history_add(struct history *history, const struct estimate *estimate, int anyway);

#endif
