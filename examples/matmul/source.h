/* source.h - where an executor finds A and B: in the common data of the session,
 * or in HDF5 files: mapped where a matrix lies in its file as it does in memory,
 * else read a panel at a time.
 */
#ifndef MATMUL_SOURCE_H
#define MATMUL_SOURCE_H

#include "task.h"
#include <flm/error.h>
#include <stddef.h>

struct matrix_file;

/* Part of a matrix in memory: row i begins at data + i * stride. */
struct panel {
    const double *data;
    uint64_t stride;
};

/* Memory for the panels of one tile, bytes, when they come from files. */
#ifndef SOURCE_PANEL_BYTES /* tests take less */
#define SOURCE_PANEL_BYTES ((size_t)64 << 20)
#endif

struct source {
    struct matmul_common head;
    const double *a, *b; /* common data, or mapped files; NULL: to be read */
    struct matrix_file *file_a, *file_b;
    double *buffer_a, *buffer_b;      /* panels read from the files */
    size_t room_a, room_b;            /* in elements */
    uint64_t a_row, a_rows, a_column; /* what buffer_a holds; a_rows 0: nothing */
};

/* Understands the common data, which must outlive the source. 0 or FLM_E*. */
int source_open(struct source *source, const void *common, size_t size, flm_error *error);
void source_close(struct source *source);

/* How many columns of A (rows of B) to take at a time for a tile of that size. */
uint64_t source_depth(const struct source *source, const struct tile *tile);

/* Rows row.. of A, columns from.. (count); rows from.. of B, columns column... */
int source_a(struct source *source, uint64_t row, uint64_t rows, uint64_t from, uint64_t count,
             struct panel *panel, flm_error *error);
int source_b(struct source *source, uint64_t column, uint64_t columns, uint64_t from, uint64_t count,
             struct panel *panel, flm_error *error);

#endif
