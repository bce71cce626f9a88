/* The files of a journal that is being written. All by the journal's thread (or before it runs). */
#define _GNU_SOURCE
#include "base/time.h"
#include "store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char new_file[] = "new";

enum {
    AHEAD = 1 << 20, /* zeros written at once, where frames will be that are synced */
    SMALL = 1 << 19, /* bytes per sync; where there are more, writing twice costs more than it saves */
    LOOK_BYTES = 4 << 20,
};

bool flm__journal_room_for_segments(struct flm__journal_inside *j, size_t n)
{
    if (n <= j->thread.room)
        return true;
    size_t room = n < 16 ? 16 : 2 * n;
    struct flm__known_segment *more = realloc(j->thread.known, room * sizeof(*more));
    if (!more)
        return false;
    j->thread.known = more;
    j->thread.room = room;
    return true;
}

static void count_live(struct flm__journal_inside *j)
{
    uint64_t live = j->thread.offset;
    for (size_t i = 0; i + 1 < j->thread.n; i++)
        live += j->thread.known[i].bytes;
    atomic_store_explicit(&j->shared.live, live, memory_order_relaxed);
    atomic_store_explicit(&j->shared.segments, j->thread.n, memory_order_relaxed);
}

void flm__journal_know_segment(struct flm__journal_inside *j, uint64_t first, uint64_t bytes)
{
    j->thread.known[j->thread.n++] = (struct flm__known_segment){.first = first, .bytes = bytes};
}

static void look_at_room(struct flm__journal_inside *j)
{
    struct statvfs disk;
    uint64_t room = UINT64_MAX;
    if (fstatvfs(j->folder.fd, &disk) == 0)
        room = (uint64_t)disk.f_bavail * disk.f_frsize;
    atomic_store_explicit(&j->shared.room, room, memory_order_relaxed);
    j->thread.look_at = j->thread.offset + LOOK_BYTES;
}

/* ---- Writing ---- */

