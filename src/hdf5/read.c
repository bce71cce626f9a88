/* What runs in executors: the piece of a task. The files stay open from task to task, and from session to
 * session, so they are not locked; the client's lock keeps writers off while it needs them. */
#include "hdf5/inside.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

enum { FILES_OPEN = 4, ALIGNMENT = 64 };

struct open_set {
    struct set set;
    char *file, *dataset; /* NULL: a free place */
    uint64_t file_bytes;
    int64_t file_time_ns;
    uint64_t used; /* the larger the later */
};

static struct open_set open_sets[FILES_OPEN];
static uint64_t clock_of_use;
static void *buffer;
static size_t buffer_bytes;

static void forget(struct open_set *o)
{
    if (!o->file)
        return;
    set_close(&o->set);
    free(o->file);
    free(o->dataset);
    *o = (struct open_set){0};
}

/* When a service is unloaded; the files are closed by HDF5's own end. */
__attribute__((destructor)) static void free_all(void)
{
    for (int i = 0; i < FILES_OPEN; i++) {
        free(open_sets[i].file);
        free(open_sets[i].dataset);
    }
    free(buffer);
}

static bool is_same(const struct open_set *o, const struct piece *p)
{
    return o->file_bytes == p->file_bytes && o->file_time_ns == p->file_time_ns &&
           strcmp(o->dataset, p->dataset) == 0;
}

/* The place of the set, if it is open, or else a free one. An earlier file of that name is closed, all of
 * it: HDF5 would go on to believe what it remembers of it. */
static struct open_set *place_for(const struct piece *p)
{
    struct open_set *place = &open_sets[0], *found = NULL;
    for (struct open_set *o = open_sets; o < open_sets + FILES_OPEN; o++) {
        if (o->file && strcmp(o->file, p->file) == 0) {
            if (is_same(o, p))
                found = o;
            else if (o->file_bytes != p->file_bytes || o->file_time_ns != p->file_time_ns)
                forget(o);
        }
        if (o->used < place->used)
            place = o;
    }
    if (found)
        return found;
    forget(place);
    return place;
}

/* One that has the file of the piece open. */
static const struct open_set *other_set(const struct piece *p)
{
    for (struct open_set *o = open_sets; o < open_sets + FILES_OPEN; o++)
        if (o->file && strcmp(o->file, p->file) == 0)
            return o;
    return NULL;
}

static int find_set(const struct piece *p, struct open_set **found, flm_error *error)
{
    struct open_set *o = place_for(p);
    if (!o->file) {
        const struct open_set *other = other_set(p);
        int rc = other ? set_open_beside(&o->set, &other->set, p->file, p->dataset, error)
                       : set_open(&o->set, p->file, p->dataset, false, error);
        if (rc < 0)
            return rc;
        o->file = strdup(p->file);
        o->dataset = strdup(p->dataset);
        if (!o->file || !o->dataset) {
            set_close(&o->set);
            free(o->file);
            free(o->dataset);
            *o = (struct open_set){0};
            return flm__error_set(error, FLM_ENOMEM, "no memory to open %s", p->file);
        }
        o->file_bytes = p->file_bytes;
        o->file_time_ns = p->file_time_ns;
    }
    o->used = ++clock_of_use;
    *found = o;
    return 0;
}

static int check_shape(const struct set *s, const struct piece *p, flm_error *error)
{
    if (s->rank == p->slab.rank && memcmp(s->extent, p->slab.extent, s->rank * sizeof(uint64_t)) == 0)
        return 0;
    return flm__error_set(error, FLM_ESTALE, "%s:%s has another shape here than where the client saw it",
                          p->file, p->dataset);
}

static hid_t memory_type(int type, size_t *bytes)
{
    switch (type) {
    case FLM_HDF5_DOUBLE:
        *bytes = sizeof(double);
        return H5T_NATIVE_DOUBLE;
    case FLM_HDF5_FLOAT:
        *bytes = sizeof(float);
        return H5T_NATIVE_FLOAT;
    case FLM_HDF5_INT32:
        *bytes = sizeof(int32_t);
        return H5T_NATIVE_INT32;
    case FLM_HDF5_INT64:
        *bytes = sizeof(int64_t);
        return H5T_NATIVE_INT64;
    case FLM_HDF5_UINT8:
        *bytes = sizeof(uint8_t);
        return H5T_NATIVE_UINT8;
    default:
        return -1;
    }
}

static int reserve(size_t bytes, flm_error *error)
{
    if (bytes <= buffer_bytes)
        return 0;
    free(buffer);
    buffer_bytes = 0;
    buffer = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (!buffer)
        return flm__error_set(error, FLM_ENOMEM,
                              "no memory for a piece of %zu bytes: map fewer rows a task", bytes);
    buffer_bytes = bytes;
    return 0;
}

static herr_t read_slab(const struct set *s, const struct flm_hdf5_slab *slab, hid_t type)
{
    hsize_t start[FLM_HDF5_MAX_RANK], count[FLM_HDF5_MAX_RANK];
    for (unsigned i = 0; i < slab->rank; i++) {
        start[i] = slab->start[i];
        count[i] = slab->count[i];
    }
    herr_t rc;
    H5E_BEGIN_TRY
    {
        hid_t in_file = H5Dget_space(s->set), in_memory = H5Screate_simple((int)slab->rank, count, NULL);
        rc = H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, count, NULL);
        if (rc >= 0)
            rc = H5Dread(s->set, type, in_memory, in_file, H5P_DEFAULT, buffer);
        H5Sclose(in_memory);
        H5Sclose(in_file);
    }
    H5E_END_TRY
    return rc;
}

int flm_hdf5_read(const struct flm_task_context *task, int type, struct flm_hdf5_slab *slab,
                  flm_error *error)
{
    size_t size = 0, each, bytes;
    const void *input = task && slab ? flm_task_input(task, &size) : NULL;
    hid_t memory = memory_type(type, &each);
    struct piece p;
    struct open_set *o = NULL;
    if (memory < 0)
        return flm__error_set(error, FLM_EINVAL, "%d is no type of elements", type);
    if (!input || !piece_decode(&p, input, size))
        return flm__error_set(error, FLM_EINVAL, "this is no task of flm_map_hdf5");
    if (__builtin_mul_overflow(slab_elements(&p.slab, 0), each, &bytes) || bytes > SIZE_MAX - ALIGNMENT)
        return flm__error_set(error, FLM_EINVAL, "a piece of %s:%s is too large", p.file, p.dataset);
    int rc = find_set(&p, &o, error);
    if (rc == 0)
        rc = check_shape(&o->set, &p, error);
    if (rc == 0)
        rc = reserve(bytes, error);
    if (rc < 0)
        return rc;
    if (read_slab(&o->set, &p.slab, memory) < 0) {
        forget(o);
        return flm__error_set(error, FLM_EIO,
                              "cannot read from row %llu of %s:%s on: is it damaged, or being written?",
                              (unsigned long long)p.slab.start[0], p.file, p.dataset);
    }
    *slab = p.slab;
    slab->data = buffer;
    slab->bytes = bytes;
    return 0;
}
