/* Whatever a disk gives back as the last segments of a journal: checked, repaired, replayed.
 *
 * The input is one or two files: the first two bytes say where the second begins (0: there is none). A
 * first byte of the rest that is odd lets the checksums be made right, so that what is behind them is
 * reached. */
#define _GNU_SOURCE
#include "store/format.h"
#include "store/journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char seen;
static uint64_t records;
static char folder[100];

static int look(void *arg, const struct flm__journal_record *r, const void *payload, uint64_t position)
{
    (void)arg;
    (void)position;
    records++;
    for (size_t i = 0; i < r->size; i++) /* every byte, so that a range outside is noticed */
        seen ^= ((const unsigned char *)payload)[i];
    return 0;
}

/* Frames as they lie there, if they fit, get the checksums that they should have. */
static void make_right(unsigned char *bytes, size_t size, uint64_t first)
{
    struct flm__segment_header *s = (void *)bytes;
    if (size < sizeof(*s))
        return;
    memcpy(s->magic, FLM__SEGMENT_MAGIC, sizeof(s->magic));
    s->version = FLM__SEGMENT_VERSION;
    s->bytes = sizeof(*s);
    s->first = first;
    s->reserved = 0;
    s->checksum = flm__segment_check(s);
    for (size_t at = sizeof(*s); at + sizeof(struct flm__frame_header) <= size;) {
        struct flm__frame_header *f = (void *)(bytes + at);
        at += sizeof(*f);
        f->magic = FLM__FRAME_MAGIC;
        if (f->bytes <= size - at)
            f->checksum = XXH3_64bits_withSeed(bytes + at, f->bytes, flm__frame_seed(s, f->position));
        f->check = flm__frame_check(s, f);
        if (f->bytes > size - at || f->bytes & 7)
            break;
        at += f->bytes;
    }
}

static void put(uint64_t first, const uint8_t *data, size_t size)
{
    char path[200];
    unsigned char *copy = aligned_alloc(8, (size + 15) & ~(size_t)7);
    if (!copy)
        return;
    memcpy(copy, data, size);
    if (size > 0 && data[0] & 1)
        make_right(copy, size, first);
    snprintf(path, sizeof(path), "%s/%016lx.flj", folder, (unsigned long)first);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, copy, size) != (ssize_t)size)
        abort();
    close(fd);
    free(copy);
}

static void remove_folder(void)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/lock", folder);
    unlink(path);
    rmdir(folder);
}

static void make_folder(void)
{
    if (!*folder) {
        snprintf(folder, sizeof(folder), "%s/flm-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        if (!mkdtemp(folder) || atexit(remove_folder))
            abort();
    }
}

static void clean(const uint64_t *firsts, int n)
{
    char path[200];
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%016lx.flj", folder, (unsigned long)firsts[i]);
        unlink(path);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flm__journal_checked before, after;
    struct flm__journal_replayed told;
    if (size < 2)
        return 0;
    make_folder();
    size_t second = (size_t)(data[0] | data[1] << 8);
    data += 2;
    size -= 2;
    if (second > size)
        second = 0;
    uint64_t firsts[] = {0, 0};
    put(0, data, second ? second : size);
    if (second) {
        if (second >= 120)
            memcpy(&firsts[1], data + 64 + 24,
                   8); /* bytes of the first frame: where the next segment begins */
        if (!firsts[1])
            firsts[1] = 8;
        put(firsts[1], data + second, size - second);
    }
    if (flm__journal_check(folder, false, NULL, NULL, &before, NULL))
        abort();
    struct flm__journal *j =
        flm__journal_open(folder, &(struct flm__journal_options){.ring_bytes = 1 << 16}, NULL);
    if (!j)
        abort();
    records = 0;
    int status = flm__journal_replay(j, look, NULL, &told, NULL);
    flm__journal_close(j);
    if ((status == 0) != (before.damages == 0 || *told.cut_where) ||
        (status == 0 && records != told.records))
        abort();
    if (status == 0 && (flm__journal_check(folder, true, NULL, NULL, &after, NULL) || after.damages ||
                        after.records != records))
        if (told.segments) /* else the folder is empty now */
            abort();
    if (status && (flm__journal_check(folder, true, NULL, NULL, &before, NULL) ||
                   (flm__journal_check(folder, false, NULL, NULL, &after, NULL) == 0 &&
                    after.damages != before.damages - before.repaired)))
        abort();
    clean(firsts, 2);
    return 0;
}
