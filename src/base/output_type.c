#include "base/output_type.h"

#include "base/error.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum flm__output_kind kind;
    unsigned size;
} numbers[] = {
    {"int8", FLM__OUTPUT_INT, 1},      {"int16", FLM__OUTPUT_INT, 2},   {"int32", FLM__OUTPUT_INT, 4},
    {"int64", FLM__OUTPUT_INT, 8},     {"uint8", FLM__OUTPUT_UINT, 1},  {"uint16", FLM__OUTPUT_UINT, 2},
    {"uint32", FLM__OUTPUT_UINT, 4},   {"uint64", FLM__OUTPUT_UINT, 8}, {"float32", FLM__OUTPUT_FLOAT, 4},
    {"float64", FLM__OUTPUT_FLOAT, 8},
};

static const char *skip_blanks(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

static size_t word(const char *at)
{
    size_t n = 0;
    while (isalnum((unsigned char)at[n]) || at[n] == '_')
        n++;
    return n;
}

static int refuse(const char *text, const char *why, flm_error *error)
{
    return flm__error_set(
        error, FLM_EINVAL,
        "the output_type '%.80s' %s: write bytes, or numbers like float64 or int32[3], or "
        "a list like energy:float64, steps:uint32",
        text, why);
}

/* "int32[3]"; NULL: it is none. */
static const char *parse_number(const char *at, struct flm__output_field *f)
{
    size_t n = word(at), i = 0;
    while (i < sizeof(numbers) / sizeof(*numbers) &&
           (strlen(numbers[i].name) != n || strncmp(at, numbers[i].name, n) != 0))
        i++;
    if (i == sizeof(numbers) / sizeof(*numbers))
        return NULL;
    f->kind = numbers[i].kind;
    f->size = numbers[i].size;
    f->count = 0;
    at = skip_blanks(at + n);
    if (*at != '[')
        return at;
    char *end;
    at = skip_blanks(at + 1);
    unsigned long count = isdigit((unsigned char)*at) ? strtoul(at, &end, 10) : 0;
    if (count < 1 || count > FLM__OUTPUT_BYTES_MAX || *(at = skip_blanks(end)) != ']')
        return NULL;
    f->count = (unsigned)count;
    return skip_blanks(at + 1);
}

/* "energy:" */
static const char *parse_field_name(const char *at, struct flm__output_type *type,
                                    struct flm__output_field *f)
{
    size_t n = word(at);
    const char *colon = skip_blanks(at + n);
    if (n == 0 || n > FLM__OUTPUT_NAME_MAX || *colon != ':')
        return NULL;
    memcpy(f->name, at, n);
    for (unsigned i = 0; i < type->n; i++)
        if (!strcmp(type->fields[i].name, f->name))
            return NULL;
    return skip_blanks(colon + 1);
}

int flm__output_type_parse(const char *text, struct flm__output_type *type, flm_error *error)
{
    const char *at = skip_blanks(text ? text : "");
    *type = (struct flm__output_type){.n = 0};
    if (!*at || (!strncmp(at, "bytes", 5) && !*skip_blanks(at + 5)))
        return 0;
    bool list = strchr(at, ':') != NULL;
    for (;; at = skip_blanks(at + 1)) {
        struct flm__output_field *f = &type->fields[type->n];
        if (type->n == FLM__OUTPUT_FIELDS_MAX)
            return refuse(text, "has too many fields", error);
        if (list && !(at = parse_field_name(at, type, f)))
            return refuse(text, "has a field without a name of its own", error);
        if (!(at = parse_number(at, f)))
            return refuse(text, "names a type that there is not", error);
        f->offset = type->bytes;
        type->bytes += (size_t)f->size * (f->count ? f->count : 1);
        type->n++;
        if (type->bytes > FLM__OUTPUT_BYTES_MAX)
            return refuse(text, "has more than a MiB", error);
        if (!*at)
            return 0;
        if (*at != ',' || !list)
            return refuse(text, "goes on where it should end", error);
    }
}
