#include "node/cpulist.h"

#include <flm/error.h>

/* A number at *text, which moves behind it; -1: there is none, or too large. */
static int number(const char **text)
{
    int value = -1;
    for (; **text >= '0' && **text <= '9'; ++*text) {
        value = (value < 0 ? 0 : value * 10) + (**text - '0');
        if (value > CPULIST_MAX)
            return -1;
    }
    return value;
}

int cpulist_parse(const char *text, int (*add)(void *arg, unsigned first, unsigned last), void *arg)
{
    for (;;) {
        int first = number(&text), last = first;
        if (first >= 0 && *text == '-') {
            text++;
            last = number(&text);
        }
        if (first < 0 || last < first)
            return FLM_EINVAL;
        int rc = add(arg, (unsigned)first, (unsigned)last);
        if (rc)
            return rc;
        if (!*text)
            return 0;
        if (*text++ != ',')
            return FLM_EINVAL;
    }
}
