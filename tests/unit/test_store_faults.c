/* The journal where things fail: torn tails, flipped bits, full and failing disks, killed writers. */
#define _GNU_SOURCE
#include "store_fixture.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static int new_bell(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* ---- A disk that does what it is told ---- */

static struct {
    _Atomic int write_errno, sync_errno; /* 0: works */
    _Atomic unsigned most;               /* bytes that one write takes; 0: all */
    _Atomic long bytes;                  /* left until write_errno happens; < 0: no end */
    _Atomic unsigned writes, syncs;
} disk;

static void disk_reset(void)
{
    disk.write_errno = disk.sync_errno = 0;
    disk.most = disk.writes = disk.syncs = 0;
    disk.bytes = -1;
}

static ssize_t disk_write(int fd, const struct iovec *parts, int n, off_t offset)
{
    size_t all = 0;
    for (int i = 0; i < n; i++)
        all += parts[i].iov_len;
    size_t most = disk.most && disk.most < all ? disk.most : all;
    disk.writes++;
    if (disk.bytes >= 0 && (size_t)disk.bytes < most)
        most = (size_t)disk.bytes;
    if (disk.bytes >= 0 && most == 0) {
        errno = disk.write_errno;
        return -1;
    }
    if (disk.bytes > 0)
        disk.bytes -= (long)most;
    if (most == all)
        return pwritev(fd, parts, n, offset);
    struct iovec first = parts[0];
    if (first.iov_len > most)
        first.iov_len = most;
    return pwritev(fd, &first, 1, offset);
}

static int disk_sync(int fd)
{
    disk.syncs++;
    if (disk.sync_errno) {
        errno = disk.sync_errno;
        return -1;
    }
    return fdatasync(fd);
}

static const struct flm__journal_io disk_io = {disk_write, disk_sync};

/* ---- What is left of a journal ---- */

struct damages {
    unsigned n, repaired;
    char first[200];
};

static void note_damage(void *arg, const struct flm__journal_damage *d)
{
    struct damages *all = arg;
    if (!all->n++)
        snprintf(all->first, sizeof(all->first), "%s at %lu: %s", d->file, (unsigned long)d->offset,
                 d->what);
    all->repaired += d->repaired;
}

static struct damages check(const char *folder, bool repair)
{
    struct damages all = {.n = 0};
    struct flm__journal_checked told;
    flm_error error = {.text = ""};
    if (flm__journal_check(folder, repair, note_damage, &all, &told, &error))
        fail_msg("%s", error.text);
    assert_int_equal(told.damages, all.n);
    assert_int_equal(told.repaired, all.repaired);
    return all;
}

/* Replays; 0 and the records, or the error. */
static int replay(const char *folder, struct store_log *log, struct flm__journal_replayed *told,
                  flm_error *error)
{
    struct flm__journal *j = store_open(folder, NULL);
    int status = flm__journal_replay(j, store_check_record, log, told, error);
    flm__journal_close(j);
    return status;
}

/* A small journal of `segments` segments with `frames` frames of two records each. The ends of the frames
 * in the last segment, as offsets in its file, are in ends. */
static void small_journal(const char *folder, unsigned segments, unsigned frames, bool sync, size_t *ends)
{
    struct flm__journal_options o = {.ring_bytes = RING, .event_fd = new_bell()};
    uint64_t next = 0;
    for (unsigned s = 0; s < segments; s++) {
        struct flm__journal *j = store_start(folder, &o, &next);
        char *file = store_segment(folder, -1);
        for (unsigned f = 0; f < frames; f++) {
            store_append(j, next++, 40);
            uint64_t position = store_append(j, next++, 40);
            flm__journal_commit(j, sync);
            store_wait_written(j, o.event_fd, position);
            if (sync)
                store_wait_synced(j, o.event_fd, position);
            struct stat st;
            assert_int_equal(stat(file, &st), 0);
            if (ends && !sync)
                ends[f] = (size_t)st.st_size;
        }
        free(file);
        flm__journal_close(j);
    }
    close(o.event_fd);
}

