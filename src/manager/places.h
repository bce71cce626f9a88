/* manager/places.h - where the tasks of a session ran: for each node of each block how many. Counted when
 * an executor leaves the session, not when a task ends. Bounded: beyond PLACES_MAX all are one. */
#ifndef MANAGER_PLACES_H
#define MANAGER_PLACES_H

#include <stdint.h>

enum { PLACES_MAX = 256 };

struct place {
    char *node, *block; /* owned; "": of the one that stands for the rest */
    uint64_t tasks;     /* of executors that have left */
};

struct places {
    struct place *list;
    unsigned n, room;
};

/* The number of a place, which lasts; -1: no memory. */
int places_find(struct places *p, const char *node, const char *block);
void places_count(struct places *p, int place, uint64_t tasks);
void places_clear(struct places *p);

#endif
