/* matrix_writer.c - see matrix_writer.h */
#define _GNU_SOURCE /* fallocate */
#include "matrix_writer.h"
#include "fail.h"

#ifdef EXAMPLES_HDF5
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define METADATA_BYTES 65536 /* more than HDF5 needs for the rest of such a file */

struct matrix_writer {
    char name[PATH_MAX];
    char part[PATH_MAX + 24]; /* its name until it is committed, then "" */
    int fd;
    uint64_t offset[MATRIX_WRITER_SETS], columns[MATRIX_WRITER_SETS];
};

static int explain(const struct matrix_writer *w, int number, flm_error *error)
{
    int full = number == ENOSPC || number == EDQUOT;

    return fail(error, FLM_EIO, "cannot write %s%s%s%s", w->name, number ? ": " : "",
                number ? strerror(number) : "", full ? "; free some space or choose another place" : "");
}

static int pwrite_all(int fd, const void *data, size_t size, off_t at)
{
    const char *bytes = data;

    while (size) {
        ssize_t n = pwrite(fd, bytes, size, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        bytes += n;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Finds out, without HDF5, whether a file of that size can be here. */
static int try_size(struct matrix_writer *w, uint64_t bytes)
{
    static const char zeros[METADATA_BYTES];
    int bad;

    w->fd = open(w->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (w->fd < 0) {
        w->part[0] = '\0';
        return -1;
    }
    bad = pwrite_all(w->fd, zeros, sizeof(zeros), 0) || ftruncate(w->fd, (off_t)bytes);
    bad = (fallocate(w->fd, 0, 0, (off_t)bytes) && errno != EOPNOTSUPP && errno != ENOSYS) || bad;
    return bad;
}

/* Reserves the space; file systems that cannot say so, and are believed. */
static int reserve(struct matrix_writer *w)
{
    off_t end;

    w->fd = open(w->part, O_RDWR | O_CLOEXEC);
    end = w->fd < 0 ? -1 : lseek(w->fd, 0, SEEK_END);
    return end < 0 || (fallocate(w->fd, 0, 0, end) && errno != EOPNOTSUPP && errno != ENOSYS);
}

/* These return 0, or not 0 when something failed. */
static int lay_out_set(hid_t file, const struct matrix_set *set, uint64_t *offset)
{
    hsize_t size[2] = {set->rows, set->columns};
    hid_t space = H5Screate_simple(2, size, NULL), list = H5Pcreate(H5P_DATASET_CREATE), d;
    haddr_t at;

    H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(list, H5D_FILL_TIME_NEVER);
    d = H5Dcreate2(file, set->name, H5T_IEEE_F64LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    at = d < 0 ? HADDR_UNDEF : H5Dget_offset(d);
    *offset = at;
    if (d >= 0)
        H5Dclose(d);
    H5Pclose(list);
    H5Sclose(space);
    return at == HADDR_UNDEF;
}

static int write_note(hid_t file, const struct matrix_note *note)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate2(file, note->name, H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    int bad = a < 0 || H5Awrite(a, H5T_NATIVE_DOUBLE, &note->value) < 0;

    if (a >= 0)
        H5Aclose(a);
    H5Sclose(space);
    return bad;
}

static int lay_out(struct matrix_writer *w, const struct matrix_set *sets, int n,
                   const struct matrix_note *notes)
{
    hid_t file = H5Fcreate(w->part, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    int bad = file < 0;

    for (int i = 0; i < n && !bad; i++) {
        w->columns[i] = sets[i].columns;
        bad = lay_out_set(file, &sets[i], &w->offset[i]);
    }
    for (; notes && notes->name && !bad; notes++)
        bad = write_note(file, notes);
    if (file >= 0)
        bad = H5Fclose(file) < 0 || bad;
    return bad;
}

static uint64_t file_bytes(const struct matrix_set *sets, int n)
{
    uint64_t bytes = METADATA_BYTES;

    for (int i = 0; i < n; i++)
        bytes += sets[i].rows * sets[i].columns * sizeof(double);
    return bytes;
}

struct matrix_writer *matrix_writer_create(const char *file, const struct matrix_set *sets, int n,
                                           const struct matrix_note *notes, flm_error *error)
{
    struct matrix_writer *w = calloc(1, sizeof(*w));
    int bad;

    if (!w || strlen(file) >= PATH_MAX || n > MATRIX_WRITER_SETS) {
        fail(error, w ? FLM_EINVAL : FLM_ENOMEM, w ? "the name of a file is too long" : "no memory");
        free(w);
        return NULL;
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* we say what failed */
    w->fd = -1;
    snprintf(w->name, sizeof(w->name), "%s", file);
    snprintf(w->part, sizeof(w->part), "%s.part-%ld", file, (long)getpid());
    errno = 0;
    bad = try_size(w, file_bytes(sets, n));
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    if (!bad)
        bad = lay_out(w, sets, n, notes) || reserve(w);
    if (!bad)
        return w;
    explain(w, errno, error);
    matrix_writer_close(w);
    return NULL;
}

int matrix_writer_write(struct matrix_writer *w, int set, uint64_t row, uint64_t column, uint64_t rows,
                        uint64_t columns, const double *from, uint64_t stride, flm_error *error)
{
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t at = w->offset[set] + ((row + i) * w->columns[set] + column) * sizeof(double);
        if (pwrite_all(w->fd, from + i * stride, columns * sizeof(double), (off_t)at))
            return explain(w, errno, error);
    }
    return 0;
}

int matrix_writer_commit(struct matrix_writer *w, flm_error *error)
{
    int bad = fsync(w->fd), number = errno;

    if (close(w->fd) && !bad) {
        bad = 1;
        number = errno;
    }
    w->fd = -1;
    if (!bad && rename(w->part, w->name)) {
        bad = 1;
        number = errno;
    }
    if (bad)
        return explain(w, number, error);
    w->part[0] = '\0';
    return 0;
}

void matrix_writer_close(struct matrix_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->part[0])
        unlink(w->part);
    free(w);
}

#else /* without HDF5 */

static int lacking(flm_error *error)
{
    return fail(error, FLM_ENOTSUP, "built without HDF5: matrices cannot be written");
}

struct matrix_writer *matrix_writer_create(const char *file, const struct matrix_set *sets, int n,
                                           const struct matrix_note *notes, flm_error *error)
{
    (void)file, (void)sets, (void)n, (void)notes, lacking(error);
    return NULL;
}

int matrix_writer_write(struct matrix_writer *w, int set, uint64_t row, uint64_t column, uint64_t rows,
                        uint64_t columns, const double *from, uint64_t stride, flm_error *error)
{
    (void)w, (void)set, (void)row, (void)column, (void)rows, (void)columns, (void)from, (void)stride;
    return lacking(error);
}

int matrix_writer_commit(struct matrix_writer *w, flm_error *error)
{
    (void)w;
    return lacking(error);
}

void matrix_writer_close(struct matrix_writer *w)
{
    (void)w;
}
#endif
