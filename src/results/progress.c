#define _GNU_SOURCE
#include "results/progress.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC "FLMRSLT1"

struct head {
    char magic[8];
    struct progress progress;
    uint64_t checksum; /* of the progress, and then of the places with that as their seed */
};

static uint64_t checksum(const struct progress *p, const uint16_t *places)
{
    uint64_t seed = XXH3_64bits(p, sizeof(*p));
    return XXH3_64bits_withSeed(places, p->n_places * sizeof(*places), seed);
}

int progress_open(struct progress_file *f, const char *state_dir, const char *serial, flm_error *error)
{
    char path[sizeof(f->path) + 8];
    f->lock = -1;
    if ((size_t)snprintf(f->path, sizeof(f->path), "%s/results", state_dir) >= sizeof(f->path) - 32)
        return flm__error_set(error, FLM_ETOOBIG, "the path of the state directory is too long");
    if (mkdir(f->path, 0700) < 0 && errno != EEXIST)
        return flm__error_errno(error, FLM_EIO, errno, "cannot make %s", f->path);
    size_t n = strlen(f->path);
    snprintf(f->path + n, sizeof(f->path) - n, "/%s", serial);
    snprintf(path, sizeof(path), "%s.lock", f->path);
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->lock < 0)
        return flm__error_errno(error, FLM_EIO, errno, "cannot open %s", path);
    while (flock(f->lock, LOCK_EX) < 0)
        if (errno != EINTR)
            return flm__error_errno(error, FLM_EIO, errno, "cannot lock %s", path);
    return 0;
}

void progress_close(struct progress_file *f)
{
    if (f->lock >= 0)
        close(f->lock);
    f->lock = -1;
}

static const char *ending(enum progress_kind kind)
{
    return kind == PROGRESS_NOW ? ".now" : "";
}

bool progress_read(const struct progress_file *f, enum progress_kind kind, struct progress *p,
                   uint16_t *places)
{
    struct head head;
    char path[sizeof(f->path) + 8];
    snprintf(path, sizeof(path), "%s%s", f->path, ending(kind));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool good = read(fd, &head, sizeof(head)) == (ssize_t)sizeof(head) &&
                !memcmp(head.magic, MAGIC, sizeof(head.magic)) &&
                head.progress.n_places <= PROGRESS_EXECUTORS_MAX;
    size_t bytes = good ? head.progress.n_places * sizeof(*places) : 0;
    good = good && read(fd, places, bytes) == (ssize_t)bytes &&
           head.checksum == checksum(&head.progress, places);
    close(fd);
    if (good)
        *p = head.progress;
    return good;
}

static int write_whole(int fd, const struct head *head, const uint16_t *places, bool sync)
{
    struct iovec parts[] = {{(void *)(uintptr_t)head, sizeof(*head)},
                            {(void *)(uintptr_t)places, head->progress.n_places * sizeof(*places)}};
    ssize_t bytes = (ssize_t)(parts[0].iov_len + parts[1].iov_len), n = writev(fd, parts, 2);
    if (n != bytes)
        return n < 0 ? errno : ENOSPC;
    return sync && fsync(fd) < 0 ? errno : 0;
}

int progress_write(const struct progress_file *f, enum progress_kind kind, const struct progress *p,
                   const uint16_t *places, flm_error *error)
{
    char path[sizeof(f->path) + 8], name[sizeof(f->path) + 8];
    struct head head = {.progress = *p, .checksum = checksum(p, places)};
    memcpy(head.magic, MAGIC, sizeof(head.magic));
    snprintf(path, sizeof(path), "%s.new", f->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int why = fd < 0 ? errno : write_whole(fd, &head, places, kind == PROGRESS_SYNCED);
    if (fd >= 0)
        close(fd);
    snprintf(name, sizeof(name), "%s%s", f->path, ending(kind));
    if (!why && rename(path, name) < 0)
        why = errno;
    return why ? flm__error_errno(error, FLM_EIO, why, "cannot write %s", name) : 0;
}
