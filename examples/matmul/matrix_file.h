/* matrix_file.h - matrices in HDF5 files, read by rectangles. Elements are
 * doubles in memory, row-major; in a file they may be numbers of any type.
 */
#ifndef MATMUL_MATRIX_FILE_H
#define MATMUL_MATRIX_FILE_H

#include <flm/error.h>
#include <stdint.h>

struct matrix_file;

/* Whether this build has HDF5; else these and those of matrix_writer.h fail with FLM_ENOTSUP. */
int matrix_file_available(void);

/* Opens a two-dimensional dataset of numbers for reading. NULL: an error. */
struct matrix_file *matrix_file_open(const char *file, const char *dataset, flm_error *error);

uint64_t matrix_file_rows(const struct matrix_file *mf);
uint64_t matrix_file_columns(const struct matrix_file *mf);

/* Reads a rectangle; in memory its rows lie `stride` elements apart. */
int matrix_file_read(struct matrix_file *mf, uint64_t row, uint64_t column, uint64_t rows, uint64_t columns,
                     double *to, uint64_t stride, flm_error *error);
/* The whole matrix as it lies in the file, row by row, if it lies there as in memory (doubles of this
 * machine, contiguous, in this one file); else NULL, and matrix_file_read is the way. Valid until
 * matrix_file_close. All processes of a node share its pages; who reads a page that another program has cut
 * off the file meanwhile gets SIGBUS. */
const double *matrix_file_map(struct matrix_file *mf);

/* NULL is allowed. */
void matrix_file_close(struct matrix_file *mf);

#endif
