/* fail.c - see fail.h */
#include "fail.h"
#include <stdarg.h>
#include <stdio.h>

int fail(flm_error *error, int code, const char *format, ...)
{
    va_list args;

    if (error) {
        error->code = code;
        va_start(args, format);
        vsnprintf(error->text, sizeof(error->text), format, args);
        va_end(args);
    }
    return code;
}
