/* prepare.c - see prepare.h */
#include "prepare.h"
#include "inputs.h"
#include "matrix_file.h"
#include "matrix_writer.h"
#include "fail.h"
#include "report.h"
#include <flm/client.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SIDE 2000

/* C is checked by itself when the dgemm has at most so many operations (some
 * seconds of a core) and the matrices together so many bytes. */
#define CHECK_FLOP  2e11
#define CHECK_BYTES 1e9

/* Rows that are generated and written at a time: some MiB. */
#define WRITE_ELEMENTS ((uint64_t)1 << 20)

static int match(uint64_t *side, uint64_t found, const char *name, const struct options_matrix *of,
                 flm_error *error)
{
    if (*side && *side != found)
        return fail(error, FLM_EINVAL,
                    "%s:%s has %llu %s, but %llu are needed (by -m, -n, -k or the other "
                    "matrix)",
                    of->file, of->dataset, (unsigned long long)found, name, (unsigned long long)*side);
    if (found < 1 || found > MATMUL_MAX_SIDE)
        return fail(error, FLM_EINVAL, "%s:%s has %llu %s; 1 to %llu can be multiplied", of->file,
                    of->dataset, (unsigned long long)found, name, (unsigned long long)MATMUL_MAX_SIDE);
    *side = found;
    return 0;
}

/* Takes the sides of a matrix from its file. */
static int shape(const struct options_matrix *of, uint64_t *rows, uint64_t *columns, flm_error *error)
{
    struct matrix_file *mf;
    int rc;

    if (!of->file)
        return 0;
    mf = matrix_file_open(of->file, of->dataset, error);
    if (!mf)
        return FLM_EIO;
    rc = match(rows, matrix_file_rows(mf), "rows", of, error);
    if (rc == 0)
        rc = match(columns, matrix_file_columns(mf), "columns", of, error);
    matrix_file_close(mf);
    return rc;
}

static int fits_common(const struct matmul_common *h)
{
    return h->m * h->k + h->k * h->n <= (FLM_MAX_PAYLOAD - MATMUL_OFFSET) / sizeof(double);
}

static int shapes(struct prepared *p, const struct options *o, flm_error *error)
{
    struct matmul_common *h = &p->head;
    double bytes;
    int rc;

    *h = (struct matmul_common){
        .version = MATMUL_VERSION, .data = (uint32_t)o->data, .m = o->m, .n = o->n, .k = o->k};
    rc = shape(&o->a, &h->m, &h->k, error);
    if (rc == 0)
        rc = shape(&o->b, &h->k, &h->n, error);
    if (rc)
        return rc;
    h->m = h->m ? h->m : DEFAULT_SIDE;
    h->n = h->n ? h->n : DEFAULT_SIDE;
    h->k = h->k ? h->k : DEFAULT_SIDE;
    if (!h->data)
        h->data = fits_common(h) || !matrix_file_available() ? MATMUL_COMMON : MATMUL_HDF5;
    bytes = 8.0 *
            ((double)h->m * (double)h->k + (double)h->k * (double)h->n + 2.0 * (double)h->m * (double)h->n);
    p->check = o->check >= 0
                   ? o->check
                   : 2.0 * (double)h->m * (double)h->n * (double)h->k <= CHECK_FLOP && bytes <= CHECK_BYTES;
    return 0;
}

/* A whole matrix into memory. */
static int load(const struct options *o, int which, uint64_t rows, uint64_t columns, double *to,
                flm_error *error)
{
    const struct options_matrix *of = which ? &o->b : &o->a;
    struct matrix_file *mf;
    int rc;

    if (!of->file) {
        inputs_generate(o->seed, which, columns, 0, rows, to);
        return 0;
    }
    mf = matrix_file_open(of->file, of->dataset, error);
    if (!mf)
        return FLM_EIO;
    rc = matrix_file_read(mf, 0, 0, rows, columns, to, columns, error);
    matrix_file_close(mf);
    return rc;
}

static int make_common(struct prepared *p, const struct options *o, flm_error *error)
{
    const struct matmul_common *h = &p->head;
    uint64_t elements = h->m * h->k + h->k * h->n;
    double *a;
    int rc;

    if (!fits_common(h))
        return fail(error, FLM_ETOOBIG,
                    "A and B have %.1f GiB together, common data at most 1 GiB: let the "
                    "executors read them with --data=hdf5",
                    (double)elements * 8 / 1073741824.0);
    p->common_size = MATMUL_OFFSET + elements * sizeof(double);
    p->common = aligned_alloc(64, (p->common_size + 63) / 64 * 64);
    if (!p->common)
        return fail(error, FLM_ENOMEM, "no memory for A and B");
    a = (double *)(void *)(p->common + MATMUL_OFFSET);
    p->a = a;
    p->b = a + h->m * h->k;
    p->reading = report_clock();
    rc = load(o, 0, h->m, h->k, a, error);
    rc = rc ? rc : load(o, 1, h->k, h->n, a + h->m * h->k, error);
    p->reading = o->a.file || o->b.file ? report_clock() - p->reading : 0;
    return rc;
}

