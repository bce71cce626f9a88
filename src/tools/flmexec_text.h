/* tools/flmexec_text.h - growing text, quoting for the shell, and giving up. */
#ifndef FLM_TOOLS_FLMEXEC_TEXT_H
#define FLM_TOOLS_FLMEXEC_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Exit statuses of flmexec; signals are 128 + number. */
enum { FLMEXEC_OK = 0, FLMEXEC_SOME_FAILED = 1, FLMEXEC_USAGE = 2, FLMEXEC_TROUBLE = 3 };

/* "flmexec: ..." on stderr, then exit(status). */
void flmexec_die(int status, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
/* "flmexec: ..." on stderr. */
void flmexec_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* malloc and friends that give up when there is no memory. */
void *flmexec_alloc(size_t size);
void *flmexec_realloc(void *old, size_t size);

/* Bytes, always followed by a zero that is not counted. {0} is an empty one. */
struct flmexec_text {
    char *data;
    size_t size, capacity;
};
void flmexec_text_add(struct flmexec_text *t, const void *data, size_t size);
void flmexec_text_str(struct flmexec_text *t, const char *s);
void flmexec_text_char(struct flmexec_text *t, char c);
void flmexec_text_free(struct flmexec_text *t);

/* Adds a word so that sh reads back exactly these bytes. */
void flmexec_text_quoted(struct flmexec_text *t, const char *s, size_t size);

/* Whether a shell would do more with this text than pass it on as one word. */
bool flmexec_needs_shell(const char *s, size_t size);

/* 0 or an errno value. */
int flmexec_write_whole(int fd, const char *data, size_t size);

#endif
