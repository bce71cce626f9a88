/* fail.h - fills an error as the library does, for the functions of the examples. */
#ifndef EXAMPLES_FAIL_H
#define EXAMPLES_FAIL_H

#include <flm/error.h>

/* Returns code. error may be NULL. */
int fail(flm_error *error, int code, const char *format, ...) FLM_PRINTF(3, 4);

#endif
