/* parts/words.h - what plugins that talk to a batch system have in common: errors, options, command lines.
 */
#ifndef PLUGIN_PARTS_WORDS_H
#define PLUGIN_PARTS_WORDS_H

#include <flm/backend.h>

#include <stdbool.h>
#include <stdio.h>

/* Fills error, which may be NULL, and returns code. */
int plugin_fail(flm_error *error, int code, const char *format, ...) FLM_PRINTF(3, 4);
/* A line for whoever looks at flmd. */
void plugin_log(const struct flm_backend_host *host, const char *format, ...) FLM_PRINTF(2, 3);

/* A number from 1 to high; what: its name for people, as "backend pbs: grace". */
int plugin_number(const char *what, const char *text, unsigned long high, unsigned *out, flm_error *error);
/* Replaces the text, which is owned. */
int plugin_text(char **out, const char *text, flm_error *error);

/* A command line. Words for which there is no memory are seen in `failed`. */
struct words {
    const char **list; /* NULL-terminated, once there is a word */
    char **owned;
    unsigned n, room;
    bool failed;
};

void words_add(struct words *w, const char *word); /* borrowed */
void words_addf(struct words *w, const char *format, ...) FLM_PRINTF(2, 3);
void words_take(struct words *w, char *word);                 /* owned; NULL: failed */
void words_add_all(struct words *w, const char *const *list); /* borrowed; NULL: none */
void words_free(struct words *w);
/* As a person would type it. */
void words_print(const struct words *w, char *text, size_t size);

/* In single quotes, for a shell. */
void quote(FILE *f, const char *word);

#endif
