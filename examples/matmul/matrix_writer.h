/* matrix_writer.h - new HDF5 files of matrices, written by rectangles.
 *
 * HDF5 lays out the file, of datasets that lie in one piece, and closes it; then
 * the elements are written to their places with pwrite. So a full disk is an
 * error of a write of ours, known early (the space is reserved where the file
 * system can), and never leaves HDF5 with a file that it cannot close.
 */
#ifndef MATMUL_MATRIX_WRITER_H
#define MATMUL_MATRIX_WRITER_H

#include <flm/error.h>
#include <stdint.h>

struct matrix_writer;

#define MATRIX_WRITER_SETS 2

struct matrix_set {
    const char *name; /* "/C" */
    uint64_t rows, columns;
};

/* A number to be written beside the matrices, as an attribute of the file. */
struct matrix_note {
    const char *name; /* NULL ends the list */
    double value;
};

/* Begins a file that replaces one of that name only when it is committed. At
 * most MATRIX_WRITER_SETS sets. NULL: an error. */
struct matrix_writer *matrix_writer_create(const char *file, const struct matrix_set *sets, int n,
                                           const struct matrix_note *notes, flm_error *error);

/* Writes a rectangle of a set; in memory its rows lie `stride` elements apart. */
int matrix_writer_write(struct matrix_writer *writer, int set, uint64_t row, uint64_t column, uint64_t rows,
                        uint64_t columns, const double *from, uint64_t stride, flm_error *error);

/* Makes the file durable and gives it its name; then it only can be closed. */
int matrix_writer_commit(struct matrix_writer *writer, flm_error *error);

/* Removes what was not committed. NULL is allowed. */
void matrix_writer_close(struct matrix_writer *writer);

#endif
