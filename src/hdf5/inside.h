/* hdf5/inside.h - what the parts of libflm_hdf5 share. */
#ifndef FLM_HDF5_INSIDE_H
#define FLM_HDF5_INSIDE_H

#include <flm/hdf5.h>

#include <hdf5.h>
#include <stdbool.h>

/* ---- set.c: a data set that is open for reading ---- */

struct set {
    hid_t file, set; /* negative: not open */
    unsigned rank;
    uint64_t extent[FLM_HDF5_MAX_RANK];
    uint64_t chunk[FLM_HDF5_MAX_RANK]; /* [0] is 0: it is not in chunks */
};

/* 0 or FLM_E*; what was opened is closed then. locks: nobody may write to the file while it is open, where
 * the file system has locks. */
int set_open(struct set *s, const char *file, const char *dataset, bool locks, flm_error *error);
/* The same for another data set of the file that `other` has open, which is not opened again. */
int set_open_beside(struct set *s, const struct set *other, const char *file, const char *dataset,
                    flm_error *error);
void set_close(struct set *s);
/* Elements of a slab from `from` (dimension) on; UINT64_MAX: too many to count. */
uint64_t slab_elements(const struct flm_hdf5_slab *slab, unsigned from);

/* ---- piece.c: the input of a task ---- */

struct piece {
    struct flm_hdf5_slab slab;
    uint64_t file_bytes; /* these two tell a file from a later one of that name */
    int64_t file_time_ns;
    const char *file, *dataset;
};

/* malloc'd, *bytes long; NULL: no memory. Pieces of one map differ in start and count alone. */
void *piece_encode(const struct piece *p, size_t *bytes);
/* The pointers of p lie in input. False: it is none. */
bool piece_decode(struct piece *p, const void *input, size_t bytes);

/* ---- output.c: what tasks give ---- */

struct output; /* a data set of doubles */

/* step: what a task covers of each dimension. NULL: error says why. */
struct output *output_open(const struct flm_hdf5_options *o, const struct set *input, const uint64_t *step,
                           flm_error *error);
/* Bytes that the task of the slab has to give. */
uint64_t output_bytes(const struct output *out, const struct flm_hdf5_slab *slab);
int output_write(struct output *out, const struct flm_hdf5_slab *slab, const void *data, flm_error *error);
/* NULL is allowed. */
int output_close(struct output *out, flm_error *error);

#endif
