/* matrix_file.h - matrices in HDF5 files, read and written by rectangles.
 * Elements are doubles in memory, row-major; in a file any number type is read.
 */
#ifndef MATMUL_MATRIX_FILE_H
#define MATMUL_MATRIX_FILE_H

#include <flm/error.h>
#include <stdint.h>

struct matrix_file;

/* Whether this build can do any of it; else all fail with FLM_ENOTSUP. */
int matrix_file_available(void);

/* Opens a two-dimensional dataset of numbers for reading. NULL: an error. */
struct matrix_file *matrix_file_open(const char *file, const char *dataset, flm_error *error);

/* Creates a file (replacing one of that name only when matrix_file_commit is
 * called). Matrices are added to it; the last one added is written to. */
struct matrix_file *matrix_file_create(const char *file, flm_error *error);
int matrix_file_add(struct matrix_file *mf, const char *dataset, uint64_t rows, uint64_t columns,
                    flm_error *error);
/* A number beside the matrix added last. */
int matrix_file_attribute(struct matrix_file *mf, const char *name, double value, flm_error *error);

uint64_t matrix_file_rows(const struct matrix_file *mf);
uint64_t matrix_file_columns(const struct matrix_file *mf);

/* A rectangle; in memory its rows lie `stride` elements apart. */
int matrix_file_read(struct matrix_file *mf, uint64_t row, uint64_t column, uint64_t rows, uint64_t columns,
                     double *to, uint64_t stride, flm_error *error);
int matrix_file_write(struct matrix_file *mf, uint64_t row, uint64_t column, uint64_t rows,
                      uint64_t columns, const double *from, uint64_t stride, flm_error *error);

/* Makes a created file durable and gives it its name; then it only can be closed. */
int matrix_file_commit(struct matrix_file *mf, flm_error *error);

/* NULL is allowed. A created file that was not committed is removed. */
void matrix_file_close(struct matrix_file *mf);

#endif
