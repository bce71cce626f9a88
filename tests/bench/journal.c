/* journal - what the journal carries, beside a bare log of the same records on the same disk.
 *
 * The bare log copies each record into a buffer and writes the buffer when so many are in it, without
 * checksum, thread or positions: the least that any log must do. Both begin a new file every 64 MiB and
 * delete the one before. Then with sync: a client that has so many records under way at most, beside the
 * bare fdatasync of one record. All in one run: compare only within it. */
#define _GNU_SOURCE
#include "base/time.h"
#include "store/journal.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GROUP = 64, BATCH = 512, FILE_BYTES = 64 << 20, LARGEST = 1 << 20 };

static struct {
    unsigned size, window, ring;
    double seconds;
    const char *folder;
} settings = {.size = 64, .window = 1024, .seconds = 1, .folder = "."};

struct result {
    double records, syncs, cpu_ns, replay_ns;
};

static char folder[4000], payload[LARGEST];

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "journal: %s: %s\n", what, why);
    exit(1);
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- The bare log ---- */

static int bare_file(int old)
{
    char name[sizeof(folder) + 10];
    snprintf(name, sizeof(name), "%s/bare", folder);
    if (old >= 0)
        close(old);
    unlink(name);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        fail(name, strerror(errno));
    return fd;
}

static struct result bare(void)
{
    size_t record = flm__journal_bytes(settings.size);
    char *buffer = calloc(BATCH, record);
    int fd = bare_file(-1);
    uint64_t n = 0, in_file = 0;
    if (!buffer)
        fail("bare log", "no memory");
    int64_t begin = flm__now_ns(), end = begin + (int64_t)(settings.seconds * 1e9), now;
    double cpu = cpu_ns();
    do {
        for (unsigned i = 0; i < BATCH; i++, n++) {
            struct flm__journal_record *r = (void *)(buffer + i * record);
            *r = (struct flm__journal_record){.size = settings.size, .type = 1, .value = (uint32_t)n};
            memcpy(r + 1, payload, settings.size);
        }
        if (write(fd, buffer, BATCH * record) != (ssize_t)(BATCH * record))
            fail("bare log", strerror(errno));
        in_file += BATCH * record;
        if (in_file >= FILE_BYTES) {
            fd = bare_file(fd);
            in_file = 0;
        }
    } while ((now = flm__now_ns()) < end);
    struct result r = {.records = (double)n * 1e9 / (double)(now - begin),
                       .cpu_ns = (cpu_ns() - cpu) / (double)n};
    close(fd);
    free(buffer);
    return r;
}

static double bare_syncs(void)
{
    int fd = bare_file(-1);
    static const char zeros[LARGEST];
    size_t record = flm__journal_bytes(settings.size);
    uint64_t n = 0, at = 0;
    for (int i = 0; i < 16; i++) /* written before, as in the journal */
        if (write(fd, zeros, sizeof(zeros)) != sizeof(zeros))
            fail("bare syncs", strerror(errno));
    fsync(fd);
    int64_t begin = flm__now_ns(), end = begin + (int64_t)(settings.seconds * 1e9), now;
    do {
        if (pwrite(fd, payload, record, (off_t)at) != (ssize_t)record || fdatasync(fd))
            fail("bare syncs", strerror(errno));
        at = (at + record) % (8 << 20);
        n++;
    } while ((now = flm__now_ns()) < end);
    close(fd);
    return (double)n * 1e9 / (double)(now - begin);
}

/* ---- The journal ---- */

static void wait_for_news(struct flm__journal *j, int bell)
{
    uint64_t count;
    struct pollfd p = {bell, POLLIN, 0};
    if (flm__journal_arm(j) && poll(&p, 1, 10000) != 1)
        fail("journal", "it stands still");
    flm__journal_disarm(j);
    if (read(bell, &count, sizeof(count)) < 0 && errno != EAGAIN)
        fail("journal", strerror(errno));
}

static struct flm__journal *begin_journal(int bell)
{
    char name[sizeof(folder) + 10];
    flm_error error;
    snprintf(name, sizeof(name), "%s/journal", folder);
    struct flm__journal *j = flm__journal_open(
        name, &(struct flm__journal_options){.event_fd = bell, .ring_bytes = settings.ring}, &error);
    if (!j || flm__journal_start(j, &error))
        fail(name, error.text);
    return j;
}

