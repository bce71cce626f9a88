#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *flm_strerror(int code)
{
    switch (code) {
    case FLM_OK:
        return "success";
#define TEXT(name, value, text)                                                                            \
    case value:                                                                                            \
        return text;
        FLM_ERRORS(TEXT)
#undef TEXT
    }
    return "an error of a newer version of Flame";
}

const char *flm_error_name(int code)
{
    switch (code) {
    case FLM_OK:
        return "FLM_OK";
#define NAME(name, value, text)                                                                            \
    case value:                                                                                            \
        return "FLM_" #name;
        FLM_ERRORS(NAME)
#undef NAME
    }
    return "FLM_E?";
}

const char *flm_version(void)
{
    return FLM_VERSION;
}

int flm__error_set(flm_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    va_list args;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return code;
}

int flm__error_errno(flm_error *error, int code, int errno_value, const char *format, ...)
{
    if (!error)
        return code;
    va_list args;
    va_start(args, format);
    error->code = code;
    int n = vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(error->text))
        snprintf(error->text + n, sizeof(error->text) - (size_t)n, ": %s", strerror(errno_value));
    return code;
}
