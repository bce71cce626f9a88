#include "base/walltime.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* A number at *text, which moves behind it. */
static bool number(const char **text, unsigned long long *out)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    *out = strtoull(*text, &end, 10);
    *text = end;
    return !errno && *out <= INT_MAX;
}

bool flm__walltime(const char *text, unsigned *seconds)
{
    unsigned long long part[3], days = 0, all;
    int n = 0;
    bool with_days = false;
    if (!number(&text, &part[n++]))
        return false;
    if (*text == '-') {
        with_days = true;
        days = part[0];
        text++;
        n = 0;
        if (!number(&text, &part[n++]))
            return false;
    }
    while (*text == ':' && n < 3) {
        text++;
        if (!number(&text, &part[n++]))
            return false;
    }
    if (*text)
        return false;
    if (with_days) /* hours first */
        all = ((days * 24 + part[0]) * 60 + (n > 1 ? part[1] : 0)) * 60 + (n > 2 ? part[2] : 0);
    else if (n == 3)
        all = (part[0] * 60 + part[1]) * 60 + part[2];
    else
        all = part[0] * 60 + (n > 1 ? part[1] : 0);
    *seconds = (unsigned)all;
    return all > 0 && all <= INT_MAX;
}
