#define _GNU_SOURCE
#include "words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int plugin_fail(flm_error *error, int code, const char *format, ...)
{
    va_list args;
    if (!error)
        return code;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return code;
}

void plugin_log(const struct flm_backend_host *host, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    host->log(host->handle, text);
}

int plugin_number(const char *what, const char *text, unsigned long high, unsigned *out, flm_error *error)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || n < 1 || n > high)
        return plugin_fail(error, FLM_EINVAL, "%s is a number from 1 to %lu, not '%.60s'", what, high,
                           text);
    *out = (unsigned)n;
    return 0;
}

int plugin_text(char **out, const char *text, flm_error *error)
{
    free(*out);
    *out = strdup(text);
    return *out ? 0 : plugin_fail(error, FLM_ENOMEM, "no memory in flm-backend");
}

/* ---- command lines ----------------------------------------------------------------------------- */

static bool has_room(struct words *w)
{
    if (w->n + 1 < w->room)
        return true;
    unsigned room = w->room ? 2 * w->room : 64;
    const char **list = realloc(w->list, room * sizeof(*list));
    if (list)
        w->list = list;
    char **owned = realloc(w->owned, room * sizeof(*owned));
    if (owned)
        w->owned = owned;
    if (list && owned)
        w->room = room;
    return list && owned;
}

static void add(struct words *w, const char *word, char *owned)
{
    if (!word || !has_room(w)) {
        w->failed = true;
        free(owned);
        return;
    }
    w->owned[w->n] = owned;
    w->list[w->n++] = word;
    w->list[w->n] = NULL;
}

void words_add(struct words *w, const char *word)
{
    add(w, word, NULL);
}

void words_take(struct words *w, char *word)
{
    add(w, word, word);
}

void words_addf(struct words *w, const char *format, ...)
{
    char *word = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&word, format, args) < 0)
        word = NULL;
    va_end(args);
    words_take(w, word);
}

void words_add_all(struct words *w, const char *const *list)
{
    for (; list && *list; list++)
        words_add(w, *list);
}

void words_free(struct words *w)
{
    for (unsigned i = 0; i < w->n; i++)
        free(w->owned[i]);
    free(w->list);
    free(w->owned);
    *w = (struct words){.n = 0};
}

void quote(FILE *f, const char *word)
{
    fputc('\'', f);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", f);
        else
            fputc(*word, f);
    }
    fputc('\'', f);
}

void words_print(const struct words *w, char *text, size_t size)
{
    FILE *f = size ? fmemopen(text, size, "w") : NULL;
    for (unsigned i = 0; f && i < w->n; i++) {
        const char *word = w->list[i];
        if (i)
            fputc(' ', f);
        if (*word &&
            word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=/.:,{}")] ==
                0)
            fputs(word, f);
        else
            quote(f, word);
    }
    if (f)
        fclose(f);
    if (size)
        text[size - 1] = 0;
}
