#define _GNU_SOURCE
#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { NESTING = 32, KEY_SIZE = 320 };

struct walk {
    const char *at, *end;
    char *value; /* as long as the whole text: any value fits */
    char keys[JSON_DEPTH][KEY_SIZE];
    const char *names[JSON_DEPTH];
    json_fn *fn;
    void *arg;
};

static char peek(struct walk *w)
{
    while (w->at < w->end && strchr(" \t\r\n", *w->at) && *w->at)
        w->at++;
    return w->at < w->end ? *w->at : 0;
}

static bool take(struct walk *w, char c)
{
    if (peek(w) != c || w->at == w->end)
        return false;
    w->at++;
    return true;
}

/* \u and four digits: below 128 that character, else a '?'. */
static char code_point(struct walk *w)
{
    char digits[5] = "";
    for (int i = 0; i < 4 && w->at < w->end && strchr("0123456789abcdefABCDEF", *w->at) && *w->at; i++)
        digits[i] = *w->at++;
    unsigned long c = strtoul(digits, NULL, 16);
    return c && c < 128 ? (char)c : '?';
}

static size_t escape(struct walk *w, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = *w->at++;
    const char *known = c ? strchr(from, c) : NULL;
    if (c == 'u') {
        out[0] = code_point(w);
        return 1;
    }
    if (known) {
        out[0] = to[known - from];
        return 1;
    }
    out[0] = '\\';
    out[1] = c ? c : '?';
    return 2;
}

static bool text(struct walk *w, char *out, size_t size)
{
    size_t n = 0;
    if (!take(w, '"'))
        return false;
    while (w->at < w->end && *w->at != '"') {
        char c[2];
        size_t got = 1;
        c[0] = *w->at++;
        if (c[0] == '\\' && w->at < w->end)
            got = escape(w, c);
        else if (!c[0])
            c[0] = '?';
        for (size_t i = 0; i < got && n + 1 < size; i++)
            out[n++] = c[i];
    }
    out[n] = 0;
    return w->at < w->end && *w->at++ == '"';
}

static bool word(struct walk *w, char *out)
{
    size_t n = 0;
    while (w->at < w->end && *w->at && !strchr(" \t\r\n,:{}[]\"", *w->at))
        out[n++] = *w->at++;
    out[n] = 0;
    return n > 0;
}

static bool value(struct walk *w, unsigned depth, unsigned nesting);

static bool object(struct walk *w, unsigned depth, unsigned nesting)
{
    char unused[KEY_SIZE];
    if (take(w, '}'))
        return true;
    do {
        if (!text(w, depth < JSON_DEPTH ? w->keys[depth] : unused, KEY_SIZE) || !take(w, ':') ||
            !value(w, depth + 1, nesting))
            return false;
    } while (take(w, ','));
    return take(w, '}');
}

static bool array(struct walk *w, unsigned depth, unsigned nesting)
{
    if (take(w, ']'))
        return true;
    do {
        if (!value(w, depth, nesting))
            return false;
    } while (take(w, ','));
    return take(w, ']');
}

static bool value(struct walk *w, unsigned depth, unsigned nesting)
{
    if (nesting == NESTING)
        return false;
    if (take(w, '{'))
        return object(w, depth, nesting + 1);
    if (take(w, '['))
        return array(w, depth, nesting + 1);
    bool ok = peek(w) == '"' ? text(w, w->value, (size_t)(w->end - w->at) + 1) : word(w, w->value);
    if (ok && depth <= JSON_DEPTH)
        w->fn(w->arg, w->names, depth, w->value);
    return ok;
}

bool json_walk(const char *all, size_t n, json_fn *fn, void *arg)
{
    struct walk w = {.at = all, .end = all + n, .value = malloc(2 * n + 2), .fn = fn, .arg = arg};
    if (!w.value)
        return false;
    for (int i = 0; i < JSON_DEPTH; i++)
        w.names[i] = w.keys[i];
    bool ok = value(&w, 0, 0) && !peek(&w) && w.at == w.end;
    free(w.value);
    return ok;
}
