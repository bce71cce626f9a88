#define _GNU_SOURCE
#include "net/blob.h"

#include "base/error.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of this size from here on. Whoever gets it could else make those fault who have mapped it. */
static int seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0 ? errno : 0;
}

static int fail(int fd, size_t size, int e, flm_error *error)
{
    close(fd);
    return flm__error_errno(error, FLM_ENOMEM, e, "no memory for a payload of %zu bytes", size);
}

int flm__blob_create(size_t size, void **map, flm_error *error)
{
    int fd = memfd_create("flm-blob", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot make a blob");
    *map = MAP_FAILED;
    /* Allocating now turns a full memory into an error here, not into SIGBUS later. */
    int e = posix_fallocate(fd, 0, (off_t)size);
    if (e == 0) {
        *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        e = *map == MAP_FAILED ? errno : seal(fd);
    }
    if (e == 0)
        return fd;
    if (*map != MAP_FAILED)
        munmap(*map, size);
    return fail(fd, size, e, error);
}

/* The kernel copies into pages that it need not clear first, and nothing faults: less than half the time of
 * a memcpy into fresh pages (facts.md, section I). */
int flm__blob_copy(const void *data, size_t size, flm_error *error)
{
    int fd = memfd_create("flm-blob", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot make a blob");
    int e = flm__write_at(fd, data, size, 0);
    if (e == 0)
        e = seal(fd);
    return e ? fail(fd, size, e, error) : fd;
}

int flm__blob_write(int fd, const void *data, size_t size, uint64_t offset, flm_error *error)
{
    int e = flm__write_at(fd, data, size, offset);
    return e ? flm__error_errno(error, FLM_ENOMEM, e, "cannot write %zu bytes into a payload", size) : 0;
}

void flm__blob_trim(int fd, size_t size)
{
    off_t end = lseek(fd, 0, SEEK_END), page = sysconf(_SC_PAGESIZE);
    off_t begin = ((off_t)size + page - 1) / page * page;
    if (end > begin && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, end - begin) < 0)
        return; /* it stays, then */
}

int flm__blob_check(int fd, size_t size, flm_error *error)
{
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || lseek(fd, 0, SEEK_END) < (off_t)size)
        return flm__error_set(error, FLM_EPROTO, "a payload of %zu bytes is not what was announced", size);
    return 0;
}

const void *flm__blob_map(int fd, size_t size, flm_error *error)
{
    if (flm__blob_check(fd, size, error) < 0)
        return NULL;
    const void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        flm__error_errno(error, FLM_ENOMEM, errno, "cannot map a payload of %zu bytes", size);
        return NULL;
    }
    return map;
}

void flm__blob_unmap(const void *map, size_t size)
{
    if (map)
        munmap((void *)(uintptr_t)map, size);
}
