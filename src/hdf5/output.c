#define _GNU_SOURCE
#include "hdf5/inside.h"

#include "base/error.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_MAX (UINT64_C(1) << 30) /* bytes; HDF5 allows 4 GiB */

struct output {
    hid_t file, set;
    unsigned rank;
    uint64_t columns; /* 0: the shape of the input */
    char *name;       /* FILE:SET */
};

static bool is_one_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* ---- its shape ---- */

struct shape {
    unsigned rank;
    hsize_t extent[FLM_HDF5_MAX_RANK], chunk[FLM_HDF5_MAX_RANK];
};

static struct shape shape_of(const struct flm_hdf5_options *o, const struct set *input,
                             const uint64_t *step)
{
    struct shape s = {.rank = o->output_columns == 0 ? input->rank : o->output_columns == 1 ? 1 : 2};
    for (unsigned i = 0; i < s.rank; i++) {
        bool columns = i == 1 && o->output_columns;
        s.extent[i] = columns ? o->output_columns : input->extent[i];
        s.chunk[i] = columns ? o->output_columns : step[i];
        if (s.chunk[i] > s.extent[i])
            s.chunk[i] = s.extent[i];
    }
    return s;
}

static uint64_t chunk_bytes(const struct shape *s)
{
    uint64_t n = sizeof(double);
    for (unsigned i = 0; i < s->rank; i++)
        if (__builtin_mul_overflow(n, s->chunk[i], &n))
            return UINT64_MAX;
    return n;
}

/* ---- making or taking it ---- */

/* In chunks as tasks write them: what was never written costs nothing and reads as NaN. */
static hid_t make_set(hid_t file, const char *name, const struct shape *s)
{
    const double none = NAN;
    hid_t space = H5Screate_simple((int)s->rank, s->extent, NULL);
    hid_t how = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_fill_value(how, H5T_NATIVE_DOUBLE, &none);
    H5Pset_create_intermediate_group(links, 1);
    uint64_t bytes = chunk_bytes(s);
    if (bytes > 0 && bytes <= CHUNK_MAX)
        H5Pset_chunk(how, (int)s->rank, s->chunk);
    hid_t set = H5Dcreate2(file, name, H5T_IEEE_F64LE, space, links, how, H5P_DEFAULT);
    H5Pclose(links);
    H5Pclose(how);
    H5Sclose(space);
    return set;
}

static bool fits(hid_t set, const struct shape *s)
{
    hsize_t extent[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set), type = H5Dget_type(set);
    bool same = H5Tget_class(type) == H5T_FLOAT && H5Tget_size(type) == sizeof(double) &&
                H5Sget_simple_extent_dims(space, extent, NULL) == (int)s->rank &&
                memcmp(extent, s->extent, s->rank * sizeof(*extent)) == 0;
    H5Tclose(type);
    H5Sclose(space);
    return same;
}

/* What the file system that has the file, or is to have it, likes to read and write at once; where files
 * are striped over servers that is a stripe. 0: nobody knows. */
static hsize_t file_block(const char *file)
{
    struct stat st;
    const char *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
    int rc = stat(file, &st) == 0 || (folder && stat(folder, &st) == 0) ? 0 : -1;
    free(folder);
    return rc == 0 && st.st_blksize > 0 ? (hsize_t)st.st_blksize : 0;
}

/* Chunks of a block and more begin at a block, so that a task's piece never shares one with another's. */
static hid_t access_list(const char *file)
{
    hid_t how = H5Pcreate(H5P_FILE_ACCESS);
    hsize_t block = file_block(file);
    if (block)
        H5Pset_alignment(how, block, block);
    return how;
}

static int open_file(struct output *out, const struct flm_hdf5_options *o, flm_error *error)
{
    bool is_there = access(o->output, F_OK) == 0;
    hid_t how = access_list(o->output);
    errno = 0;
    H5E_BEGIN_TRY
    {
        out->file = is_there ? H5Fopen(o->output, H5F_ACC_RDWR, how)
                             : H5Fcreate(o->output, H5F_ACC_EXCL, H5P_DEFAULT, how);
    }
    H5E_END_TRY
    int why = errno;
    H5Pclose(how);
    if (out->file >= 0)
        return 0;
    return flm__error_set(error, FLM_EIO, "cannot write %s: %s", o->output,
                          why        ? strerror(why)
                          : is_there ? "it is no HDF5 file, or another program has it open"
                                     : "HDF5 cannot make it");
}