/* The last segment cut at every byte: what was whole is there, nothing else is. */
static void torn_anywhere(void **state)
{
    enum { SEGMENTS = 2, FRAMES = 5 };
    char *folder = store_folder(), *copy = store_folder();
    size_t ends[FRAMES], size;
    (void)state;
    small_journal(folder, SEGMENTS, FRAMES, false, ends);
    char *file = store_segment(folder, -1);
    unsigned char *bytes = store_read(file, &size);
    assert_int_equal(size, ends[FRAMES - 1]);
    for (size_t cut = 0; cut <= size; cut++) {
        struct store_log log = {.next = 0};
        struct flm__journal_replayed told;
        size_t whole = 0, start = cut < 64 ? 0 : 64;
        for (; whole < FRAMES && ends[whole] <= cut; whole++)
            start = ends[whole];
        store_folder_copy(folder, copy);
        char *torn = store_segment(copy, -1);
        store_write(torn, bytes, cut);
        bool clean = cut == start && cut >= 64;
        assert_int_equal(check(copy, false).n, !clean);
        if (cut % 3 == 0) { /* repaired first */
            assert_int_equal(check(copy, true).repaired, !clean);
            assert_int_equal(check(copy, false).n, 0);
            clean = true;
        }
        assert_int_equal(replay(copy, &log, &told, NULL), 0);
        assert_int_equal(log.next, 2 * (FRAMES + whole));
        assert_int_equal(told.cut, clean ? 0 : cut - start);
        assert_int_equal(*told.cut_where != 0, !clean && cut > start);
        /* and it goes on from there */
        uint64_t next;
        struct flm__journal *j = store_start(copy, NULL, &next);
        assert_int_equal(next, 2 * (FRAMES + whole));
        store_append(j, next, 40);
        flm__journal_close(j);
        log = (struct store_log){.next = 0};
        assert_int_equal(replay(copy, &log, &told, NULL), 0);
        assert_int_equal(log.next, next + 1);
        free(torn);
    }
    free(bytes);
    free(file);
    store_folder_end(copy);
    store_folder_end(folder);
}

/* The file with one bit of byte `at` wrong. */
static void flip(const char *file, unsigned char *bytes, size_t size, size_t at)
{
    unsigned char bit = (unsigned char)(1 << (at * 7 % 8));
    bytes[at] ^= bit;
    store_write(file, bytes, size);
    bytes[at] ^= bit;
}

/* Each byte in turn gets one bit flipped, in each of two segments: found, never believed, and what was
 * whole before it is read. Only in the last frame of all may it pass for a torn tail. */
static void flipped_anywhere(void **state)
{
    enum { SEGMENTS = 2, FRAMES = 4 };
    char *folder = store_folder(), *copy = store_folder();
    size_t ends[FRAMES], size;
    (void)state;
    small_journal(folder, SEGMENTS, FRAMES, false, ends);
    for (int s = 0; s < SEGMENTS; s++) {
        char *file = store_segment(folder, s);
        unsigned char *bytes = store_read(file, &size);
        for (size_t at = 0; at < size; at++) {
            struct store_log log = {.next = 0};
            struct flm__journal_replayed told;
            flm_error error = {.text = ""};
            store_folder_copy(folder, copy);
            char *bad = store_segment(copy, s);
            flip(bad, bytes, size, at);
            assert_true(check(copy, false).n > 0);
            bool tail = s + 1 == SEGMENTS && at >= ends[FRAMES - 2];
            assert_int_equal(check(copy, true).repaired, s + 1 == SEGMENTS && at >= 64);
            flip(bad, bytes, size, at);
            int status = replay(copy, &log, &told, &error);
            if (tail) {
                assert_int_equal(status, 0);
                assert_int_equal(told.cut, size - ends[FRAMES - 2]);
                assert_int_equal(log.next, 2 * (SEGMENTS * FRAMES - 1));
            } else if (at >= 8 && at < 12) {
                assert_int_equal(status, FLM_EVERSION);
                assert_non_null(strstr(error.text, "version"));
            } else {
                assert_int_equal(status, FLM_EIO);
                assert_non_null(strstr(error.text, strrchr(bad, '/')));
                assert_non_null(strstr(error.text, "flmctl fsck"));
                assert_true(log.next <= 2 * SEGMENTS * FRAMES - 2);
            }
            free(bad);
        }
        free(bytes);
        free(file);
    }
    store_folder_end(copy);
    store_folder_end(folder);
}

