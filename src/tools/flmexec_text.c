#include "flmexec_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *format, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof(text), format, ap);
    fprintf(stderr, "flmexec: %s\n", text);
}

void flmexec_die(int status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say(format, ap);
    va_end(ap);
    exit(status);
}

void flmexec_warn(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say(format, ap);
    va_end(ap);
}

void *flmexec_realloc(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);
    if (!p)
        flmexec_die(FLMEXEC_TROUBLE, "no memory (%zu bytes)", size);
    return p;
}

void *flmexec_alloc(size_t size)
{
    return memset(flmexec_realloc(NULL, size), 0, size);
}

void flmexec_text_add(struct flmexec_text *t, const void *data, size_t size)
{
    if (t->size + size + 1 > t->capacity) {
        size_t capacity = 2 * t->capacity + size + 64;
        t->data = flmexec_realloc(t->data, capacity);
        t->capacity = capacity;
    }
    if (size)
        memcpy(t->data + t->size, data, size);
    t->size += size;
    t->data[t->size] = 0;
}

void flmexec_text_str(struct flmexec_text *t, const char *s)
{
    flmexec_text_add(t, s, strlen(s));
}

void flmexec_text_char(struct flmexec_text *t, char c)
{
    flmexec_text_add(t, &c, 1);
}

void flmexec_text_free(struct flmexec_text *t)
{
    free(t->data);
    *t = (struct flmexec_text){0};
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80) ||
           (c && strchr("_-+=./:,@%^", c));
}

void flmexec_text_quoted(struct flmexec_text *t, const char *s, size_t size)
{
    bool plain = size > 0;
    for (size_t i = 0; i < size && plain; i++)
        plain = is_plain(s[i]);
    if (plain) {
        flmexec_text_add(t, s, size);
        return;
    }
    flmexec_text_char(t, '\'');
    for (size_t i = 0; i < size; i++) {
        if (s[i] == '\'')
            flmexec_text_str(t, "'\\''");
        else
            flmexec_text_char(t, s[i]);
    }
    flmexec_text_char(t, '\'');
}

bool flmexec_needs_shell(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (s[i] && strchr(" \t\n|&;<>()$`\\\"'*?[#~", s[i]))
            return true;
    }
    return false;
}

int flmexec_write_whole(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}
