/* node/texts.h - a growing, NULL-terminated list of strings: command lines and environments. */
#ifndef FLM_NODE_TEXTS_H
#define FLM_NODE_TEXTS_H

#include <flm/error.h>
#include <stdbool.h>
#include <stddef.h>

struct texts {
    char **list; /* NULL-terminated once something was added */
    size_t n, room;
    bool failed; /* no memory for one of them: the list is of no use */
};

void texts_add(struct texts *t, const char *text); /* copies */
void texts_addf(struct texts *t, const char *format, ...) FLM_PRINTF(2, 3);
void texts_free(struct texts *t);

/* Adds the words of a command line: separated by blanks, quoted with ' or ", \ takes the next character
 * as it is. FLM_EINVAL: a quote is not closed, or there is no word. */
int texts_add_words(struct texts *t, const char *line);

/* As an environment. set replaces, set_default only adds. */
void texts_set(struct texts *t, const char *name, const char *value);
void texts_set_default(struct texts *t, const char *name, const char *value);
void texts_put(struct texts *t, const char *assignment);        /* NAME=VALUE, replaces */
const char *texts_get(const struct texts *t, const char *name); /* NULL: not there */

#endif
