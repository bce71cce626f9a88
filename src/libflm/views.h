/* libflm/views.h - lists for <flm/admin.h>: an array whose texts live in the reply that it was made from.
 *
 * Both hang together: in front of the array stands a pointer to the reply, and one free gives back all.
 */
#ifndef FLM_LIBFLM_VIEWS_H
#define FLM_LIBFLM_VIEWS_H

#include "wire/frame.h"

#include <flm/admin.h>

/* An array of n elements of `size` bytes, zeroed, followed by n_events events (*events, if there are
 * any). Takes the reply, also on failure. NULL: no memory. */
void *flm__views_make_take(Flm__Message *reply, size_t n, size_t size, size_t n_events,
                           struct flm_event **events);

/* The same with `more` bytes in place of the events, aligned for all. */
void *flm__views_make_room_take(Flm__Message *reply, size_t n, size_t size, size_t more, void **more_at);

/* Frees array and reply; NULL is allowed. */
void flm__views_free(void *array);

/* Fills *to; texts are borrowed. */
void flm__views_event(struct flm_event *to, const Flm__Event *from);

#endif
