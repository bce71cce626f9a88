#include "hdf5/inside.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

uint64_t slab_elements(const struct flm_hdf5_slab *slab, unsigned from)
{
    uint64_t n = 1;
    for (unsigned i = from; i < slab->rank; i++)
        if (__builtin_mul_overflow(n, slab->count[i], &n))
            return UINT64_MAX;
    return n;
}

static int read_shape(struct set *s, const char *file, const char *dataset, flm_error *error)
{
    hsize_t extent[H5S_MAX_RANK], chunk[H5S_MAX_RANK];
    hid_t space = H5Dget_space(s->set), type = H5Dget_type(s->set), list = H5Dget_create_plist(s->set);
    H5T_class_t kind = H5Tget_class(type);
    int rank = H5Sget_simple_extent_dims(space, extent, NULL);
    bool chunked = H5Pget_layout(list) == H5D_CHUNKED && H5Pget_chunk(list, H5S_MAX_RANK, chunk) == rank;
    H5Pclose(list);
    H5Tclose(type);
    H5Sclose(space);
    if (kind != H5T_FLOAT && kind != H5T_INTEGER)
        return flm__error_set(error, FLM_EINVAL, "the elements of %s:%s are not numbers", file, dataset);
    if (rank < 1 || rank > FLM_HDF5_MAX_RANK)
        return flm__error_set(error, FLM_EINVAL, "%s:%s has %d dimensions; 1 to %d can be mapped", file,
                              dataset, rank < 0 ? 0 : rank, FLM_HDF5_MAX_RANK);
    s->rank = (unsigned)rank;
    for (int i = 0; i < rank; i++) {
        s->extent[i] = extent[i];
        s->chunk[i] = chunked ? chunk[i] : 0;
    }
    return 0;
}

static hid_t access_list(bool locks)
{
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERS_MAJOR == 1 && H5_VERS_MINOR == 10 && H5_VERS_RELEASE >= 7)
    if (!locks)
        H5Pset_file_locking(list, false, true);
#endif
    (void)locks;
    return list;
}

static int no_set(const char *file, const char *dataset, flm_error *error)
{
    return flm__error_set(error, FLM_ENOTFOUND, "%s has no data set %s; 'h5ls -r' shows what it has", file,
                          dataset);
}

static int open_both(struct set *s, const char *file, const char *dataset, bool locks, flm_error *error)
{
    hid_t how = access_list(locks);
    H5E_BEGIN_TRY
    {
        s->file = H5Fopen(file, H5F_ACC_RDONLY, how);
        s->set = s->file < 0 ? -1 : H5Dopen2(s->file, dataset, H5P_DEFAULT);
    }
    H5E_END_TRY
    H5Pclose(how);
    if (s->file < 0)
        return flm__error_set(error, FLM_EIO,
                              "%s is no HDF5 file, or another program is writing it (where the file system "
                              "has no locks: HDF5_USE_FILE_LOCKING=FALSE)",
                              file);
    return s->set < 0 ? no_set(file, dataset, error) : 0;
}

int set_open_beside(struct set *s, const struct set *other, const char *file, const char *dataset,
                    flm_error *error)
{
    *s = (struct set){.file = other->file, .set = -1};
    H5Iinc_ref(s->file);
    H5E_BEGIN_TRY
    {
        s->set = H5Dopen2(s->file, dataset, H5P_DEFAULT);
    }
    H5E_END_TRY
    int rc = s->set < 0 ? no_set(file, dataset, error) : read_shape(s, file, dataset, error);
    if (rc < 0)
        set_close(s);
    return rc;
}

int set_open(struct set *s, const char *file, const char *dataset, bool locks, flm_error *error)
{
    *s = (struct set){.file = -1, .set = -1};
    if (access(file, R_OK) < 0)
        return flm__error_errno(error, errno == ENOENT ? FLM_ENOTFOUND : FLM_EIO, errno, "cannot read %s",
                                file);
    int rc = open_both(s, file, dataset, locks, error);
    if (rc == 0)
        rc = read_shape(s, file, dataset, error);
    if (rc < 0)
        set_close(s);
    return rc;
}

void set_close(struct set *s)
{
    if (s->set >= 0)
        H5Dclose(s->set);
    if (s->file >= 0)
        H5Fclose(s->file);
    s->file = s->set = -1;
}
