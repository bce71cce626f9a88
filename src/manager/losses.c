#include "manager/losses.h"

#include <stdlib.h>

bool losses_add(struct losses *l, const struct loss *loss)
{
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        struct loss *more = realloc(l->list, room * sizeof(*more));
        if (!more)
            return false;
        l->list = more;
        l->room = room;
    }
    l->list[l->n++] = *loss;
    l->sorted = false;
    return true;
}

/* Of one task the most losses first. */
static int by_task(const void *a, const void *b)
{
    const struct loss *x = a, *y = b;
    if (x->task != y->task)
        return x->task < y->task ? -1 : 1;
    return x->attempts > y->attempts ? -1 : x->attempts < y->attempts;
}

uint16_t losses_of(struct losses *l, uint64_t task)
{
    if (!l->sorted && l->n)
        qsort(l->list, l->n, sizeof(*l->list), by_task);
    l->sorted = true;
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->list[middle].task < task)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == l->n || l->list[low].task != task)
        return 0;
    return l->list[low].attempts < UINT16_MAX ? (uint16_t)l->list[low].attempts : UINT16_MAX;
}

void losses_clear(struct losses *l)
{
    free(l->list);
    *l = (struct losses){0};
}
