#include "base/argp_number.h"

#include <errno.h>
#include <stdlib.h>

long flm__argp_number(const struct argp_state *state, const char *option, const char *text, long low,
                      long high)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        argp_error(state, "%s takes a whole number from %ld to %ld, not '%s'", option, low, high, text);
    return value;
}
