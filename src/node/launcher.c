#include "node/launcher.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool number(const char **text, unsigned *value)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    unsigned long n = strtoul(*text, &end, 10);
    if (errno || n > INT_MAX)
        return false;
    *text = end;
    *value = (unsigned)n;
    return true;
}

bool launcher_count(const char *list, unsigned index, unsigned *value)
{
    bool found = false;
    for (const char *at = list;;) {
        unsigned one, times = 1;
        if (!number(&at, &one))
            return false;
        if (strncmp(at, "(x", 2) == 0) {
            at += 2;
            if (!number(&at, &times) || times == 0 || *at++ != ')')
                return false;
        }
        if (!found) {
            *value = one;
            found = index < times;
            index -= found ? 0 : times;
        }
        if (!*at)
            return true;
        if (*at++ != ',')
            return false;
    }
}

void launcher_read(struct launcher *out)
{
    const char *index = getenv("SLURM_NODEID");
    *out = (struct launcher){0};
    if (!getenv("SLURM_STEP_ID") || !getenv("SLURM_PROCID"))
        return;
    out->node = getenv("SLURMD_NODENAME");
    out->job = getenv("SLURM_JOB_ID");
    if (index && !launcher_count(index, 0, &out->index))
        out->index = 0;
}
