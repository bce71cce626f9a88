#define _GNU_SOURCE 1
#include "flmexec_source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024 };

static const char *name_of(const struct flmexec_source *s)
{
    return strcmp(s->file, "-") == 0 ? "standard input" : s->file;
}

static void open_file(struct flmexec_source *s)
{
    s->fd = -1;
    if (s->list)
        return;
    if (strcmp(s->file, "-") == 0) {
        s->fd = STDIN_FILENO;
        if (isatty(s->fd))
            flmexec_warn(
                "arguments are read from the terminal, one a line; end with Ctrl-D (see --help for :::)");
        return;
    }
    s->fd = open(s->file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (s->fd < 0 || fstat(s->fd, &st) < 0)
        flmexec_die(FLMEXEC_USAGE, "cannot open '%s' for its arguments: %s", s->file, strerror(errno));
    if (S_ISDIR(st.st_mode))
        flmexec_die(FLMEXEC_USAGE, "'%s' is a folder: give a file with one argument a line", s->file);
}

/* --- items --- */

/* Reads more, without waiting when wait is not set. Returns false when nothing
 * has come. */
static bool read_more(struct flmexec_source *s, bool wait)
{
    struct pollfd p = {s->fd, POLLIN, 0};
    if (s->taken) {
        memmove(s->buffer.data, s->buffer.data + s->taken, s->buffer.size - s->taken);
        s->buffer.size -= s->taken;
        s->searched -= s->taken;
        s->taken = 0;
    }
    if (s->buffer.size > FLMEXEC_ITEM_MAX)
        flmexec_die(FLMEXEC_USAGE,
                    "an argument in %s is longer than %d MiB: is it separated by zero bytes (-0)?",
                    name_of(s), FLMEXEC_ITEM_MAX >> 20);
    if (poll(&p, 1, wait ? -1 : 0) == 0)
        return false;
    char chunk[16 * 1024];
    for (size_t got = 0; got < READ_BYTES;) {
        ssize_t n = read(s->fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            return got > 0;
        if (n < 0)
            flmexec_die(FLMEXEC_TROUBLE, "cannot read %s: %s", name_of(s), strerror(errno));
        if (n == 0) {
            s->ended = true;
            return true;
        }
        flmexec_text_add(&s->buffer, chunk, (size_t)n);
        got += (size_t)n;
        if (poll(&p, 1, 0) == 0)
            break;
    }
    return true;
}

/* The next item of a file, a zero behind it; valid until the next call. */
static enum flmexec_next next_of_file(struct flmexec_source *s, char delimiter, bool wait,
                                      const char **item, size_t *size)
{
    char *at = NULL;
    for (;;) {
        if (s->buffer.size > s->searched)
            at = memchr(s->buffer.data + s->searched, delimiter, s->buffer.size - s->searched);
        s->searched = at ? s->searched : s->buffer.size;
        if (at || s->ended)
            break;
        if (!read_more(s, wait) && !wait)
            return NEXT_WAIT;
    }
    if (!at && s->buffer.size == s->taken)
        return NEXT_END;
    *item = s->buffer.data + s->taken;
    *size = at ? (size_t)(at - *item) : s->buffer.size - s->taken;
    if (at)
        *at = 0;
    s->taken += *size + (at ? 1 : 0);
    s->searched = s->taken;
    if (memchr(*item, 0, *size))
        flmexec_die(FLMEXEC_USAGE,
                    "there is a zero byte in a line of %s: separate the arguments by them (-0)",
                    name_of(s));
    return NEXT_JOB;
}

static enum flmexec_next next_item(const struct flmexec_inputs *in, struct flmexec_source *s, bool wait,
                                   const char **item, size_t *size)
{
    if (!s->list)
        return next_of_file(s, in->delimiter, wait, item, size);
    if (s->at == s->n_list)
        return NEXT_END;
    *item = s->list[s->at++];
    *size = strlen(*item);
    return NEXT_JOB;
}

/* --- the arguments of a job --- */

static void add_argument(struct flmexec_inputs *in, const char *item, size_t size)
{
    struct flmexec_arguments *a = &in->arguments;
    if (a->n == in->n_own) {
        int more = in->n_own + 16;
        in->own = flmexec_realloc(in->own, (size_t)more * sizeof(*in->own));
        memset(in->own + in->n_own, 0, 16 * sizeof(*in->own));
        a->item = flmexec_realloc(a->item, (size_t)more * sizeof(*a->item));
        a->size = flmexec_realloc(a->size, (size_t)more * sizeof(*a->size));
        in->n_own = more;
    }
    struct flmexec_text *t = &in->own[a->n];
    t->size = 0;
    flmexec_text_add(t, item, size);
    a->item[a->n] = t->data;
    a->size[a->n++] = size;
}

static void add_columns(struct flmexec_inputs *in, const char *item, size_t size)
{
    size_t length = in->colsep ? strlen(in->colsep) : 0;
    const char *next;
    if (in->per_job == 0)
        return;
    while (length && (next = memmem(item, size, in->colsep, length))) {
        add_argument(in, item, (size_t)(next - item));
        size -= (size_t)(next - item) + length;
        item = next + length;
    }
    add_argument(in, item, size);
}

static enum flmexec_next next_of_one(struct flmexec_inputs *in)
{
    const char *item;
    size_t size;
    int want = in->per_job > 1 ? in->per_job : 1;
    if (!in->started)
        in->arguments.n = 0;
    in->started = true; /* in the middle of a job until it is whole */
    for (int have = in->per_job ? (in->colsep ? 0 : in->arguments.n) : 0; have < want; have++) {
        enum flmexec_next next = next_item(in, &in->source[0], false, &item, &size);
        if (next == NEXT_WAIT)
            return NEXT_WAIT;
        if (next == NEXT_END) {
            in->done = true;
            if (have == 0)
                return NEXT_END;
            break;
        }
        add_columns(in, item, size);
    }
    in->started = false;
    return NEXT_JOB;
}

/* --- several sources --- */

static void keep_all(const struct flmexec_inputs *in, struct flmexec_source *s)
{
    const char *item;
    size_t size;
    int capacity = 0;
    while (next_item(in, s, true, &item, &size) == NEXT_JOB) {
        if (s->n_kept == capacity) {
            capacity = 2 * capacity + 64;
            s->kept = flmexec_realloc(s->kept, (size_t)capacity * sizeof(*s->kept));
            s->kept_size = flmexec_realloc(s->kept_size, (size_t)capacity * sizeof(*s->kept_size));
        }
        char *copy = flmexec_realloc(NULL, size + 1);
        memcpy(copy, item, size);
        copy[size] = 0;
        s->kept[s->n_kept] = copy;
        s->kept_size[s->n_kept++] = size;
    }
    s->at = 0;
}

/* How far the group of linked sources that begins at i goes. */
static int group_size(const struct flmexec_inputs *in, int i)
{
    int n = in->source[i].n_kept;
    for (int k = i + 1; k < in->n && in->source[k].linked; k++)
        n = in->source[k].n_kept < n ? in->source[k].n_kept : n;
    return n;
}

/* Turns to the next combination; the last group turns fastest. */
static void turn(struct flmexec_inputs *in)
{
    for (int i = in->n - 1; i >= 0; i--) {
        if (in->source[i].linked)
            continue;
        if (++in->source[i].at < group_size(in, i))
            return;
        in->source[i].at = 0;
    }
    in->done = true;
}

static enum flmexec_next next_combined(struct flmexec_inputs *in)
{
    in->arguments.n = 0;
    for (int i = 0, at = 0; i < in->n; i++) {
        struct flmexec_source *s = &in->source[i];
        at = s->linked ? at : s->at;
        add_columns(in, s->kept[at], s->kept_size[at]);
    }
    turn(in);
    return NEXT_JOB;
}

/* --- the whole --- */

void flmexec_inputs_open(struct flmexec_inputs *in)
{
    in->combined = in->n > 1;
    for (int i = 0; i < in->n; i++)
        open_file(&in->source[i]);
    for (int i = 0; i < in->n && in->combined; i++)
        keep_all(in, &in->source[i]);
    for (int i = 0; i < in->n && in->combined; i++)
        in->done |= !in->source[i].linked && group_size(in, i) == 0;
}

void flmexec_inputs_close(struct flmexec_inputs *in)
{
    for (int i = 0; i < in->n; i++) {
        struct flmexec_source *s = &in->source[i];
        if (s->fd > STDIN_FILENO)
            close(s->fd);
        for (int k = 0; k < s->n_kept; k++)
            free(s->kept[k]);
        free(s->kept);
        free(s->kept_size);
        flmexec_text_free(&s->buffer);
    }
    for (int i = 0; i < in->n_own; i++)
        flmexec_text_free(&in->own[i]);
    free(in->own);
    free(in->arguments.item);
    free(in->arguments.size);
    free(in->source);
    *in = (struct flmexec_inputs){0};
}

enum flmexec_next flmexec_inputs_next(struct flmexec_inputs *in, struct flmexec_arguments *a)
{
    if (in->done)
        return NEXT_END;
    enum flmexec_next next = in->combined ? next_combined(in) : next_of_one(in);
    *a = in->arguments;
    return next;
}

int flmexec_inputs_fd(const struct flmexec_inputs *in)
{
    return in->source[0].fd;
}

/* Items in a file that can be read twice, or 0. */
static uint64_t count_items(const struct flmexec_source *s, char delimiter)
{
    char chunk[64 * 1024], last = delimiter;
    struct stat st;
    uint64_t n = 0;
    ssize_t got = 0;
    off_t at = s->fd >= 0 && fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode) ? lseek(s->fd, 0, SEEK_CUR) : -1;
    if (at < 0)
        return 0;
    while ((got = pread(s->fd, chunk, sizeof(chunk), at)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            n += chunk[i] == delimiter;
        last = chunk[got - 1];
        at += got;
    }
    return n + (last != delimiter);
}

uint64_t flmexec_inputs_count(const struct flmexec_inputs *in)
{
    uint64_t jobs = 1, group = 0;
    for (int i = 0; i < in->n; i++) {
        const struct flmexec_source *s = &in->source[i];
        uint64_t n = in->combined ? (uint64_t)s->n_kept
                     : s->list    ? (uint64_t)s->n_list
                                  : count_items(s, in->delimiter);
        group = s->linked && n > group ? group : n;
        if (i + 1 == in->n || !in->source[i + 1].linked)
            jobs = group && jobs > UINT64_MAX / group ? 0 : jobs * group;
    }
    uint64_t per_job = in->per_job > 1 ? (uint64_t)in->per_job : 1;
    return (jobs + per_job - 1) / per_job;
}
