#include "tools/quantity.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A non-negative decimal number; *rest is what follows. */
static bool number(const char *text, double *value, const char **rest)
{
    char *end;
    if (!isdigit((unsigned char)*text) && *text != '.')
        return false;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return false;
    errno = 0;
    *value = strtod(text, &end);
    *rest = end;
    return end != text && !errno;
}

static bool whole(double value, uint64_t max, uint64_t *out)
{
    /* 2^53: up to here a double counts exactly. */
    if (!(value <= (double)max) || value > 9007199254740992.0)
        return false;
    *out = (uint64_t)value;
    return true;
}

static bool scaled(const char *text, double base, const char *tail, uint64_t max, uint64_t *out)
{
    static const char letters[] = "kMGT";
    double value;
    const char *rest;
    if (!number(text, &value, &rest))
        return false;
    if (*rest) {
        const char *at = strchr(letters, *rest == 'K' ? 'k' : *rest);
        if (!at)
            return false;
        for (const char *l = letters; l <= at; l++)
            value *= base;
        rest++;
        if (*rest && strcmp(rest, tail) != 0)
            return false;
    }
    return whole(value, max, out) && (double)*out == value;
}

bool quantity_count(const char *text, uint64_t max, uint64_t *out)
{
    return scaled(text, 1000, "", max, out);
}

bool quantity_bytes(const char *text, uint64_t max, uint64_t *out)
{
    return scaled(text, 1024, "iB", max, out);
}

bool quantity_duration(const char *text, uint64_t unit, uint64_t max, uint64_t *out)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    double value;
    const char *rest;
    if (!number(text, &value, &rest))
        return false;
    if (!*rest)
        return whole(value * (double)unit, max, out);
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (!strcmp(rest, units[i].name))
            return whole(value * units[i].ns, max, out);
    return false;
}