/* Damage to what was synced is never cut off; a hole in what was not is, on request. */
static void holes(void **state)
{
    (void)state;
    for (int sync = 0; sync < 2; sync++) {
        char *folder = store_folder();
        size_t size;
        small_journal(folder, 1, 4, sync, NULL);
        char *file = store_segment(folder, 0);
        unsigned char *bytes = store_read(file, &size);
        memset(bytes + 64, 0, 40); /* the first frame never came to the disk */
        store_write(file, bytes, size);
        struct flm__journal_replayed told;
        struct store_log log = {.next = 0};
        assert_int_equal(replay(folder, &log, &told, NULL), FLM_EIO);
        assert_int_equal(check(folder, false).n, 1);
        assert_int_equal(check(folder, true).repaired, sync ? 0 : 1);
        assert_int_equal(replay(folder, &log, &told, NULL), sync ? FLM_EIO : 0);
        assert_int_equal(log.next, 0);
        free(bytes);
        free(file);
        store_folder_end(folder);
    }
}

static void files_mixed_up(void **state)
{
    char *folder = store_folder(), *other = store_folder(), *copy = store_folder();
    struct flm__journal_replayed told;
    flm_error error;
    (void)state;
    small_journal(folder, 3, 2, false, NULL);
    small_journal(other, 3, 2, false, NULL);
    for (int which = 0; which < 4; which++) {
        store_folder_copy(folder, copy);
        char *second = store_segment(copy, 1);
        if (which == 0) { /* missing */
            unlink(second);
        } else if (which == 1) { /* of another journal */
            size_t size;
            char *theirs = store_segment(other, 1);
            unsigned char *bytes = store_read(theirs, &size);
            store_write(second, bytes, size);
            free(bytes);
            free(theirs);
        } else if (which == 2) { /* empty, and not the last */
            store_write(second, "", 0);
        } else { /* under a wrong name */
            char *first = store_segment(copy, 0);
            rename(first, second);
            free(first);
        }
        struct store_log log = {.next = 0};
        assert_int_equal(replay(copy, &log, &told, &error), FLM_EIO);
        assert_true(check(copy, true).n > 0);
        log.next = log.position = 0;
        assert_int_equal(replay(copy, &log, &told, &error), FLM_EIO);
        free(second);
    }
    store_folder_end(copy);
    store_folder_end(other);
    store_folder_end(folder);
}

/* ---- Disks that fail ---- */

/* Writes that take a few bytes at a time. */
static void short_writes(void **state)
{
    char *folder = store_folder();
    struct flm__journal_options o = {.ring_bytes = RING, .event_fd = new_bell(), .io = &disk_io};
    struct store_log log = {.next = 0};
    (void)state;
    disk_reset();
    struct flm__journal *j = store_start(folder, &o, NULL);
    for (uint64_t i = 0; i < 300; i++) {
        disk.most = (unsigned)(1 + i % 60);
        uint64_t position = store_append_wait(j, o.event_fd, i, 100);
        flm__journal_commit(j, false);
        store_wait_written(j, o.event_fd, position);
    }
    flm__journal_close(j);
    assert_true(disk.writes > 600);
    assert_int_equal(check(folder, false).n, 0);
    assert_int_equal(replay(folder, &log, NULL, NULL), 0);
    assert_int_equal(log.next, 300);
    close(o.event_fd);
    store_folder_end(folder);
}

