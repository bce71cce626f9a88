/* base/error.h - filling a flm_error, inside the library. */
#ifndef FLM_BASE_ERROR_H
#define FLM_BASE_ERROR_H

#include <flm/error.h>

/* Fills *error (NULL is allowed) and returns code, for
 * `return flm__error_set(error, FLM_EINVAL, "...")`. */
int flm__error_set(flm_error *error, int code, const char *format, ...) FLM_PRINTF(3, 4);

/* The same with ": " and strerror(errno_value) at the end. */
int flm__error_errno(flm_error *error, int code, int errno_value, const char *format, ...) FLM_PRINTF(4, 5);

#endif
