#define _GNU_SOURCE
#include "manager/spill_file.h"

#include "base/error.h"
#include "base/file.h"
#include "net/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIECE = 8 << 20 }; /* so much at a time, so that it can be stopped */

static const char no_room[] =
    "no object can be written to %s (--object-spill), make room there or delete some";

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
        e = atomic_load(stop) ? ECANCELED : flm__write_at(fd, data + at, piece(size, at), at);
    return e;
}

int spill_file_try(const char *directory, flm_error *error)
{
    int fd = flm__unnamed_file(directory);
    int e = fd < 0 ? errno : flm__write_at(fd, "", 1, 0);
    if (fd >= 0)
        close(fd);
    return e ? flm__error_errno(error, FLM_EIO, e,
                                "files for objects cannot be made in %s (--object-spill)", directory)
             : 0;
}

int spill_file_write(const char *directory, const void *data, uint64_t size, const atomic_bool *stop,
                     flm_error *error)
{
    int fd = flm__unnamed_file(directory);
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
        e = atomic_load(stop) ? ECANCELED : flm__read_at(file, (char *)map + at, piece(size, at), at);
    flm__blob_unmap(map, (size_t)size);
    if (e == 0)
        return fd;
    close(fd);
    flm__error_errno(error, FLM_EIO, e, "it cannot be read back from %s (--object-spill)", directory);
    return -1;
}
