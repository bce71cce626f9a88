#define _GNU_SOURCE
#include "node/log.h"

#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct log_line {
    struct log_line *next;
    uint64_t number;
    int64_t time_ns;
    unsigned executor;
    bool error_stream;
    size_t cost; /* bytes counted for it */
    char *session;
    char text[]; /* then the session */
};

static void drop_oldest(struct log *log)
{
    struct log_line *l = log->first;
    log->first = l->next;
    if (!log->first)
        log->last = NULL;
    log->bytes -= l->cost;
    free(l);
}

enum { MARK_TEXT = 160 };

/* The oldest lines go; one says so in their place, with the number of the last of them. */
static void make_room(struct log *log)
{
    if (!log->mark) {
        log->mark = calloc(1, sizeof(struct log_line) + MARK_TEXT);
        if (log->mark)
            log->mark->session = log->mark->text + MARK_TEXT - 1; /* "" */
    }
    while (log->bytes > LOG_BYTES_MAX) {
        log->dropped++;
        log->dropped_upto = log->first->number;
        if (log->mark) {
            log->mark->number = log->first->number;
            log->mark->time_ns = log->first->time_ns;
            log->mark->executor = log->first->executor;
        }
        drop_oldest(log);
    }
}

void log_add(struct log *log, uint64_t number, bool error_stream, const char *text, size_t n)
{
    size_t session = strlen(log->session) + 1;
    size_t cost = sizeof(struct log_line) + n + 1 + session;
    struct log_line *l = malloc(cost);
    if (!l)
        return;
    *l = (struct log_line){.number = number,
                           .time_ns = flm__wall_ns(),
                           .executor = log->executor,
                           .error_stream = error_stream,
                           .cost = cost};
    for (size_t i = 0; i < n; i++)
        l->text[i] = text[i] ? text[i] : ' ';
    l->text[n] = 0;
    l->session = l->text + n + 1;
    memcpy(l->session, log->session, session);
    if (log->last)
        log->last->next = l;
    else
        log->first = l;
    log->last = l;
    log->bytes += cost;
    if (log->bytes > LOG_BYTES_MAX)
        make_room(log);
}

void log_free(struct log *log)
{
    while (log->first)
        drop_oldest(log);
    free(log->mark);
    log->mark = NULL;
}

/* The line to be told in place of those that were dropped since the reader's cursor; NULL: none. Which
 * session they were of is not kept: a reader of one session is told when what is left begins with it. */
static const struct log_line *mark_for(const struct log *log, const Flm__LogQuery *q)
{
    struct log_line *mark = log->mark;
    if (!mark || log->dropped_upto <= q->cursor ||
        (q->executor >= 0 && (unsigned)q->executor != mark->executor) ||
        (*q->session && (!log->first || strcmp(q->session, log->first->session) != 0)))
        return NULL;
    if (q->cursor)
        snprintf(mark->text, MARK_TEXT - 1,
                 "(lines are missing here: they came faster than they were read)");
    else
        snprintf(mark->text, MARK_TEXT - 1,
                 "(%" PRIu64 " older lines were dropped: the last %d KiB of each executor are kept)",
                 log->dropped, LOG_BYTES_MAX >> 10);
    mark->error_stream = true;
    mark->cost = sizeof(*mark) + MARK_TEXT;
    return mark;
}

static bool wanted(const struct log_line *l, const Flm__LogQuery *q)
{
    return l->number > q->cursor && (q->executor < 0 || (unsigned)q->executor == l->executor) &&
           (!*q->session || strcmp(q->session, l->session) == 0);
}

static int by_number(const void *a, const void *b)
{
    const struct log_line *const *x = a, *const *y = b;
    return ((*x)->number > (*y)->number) - ((*x)->number < (*y)->number);
}

/* All lines that the query asks for, in order; *n of them. NULL: no memory or none. */
static const struct log_line **collect(const struct log *const *logs, unsigned n_logs,
                                       const Flm__LogQuery *q, size_t *n, uint64_t *newest)
{
    const struct log_line **found = NULL;
    size_t room = 0;
    *n = 0;
    *newest = q->cursor;
    for (unsigned i = 0; i < n_logs; i++) {
        if (logs[i]->last && logs[i]->last->number > *newest)
            *newest = logs[i]->last->number;
        const struct log_line *mark = mark_for(logs[i], q);
        for (const struct log_line *l = mark ? mark : logs[i]->first; l;
             l = l == mark ? logs[i]->first : l->next) {
            if (l != mark && !wanted(l, q))
                continue;
            if (*n == room) {
                room = room ? 2 * room : 256;
                const struct log_line **more = realloc(found, room * sizeof(*more));
                if (!more)
                    return found;
                found = more;
            }
            found[(*n)++] = l;
        }
    }
    if (found)
        qsort(found, *n, sizeof(*found), by_number);
    return found;
}

