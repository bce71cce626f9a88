/* history.c - see history.h */
#include "history.h"

void history_add(struct history *h, const struct estimate *e, int anyway)
{
    if (h->n == HISTORY_ROWS || !e->samples || (!anyway && e->samples < h->due))
        return;
    if (h->n && h->row[h->n - 1].samples == e->samples)
        return;
    h->row[h->n++] = (struct history_row){.samples = e->samples,
                                          .estimate = e->value,
                                          .standard_error = e->error,
                                          .exact = h->exact,
                                          .difference = e->value - h->exact};
    h->due = (uint64_t)((double)e->samples * HISTORY_GROWTH) + 1;
}
