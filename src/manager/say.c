#include "manager/say.h"

#include "manager/events.h"

#include <stdarg.h>
#include <stdio.h>

static struct events said;

const struct events *say_events(void)
{
    return &said;
}

static void say_va(const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof(text), format, args);
    fprintf(stderr, "flmd: %s\n", text);
    events_add(&said, 0, 0, -1, "%s", text);
}

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_va(format, args);
    va_end(args);
}

void say_limited(struct say_limit *limit, int64_t now_ns, const char *format, ...)
{
    if (!limit->since_ns || now_ns - limit->since_ns > SAY_PERIOD_S * 1000000000LL) {
        if (limit->left_out)
            say("(%lu lines like the next were left out)", limit->left_out);
        *limit = (struct say_limit){.since_ns = now_ns};
    }
    if (++limit->lines > SAY_LINES) {
        limit->left_out++;
        return;
    }
    va_list args;
    va_start(args, format);
    say_va(format, args);
    va_end(args);
}
