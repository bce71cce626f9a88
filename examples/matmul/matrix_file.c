/* matrix_file.c - see matrix_file.h */
#include "matrix_file.h"
#include "fail.h"

#ifdef EXAMPLES_HDF5
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct matrix_file {
    char name[PATH_MAX];
    char dataset[256];
    hid_t file, set;
    uint64_t rows, columns;
    void *map; /* matrix_file_map, or NULL */
    size_t map_bytes;
};

int matrix_file_available(void)
{
    return 1;
}

static struct matrix_file *allocate(const char *file, flm_error *error)
{
    struct matrix_file *mf = NULL;

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* we say what failed */
    if (!file[0] || strlen(file) >= PATH_MAX)
        fail(error, FLM_EINVAL, "the name of a file is %s", file[0] ? "too long" : "empty");
    else if (!(mf = calloc(1, sizeof(*mf))))
        fail(error, FLM_ENOMEM, "no memory");
    else
        snprintf(mf->name, sizeof(mf->name), "%s", file);
    if (mf)
        mf->file = mf->set = -1;
    return mf;
}

static int open_dataset(struct matrix_file *mf, const char *dataset, flm_error *error)
{
    hsize_t size[2];
    hid_t space, type;
    H5T_class_t kind;
    int dimensions;

    snprintf(mf->dataset, sizeof(mf->dataset), "%s", dataset);
    mf->set = H5Dopen2(mf->file, dataset, H5P_DEFAULT);
    if (mf->set < 0)
        return fail(error, FLM_ENOTFOUND, "%s has no dataset %s; 'h5ls -r %s' shows what it has", mf->name,
                    dataset, mf->name);
    space = H5Dget_space(mf->set);
    type = H5Dget_type(mf->set);
    kind = H5Tget_class(type);
    dimensions = H5Sget_simple_extent_ndims(space);
    if (dimensions == 2)
        H5Sget_simple_extent_dims(space, size, NULL);
    H5Tclose(type);
    H5Sclose(space);
    if (dimensions != 2)
        return fail(error, FLM_EINVAL, "%s:%s has %d dimension%s; a matrix has 2", mf->name, dataset,
                    dimensions < 0 ? 0 : dimensions, dimensions == 1 ? "" : "s");
    if (kind != H5T_FLOAT && kind != H5T_INTEGER)
        return fail(error, FLM_EINVAL, "the elements of %s:%s are not numbers", mf->name, dataset);
    mf->rows = size[0];
    mf->columns = size[1];
    return 0;
}

struct matrix_file *matrix_file_open(const char *file, const char *dataset, flm_error *error)
{
    struct matrix_file *mf = allocate(file, error);

    if (!mf)
        return NULL;
    if (access(file, R_OK)) {
        fail(error, errno == ENOENT ? FLM_ENOTFOUND : FLM_EIO, "cannot read %s: %s", file, strerror(errno));
    } else if ((mf->file = H5Fopen(file, H5F_ACC_RDONLY, H5P_DEFAULT)) < 0) {
        fail(error, FLM_EINVAL, "%s is no HDF5 file, or another program is writing it", file);
    } else if (open_dataset(mf, dataset, error) == 0) {
        return mf;
    }
    matrix_file_close(mf);
    return NULL;
}

uint64_t matrix_file_rows(const struct matrix_file *mf)
{
    return mf->rows;
}

uint64_t matrix_file_columns(const struct matrix_file *mf)
{
    return mf->columns;
}

