/* libflm/options.h - structures that begin with their size and may come from callers that were compiled
 * with an older or a newer header. */
#ifndef FLM_LIBFLM_OPTIONS_H
#define FLM_LIBFLM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Copies *from (whose first member is size_t size) to *to of `size` bytes; what the caller does not know
 * becomes zero. FLM_EINVAL: the size is not set, or the caller uses something that we do not know. */
int flm__options_copy(void *to, size_t size, const void *from);

/* Whether text can name a session or an application: 1 .. FLM_MAX_NAME of the allowed characters. */
bool flm__name_is_valid(const char *text);

#endif
