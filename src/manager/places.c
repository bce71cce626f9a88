#include "manager/places.h"

#include <stdlib.h>
#include <string.h>

static int add(struct places *p, const char *node, const char *block)
{
    if (p->n == p->room) {
        unsigned room = p->room ? 2 * p->room : 4;
        struct place *more = realloc(p->list, room * sizeof(*more));
        if (!more)
            return -1;
        p->list = more;
        p->room = room;
    }
    struct place *new = &p->list[p->n];
    *new = (struct place){.node = strdup(node), .block = strdup(block)};
    if (new->node &&new->block)
        return (int)p->n++;
    free(new->node);
    free(new->block);
    return -1;
}

int places_find(struct places *p, const char *node, const char *block)
{
    for (unsigned i = 0; i < p->n; i++)
        if (strcmp(p->list[i].node, node) == 0 && strcmp(p->list[i].block, block) == 0)
            return (int)i;
    if (p->n == PLACES_MAX)
        return PLACES_MAX - 1;
    return p->n == PLACES_MAX - 1 ? add(p, "", "") : add(p, node, block);
}

void places_count(struct places *p, int place, uint64_t tasks)
{
    if (place >= 0)
        p->list[place].tasks += tasks;
}

void places_clear(struct places *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        free(p->list[i].node);
        free(p->list[i].block);
    }
    free(p->list);
    *p = (struct places){0};
}
