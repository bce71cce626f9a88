/* Reading a journal at start: every record in order, or a refusal that names the place. */
#define _GNU_SOURCE
#include "store/inside.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct replay {
    struct flm__journal_inside *j;
    flm__journal_fn fn;
    void *arg;
    struct flm__journal_replayed *told;
    struct flm__reader reader;
    flm_error *error;
};

static int refuse(struct replay *p, const char *what)
{
    const struct flm__folder *f = &p->j->folder;
    return flm__error_set(p->error, FLM_EIO,
                          "the journal is damaged: %s/%s at byte %" PRIu64
                          ": %s; copy the folder, then see what flmctl fsck %s says",
                          f->path, p->reader.name.text, p->reader.offset, what, f->path);
}

static int refuse_version(struct replay *p)
{
    return flm__error_set(
        p->error, FLM_EVERSION,
        "%s/%s is of version %u of the journal, and this is Flame %s, which knows version %u: "
        "use the Flame that wrote it",
        p->j->folder.path, p->reader.name.text, p->reader.header.version, FLM_VERSION,
        FLM__SEGMENT_VERSION);
}

/* The end of the last segment that is no frame. */
static int cut(struct replay *p)
{
    struct flm__reader *r = &p->reader;
    p->told->cut = r->size - r->offset;
    snprintf(p->told->cut_where, sizeof(p->told->cut_where), "%s/%s at byte %" PRIu64, p->j->folder.path,
             r->name.text, r->offset);
    return 0;
}

/* What is after the last frame of the last segment goes, zeros too: the file will not be the last. */
static int shorten(struct replay *p)
{
    struct flm__reader *r = &p->reader;
    if (r->size == r->offset)
        return 0;
    int fd = openat(p->j->folder.fd, r->name.text, O_WRONLY | O_CLOEXEC), status = 0;
    if (fd < 0 || ftruncate(fd, (off_t)r->offset) || fsync(fd))
        status = flm__error_errno(p->error, FLM_EIO, errno, "cannot shorten %s/%s to its last whole frame",
                                  p->j->folder.path, r->name.text);
    if (fd >= 0)
        close(fd);
    return status;
}

static int check_order(struct replay *p, size_t i)
{
    struct flm__journal_inside *j = p->j;
    const struct flm__segment_header *h = &p->reader.header;
    if (i == 0) {
        j->id = h->journal;
    } else {
        p->reader.offset = 0; /* for the message: it is about the file */
        if (h->journal != j->id)
            return refuse(p, "the segment belongs to another journal");
        if (h->first != p->told->end)
            return refuse(p, "it does not begin where the segment before it ends");
        if (h->number <= j->number)
            return refuse(p, "its number is not greater than that of the segment before it");
        p->reader.offset = sizeof(*h);
    }
    j->number = h->number;
    p->told->end = h->first;
    return 0;
}

static int one_frame(struct replay *p, struct flm__frame *frame)
{
    bool malformed;
    uint64_t end = frame->header.position + frame->header.bytes;
    int status = flm__frame_records(frame, p->fn, p->arg, &malformed);
    if (malformed) {
        p->reader.offset = frame->offset;
        return refuse(p, "its records do not fill the frame, though its checksum is right");
    }
    p->told->frames++;
    p->told->records += frame->count;
    p->told->end = end;
    return status;
}

static int torn(struct replay *p, bool last)
{
    struct flm__found found;
    switch (flm__reader_search(&p->reader, &found, p->error)) {
    case FLM__READ_ERROR:
        return p->error->code;
    case FLM__READ_TORN:
        return last ? cut(p) : refuse(p, "no frame, and this is not the last segment");
    default:
        return refuse(p, "no frame, but there are whole ones after it");
    }
}

static int frames(struct replay *p, bool last)
{
    struct flm__frame frame;
    for (;;) {
        int status = 0;
        switch (flm__reader_next(&p->reader, &frame, p->error)) {
        case FLM__READ_GOOD:
            status = one_frame(p, &frame);
            if (status)
                return status;
            continue;
        case FLM__READ_ERROR:
            return p->error->code;
        case FLM__READ_END:
            break;
        default:
            status = torn(p, last);
        }
        return status || !last ? status : shorten(p);
    }
}

/* A segment that was being made: it holds nothing. */
static int remove_last(struct replay *p)
{
    p->reader.offset = 0;
    cut(p);
    if (unlinkat(p->j->folder.fd, p->reader.name.text, 0))
        return flm__error_errno(p->error, FLM_EIO, errno, "cannot remove %s/%s, which has no header",
                                p->j->folder.path, p->reader.name.text);
    p->j->folder.n--;
    return 0;
}

static int one_segment(struct replay *p, size_t i)
{
    bool last = i + 1 == p->j->folder.n;
    switch (flm__reader_open(&p->reader, &p->j->folder, p->j->folder.firsts[i], p->error)) {
    case FLM__READ_GOOD:
        break;
    case FLM__READ_ERROR:
        return p->error->code;
    case FLM__READ_VERSION:
        return refuse_version(p);
    case FLM__READ_TORN:
        return last ? remove_last(p) : refuse(p, "it has no header");
    default:
        return refuse(p, "its header is damaged");
    }
    int status = check_order(p, i);
    if (!status)
        status = frames(p, last);
    if (!status)
        flm__journal_know_segment(p->j, p->reader.header.first, p->reader.offset);
    if (!status)
        p->told->segments++;
    return status;
}

int flm__journal_replay(struct flm__journal *journal, flm__journal_fn fn, void *arg,
                        struct flm__journal_replayed *replayed, flm_error *error)
{
    struct flm__journal_replayed unheard;
    flm_error unread = {.code = 0};
    struct replay p = {.j = flm__journal_inside(journal),
                       .fn = fn,
                       .arg = arg,
                       .told = replayed ? replayed : &unheard,
                       .reader = {.fd = -1},
                       .error = error ? error : &unread};
    *p.told = (struct flm__journal_replayed){.end = 0};
    if (p.j->phase != FLM__PHASE_OPEN)
        return flm__error_set(error, FLM_EINTERNAL, "the journal in %s was replayed before",
                              p.j->folder.path);
    p.j->phase = FLM__PHASE_REFUSED;
    int status = flm__journal_room_for_segments(p.j, p.j->folder.n + 1) ? 0 : FLM_ENOMEM;
    if (status)
        flm__error_set(error, status, "no memory for the segments in %s", p.j->folder.path);
    size_t n = p.j->folder.n;
    for (size_t i = 0; i < n && !status; i++) {
        status = one_segment(&p, i);
        flm__reader_close(&p.reader);
    }
    if (status)
        return status;
    p.j->end = p.told->end;
    p.j->was_synced = p.reader.synced;
    p.j->phase = FLM__PHASE_REPLAYED;
    return 0;
}
