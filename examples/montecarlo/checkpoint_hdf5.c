/* checkpoint_hdf5.c - see checkpoint.h */
#include "checkpoint_hdf5.h"
#include "fail.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct column {
    const char *name;
    size_t offset;
    int real;
};

#define WHOLE(name)                                                                                        \
    {                                                                                                      \
#name, offsetof(struct checkpoint, name), 0                                                        \
    }
#define REAL(name)                                                                                         \
    {                                                                                                      \
#name, offsetof(struct checkpoint, name), 1                                                        \
    }

static const struct column state_columns[] = {
    WHOLE(complete), WHOLE(session),   WHOLE(first),   WHOLE(next),    WHOLE(samples),
    WHOLE(due),      WHOLE(executors), REAL(sum_high), REAL(sum_low),  REAL(sum2_high),
    REAL(sum2_low),  REAL(seconds),    REAL(centre),   REAL(useful_s), REAL(wasted_s)};

static const struct column sums_columns[] = {{"number", offsetof(struct mc_sums, number), 0},
                                             {"samples", offsetof(struct mc_sums, samples), 0},
                                             {"sum", offsetof(struct mc_sums, sum), 1},
                                             {"sum2", offsetof(struct mc_sums, sum2), 1}};

static hid_t type_of(const struct column *column, size_t n, size_t size)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, size);

    for (size_t i = 0; i < n; i++)
        H5Tinsert(t, column[i].name, column[i].offset,
                  column[i].real ? H5T_NATIVE_DOUBLE : H5T_NATIVE_UINT64);
    return t;
}

static hid_t state_type(void)
{
    return type_of(state_columns, sizeof(state_columns) / sizeof(*state_columns),
                   sizeof(struct checkpoint));
}

static hid_t sums_type(void)
{
    return type_of(sums_columns, sizeof(sums_columns) / sizeof(*sums_columns), sizeof(struct mc_sums));
}

/* ---- writing --------------------------------------------------------------- */

/* Takes the type. 0, or not 0 when something failed, as the next one. */
static int write_table(hid_t file, const char *name, hid_t type, const void *rows, size_t n)
{
    hsize_t size = n;
    hid_t space = H5Screate_simple(1, &size, NULL);
    hid_t d = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    int bad = d < 0 || (n && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) < 0);

    if (d >= 0)
        H5Dclose(d);
    H5Sclose(space);
    H5Tclose(type);
    return bad;
}

int checkpoint_write(hid_t file, const struct progress_file *p)
{
    const struct reduce *r = p->reduce;
    struct mc_sums *waiting = malloc(r->window * sizeof(*waiting));
    size_t n = 0;
    int bad = !waiting;

    for (uint64_t i = 0; i < r->window && !bad; i++)
        if (r->ring[i].samples)
            waiting[n++] = r->ring[i];
    bad = bad || write_table(file, "state", state_type(), &p->state, 1) ||
          write_table(file, "waiting", sums_type(), waiting, n);
    free(waiting);
    return bad;
}

/* ---- reading --------------------------------------------------------------- */

/* Reads a table of at most `most` rows; takes the type. Its rows, or -1. */
static long read_table(hid_t file, const char *name, hid_t type, void *rows, size_t most)
{
    hid_t d = H5Dopen2(file, name, H5P_DEFAULT), space = d < 0 ? -1 : H5Dget_space(d);
    hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);

    if (n > (hssize_t)most || (n > 0 && H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) < 0))
        n = -1;
    if (space >= 0)
        H5Sclose(space);
    if (d >= 0)
        H5Dclose(d);
    H5Tclose(type);
    return (long)n;
}

static int read_run(hid_t file, char text[CHECKPOINT_TEXT])
{
    hid_t a = H5Aopen(file, "run", H5P_DEFAULT), type = a < 0 ? -1 : H5Aget_type(a);
    size_t size = type < 0 ? 0 : H5Tget_size(type);
    int bad = size == 0 || size > CHECKPOINT_TEXT || H5Tis_variable_str(type) != 0;

    memset(text, 0, CHECKPOINT_TEXT);
    bad = bad || H5Aread(a, type, text) < 0 || text[CHECKPOINT_TEXT - 1];
    if (type >= 0)
        H5Tclose(type);
    if (a >= 0)
        H5Aclose(a);
    return bad;
}

/* What was read makes sense; then the rest of *p follows from it. */
static int take(struct progress_file *p, const struct checkpoint *state, long rows, struct mc_sums *waiting,
                long n)
{
    struct reduce *r = p->reduce;

    if (rows < 0 || n < 0 || !isfinite(state->sum_high) || !isfinite(state->sum2_high) ||
        !isfinite(state->seconds) || !isfinite(state->centre) || state->first > state->next + r->window)
        return 1;
    p->history->n = (int)rows;
    p->history->due = state->due;
    r->model.centre = state->centre;
    r->next = state->next;
    r->samples = state->samples;
    r->sum = (struct twofold){state->sum_high, state->sum_low};
    r->sum2 = (struct twofold){state->sum2_high, state->sum2_low};
    p->state = *state;
    for (long i = 0; i < n; i++)
        if (reduce_put(r, &waiting[i]))
            return 1;
    return 0;
}

static int read_all(hid_t file, struct progress_file *p)
{
    struct checkpoint state;
    struct mc_sums *waiting = calloc(p->reduce->window, sizeof(*waiting));
    int bad =
        !waiting || read_table(file, "state", state_type(), &state, 1) != 1 ||
        take(p, &state, read_table(file, "convergence", history_type(), p->history->row, HISTORY_ROWS),
             waiting, read_table(file, "waiting", sums_type(), waiting, p->reduce->window));

    free(waiting);
    return bad;
}

int checkpoint_read(const char *path, struct progress_file *p, flm_error *error)
{
    char run[CHECKPOINT_TEXT];
    hid_t file;
    int rc = 0;

    if (access(path, F_OK) && errno == ENOENT)
        return FLM_ENOTFOUND;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* we say what failed */
    file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return fail(error, FLM_EIO, "%s cannot be read as HDF5: give another --output, or remove it", path);
    if (H5Lexists(file, "state", H5P_DEFAULT) <= 0)
        rc = FLM_ENOTFOUND;
    else if (read_run(file, run))
        rc = fail(error, FLM_EIO, "%s is damaged: it does not say what it computes", path);
    else if (strcmp(run, p->run))
        rc = fail(error, FLM_EEXIST, "%s is of another run: it computes %s, and now it is to be %s", path,
                  run, p->run);
    else if (read_all(file, p))
        rc = fail(error, FLM_EIO, "%s is damaged: its state makes no sense", path);
    H5Fclose(file);
    return rc;
}
