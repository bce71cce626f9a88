#define _GNU_SOURCE 1
#include "base/file.h"
#include "flmexec_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_SIZE = 64 * 1024, HELD_MAX = 64 * 1024 * 1024 };

void flmexec_output_init(struct flmexec_output *o, bool tag)
{
    *o = (struct flmexec_output){.tag = tag, .held_max = HELD_MAX, .spill_fd = -1};
    o->buffer = flmexec_alloc(BUFFER_SIZE);
}

void flmexec_output_fini(struct flmexec_output *o)
{
    flmexec_output_flush(o);
    if (o->spill_fd >= 0)
        close(o->spill_fd);
    free(o->buffer);
    o->buffer = NULL;
    o->spill_fd = -1;
}

/* --- to stdout and stderr --- */

static void to_stdout_now(struct flmexec_output *o, const char *data, size_t size)
{
    int rc = o->closed ? 0 : flmexec_write_whole(STDOUT_FILENO, data, size);
    if (rc == EPIPE)
        o->closed = true;
    else if (rc)
        flmexec_die(FLMEXEC_TROUBLE, "cannot write to standard output: %s", strerror(rc));
}

void flmexec_output_flush(struct flmexec_output *o)
{
    size_t used = o->used;
    o->used = 0;
    to_stdout_now(o, o->buffer, used);
}

static void to_stdout(struct flmexec_output *o, const char *data, size_t size)
{
    if (!size)
        return; /* data may be NULL */
    if (size > BUFFER_SIZE - o->used)
        flmexec_output_flush(o);
    if (size >= BUFFER_SIZE) {
        to_stdout_now(o, data, size);
        return;
    }
    memcpy(o->buffer + o->used, data, size);
    o->used += size;
}

static void to_stream(struct flmexec_output *o, int fd, const char *data, size_t size)
{
    if (fd == STDOUT_FILENO)
        to_stdout(o, data, size);
    else if (flmexec_write_whole(fd, data, size) != 0)
        return; /* stderr is gone: nobody to tell */
}

/* One stream of a job. *fresh: the next byte begins a line. */
static void write_stream(struct flmexec_output *o, int fd, const char *tag, const char *data, size_t size,
                         bool *fresh)
{
    if (!o->tag || !tag) {
        to_stream(o, fd, data, size);
        return;
    }
    while (size) {
        const char *end = memchr(data, '\n', size);
        size_t line = end ? (size_t)(end - data) + 1 : size;
        if (*fresh) {
            to_stream(o, fd, tag, strlen(tag));
            to_stream(o, fd, "\t", 1);
        }
        to_stream(o, fd, data, line);
        *fresh = end != NULL;
        data += line;
        size -= line;
    }
}

void flmexec_output_write(struct flmexec_output *o, const char *tag, const char *data, size_t out,
                          size_t err)
{
    bool fresh = true;
    write_stream(o, STDOUT_FILENO, tag, data, out, &fresh);
    if (!err)
        return;
    flmexec_output_flush(o);
    fresh = true;
    write_stream(o, STDERR_FILENO, tag, data + out, err, &fresh);
}

/* --- holding --- */

static int open_spill(void)
{
    const char *folder = getenv("TMPDIR");
    return flm__unnamed_file(folder && folder[0] ? folder : "/tmp");
}

static int spill(struct flmexec_output *o, struct flmexec_held *h, const char *data, size_t size)
{
    if (o->spill_fd < 0 && (o->spill_fd = open_spill()) < 0)
        return errno;
    if (o->spilled == 0)
        o->spill_end = 0; /* nothing in it is needed any more */
    int rc = flm__write_at(o->spill_fd, data, size, (uint64_t)o->spill_end);
    if (rc)
        return rc;
    h->offset = o->spill_end;
    o->spill_end += (off_t)size;
    o->spilled++;
    return 0;
}

int flmexec_output_hold(struct flmexec_output *o, struct flmexec_held *h, const char *data, size_t out,
                        size_t err)
{
    size_t size = out + err;
    *h = (struct flmexec_held){.out = out, .err = err};
    if (size == 0)
        return 0;
    if (o->held + size > o->held_max) {
        int rc = spill(o, h, data, size);
        if (rc)
            *h = (struct flmexec_held){0};
        return rc;
    }
    h->data = flmexec_alloc(size);
    memcpy(h->data, data, size);
    o->held += size;
    return 0;
}

static int copy_from_spill(struct flmexec_output *o, int fd, const char *tag, off_t offset, size_t size)
{
    char chunk[16 * 1024];
    bool fresh = true;
    while (size) {
        ssize_t n = pread(o->spill_fd, chunk, size < sizeof(chunk) ? size : sizeof(chunk), offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        write_stream(o, fd, tag, chunk, (size_t)n, &fresh);
        offset += n;
        size -= (size_t)n;
    }
    return 0;
}

int flmexec_output_release(struct flmexec_output *o, const char *tag, struct flmexec_held *h)
{
    int rc = 0;
    if (h->data) {
        flmexec_output_write(o, tag, h->data, h->out, h->err);
        o->held -= h->out + h->err;
        free(h->data);
    } else if (h->out + h->err) {
        rc = copy_from_spill(o, STDOUT_FILENO, tag, h->offset, h->out);
        if (!rc && h->err) {
            flmexec_output_flush(o);
            rc = copy_from_spill(o, STDERR_FILENO, tag, h->offset + (off_t)h->out, h->err);
        }
        if (--o->spilled == 0 && ftruncate(o->spill_fd, 0) < 0)
            rc = rc ? rc : errno;
    }
    *h = (struct flmexec_held){0};
    return rc;
}
