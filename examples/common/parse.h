/* parse.h - values of options; every function prints what is wrong and exits
 * with status 2 on a mistake, as argp does.
 */
#ifndef EXAMPLES_PARSE_H
#define EXAMPLES_PARSE_H

#include <argp.h>
#include <stdint.h>

/* A whole number, also as 1e9, 2.5e6, 64k, 3M, 1G. */
uint64_t parse_count(const struct argp_state *state, const char *option, const char *text, uint64_t least,
                     uint64_t most);

/* A finite number; above 0 where positive is set. */
double parse_real(const struct argp_state *state, const char *option, const char *text, int positive);

int parse_is(const char *text, const char *word);

_Noreturn void parse_refuse(const char *program, const char *why);

#endif
