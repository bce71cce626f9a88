/* base/argp_number.h - whole numbers on command lines. */
#ifndef FLM_BASE_ARGP_NUMBER_H
#define FLM_BASE_ARGP_NUMBER_H

#include <argp.h>

/* The number in text, from low to high; else an error that names the option and ends the program as argp
 * does. */
long flm__argp_number(const struct argp_state *state, const char *option, const char *text, long low,
                      long high);

#endif
