/* manager/losses.h - how often tasks were lost with their executors, as the journal tells it. */
#ifndef MANAGER_LOSSES_H
#define MANAGER_LOSSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As it is recorded. */
struct loss {
    uint64_t task;
    uint32_t attempts; /* so many so far */
    uint32_t reason;   /* enum flm_reason, of the last */
};

struct losses {
    struct loss *list;
    size_t n, room;
    bool sorted;
};

bool losses_add(struct losses *l, const struct loss *loss); /* false: no memory */
/* How often this task was lost. */
uint16_t losses_of(struct losses *l, uint64_t task);
void losses_clear(struct losses *l);

#endif