int log_answer(const struct log *const *logs, unsigned n_logs, const Flm__LogQuery *query,
               Flm__Reply *reply)
{
    size_t n, used = 0, bytes = 0;
    uint64_t newest;
    const struct log_line **found = collect(logs, n_logs, query, &n, &newest);
    Flm__LogLine *lines = calloc(n ? n : 1, sizeof(*lines));
    reply->lines = calloc(n ? n : 1, sizeof(*reply->lines));
    if (!lines || !reply->lines) {
        free(lines);
        free(found);
        free(reply->lines);
        reply->lines = NULL;
        return FLM_ENOMEM;
    }
    for (; used < n && bytes < LOG_ANSWER_MAX; used++) {
        const struct log_line *l = found[used];
        flm__log_line__init(&lines[used]);
        lines[used].time_ns = l->time_ns;
        lines[used].executor = l->executor;
        lines[used].session = l->session;
        lines[used].error_stream = l->error_stream;
        lines[used].text = (char *)(uintptr_t)l->text;
        lines[used].number = l->number;
        reply->lines[used] = &lines[used];
        bytes += l->cost;
    }
    reply->n_lines = used;
    reply->cursor = used < n ? found[used - 1]->number : newest;
    if (!used)
        free(lines);
    free(found);
    return 0;
}

void log_answer_free(Flm__Reply *reply)
{
    if (reply->n_lines)
        free(reply->lines[0]);
    free(reply->lines);
    reply->lines = NULL;
    reply->n_lines = 0;
}

struct log_stream {
    uv_poll_t poll; /* first: uv_close gives it back */
    int fd;
    bool error_stream;
    log_line_fn *fn;
    void *arg;
    size_t n; /* of an unfinished line */
    char line[LOG_LINE_MAX];
};

static void give_line(struct log_stream *s, const char *text, size_t n)
{
    if (n && text[n - 1] == '\r')
        n--;
    s->fn(s->arg, s->error_stream, text, n);
}

/* Splits what was read; an unfinished rest stays in s->line. */
static void split(struct log_stream *s, const char *data, size_t n)
{
    while (n) {
        const char *newline = memchr(data, '\n', n);
        size_t length = newline ? (size_t)(newline - data) : n;
        size_t fits = length < LOG_LINE_MAX - s->n ? length : LOG_LINE_MAX - s->n;
        bool ends = newline && fits == length;
        if (ends && s->n == 0) {
            give_line(s, data, length);
        } else {
            memcpy(s->line + s->n, data, fits);
            s->n += fits;
            if (ends || s->n == LOG_LINE_MAX) {
                give_line(s, s->line, s->n);
                s->n = 0;
            }
        }
        data += fits + ends;
        n -= fits + ends;
    }
}

/* Reads at most `times` pieces. false: the stream is at its end. */
static bool read_some(struct log_stream *s, int times)
{
    char data[16 << 10];
    while (times--) {
        ssize_t n = read(s->fd, data, sizeof(data));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        split(s, data, (size_t)n);
        if ((size_t)n < sizeof(data))
            break;
    }
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct log_stream *s = (struct log_stream *)poll;
    (void)events;
    if (!read_some(s, 4) || status < 0)
        uv_poll_stop(poll);
}

struct log_stream *log_stream_new_take(uv_loop_t *loop, int fd, bool error_stream, log_line_fn *fn,
                                       void *arg)
{
    struct log_stream *s = calloc(1, sizeof(*s));
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (!s || uv_poll_init(loop, &s->poll, fd) < 0) {
        free(s);
        close(fd);
        return NULL;
    }
    s->fd = fd;
    s->error_stream = error_stream;
    s->fn = fn;
    s->arg = arg;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
    return s;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void log_stream_end(struct log_stream *s)
{
    if (!s)
        return;
    read_some(s, 64);
    if (s->n)
        give_line(s, s->line, s->n);
    s->n = 0;
    uv_close((uv_handle_t *)&s->poll, on_closed);
    close(s->fd);
}
