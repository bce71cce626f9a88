/* node/log.h - what services write to stdout and stderr: lines, tagged, bounded, for flmctl logs. */
#ifndef FLM_NODE_LOG_H
#define FLM_NODE_LOG_H

#include "wire/frame.h"

#include <flm/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum {
    LOG_LINE_MAX = 4096,      /* a longer line is cut into several */
    LOG_BYTES_MAX = 1 << 20,  /* kept per executor; the oldest lines go */
    LOG_ANSWER_MAX = 4 << 20, /* of text in one reply */
    LOG_SESSION_MAX = 128,
};

struct log_line;

/* The lines of one slot; they survive its processes. */
struct log {
    struct log_line *first, *last;
    size_t bytes;
    uint64_t dropped;              /* lines, to keep within the bound */
    uint64_t dropped_upto;         /* number of the last of them */
    struct log_line *mark;         /* what is told in their place; NULL: nothing was dropped */
    unsigned executor;             /* tag of the lines to come */
    char session[LOG_SESSION_MAX]; /* the same; "" outside a session */
};

/* Adds a line; number: increasing over all logs of the agent. */
void log_add(struct log *log, uint64_t number, bool error_stream, const char *text, size_t n);
void log_free(struct log *log);

/* Fills reply->lines, n_lines and cursor with the lines that query asks for, oldest first, and a line of
 * our own where some were dropped. The texts are the logs'; the list is freed with log_answer_free. 0 or
 * FLM_ENOMEM. */
int log_answer(const struct log *const *logs, unsigned n, const Flm__LogQuery *query, Flm__Reply *reply);
void log_answer_free(Flm__Reply *reply);

/* One stream of a process: takes the read end of a pipe and calls fn for each line. */
struct log_stream;
typedef void log_line_fn(void *arg, bool error_stream, const char *text, size_t n);
struct log_stream *log_stream_new_take(uv_loop_t *loop, int fd, bool error_stream, log_line_fn *fn,
                                       void *arg);
/* Reads what is left, gives an unfinished line too, and closes. NULL is allowed. */
void log_stream_end(struct log_stream *stream);

#endif
