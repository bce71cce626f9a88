/* source.c - see source.h */
#include "source.h"
#include "matrix_file.h"
#include "fail.h"
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct matmul_common) == MATMUL_OFFSET, "A begins behind the head");

/* Takes the next text of the common data; NULL when there is none. */
static const char *next_text(const char **at, const char *end)
{
    const char *text = *at, *zero = memchr(text, 0, (size_t)(end - text));

    *at = zero ? zero + 1 : end;
    return zero;
}

static int open_files(struct source *s, const char *at, const char *end, flm_error *error)
{
    const char *text[4];

    for (int i = 0; i < 4; i++) {
        text[i] = at;
        if (!next_text(&at, end))
            return fail(error, FLM_EINVAL, "the common data names no files");
    }
    s->file_a = matrix_file_open(text[0], text[1], error);
    s->file_b = s->file_a ? matrix_file_open(text[2], text[3], error) : NULL;
    if (!s->file_b)
        return FLM_EIO;
    if (matrix_file_rows(s->file_a) != s->head.m || matrix_file_columns(s->file_a) != s->head.k ||
        matrix_file_rows(s->file_b) != s->head.k || matrix_file_columns(s->file_b) != s->head.n)
        return fail(error, FLM_EINVAL, "%s or %s changed its shape, or is another file on this node",
                    text[0], text[2]);
    s->a = matrix_file_map(s->file_a);
    s->b = matrix_file_map(s->file_b);
    return 0;
}

int source_open(struct source *s, const void *common, size_t size, flm_error *error)
{
    const struct matmul_common *h = common;
    const char *bytes = common;
    uint64_t room;

    *s = (struct source){0};
    if (size < sizeof(*h) || h->version != MATMUL_VERSION)
        return fail(error, FLM_EINVAL,
                    "the common data is not of matmul: program and module are of "
                    "different versions");
    s->head = *h;
    room = (size - MATMUL_OFFSET) / sizeof(double);
    if (h->m < 1 || h->n < 1 || h->k < 1 || h->m > MATMUL_MAX_SIDE || h->n > MATMUL_MAX_SIDE ||
        h->k > MATMUL_MAX_SIDE)
        return fail(error, FLM_EINVAL, "a matrix of the common data has an impossible size");
    if (h->data == MATMUL_HDF5)
        return open_files(s, bytes + MATMUL_OFFSET, bytes + size, error);
    if (h->data != MATMUL_COMMON || room != h->m * h->k + h->k * h->n)
        return fail(error, FLM_EINVAL, "the common data does not hold the matrices that it describes");
    s->a = (const double *)(const void *)(bytes + MATMUL_OFFSET);
    s->b = s->a + h->m * h->k;
    return 0;
}

void source_close(struct source *s)
{
    matrix_file_close(s->file_a);
    matrix_file_close(s->file_b);
    free(s->buffer_a);
    free(s->buffer_b);
    *s = (struct source){0};
}

uint64_t source_depth(const struct source *s, const struct tile *tile)
{
    uint64_t most = SOURCE_PANEL_BYTES / sizeof(double) / (tile->rows + tile->columns);

    if ((s->a && s->b) || most >= s->head.k)
        return s->head.k;
    return most > 64 ? most / 64 * 64 : 64;
}

/* What is mapped from a file is read here, a word of each page, and not in the middle of the dgemm. */
static void touch(const struct matrix_file *file, const struct panel *p, uint64_t rows, uint64_t columns)
{
    const uint64_t step = 4096 / sizeof(double);

    for (uint64_t i = 0; file && i < rows; i++) {
        const volatile double *row = p->data + i * p->stride;
        for (uint64_t j = 0; j < columns; j += step)
            (void)row[j];
        (void)row[columns - 1];
    }
}

static int reserve(double **buffer, size_t *room, uint64_t elements, flm_error *error)
{
    double *larger;

    if (elements <= *room)
        return 0;
    larger = aligned_alloc(64, (elements * sizeof(double) + 63) / 64 * 64);
    if (!larger)
        return fail(error, FLM_ENOMEM, "no memory for a panel of %llu elements",
                    (unsigned long long)elements);
    free(*buffer);
    *buffer = larger;
    *room = elements;
    return 0;
}

int source_a(struct source *s, uint64_t row, uint64_t rows, uint64_t from, uint64_t count,
             struct panel *panel, flm_error *error)
{
    int rc;

    if (s->a) {
        *panel = (struct panel){s->a + row * s->head.k + from, s->head.k};
        touch(s->file_a, panel, rows, count);
        return 0;
    }
    /* tiles come row by row: most often the panel is there already */
    if (s->a_row != row || s->a_rows != rows || s->a_column != from || count != s->head.k) {
        s->a_rows = 0;
        rc = reserve(&s->buffer_a, &s->room_a, rows * count, error);
        if (rc == 0)
            rc = matrix_file_read(s->file_a, row, from, rows, count, s->buffer_a, count, error);
        if (rc)
            return rc;
        s->a_row = row, s->a_rows = rows, s->a_column = from;
    }
    *panel = (struct panel){s->buffer_a, count};
    return 0;
}

int source_b(struct source *s, uint64_t column, uint64_t columns, uint64_t from, uint64_t count,
             struct panel *panel, flm_error *error)
{
    int rc;

    if (s->b) {
        *panel = (struct panel){s->b + from * s->head.n + column, s->head.n};
        touch(s->file_b, panel, count, columns);
        return 0;
    }
    rc = reserve(&s->buffer_b, &s->room_b, columns * count, error);
    if (rc == 0)
        rc = matrix_file_read(s->file_b, from, column, count, columns, s->buffer_b, columns, error);
    *panel = (struct panel){s->buffer_b, columns};
    return rc;
}