/* Selections of the rectangle in the file and in memory; 0, or not 0. */
static int select_both(struct matrix_file *mf, const hsize_t start[2], const hsize_t count[2],
                       uint64_t stride, hid_t *in_file, hid_t *in_memory)
{
    hsize_t memory[2] = {count[0], stride}, zero[2] = {0, 0};

    *in_file = H5Dget_space(mf->set);
    *in_memory = H5Screate_simple(2, memory, NULL);
    return *in_file < 0 || *in_memory < 0 ||
           H5Sselect_hyperslab(*in_file, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
           H5Sselect_hyperslab(*in_memory, H5S_SELECT_SET, zero, NULL, count, NULL) < 0;
}

int matrix_file_read(struct matrix_file *mf, uint64_t row, uint64_t column, uint64_t rows, uint64_t columns,
                     double *to, uint64_t stride, flm_error *error)
{
    hsize_t start[2] = {row, column}, count[2] = {rows, columns};
    hid_t in_file, in_memory;
    int bad, number;

    errno = 0;
    bad = select_both(mf, start, count, stride, &in_file, &in_memory) ||
          H5Dread(mf->set, H5T_NATIVE_DOUBLE, in_memory, in_file, H5P_DEFAULT, to) < 0;
    number = errno;
    H5Sclose(in_memory);
    H5Sclose(in_file);
    return bad ? fail(error, FLM_EIO, "cannot read %s:%s%s%s", mf->name, mf->dataset, number ? ": " : "",
                      number ? strerror(number) : "")
               : 0;
}

/* Where the elements begin in the file if they lie there as in memory; HADDR_UNDEF: they do not. */
static haddr_t plain_offset(const struct matrix_file *mf)
{
    hid_t type = H5Dget_type(mf->set), list = H5Dget_create_plist(mf->set);
    hid_t access = H5Fget_access_plist(mf->file);
    int plain = H5Tequal(type, H5T_NATIVE_DOUBLE) > 0 && H5Pget_layout(list) == H5D_CONTIGUOUS &&
                H5Pget_external_count(list) == 0 && H5Pget_driver(access) == H5FD_SEC2;
    haddr_t at = plain ? H5Dget_offset(mf->set) : HADDR_UNDEF;

    H5Pclose(access);
    H5Pclose(list);
    H5Tclose(type);
    return at % sizeof(double) == 0 ? at : HADDR_UNDEF;
}

const double *matrix_file_map(struct matrix_file *mf)
{
    haddr_t at = plain_offset(mf), page = (haddr_t)sysconf(_SC_PAGESIZE), skip = at % page;
    uint64_t end = at + mf->rows * mf->columns * sizeof(double);
    struct stat file;
    void *map = MAP_FAILED;
    int fd;

    if (at == HADDR_UNDEF || (fd = open(mf->name, O_RDONLY | O_CLOEXEC)) < 0)
        return NULL;
    if (fstat(fd, &file) == 0 && (uint64_t)file.st_size >= end)
        map = mmap(NULL, end - at + skip, PROT_READ, MAP_SHARED, fd, (off_t)(at - skip));
    close(fd);
    if (map == MAP_FAILED)
        return NULL;
    mf->map = map;
    mf->map_bytes = end - at + skip;
    return (const double *)(const void *)((const char *)map + skip);
}

void matrix_file_close(struct matrix_file *mf)
{
    if (!mf)
        return;
    if (mf->map)
        munmap(mf->map, mf->map_bytes);
    if (mf->set >= 0)
        H5Dclose(mf->set);
    if (mf->file >= 0)
        H5Fclose(mf->file);
    free(mf);
}

#else /* without HDF5 */

static int lacking(flm_error *error)
{
    return fail(error, FLM_ENOTSUP, "built without HDF5: matrices can be neither read nor written");
}

int matrix_file_available(void)
{
    return 0;
}

struct matrix_file *matrix_file_open(const char *file, const char *dataset, flm_error *error)
{
    (void)file, (void)dataset, lacking(error);
    return NULL;
}

uint64_t matrix_file_rows(const struct matrix_file *mf)
{
    return (void)mf, 0;
}

uint64_t matrix_file_columns(const struct matrix_file *mf)
{
    return (void)mf, 0;
}

int matrix_file_read(struct matrix_file *mf, uint64_t row, uint64_t column, uint64_t rows, uint64_t columns,
                     double *to, uint64_t stride, flm_error *error)
{
    (void)mf, (void)row, (void)column, (void)rows, (void)columns, (void)to, (void)stride;
    return lacking(error);
}

const double *matrix_file_map(struct matrix_file *mf)
{
    return (void)mf, NULL;
}

void matrix_file_close(struct matrix_file *mf)
{
    (void)mf;
}
#endif
