#include "manager/events.h"

#include "base/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void events_add(struct events *e, int code, uint64_t task, int executor, const char *format, ...)
{
    if (!e->ring)
        e->ring = calloc(EVENTS_KEPT, sizeof(*e->ring));
    if (!e->ring)
        return; /* no memory for a story: the work goes on */
    struct event *event = &e->ring[e->n++ % EVENTS_KEPT];
    event->number = e->n;
    event->time_ns = flm__wall_ns();
    event->code = code;
    event->task = task;
    event->executor = executor;
    va_list args;
    va_start(args, format);
    vsnprintf(event->text, sizeof(event->text), format, args);
    va_end(args);
}

const struct event *events_get(const struct events *e, uint64_t number)
{
    if (!e->ring || number < events_first(e) || number > e->n)
        return NULL;
    return &e->ring[(number - 1) % EVENTS_KEPT];
}

void events_clear(struct events *e)
{
    free(e->ring);
    memset(e, 0, sizeof(*e));
}

struct note *notes_add(struct notes *n, uint64_t task)
{
    static struct note lost;
    if (!n->ring)
        n->ring = calloc(NOTES_KEPT, sizeof(*n->ring));
    struct note *note = n->ring ? &n->ring[n->n++ % NOTES_KEPT] : &lost;
    memset(note, 0, sizeof(*note));
    note->task = task;
    note->executor = note->place = -1;
    return note;
}

const struct note *notes_find(const struct notes *n, uint64_t task)
{
    uint64_t kept = n->n < NOTES_KEPT ? n->n : NOTES_KEPT;
    for (uint64_t i = 0; n->ring && i < kept; i++) {
        const struct note *note = &n->ring[(n->n - 1 - i) % NOTES_KEPT];
        if (note->task == task)
            return note;
    }
    return NULL;
}

void notes_clear(struct notes *n)
{
    free(n->ring);
    memset(n, 0, sizeof(*n));
}
