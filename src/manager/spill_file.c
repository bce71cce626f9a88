#define _GNU_SOURCE
#include "manager/spill_file.h"

#include "base/error.h"
#include "net/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 8 << 20 }; /* so much at a time, so that it can be stopped */

static const char no_room[] =
    "no object can be written to %s (--object-spill), make room there or delete some";

/* Where the file system makes no file without a name this one has none from now on. */
static int make_and_unlink(const char *directory)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/flm-object-XXXXXX", directory);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0 && unlink(path) < 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static int make(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    /* An old kernel, or file system, takes it for opening a directory. */
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
        fd = make_and_unlink(directory);
    return fd;
}

static int write_piece(int fd, const char *data, uint64_t size, uint64_t at)
{
    for (uint64_t end = at + size; at < end;) {
        ssize_t n = pwrite(fd, data + at, end - at, (off_t)at);
        if (n > 0)
            at += (uint64_t)n;
        else if (n == 0 || errno != EINTR)
            return n == 0 ? ENOSPC : errno;
    }
    return 0;
}

static int read_piece(int fd, char *data, uint64_t size, uint64_t at)
{
    for (uint64_t end = at + size; at < end;) {
        ssize_t n = pread(fd, data + at, end - at, (off_t)at);
        if (n > 0)
            at += (uint64_t)n;
        else if (n == 0 || errno != EINTR)
            return n == 0 ? EIO : errno;
    }
    return 0;
}

static uint64_t piece(uint64_t size, uint64_t at)
{
    return size - at < PIECE ? size - at : PIECE;
}

/* A full disk is known before much is written, where the file system can tell. */
static int reserve(int fd, uint64_t size)
{
    int rc;
    while ((rc = fallocate(fd, 0, 0, (off_t)size)) < 0 && errno == EINTR)
        ;
    return rc == 0 || errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}

static int write_all(int fd, const char *data, uint64_t size, const atomic_bool *stop)
{
    int e = reserve(fd, size);
    for (uint64_t at = 0; e == 0 && at < size; at += PIECE)
        e = atomic_load(stop) ? ECANCELED : write_piece(fd, data, piece(size, at), at);
    return e;
}

int spill_file_try(const char *directory, flm_error *error)
{
    int fd = make(directory);
    int e = fd < 0 ? errno : write_piece(fd, "", 1, 0);
    if (fd >= 0)
        close(fd);
    return e ? flm__error_errno(error, FLM_EIO, e,
                                "files for objects cannot be made in %s (--object-spill)", directory)
             : 0;
}

int spill_file_write(const char *directory, const void *data, uint64_t size, const atomic_bool *stop,
                     flm_error *error)
{
    int fd = make(directory);
    int e = fd < 0 ? errno : write_all(fd, data, size, stop);
    if (e == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    bool full = e == ENOSPC || e == EDQUOT || e == EFBIG;
    flm__error_errno(error, full ? FLM_EFULL : FLM_EIO, e, no_room, directory);
    return -1;
}

int spill_file_read(const char *directory, int file, uint64_t size, const atomic_bool *stop,
                    flm_error *error)
{
    void *map;
    int fd = flm__blob_create((size_t)size, &map, error);
    int e = 0;
    if (fd < 0)
        return -1;
    for (uint64_t at = 0; e == 0 && at < size; at += PIECE)
        e = atomic_load(stop) ? ECANCELED : read_piece(file, map, piece(size, at), at);
    flm__blob_unmap(map, (size_t)size);
    if (e == 0)
        return fd;
    close(fd);
    flm__error_errno(error, FLM_EIO, e, "it cannot be read back from %s (--object-spill)", directory);
    return -1;
}