static uint64_t fill_until_refused(struct flm__journal *j, uint64_t i, uint64_t *last)
{
    uint64_t position;
    while ((position = store_append(j, i, 500)) != 0) {
        *last = position;
        flm__journal_commit(j, false);
        i++;
    }
    return i;
}

/* Full at any byte of a frame, also while a segment begins: waits, loses nothing, goes on. */
static void full_disk(void **state)
{
    static const int reasons[] = {ENOSPC, EDQUOT, EFBIG, ENOMEM};
    char *folder = store_folder();
    struct flm__journal_options o = {
        .ring_bytes = RING, .segment_bytes = 100000, .event_fd = new_bell(), .io = &disk_io};
    uint64_t next = 0, last = 0;
    (void)state;
    disk_reset();
    struct flm__journal *j = store_start(folder, &o, NULL);
    for (unsigned round = 0; round < 40; round++) {
        flm_error error = {.code = 0};
        disk.write_errno = reasons[round % 4];
        disk.bytes = (long)(round * 37 % 5000);
        for (int i = 0; i < 100; i++)
            next = fill_until_refused(j, next, &last);
        store_wait_state(j, o.event_fd, FLM__JOURNAL_FULL);
        flm__journal_error(j, &error);
        assert_int_equal(error.code, FLM_EIO);
        assert_non_null(strstr(error.text, strerror(reasons[round % 4])));
        assert_non_null(strstr(error.text, folder));
        next = fill_until_refused(j, next, &last);
        assert_true(flm__journal_written(j) < last);
        disk.bytes = -1;
        flm__journal_retry(j);
        store_wait_written(j, o.event_fd, last);
        assert_int_equal(flm__journal_state(j), FLM__JOURNAL_GOOD);
    }
    uint64_t written = next; /* ended while it is full: what was written is there */
    disk.bytes = 100;
    next = fill_until_refused(j, next, &last);
    flm_error error = {.code = 0};
    assert_int_equal(flm__journal_stop(j, &error), FLM_EIO);
    assert_int_equal(error.code, FLM_EIO);
    flm__journal_close(j);
    struct store_log log = {.next = 0};
    assert_int_equal(check(folder, false).n, 0);
    assert_int_equal(replay(folder, &log, NULL, NULL), 0);
    assert_in_range(log.next, written, next);
    assert_true(store_segments(folder) > 5);
    close(o.event_fd);
    store_folder_end(folder);
}

static void failing_disk(void **state)
{
    (void)state;
    for (int sync = 0; sync < 2; sync++) {
        char *folder = store_folder();
        struct flm__journal_options o = {.ring_bytes = RING, .event_fd = new_bell(), .io = &disk_io};
        uint64_t next = 0, last = 0;
        flm_error error;
        disk_reset();
        struct flm__journal *j = store_start(folder, &o, NULL);
        for (; next < 10; next++)
            last = store_append(j, next, 50);
        flm__journal_commit(j, true);
        store_wait_synced(j, o.event_fd, last);
        uint64_t good = last;
        disk.write_errno = EIO;
        disk.bytes = sync ? -1 : 20;
        disk.sync_errno = sync ? ENOSPC : 0; /* no sync is tried twice, whatever it says */
        last = store_append(j, next++, 50);
        flm__journal_commit(j, true);
        store_wait_state(j, o.event_fd, FLM__JOURNAL_FAILED);
        disk_reset();
        flm__journal_retry(j);
        next = fill_until_refused(j, next, &last);
        flm__journal_commit(j, true);
        flm__journal_error(j, &error);
        assert_non_null(strstr(error.text, sync ? "cannot sync" : "cannot write"));
        assert_int_equal(flm__journal_synced(j), good);
        assert_int_equal(flm__journal_stop(j, &error), FLM_EIO);
        assert_int_equal(flm__journal_synced(j), good);
        assert_int_equal(disk.syncs, 0);
        flm__journal_close(j);
        struct store_log log = {.next = 0};
        assert_int_equal(replay(folder, &log, NULL, NULL), 0);
        assert_int_equal(log.next, sync ? 11 : 10);
        close(o.event_fd);
        store_folder_end(folder);
    }
}

