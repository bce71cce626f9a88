/* flm/hdf5.h - a task for each piece of a data set in an HDF5 file (-lflm_hdf5, where Flame was built with HDF5).
 *
 * The client maps a session over a data set; nothing of it passes through the client or the session manager:
 *
 *     struct flm_hdf5_options o = {.size = sizeof(o), .file = "in.h5", .dataset = "/x",
 *                                  .output = "out.h5", .output_dataset = "/y"};
 *     flm_hdf5_map *map = flm_map_hdf5(session, &o, &error);
 *     int rc = map ? flm_hdf5_finish(map, &error) : error.code;
 *
 * and on_task_invoke of its service reads the piece of its task where it runs:
 *
 *     struct flm_hdf5_slab slab;
 *     if (flm_hdf5_read(task, FLM_HDF5_DOUBLE, &slab, &error) < 0)
 *         return flm_task_fail(task, error.code, "%s", error.text);
 *
 * The file lies where all nodes see it under the same path. It is opened once by each executor, and pieces are
 * whole chunks, so that no two executors read the same one. Until flm_hdf5_finish the client holds HDF5's lock, so that
 * nobody writes to it meanwhile (where the file system has locks). Threads: one at a time in a process, as HDF5 itself.
 */
#ifndef FLM_HDF5_H
#define FLM_HDF5_H

#include <flm/client.h>
#include <flm/service.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLM_HDF5_MAX_RANK 8

/* A hyperslab: the elements start .. start + count - 1 of each dimension. */
struct flm_hdf5_slab {
    unsigned rank;                       /* dimensions of the data set, 1 to FLM_HDF5_MAX_RANK */
    uint64_t start[FLM_HDF5_MAX_RANK];   /* first element */
    uint64_t count[FLM_HDF5_MAX_RANK];   /* elements */
    uint64_t extent[FLM_HDF5_MAX_RANK];  /* of the whole data set */
    const void *data;                    /* row-major, without gaps, aligned to 64 bytes; NULL in on_slab */
    size_t bytes;                        /* of data */
};

/* Elements in memory; numbers of any type in the file are converted by HDF5. */
enum flm_hdf5_type {
    FLM_HDF5_DOUBLE = 1,
    FLM_HDF5_FLOAT = 2,
    FLM_HDF5_INT32 = 3,
    FLM_HDF5_INT64 = 4,
    FLM_HDF5_UINT8 = 5,
};

/* What became of one piece. Runs as callbacks of tasks do (flm_run_task(3)); slab and result die with the call. */
typedef void flm_hdf5_fn(const struct flm_hdf5_slab *slab, const struct flm_result *result, void *arg);

struct flm_hdf5_options {
    size_t size;
    const char *file, *dataset; /* the data set is of numbers, of 1 to FLM_HDF5_MAX_RANK dimensions */
    uint64_t rows;              /* of the first dimension in a task, rounded up to whole chunks; 0: some MiB */
    int by_chunk;               /* not 0: each chunk is a task, in all dimensions; rows is 0 */
    const char *output;         /* file for what tasks give; another than file, made if it is not there; NULL: none */
    const char *output_dataset; /* made, or there already in the right shape and of 64-bit floating point numbers.
                                   Pieces that failed are NaN in one that was made; its chunks begin at blocks of
                                   the file system where they are not smaller */
    uint64_t output_columns;    /* 0: it has the shape of the data set, and each task gives a double for each of its
                                   elements; else it has so many columns, and each task gives so many doubles for
                                   each of its rows (1: it is a vector). Not with by_chunk */
    flm_hdf5_fn *on_slab;       /* NULL: none */
    void *arg;
};

typedef struct flm_hdf5_map flm_hdf5_map;

/* Looks at the data set, makes the output and submits a task for each piece. NULL: FLM_EINVAL (options; the data set
 * has another type, shape or layout than is needed), FLM_ENOTFOUND (file, data set), FLM_EIO, FLM_ENOMEM and the
 * errors of flm_run_task. */
FLM_API flm_hdf5_map *flm_map_hdf5(flm_session *session, const struct flm_hdf5_options *options,
                                   flm_error *error);

/* Pieces: tasks that were submitted. */
FLM_API uint64_t flm_hdf5_slabs(const flm_hdf5_map *map);

/* Waits as flm_wait does until all tasks of the session have been delivered, closes the output and frees the map,
 * also when an error is returned; not in a callback. FLM_ESERVICE: pieces failed, the text says how many and why the
 * first did; FLM_EIO: the output could not be written; FLM_EDISCONNECTED. To give up, cancel tasks before. */
FLM_API int flm_hdf5_finish(flm_hdf5_map *map, flm_error *error);

/* In a service: reads the piece of this task. slab->data is the library's, valid until the next call. FLM_EINVAL:
 * this is no task of flm_map_hdf5, or a type that is none; FLM_ENOTFOUND: the file or data set is gone, or not on
 * this node; FLM_ESTALE: it has another shape by now; FLM_EIO, FLM_ENOMEM. */
FLM_API int flm_hdf5_read(const struct flm_task_context *task, int type, struct flm_hdf5_slab *slab,
                          flm_error *error);

#ifdef __cplusplus
}
#endif
#endif