static int open_set(struct output *out, const struct flm_hdf5_options *o, const struct shape *s,
                    flm_error *error)
{
    H5E_BEGIN_TRY
    {
        out->set = H5Dopen2(out->file, o->output_dataset, H5P_DEFAULT);
        if (out->set >= 0 && !fits(out->set, s)) {
            H5Dclose(out->set);
            out->set = -2;
        } else if (out->set < 0) {
            out->set = make_set(out->file, o->output_dataset, s);
        }
    }
    H5E_END_TRY
    if (out->set == -2)
        return flm__error_set(
            error, FLM_EINVAL,
            "%s is there already, with another shape or of another type than 64-bit floating "
            "point: choose another name",
            out->name);
    if (out->set < 0)
        return flm__error_set(error, FLM_EIO, "cannot make %s: the name is taken, or no room is left",
                              out->name);
    return 0;
}

struct output *output_open(const struct flm_hdf5_options *o, const struct set *input, const uint64_t *step,
                           flm_error *error)
{
    struct shape s = shape_of(o, input, step);
    if (is_one_file(o->file, o->output)) {
        flm__error_set(error, FLM_EINVAL,
                       "the output has to go into another file than %s, which executors read", o->file);
        return NULL;
    }
    struct output *out = calloc(1, sizeof(*out));
    if (!out || asprintf(&out->name, "%s:%s", o->output, o->output_dataset) < 0) {
        free(out);
        flm__error_set(error, FLM_ENOMEM, "no memory");
        return NULL;
    }
    out->file = out->set = -1;
    out->rank = s.rank;
    out->columns = o->output_columns;
    if (open_file(out, o, error) == 0 && open_set(out, o, &s, error) == 0)
        return out;
    output_close(out, NULL);
    return NULL;
}

/* ---- writing ---- */

uint64_t output_bytes(const struct output *out, const struct flm_hdf5_slab *slab)
{
    uint64_t n = out->columns ? slab->count[0] : slab_elements(slab, 0);
    return __builtin_mul_overflow(n, sizeof(double) * (out->columns ? out->columns : 1), &n) ? UINT64_MAX
                                                                                             : n;
}

int output_write(struct output *out, const struct flm_hdf5_slab *slab, const void *data, flm_error *error)
{
    hsize_t start[FLM_HDF5_MAX_RANK] = {slab->start[0]}, count[FLM_HDF5_MAX_RANK] = {slab->count[0]};
    for (unsigned i = 1; i < out->rank; i++) {
        start[i] = out->columns ? 0 : slab->start[i];
        count[i] = out->columns ? out->columns : slab->count[i];
    }
    herr_t rc;
    errno = 0;
    H5E_BEGIN_TRY
    {
        hid_t in_file = H5Dget_space(out->set), in_memory = H5Screate_simple((int)out->rank, count, NULL);
        rc = H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, count, NULL);
        if (rc >= 0)
            rc = H5Dwrite(out->set, H5T_NATIVE_DOUBLE, in_memory, in_file, H5P_DEFAULT, data);
        H5Sclose(in_memory);
        H5Sclose(in_file);
    }
    H5E_END_TRY
    int why = errno;
    return rc >= 0 ? 0
                   : flm__error_set(error, FLM_EIO, "cannot write %s%s%s", out->name, why ? ": " : "",
                                    why ? strerror(why) : "");
}

int output_close(struct output *out, flm_error *error)
{
    herr_t rc = 0;
    int code = 0;
    if (!out)
        return 0;
    errno = 0;
    H5E_BEGIN_TRY
    {
        if (out->set >= 0)
            rc = H5Dclose(out->set);
        if (out->file >= 0 && H5Fclose(out->file) < 0)
            rc = -1;
    }
    H5E_END_TRY
    if (rc < 0)
        code = flm__error_set(error, FLM_EIO, "cannot finish %s%s%s", out->name, errno ? ": " : "",
                              errno ? strerror(errno) : "");
    free(out->name);
    free(out);
    return code;
}
