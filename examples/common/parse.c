/* parse.c - see parse.h */
#include "parse.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int parse_is(const char *text, const char *word)
{
    return strcmp(text, word) == 0;
}

void parse_refuse(const char *program, const char *why)
{
    const char *slash = strrchr(program, '/');

    fprintf(stderr, "%s: %s\n", slash ? slash + 1 : program, why);
    exit(2);
}

/* k, M, G, T after a number. */
static double unit(const char **end)
{
    static const char letter[] = "kMGT";
    const char *at = **end ? strchr(letter, **end) : NULL;
    double factor = 1;

    if (at) {
        factor = pow(1000, (double)(at - letter) + 1);
        (*end)++;
    }
    return factor;
}

static int whole(const char *text, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 10);
    return isdigit((unsigned char)text[0]) && !*end && !errno;
}

uint64_t parse_count(const struct argp_state *state, const char *option, const char *text, uint64_t least,
                     uint64_t most)
{
    char *stop;
    const char *end;
    double x;
    uint64_t value;

    if (!whole(text, &value)) {
        x = isdigit((unsigned char)text[0]) ? strtod(text, &stop) : -1;
        end = x >= 0 ? stop : "?";
        x *= unit(&end);
        if (*end || !(x >= 0) || x != floor(x) || x > 1e19)
            argp_error(state, "--%s=%s: a whole number is needed, such as 1000 or 1e6", option, text);
        value = (uint64_t)x;
    }
    if (value < least || value > most)
        argp_error(state, "--%s=%s: must be from %llu to %llu", option, text, (unsigned long long)least,
                   (unsigned long long)most);
    return value;
}

double parse_real(const struct argp_state *state, const char *option, const char *text, int positive)
{
    char *end;
    double x = strtod(text, &end);

    if (end == text || *end || !isfinite(x))
        argp_error(state, "--%s=%s: a number is needed, such as 0.25", option, text);
    if (positive && !(x > 0))
        argp_error(state, "--%s=%s: must be above 0", option, text);
    return x;
}