/* No sync that nobody asked for; one for many that came meanwhile. */
static void syncs(void **state)
{
    char *folder = store_folder();
    struct flm__journal_options o = {
        .ring_bytes = RING, .segment_bytes = 100000, .event_fd = new_bell(), .io = &disk_io};
    struct flm__journal_stats stats;
    uint64_t last = 0, next = 0;
    (void)state;
    disk_reset();
    struct flm__journal *j = store_start(folder, &o, NULL);
    for (; next < 1000; next++) {
        last = store_append_wait(j, o.event_fd, next, 400);
        flm__journal_commit(j, false);
    }
    store_wait_written(j, o.event_fd, last);
    assert_int_equal(disk.syncs, 0);
    assert_int_equal(flm__journal_synced(j), 0);
    unsigned files = store_segments(folder);
    assert_true(files > 1);
    flm__journal_commit(j, true); /* without a new record */
    store_wait_synced(j, o.event_fd, last);
    assert_int_equal(disk.syncs, files); /* the older segments, too */
    for (int i = 0; i < 50; i++)
        flm__journal_commit(j, true);
    for (; next < 1100; next++) {
        last = store_append_wait(j, o.event_fd, next, 40);
        flm__journal_commit(j, true);
        store_wait_synced(j, o.event_fd, last);
        assert_true(flm__journal_written(j) >= flm__journal_synced(j));
    }
    flm__journal_stats(j, &stats);
    assert_in_range(disk.syncs, files + 100, files + 105);
    assert_in_range(stats.syncs, 101, 105);
    flm__journal_close(j);
    disk.syncs = 0;
    j = store_start(folder, &o, &next); /* it was told to sync before */
    assert_int_equal(next, 1100);
    store_wait_synced(j, o.event_fd, last);
    assert_true(disk.syncs > 0);
    flm__journal_close(j);
    close(o.event_fd);
    store_folder_end(folder);
}

/* An owner that always has more to write, and wants a sync of all of it: the sync is not put off for ever.
 */
static void busy_owner(void **state)
{
    char *folder = store_folder();
    struct flm__journal_options o = {.ring_bytes = RING, .event_fd = new_bell()};
    struct flm__journal *j = store_start(folder, &o, NULL);
    (void)state;
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t position = store_append_wait(j, o.event_fd, i, i % 8 ? 300 : RING);
        flm__journal_commit(j, true);
        assert_true(position - flm__journal_synced(j) < 16 * RING); /* twice what may be under way */
    }
    flm__journal_close(j);
    close(o.event_fd);
    store_folder_end(folder);
}

/* Limits and disks of the kernel: fills until it is full, then makes room. */
static void fill_real(const char *folder, void (*make_room)(void))
{
    struct flm__journal_options o = {.event_fd = new_bell()};
    uint64_t next, last = 0;
    flm_error error;
    struct flm__journal *j = store_start(folder, &o, &next);
    while (flm__journal_state(j) == FLM__JOURNAL_GOOD) {
        for (int i = 0; i < 100; i++, next++) {
            uint64_t position = store_append(j, next, 3000);
            if (!position)
                break;
            last = position;
        }
        flm__journal_commit(j, next % 3 == 0);
    }
    flm__journal_error(j, &error);
    uint64_t written = flm__journal_written(j);
    assert_true(written < last);
    char *copy = store_folder(); /* as it would be if we were killed now */
    store_folder_copy(folder, copy);
    make_room();
    flm__journal_retry(j);
    store_wait_written(j, o.event_fd, last);
    flm__journal_close(j);
    struct store_log log = {.next = 0};
    assert_int_equal(replay(copy, &log, NULL, NULL), 0);
    assert_true(log.position >= written);
    log = (struct store_log){.next = 0};
    assert_int_equal(replay(folder, &log, NULL, NULL), 0);
    assert_int_equal(log.position, last);
    store_folder_end(copy);
    close(o.event_fd);
}

