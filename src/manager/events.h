/* manager/events.h - what happened, for people: a bounded ring of texts; and notes on tasks that did not
 * simply succeed, likewise bounded. Never touched by a task that goes well. */
#ifndef MANAGER_EVENTS_H
#define MANAGER_EVENTS_H

#include "wire/record.h"

#include <flm/error.h>
#include <stdint.h>

enum { EVENTS_KEPT = 256, EVENT_TEXT = 240, NOTES_KEPT = 512 };

struct event {
    uint64_t number; /* 1, 2, ... in its ring */
    int64_t time_ns; /* since the epoch */
    uint64_t task;
    int code, executor;
    char text[EVENT_TEXT];
};

struct events {
    struct event *ring; /* EVENTS_KEPT, made with the first event */
    uint64_t n;         /* so many so far */
};

void events_add(struct events *e, int code, uint64_t task, int executor, const char *format, ...)
    FLM_PRINTF(5, 6);
/* The event with that number, NULL if it is forgotten or not yet. */
const struct event *events_get(const struct events *e, uint64_t number);
static inline uint64_t events_first(const struct events *e)
{
    return e->n > EVENTS_KEPT ? e->n - EVENTS_KEPT + 1 : 1;
}
void events_clear(struct events *e);

struct note {
    uint64_t task;
    uint8_t state, reason;
    uint8_t cause; /* of the last loss, where the reason is the retry limit */
    int code, executor;
    unsigned attempts;
    int place;               /* in the session's places; -1: none */
    struct flm__usage usage; /* of the process that ended; all 0: not known */
    char message[240];
};

struct notes {
    struct note *ring;
    uint64_t n;
};

/* Notes how a task ended, or how it was lost. */
struct note *notes_add(struct notes *n, uint64_t task);
/* The newest note on a task; NULL: none. */
const struct note *notes_find(const struct notes *n, uint64_t task);
void notes_clear(struct notes *n);

#endif
