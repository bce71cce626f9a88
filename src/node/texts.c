#define _GNU_SOURCE
#include "node/texts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes the string over. */
static void add_take(struct texts *t, char *text)
{
    if (text && t->n + 2 > t->room) {
        size_t room = t->room ? 2 * t->room : 32;
        char **list = realloc(t->list, room * sizeof(*list));
        if (list) {
            t->list = list;
            t->room = room;
        }
    }
    if (!text || t->n + 2 > t->room) {
        t->failed = true;
        free(text);
        return;
    }
    t->list[t->n++] = text;
    t->list[t->n] = NULL;
}

void texts_add(struct texts *t, const char *text)
{
    add_take(t, strdup(text));
}

void texts_addf(struct texts *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    add_take(t, text);
}

void texts_free(struct texts *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->list[i]);
    free(t->list);
    *t = (struct texts){0};
}

/* One word from *at on into word (room for the rest of the line). Returns false at the end of the line;
 * *open tells that a quote was not closed. */
static bool next_word(const char **at, char *word, bool *open)
{
    const char *p = *at;
    while (*p == ' ' || *p == '\t' || *p == '\n')
        p++;
    if (!*p)
        return false;
    char quote = 0;
    for (; *p && (quote || (*p != ' ' && *p != '\t' && *p != '\n')); p++) {
        if (quote ? *p == quote : (*p == '\'' || *p == '"'))
            quote = quote ? 0 : *p;
        else if (*p == '\\' && quote != '\'' && p[1])
            *word++ = *++p;
        else
            *word++ = *p;
    }
    *word = 0;
    *open = quote != 0;
    *at = p;
    return true;
}

int texts_add_words(struct texts *t, const char *line)
{
    char *word = malloc(strlen(line) + 1);
    bool open = false;
    size_t before = t->n;
    if (!word) {
        t->failed = true;
        return FLM_ENOMEM;
    }
    while (!open && next_word(&line, word, &open))
        texts_add(t, word);
    free(word);
    return open || t->n == before ? FLM_EINVAL : 0;
}

static size_t name_length(const char *assignment)
{
    return strcspn(assignment, "=");
}

static char **find(const struct texts *t, const char *name, size_t n)
{
    for (size_t i = 0; i < t->n; i++)
        if (strncmp(t->list[i], name, n) == 0 && t->list[i][n] == '=')
            return &t->list[i];
    return NULL;
}

void texts_put(struct texts *t, const char *assignment)
{
    char **old = find(t, assignment, name_length(assignment));
    if (!old) {
        texts_add(t, assignment);
        return;
    }
    char *copy = strdup(assignment);
    if (!copy) {
        t->failed = true;
        return;
    }
    free(*old);
    *old = copy;
}

void texts_set(struct texts *t, const char *name, const char *value)
{
    char *assignment = NULL;
    if (asprintf(&assignment, "%s=%s", name, value) < 0) {
        t->failed = true;
        return;
    }
    texts_put(t, assignment);
    free(assignment);
}

void texts_set_default(struct texts *t, const char *name, const char *value)
{
    if (!find(t, name, strlen(name)))
        texts_set(t, name, value);
}

const char *texts_get(const struct texts *t, const char *name)
{
    char **found = find(t, name, strlen(name));
    return found ? *found + strlen(name) + 1 : NULL;
}
