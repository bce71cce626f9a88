#define _GNU_SOURCE
#include "results/follow.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_segment(struct follow *f)
{
    if (f->open)
        flm__reader_close(&f->reader);
    f->open = false;
}

static int damaged(const struct follow *f, const char *what, flm_error *error)
{
    return flm__error_set(error, FLM_EIO, "the journal is damaged: %s/%s: %s", f->folder.path,
                          f->reader.name.text, what);
}

/* Opens the segment that begins at `first`: 1; 0: it is not whole yet. */
static int open_segment(struct follow *f, uint64_t first, flm_error *error)
{
    close_segment(f);
    switch (flm__reader_open(&f->reader, &f->folder, first, error)) {
    case FLM__READ_GOOD:
        f->open = true;
        return 1;
    case FLM__READ_TORN:
        flm__reader_close(&f->reader);
        return 0;
    case FLM__READ_ERROR:
        flm__reader_close(&f->reader);
        return error->code;
    default:
        flm__reader_close(&f->reader);
        return damaged(f, "its header makes no sense", error);
    }
}

/* The segment in which the position is, or the first one behind it. */
static int find_segment(struct follow *f, flm_error *error)
{
    int rc = flm__folder_list(&f->folder, error);
    if (rc < 0 || f->folder.n == 0)
        return rc;
    size_t i = 0;
    while (i + 1 < f->folder.n && f->folder.firsts[i + 1] <= f->position)
        i++;
    if (f->folder.firsts[i] > f->position) {
        f->skipped = f->folder.firsts[i];
        f->position = f->folder.firsts[i];
    }
    return open_segment(f, f->folder.firsts[i], error);
}

int follow_open(struct follow *f, const char *folder, uint64_t position, flm_error *error)
{
    *f = (struct follow){.reader = {.fd = -1}, .position = position};
    int rc = flm__folder_look(&f->folder, folder, error);
    return rc < 0 ? rc : find_segment(f, error);
}

void follow_close(struct follow *f)
{
    close_segment(f);
    flm__folder_close(&f->folder);
}

/* Whether what looks like a frame begins where the next one must be: else there are zeros, or nothing.
 * Without this the reader would go through a MiB of zeros each time. */
static bool frame_begins(struct follow *f)
{
    struct flm__frame_header h;
    struct stat st;
    if (pread(f->reader.fd, &h, sizeof(h), (off_t)f->reader.offset) != sizeof(h) ||
        h.magic != FLM__FRAME_MAGIC)
        return false;
    if (f->reader.offset + sizeof(h) + h.bytes > f->reader.size && fstat(f->reader.fd, &st) == 0)
        f->reader.size = (uint64_t)st.st_size;
    return true;
}

static enum flm__read read_frame(struct follow *f, struct flm__frame *frame, flm_error *error)
{
    if (!frame_begins(f))
        return FLM__READ_END;
    enum flm__read status = flm__reader_next(&f->reader, frame, error);
    if (status == FLM__READ_TORN || status == FLM__READ_END) {
        f->reader.have = 0; /* perhaps that was read before it was whole */
        status = flm__reader_next(&f->reader, frame, error);
    }
    return status;
}

/* The one that we read has ended: the next begins where we are. 1, 0: it goes on; or an error. */
static int next_segment(struct follow *f, flm_error *error)
{
    struct stat here, there;
    struct flm__segment_name name = flm__segment_name(f->reader.position);
    if (fstatat(f->folder.fd, name.text, &there, 0) == 0) {
        if (fstat(f->reader.fd, &here) == 0 && here.st_ino == there.st_ino && here.st_dev == there.st_dev)
            return 0;
        return open_segment(f, f->reader.position, error);
    }
    int rc = flm__folder_list(&f->folder, error);
    if (rc < 0)
        return rc;
    if (f->folder.n && f->folder.firsts[f->folder.n - 1] > f->reader.position &&
        fstatat(f->folder.fd, name.text, &there, 0) < 0)
        return damaged(f, "no whole frame, and segments after it", error);
    return 0;
}

int follow_next(struct follow *f, struct flm__frame *frame, flm_error *error)
{
    for (;;) {
        int rc = f->open ? 1 : find_segment(f, error);
        if (rc <= 0)
            return rc;
        switch (read_frame(f, frame, error)) {
        case FLM__READ_GOOD:
            if (f->reader.position <= f->position)
                continue; /* before where we begin */
            f->position = f->reader.position;
            return 1;
        case FLM__READ_ERROR:
            return error->code;
        default:
            rc = next_segment(f, error);
            if (rc <= 0)
                return rc;
        }
    }
}