static void no_limit(void)
{
    struct rlimit l;
    getrlimit(RLIMIT_FSIZE, &l);
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_FSIZE, &l);
}

static void file_limit(void **state)
{
    char *folder = store_folder();
    struct rlimit l;
    (void)state;
    getrlimit(RLIMIT_FSIZE, &l);
    l.rlim_cur = 1234567;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
    fill_real(folder, no_limit);
    store_folder_end(folder);
}

static char *tmpfs;

static void larger_tmpfs(void)
{
    assert_int_equal(mount(NULL, tmpfs, NULL, MS_REMOUNT, "size=64m"), 0);
}

static void full_tmpfs(void **state)
{
    (void)state;
    tmpfs = store_folder();
    assert_int_equal(mkdir(tmpfs, 0700), 0);
    pid_t child = fork(); /* mounts are its own */
    if (child == 0) {
        if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
            mount("tmpfs", tmpfs, "tmpfs", 0, "size=3m"))
            _exit(77);
        fill_real(tmpfs, larger_tmpfs);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    rmdir(tmpfs);
    free(tmpfs);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

/* ---- Killed writers ---- */

struct told {
    _Atomic uint64_t written, synced;
};

static void write_until_killed(const char *folder, struct told *told, unsigned seed)
{
    struct flm__journal_options o = {.ring_bytes = RING, .segment_bytes = 200000, .event_fd = new_bell()};
    uint64_t next, first, last;
    struct flm__journal *j = store_start(folder, &o, &next);
    for (unsigned k = seed;; next++, k = k * 1103515245 + 12345) {
        last = store_append_wait(j, o.event_fd, next, k & 0x70000 ? 300 : RING);
        if (flm__journal_rolled(j, &first))
            flm__journal_drop_before(j, first, last);
        if (k & 0x3000)
            continue;
        flm__journal_commit(j, k & 0x8000);
        told->synced = flm__journal_synced(j);
        told->written = flm__journal_written(j);
    }
}

static void killed(void **state)
{
    char *folder = store_folder();
    struct told *told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)state;
    assert_ptr_not_equal(told, MAP_FAILED);
    for (unsigned round = 0; round < 60; round++) {
        uint64_t before = told->written;
        pid_t child = fork();
        if (child == 0)
            write_until_killed(folder, told, round * 7919 + 1);
        for (int ms = 0; told->written == before && ms < 60000 && waitpid(child, NULL, WNOHANG) == 0; ms++)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        nanosleep(&(struct timespec){.tv_nsec = (long)(round * 7561 % 40) * 100000}, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        assert_true(told->written > before);
        if (check(folder, false).n) /* nothing but the tail */
            assert_int_equal(check(folder, round % 2).n, 1);
        struct store_log log = {.any = true};
        struct flm__journal_replayed replayed;
        flm_error error = {.text = ""};
        if (replay(folder, &log, &replayed, &error))
            fail_msg("round %u: %s", round, error.text);
        assert_true(replayed.end >= told->written);
        assert_true(replayed.end >= told->synced);
        assert_true(store_segments(folder) < 10);
        store_folder_end(folder);
        folder = store_folder();
        told->written = told->synced = 0;
    }
    munmap(told, 4096);
    store_folder_end(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torn_anywhere), cmocka_unit_test(flipped_anywhere),
        cmocka_unit_test(holes),         cmocka_unit_test(files_mixed_up),
        cmocka_unit_test(short_writes),  cmocka_unit_test(full_disk),
        cmocka_unit_test(failing_disk),  cmocka_unit_test(syncs),
        cmocka_unit_test(busy_owner),    cmocka_unit_test(file_limit),
        cmocka_unit_test(full_tmpfs),    cmocka_unit_test(killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