/* Writes a generated matrix, some rows at a time. */
static int write_generated(struct matrix_writer *w, int set, const struct options *o, int which,
                           const struct matrix_set *shape_of, flm_error *error)
{
    uint64_t rows = shape_of->rows, columns = shape_of->columns;
    uint64_t step = columns < WRITE_ELEMENTS ? WRITE_ELEMENTS / columns : 1;
    double *some = malloc(step * columns * sizeof(double));
    int rc = some ? 0 : fail(error, FLM_ENOMEM, "no memory");

    for (uint64_t i = 0; i < rows && rc == 0; i += step) {
        uint64_t count = rows - i < step ? rows - i : step;
        inputs_generate(o->seed, which, columns, i, count, some);
        rc = matrix_writer_write(w, set, i, 0, count, columns, some, columns, error);
    }
    free(some);
    return rc;
}

static int write_inputs(struct prepared *p, const struct options *o, flm_error *error)
{
    const struct matmul_common *h = &p->head;
    const struct matrix_set shape_of[2] = {{"/A", h->m, h->k}, {"/B", h->k, h->n}};
    struct matrix_set sets[2];
    struct matrix_writer *w;
    int which[2], n = 0, rc = 0;

    for (int i = 0; i < 2; i++)
        if (!(i ? o->b.file : o->a.file)) {
            which[n] = i;
            sets[n++] = shape_of[i];
        }
    if (n == 0)
        return 0;
    w = matrix_writer_create(o->inputs, sets, n, NULL, error);
    if (!w)
        return FLM_EIO;
    for (int i = 0; i < n && rc == 0; i++)
        rc = write_generated(w, i, o, which[i], &sets[i], error);
    if (rc == 0)
        rc = matrix_writer_commit(w, error);
    matrix_writer_close(w);
    p->inputs_written = rc == 0;
    return rc;
}

/* The names of the files as executors need them, in other directories. */
static int name_files(struct prepared *p, const struct options *o, flm_error *error)
{
    char a[PATH_MAX], b[PATH_MAX];
    const char *text[4] = {a, o->a.file ? o->a.dataset : "/A", b, o->b.file ? o->b.dataset : "/B"};
    char *at;

    if (!realpath(o->a.file ? o->a.file : o->inputs, a) || !realpath(o->b.file ? o->b.file : o->inputs, b))
        return fail(error, FLM_EIO, "a file of A or B has gone");
    p->common_size = MATMUL_OFFSET;
    for (int i = 0; i < 4; i++)
        p->common_size += strlen(text[i]) + 1;
    p->common = malloc(p->common_size);
    if (!p->common)
        return fail(error, FLM_ENOMEM, "no memory");
    at = p->common + MATMUL_OFFSET;
    for (int i = 0; i < 4; i++)
        at = stpcpy(at, text[i]) + 1;
    return 0;
}

/* With files: A and B in memory, for the check alone. */
static int load_for_check(struct prepared *p, const struct options *o, flm_error *error)
{
    const struct matmul_common *h = &p->head;
    int rc;

    if (!p->check)
        return 0;
    p->a = p->own_a = malloc(h->m * h->k * sizeof(double));
    p->b = p->own_b = malloc(h->k * h->n * sizeof(double));
    if (!p->own_a || !p->own_b)
        return fail(error, FLM_ENOMEM, "no memory for the check; --no-check does without");
    rc = load(o, 0, h->m, h->k, p->own_a, error);
    return rc ? rc : load(o, 1, h->k, h->n, p->own_b, error);
}

int prepare(struct prepared *p, const struct options *o, flm_error *error)
{
    int rc;

    *p = (struct prepared){0};
    rc = shapes(p, o, error);
    if (rc == 0 && p->head.data == MATMUL_COMMON) {
        rc = make_common(p, o, error);
    } else if (rc == 0) {
        rc = write_inputs(p, o, error);
        rc = rc ? rc : name_files(p, o, error);
        rc = rc ? rc : load_for_check(p, o, error);
    }
    if (rc == 0)
        memcpy(p->common, &p->head, sizeof(p->head));
    return rc;
}

void prepare_free(struct prepared *p)
{
    free(p->common);
    free(p->own_a);
    free(p->own_b);
    *p = (struct prepared){0};
}