static void append_group(struct flm__journal *j, int bell, uint64_t n)
{
    uint64_t first;
    for (unsigned i = 0; i < GROUP; i++) {
        struct flm__journal_record r = {.type = 1, .value = (uint32_t)(n + i)};
        while (!flm__journal_append(j, &r, NULL, 0, payload, settings.size)) {
            flm__journal_written(j);
            flm__journal_commit(j, false);
            wait_for_news(j, bell);
        }
    }
    if (flm__journal_rolled(j, &first))
        flm__journal_drop_before(j, first, flm__journal_position(j));
}

/* window 0: as many as the ring takes, without sync. */
static struct result journal(unsigned window)
{
    int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct flm__journal *j = begin_journal(bell);
    struct flm__journal_stats before, after;
    uint64_t n = 0, most = window * flm__journal_bytes(settings.size);
    flm__journal_stats(j, &before);
    int64_t begin = flm__now_ns(), end = begin + (int64_t)(settings.seconds * 1e9), now;
    double cpu = cpu_ns();
    do {
        append_group(j, bell, n);
        n += GROUP;
        flm__journal_commit(j, window != 0);
        while (window && flm__journal_position(j) - flm__journal_synced(j) >= most)
            flm__journal_written(j), wait_for_news(j, bell);
    } while ((now = flm__now_ns()) < end);
    while (flm__journal_written(j) < flm__journal_position(j))
        flm__journal_synced(j), wait_for_news(j, bell);
    now = flm__now_ns();
    flm__journal_stats(j, &after);
    double seconds = (double)(now - begin) / 1e9;
    struct result r = {.records = (double)n / seconds,
                       .syncs = (double)(after.syncs - before.syncs) / seconds,
                       .cpu_ns = (cpu_ns() - cpu) / (double)n};
    flm_error error;
    if (flm__journal_stop(j, &error))
        fail("journal", error.text);
    flm__journal_close(j);
    close(bell);
    return r;
}

static int count(void *arg, const struct flm__journal_record *r, const void *bytes, uint64_t position)
{
    (void)bytes;
    (void)position;
    *(uint64_t *)arg += r->size;
    return 0;
}

/* What is left of it, ns per record. */
static double replay(void)
{
    char name[sizeof(folder) + 10];
    struct flm__journal_replayed told;
    flm_error error;
    uint64_t bytes = 0;
    snprintf(name, sizeof(name), "%s/journal", folder);
    struct flm__journal *j = flm__journal_open(name, NULL, &error);
    int64_t begin = flm__now_ns();
    if (!j || flm__journal_replay(j, count, &bytes, &told, &error))
        fail(name, error.text);
    double ns = (double)(flm__now_ns() - begin);
    flm__journal_close(j);
    return told.records ? ns / (double)told.records : 0;
}

/* ---- The program ---- */

static const struct argp_option options[] = {
    {"size", 's', "BYTES", 0, "Payload of a record (default 64)", 0},
    {"window", 'w', "N", 0, "Records under way at most, with sync (default 1024)", 0},
    {"ring", 'r', "BYTES", 0, "Size of the journal's ring (default: its own)", 0},
    {"time", 't', "SECONDS", 0, "Of each part (default 1)", 0},
    {"dir", 'd', "DIR", 0, "Where (default: here)", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case 's':
        settings.size = (unsigned)atoi(arg);
        break;
    case 'r':
        settings.ring = (unsigned)atoi(arg);
        break;
    case 'w':
        settings.window = (unsigned)atoi(arg);
        break;
    case 't':
        settings.seconds = atof(arg);
        break;
    case 'd':
        settings.folder = arg;
        break;
    case ARGP_KEY_END:
        if (!settings.size || settings.size > LARGEST - 16 || !settings.window || settings.seconds <= 0)
            argp_error(state, "a number is out of range");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

int main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, NULL, "The journal beside a bare log; prints JSON.",
                                     NULL,    NULL,  NULL};
    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    snprintf(folder, sizeof(folder), "%s/flm-journal-XXXXXX", settings.folder);
    if (!mkdtemp(folder))
        fail(folder, strerror(errno));
    struct result b = bare(), j = journal(0);
    double ns = replay(), limit = bare_syncs();
    struct result s = journal(settings.window);
    printf("{\"bare\": {\"records_per_second\": %.0f, \"cpu_ns\": %.1f},\n"
           " \"journal\": {\"records_per_second\": %.0f, \"cpu_ns\": %.1f, \"replay_ns\": %.1f},\n"
           " \"bare_sync\": {\"syncs_per_second\": %.0f},\n"
           " \"sync\": {\"records_per_second\": %.0f, \"syncs_per_second\": %.0f}}\n",
           b.records, b.cpu_ns, j.records, j.cpu_ns, ns, limit, s.records, s.syncs);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}