/* All of it, whatever the kernel takes at once. */
static int write_all(struct flm__journal_inside *j, int fd, struct iovec *parts, int n, uint64_t offset)
{
    while (n > 0) {
        ssize_t done = j->io.write(fd, parts, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : ENOSPC;
        offset += (uint64_t)done;
        while (n > 0 && (size_t)done >= parts->iov_len) {
            done -= (ssize_t)parts->iov_len;
            parts++;
            n--;
        }
        if (n > 0) {
            parts->iov_base = (char *)parts->iov_base + done;
            parts->iov_len -= (size_t)done;
        }
    }
    return 0;
}

/* Only what was written whole may be there: a short write is no frame. */
static void forget_rest(struct flm__journal_inside *j)
{
    if (ftruncate(j->thread.fd, (off_t)j->thread.offset) == 0)
        j->thread.ahead = j->thread.offset;
}

int flm__segment_frame(struct flm__journal_inside *j, const void *records, uint64_t bytes,
                       const char **doing)
{
    const struct flm__segment_header *s = &j->thread.segment;
    struct flm__frame_header h = {
        .magic = FLM__FRAME_MAGIC,
        .position = j->thread.position,
        .synced = atomic_load_explicit(&j->shared.synced, memory_order_relaxed),
        .bytes = bytes,
        .checksum = XXH3_64bits_withSeed(records, bytes, flm__frame_seed(s, j->thread.position)),
    };
    h.check = flm__frame_check(s, &h);
    struct iovec parts[] = {{&h, sizeof(h)}, {(void *)(uintptr_t)records, bytes}};
    *doing = "write to";
    int why = write_all(j, j->thread.fd, parts, 2, j->thread.offset);
    if (why) {
        forget_rest(j);
        return why;
    }
    j->thread.offset += sizeof(h) + bytes;
    atomic_fetch_add_explicit(&j->shared.frames, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&j->shared.bytes, sizeof(h) + bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&j->shared.live, sizeof(h) + bytes, memory_order_relaxed);
    if (j->thread.offset >= j->thread.look_at)
        look_at_room(j);
    return 0;
}

/* A sync is a third faster where the file need not grow (doc/facts.md, section H). */
static void write_ahead(struct flm__journal_inside *j)
{
    static const char zeros[1 << 16];
    if (j->thread.offset <= j->thread.ahead)
        return;
    uint64_t at = j->thread.offset, end = at + AHEAD;
    while (at < end) {
        struct iovec part = {(void *)(uintptr_t)zeros, sizeof(zeros)};
        if (write_all(j, j->thread.fd, &part, 1, at)) {
            forget_rest(j); /* no room for zeros: then without */
            return;
        }
        at += sizeof(zeros);
    }
    j->thread.ahead = end;
}

/* ---- Syncing ---- */

static int sync_folder(struct flm__journal_inside *j)
{
    if (!fsync(j->folder.fd))
        return 0;
    j->thread.lost = true;
    return errno;
}

/* Segments that ended before anybody asked for a sync. */
static int sync_older(struct flm__journal_inside *j)
{
    for (size_t i = 0; i + 1 < j->thread.n; i++) {
        struct flm__known_segment *k = &j->thread.known[i];
        if (k->synced)
            continue;
        int fd = openat(j->folder.fd, flm__segment_name(k->first).text, O_RDONLY | O_CLOEXEC);
        int why = fd < 0 || j->io.sync(fd) ? errno : 0;
        j->thread.lost |= fd >= 0 && why;
        if (fd >= 0)
            close(fd);
        if (why)
            return why;
        k->synced = true;
    }
    return 0;
}

static int sync_now(struct flm__journal_inside *j, const char **doing)
{
    struct flm__known_segment *current = &j->thread.known[j->thread.n - 1];
    int why = j->thread.syncs ? 0 : sync_older(j);
    *doing = "sync";
    if (!why && !current->synced)
        why = sync_folder(j);
    if (why)
        return why;
    current->synced = true; /* its name; its content when it ends */
    j->thread.syncs = true;
    if (j->io.sync(j->thread.fd)) {
        j->thread.lost = true;
        return errno;
    }
    atomic_fetch_add_explicit(&j->shared.syncs, 1, memory_order_relaxed);
    return 0;
}

int flm__segment_sync(struct flm__journal_inside *j, const char **doing)
{
    if (j->thread.position - atomic_load_explicit(&j->shared.synced, memory_order_relaxed) < SMALL)
        write_ahead(j);
    return sync_now(j, doing);
}

/* ---- Beginning and end ---- */

static int make_file(struct flm__journal_inside *j, const struct flm__segment_header *h)
{
    int fd = openat(j->folder.fd, new_file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    struct iovec part = {(void *)(uintptr_t)h, sizeof(*h)};
    int why = write_all(j, fd, &part, 1, 0);
    /* the name only once the header is there: a segment without is damaged */
    if (!why && renameat(j->folder.fd, new_file, j->folder.fd, flm__segment_name(h->first).text))
        why = errno;
    if (!why)
        return fd;
    close(fd);
    unlinkat(j->folder.fd, new_file, 0);
    errno = why;
    return -1;
}

int flm__segment_begin(struct flm__journal_inside *j, const char **doing)
{
    struct flm__segment_header h = {
        .magic = FLM__SEGMENT_MAGIC,
        .version = FLM__SEGMENT_VERSION,
        .bytes = sizeof(h),
        .journal = j->id,
        .number = j->number + 1,
        .first = j->thread.position,
        .created = flm__wall_ns(),
    };
    h.checksum = flm__segment_check(&h);
    *doing = "begin a new segment in";
    /* one without any record has the same name and is replaced */
    size_t n = j->thread.n;
    bool empty = n && j->thread.known[n - 1].first == h.first;
    if (!empty && !flm__journal_room_for_segments(j, n + 1))
        return ENOMEM;
    int fd = make_file(j, &h);
    if (fd < 0)
        return errno;
    if (j->thread.fd >= 0)
        close(j->thread.fd);
    j->number++;
    j->thread.fd = fd;
    j->thread.segment = h;
    j->thread.offset = sizeof(h);
    j->thread.ahead = sizeof(h);
    j->thread.n -= empty;
    flm__journal_know_segment(j, h.first, 0);
    atomic_fetch_add_explicit(&j->shared.bytes, sizeof(h), memory_order_relaxed);
    count_live(j);
    look_at_room(j);
    return 0;
}

/* The current file gets its true length, and is synced if that is wanted here. */
int flm__segment_end(struct flm__journal_inside *j, const char **doing)
{
    struct flm__known_segment *current = &j->thread.known[j->thread.n - 1];
    *doing = "end a segment in";
    current->bytes = j->thread.offset;
    if (ftruncate(j->thread.fd, (off_t)j->thread.offset))
        return errno;
    j->thread.ahead = j->thread.offset;
    return j->thread.syncs ? sync_now(j, doing) : 0;
}

void flm__segments_drop(struct flm__journal_inside *j, uint64_t first)
{
    struct flm__known_segment *known = j->thread.known;
    size_t n = 0;
    while (n + 1 < j->thread.n && known[n + 1].first <= first) {
        unlinkat(j->folder.fd, flm__segment_name(known[n].first).text,
                 0); /* gone already: so much the better */
        n++;
    }
    memmove(known, known + n, (j->thread.n - n) * sizeof(*known));
    j->thread.n -= n;
    count_live(j);
    look_at_room(j);
}
