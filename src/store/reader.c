#define _GNU_SOURCE
#include "store/reader.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 1 << 20 };

static enum flm__read failed(struct flm__reader *r, int why, const char *what, flm_error *error)
{
    flm__error_errno(error, why == ENOMEM ? FLM_ENOMEM : FLM_EIO, why, "cannot %s the journal's %s/%s",
                     what, r->folder->path, r->name.text);
    return FLM__READ_ERROR;
}

/* ---- A window on the file ---- */

/* The window begins at a multiple of 8, so that records in it are aligned. */
static int fill(struct flm__reader *r, uint64_t offset, uint64_t want)
{
    want += offset & 7;
    offset &= ~(uint64_t)7;
    uint64_t capacity = want > WINDOW ? want : WINDOW;
    if (capacity > r->capacity) {
        free(r->buffer);
        r->buffer = malloc(capacity);
        r->capacity = r->buffer ? capacity : 0;
        r->have = 0;
        if (!r->buffer)
            return ENOMEM;
    }
    r->base = offset;
    r->have = 0;
    while (r->have < r->capacity && r->base + r->have < r->size) {
        ssize_t n = pread(r->fd, r->buffer + r->have, r->capacity - r->have, (off_t)(r->base + r->have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        r->have += (uint64_t)n;
    }
    return r->have < want ? EIO : 0; /* it became shorter under our hands */
}

/* Bytes [offset, offset + want), which are within the file; NULL with errno. */
static const char *look(struct flm__reader *r, uint64_t offset, uint64_t want)
{
    if (offset < r->base || offset + want > r->base + r->have) {
        errno = fill(r, offset, want);
        if (errno)
            return NULL;
    }
    return r->buffer + (offset - r->base);
}

/* ---- Segments ---- */

static enum flm__read read_header(struct flm__reader *r, uint64_t first, flm_error *error)
{
    static const struct flm__segment_header zero;
    if (r->size < sizeof(r->header))
        return FLM__READ_TORN;
    const char *bytes = look(r, 0, sizeof(r->header));
    if (!bytes)
        return failed(r, errno, "read", error);
    memcpy(&r->header, bytes, sizeof(r->header));
    if (!memcmp(&r->header, &zero, sizeof(zero)))
        return FLM__READ_TORN;
    if (memcmp(r->header.magic, FLM__SEGMENT_MAGIC, sizeof(r->header.magic)) != 0)
        return FLM__READ_DAMAGED;
    if (r->header.version != FLM__SEGMENT_VERSION)
        return FLM__READ_VERSION;
    if (r->header.bytes != sizeof(r->header) || r->header.first != first || r->header.reserved ||
        r->header.checksum != flm__segment_check(&r->header))
        return FLM__READ_DAMAGED;
    r->offset = sizeof(r->header);
    r->position = first;
    return FLM__READ_GOOD;
}

enum flm__read flm__reader_open(struct flm__reader *r, const struct flm__folder *folder, uint64_t first,
                                flm_error *error)
{
    struct stat st;
    *r = (struct flm__reader){.folder = folder,
                              .name = flm__segment_name(first),
                              .buffer = r->buffer,
                              .capacity = r->capacity,
                              .synced = r->synced};
    r->fd = openat(folder->fd, r->name.text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (r->fd < 0 || fstat(r->fd, &st))
        return failed(r, errno, "open", error);
    if (!S_ISREG(st.st_mode))
        return failed(r, EINVAL, "use", error);
    r->size = (uint64_t)st.st_size;
    posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return read_header(r, first, error);
}

void flm__reader_close(struct flm__reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    free(r->buffer);
    r->buffer = NULL;
    r->capacity = 0;
}

/* ---- Frames ---- */

/* The frame at `offset`, if there is a whole one of this segment. */
static enum flm__read frame_at(struct flm__reader *r, uint64_t offset, struct flm__frame *frame,
                               flm_error *error)
{
    struct flm__frame_header *h = &frame->header;
    if (r->size - offset < sizeof(*h))
        return FLM__READ_TORN;
    const char *bytes = look(r, offset, sizeof(*h));
    if (!bytes)
        return failed(r, errno, "read", error);
    memcpy(h, bytes, sizeof(*h));
    if (h->magic != FLM__FRAME_MAGIC || h->check != flm__frame_check(&r->header, h))
        return FLM__READ_TORN;
    uint64_t left = r->size - offset - sizeof(*h);
    if (h->bytes > left || h->bytes == 0 || h->bytes & 7 || h->synced > h->position)
        return FLM__READ_TORN;
    bytes = look(r, offset, sizeof(*h) + h->bytes);
    if (!bytes)
        return failed(r, errno, "read", error);
    frame->records = bytes + sizeof(*h);
    frame->offset = offset;
    frame->count = 0;
    if (h->checksum !=
        XXH3_64bits_withSeed(frame->records, h->bytes, flm__frame_seed(&r->header, h->position)))
        return FLM__READ_TORN;
    return FLM__READ_GOOD;
}

static enum flm__read only_zeros(struct flm__reader *r, flm_error *error)
{
    for (uint64_t at = r->offset; at < r->size; at++) {
        const char *byte = look(r, at, 1);
        if (!byte)
            return failed(r, errno, "read", error);
        if (*byte)
            return FLM__READ_TORN;
    }
    return FLM__READ_END;
}

enum flm__read flm__reader_next(struct flm__reader *r, struct flm__frame *frame, flm_error *error)
{
    if (r->offset >= r->size)
        return FLM__READ_END;
    enum flm__read status = frame_at(r, r->offset, frame, error);
    if (status == FLM__READ_TORN)
        return only_zeros(r, error);
    if (status != FLM__READ_GOOD)
        return status;
    if (frame->header.position != r->position)
        return FLM__READ_TORN; /* the search finds it */
    if (frame->header.synced > r->synced)
        r->synced = frame->header.synced;
    r->offset += sizeof(frame->header) + frame->header.bytes;
    r->position += frame->header.bytes;
    return FLM__READ_GOOD;
}

enum flm__read flm__reader_search(struct flm__reader *r, struct flm__found *found, flm_error *error)
{
    static const uint32_t magic = FLM__FRAME_MAGIC;
    enum flm__read result = FLM__READ_TORN;
    *found = (struct flm__found){.synced = 0};
    for (uint64_t at = r->offset; at + sizeof(struct flm__frame_header) <= r->size;) {
        struct flm__frame frame;
        const char *bytes = look(r, at, sizeof(magic));
        if (!bytes)
            return failed(r, errno, "read", error);
        enum flm__read status =
            memcmp(bytes, &magic, sizeof(magic)) != 0 ? FLM__READ_TORN : frame_at(r, at, &frame, error);
        if (status == FLM__READ_ERROR)
            return status;
        if (status != FLM__READ_GOOD) {
            at += 8;
            continue;
        }
        if (result == FLM__READ_TORN)
            *found = (struct flm__found){.offset = at, .position = frame.header.position};
        result = FLM__READ_DAMAGED;
        if (frame.header.synced > found->synced)
            found->synced = frame.header.synced;
        at += sizeof(frame.header) + frame.header.bytes;
    }
    return result;
}

/* ---- Records ---- */

static bool well_formed(struct flm__frame *frame)
{
    uint64_t at = 0, n = 0;
    for (; at < frame->header.bytes; n++) {
        const struct flm__journal_record *record = (const void *)(frame->records + at);
        uint64_t left = frame->header.bytes - at;
        if (left < sizeof(*record) || record->size > left - sizeof(*record))
            return false;
        at += flm__journal_bytes(record->size);
    }
    frame->count = n;
    return at == frame->header.bytes;
}

int flm__frame_records(struct flm__frame *frame, flm__journal_fn fn, void *arg, bool *malformed)
{
    *malformed = !well_formed(frame);
    if (*malformed || !fn)
        return 0;
    for (uint64_t at = 0; at < frame->header.bytes;) {
        const struct flm__journal_record *record = (const void *)(frame->records + at);
        at += flm__journal_bytes(record->size);
        int status = fn(arg, record, record + 1, frame->header.position + at);
        if (status)
            return status;
    }
    return 0;
}
