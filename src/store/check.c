/* Verifying a journal that nobody uses, as far as it goes, and cutting off a torn end. */
#define _GNU_SOURCE
#include "base/error.h"
#include "store/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct check {
    struct flm__folder folder;
    struct flm__reader reader;
    struct flm__journal_checked *told;
    flm__journal_damage_fn fn;
    void *arg;
    bool repair, any;
    uint64_t journal, number, end; /* of the segment before, if there was any */
    flm_error *error;
};

#define TORN "the end is no whole frame, as after a crash in the middle of a write"
#define NEVER_SYNCED                                                                                       \
    "no frame, but whole ones after it, which nobody was told to be on the disk: as after a loss of power"

static void tell(struct check *c, uint64_t offset, uint64_t bytes, bool repaired, const char *what)
{
    c->told->damages++;
    c->told->repaired += repaired;
    if (c->fn)
        c->fn(c->arg, &(struct flm__journal_damage){c->reader.name.text, offset, bytes, what, repaired});
}

/* The segment ends here now: 1, or an error. */
static int cut(struct check *c, const char *what)
{
    struct flm__reader *r = &c->reader;
    int fd = openat(c->folder.fd, r->name.text, O_WRONLY | O_CLOEXEC), status = 0;
    if (fd < 0 || ftruncate(fd, (off_t)r->offset) || fsync(fd))
        status = flm__error_errno(c->error, FLM_EIO, errno, "cannot shorten %s/%s", c->folder.path,
                                  r->name.text);
    if (fd >= 0)
        close(fd);
    if (status)
        return status;
    tell(c, r->offset, r->size - r->offset, true, what);
    return 1;
}

static int only_tell(struct check *c, const char *what)
{
    tell(c, c->reader.offset, c->reader.size - c->reader.offset, false, what);
    return 1;
}

/* 0: go on with the reader's next; 1: this segment is done; or an error. */
static int damaged_frame(struct check *c, bool last)
{
    struct flm__reader *r = &c->reader;
    struct flm__found found;
    switch (flm__reader_search(r, &found, c->error)) {
    case FLM__READ_ERROR:
        return c->error->code;
    case FLM__READ_TORN:
        return last && c->repair ? cut(c, TORN) : only_tell(c, last ? TORN : "its end is no whole frame");
    default:
        break;
    }
    /* A disk writes in any order what it was not told to sync. */
    if (last && found.synced <= r->position && c->repair)
        return cut(c, NEVER_SYNCED);
    char text[sizeof(NEVER_SYNCED) + 100];
    snprintf(text, sizeof(text), NEVER_SYNCED "; a repair cuts off all from here on, %llu bytes",
             (unsigned long long)(r->size - r->offset));
    tell(c, r->offset, found.offset - r->offset, false,
         found.offset == r->offset             ? "records are missing here, or are there twice"
         : last && found.synced <= r->position ? text
                                               : "no frame, but there are whole ones after it");
    r->offset = found.offset;
    r->position = found.position;
    return 0;
}

static int frames(struct check *c, bool last)
{
    struct flm__frame frame;
    for (;;) {
        int status = 0;
        bool malformed;
        switch (flm__reader_next(&c->reader, &frame, c->error)) {
        case FLM__READ_GOOD:
            flm__frame_records(&frame, NULL, NULL, &malformed);
            if (malformed)
                tell(c, frame.offset, sizeof(frame.header) + frame.header.bytes, false,
                     "its records do not fill the frame, though its checksum is right");
            c->told->frames += !malformed;
            c->told->records += frame.count;
            c->told->bytes += sizeof(frame.header) + frame.header.bytes;
            continue;
        case FLM__READ_ERROR:
            return c->error->code;
        case FLM__READ_END:
            return 0;
        default:
            status = damaged_frame(c, last);
            if (status)
                return status < 0 ? status : 0;
        }
    }
}

static void check_order(struct check *c)
{
    const struct flm__segment_header *h = &c->reader.header;
    c->told->segments++;
    c->told->bytes += sizeof(*h);
    if (c->any && h->journal != c->journal)
        tell(c, 0, 0, false, "the segment belongs to another journal");
    else if (c->any && h->first != c->end)
        tell(c, 0, 0, false,
             h->first > c->end ? "records are missing between the segment before it and this one"
                               : "it begins before the segment before it ends");
    else if (c->any && h->number <= c->number)
        tell(c, 0, 0, false, "its number is not greater than that of the segment before it");
    c->any = true;
    c->journal = h->journal;
    c->number = h->number;
}

static int headless(struct check *c, bool last)
{
    static const char what[] = "the segment has no header, as after a crash while it was made";
    if (!last || !c->repair) {
        tell(c, 0, c->reader.size, false, what);
        return 0;
    }
    if (unlinkat(c->folder.fd, c->reader.name.text, 0))
        return flm__error_errno(c->error, FLM_EIO, errno, "cannot remove %s/%s", c->folder.path,
                                c->reader.name.text);
    tell(c, 0, c->reader.size, true, what);
    return 0;
}

static int one_segment(struct check *c, size_t i)
{
    bool last = i + 1 == c->folder.n;
    char text[100];
    switch (flm__reader_open(&c->reader, &c->folder, c->folder.firsts[i], c->error)) {
    case FLM__READ_ERROR:
        return c->error->code;
    case FLM__READ_TORN:
        return headless(c, last);
    case FLM__READ_VERSION:
        snprintf(text, sizeof(text), "the segment is of version %u of the journal; this Flame knows %u",
                 c->reader.header.version, FLM__SEGMENT_VERSION);
        tell(c, 8, 4, false, text);
        return 0;
    case FLM__READ_GOOD:
        break;
    default:
        tell(c, 0, sizeof(c->reader.header), false, "the segment's header is damaged");
        return 0;
    }
    check_order(c);
    int status = frames(c, last);
    c->end = c->reader.position;
    return status;
}

int flm__journal_check(const char *path, bool repair, flm__journal_damage_fn fn, void *arg,
                       struct flm__journal_checked *checked, flm_error *error)
{
    struct flm__journal_checked unheard;
    flm_error unread = {.code = 0};
    struct check c = {.reader = {.fd = -1},
                      .told = checked ? checked : &unheard,
                      .fn = fn,
                      .arg = arg,
                      .repair = repair,
                      .error = error ? error : &unread};
    *c.told = (struct flm__journal_checked){.segments = 0};
    int status = flm__folder_open(&c.folder, path, false, c.error);
    if (!status && !c.folder.n)
        status = flm__error_set(c.error, FLM_ENOTFOUND, "%s has no journal: there is no file like %s", path,
                                flm__segment_name(0).text);
    for (size_t i = 0; !status && i < c.folder.n; i++) {
        status = one_segment(&c, i);
        flm__reader_close(&c.reader);
    }
    flm__folder_close(&c.folder);
    return status;
}
