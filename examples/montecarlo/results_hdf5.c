/* results_hdf5.c - the result file as HDF5.
 *
 * The file is small: it is made in memory (the core driver) and written at once
 * by save_file. So a full disk is a plain error of ours, never one inside
 * H5Fclose, and the file is either whole or not there.
 *
 *     /             attributes: payoff, seed, samples, tasks, executors, estimate, ...
 *     /convergence  table: samples, estimate, standard_error, exact, difference
 *
 * and of a run that can go on later what checkpoint.h says.
 */
#include "results.h"
#include "checkpoint_hdf5.h"
#include "fail.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int results_have_hdf5(void)
{
    return 1;
}

/* These return 0, or not 0 when something failed. */
static int attribute(hid_t where, const char *name, hid_t type, const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate2(where, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    int bad = a < 0 || H5Awrite(a, type, value) < 0;

    if (a >= 0)
        H5Aclose(a);
    H5Sclose(space);
    return bad;
}

static int attribute_text(hid_t where, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    int bad = H5Tset_size(type, strlen(text) + 1) < 0 || attribute(where, name, type, text);

    H5Tclose(type);
    return bad;
}

static int attribute_double(hid_t where, const char *name, double x)
{
    return attribute(where, name, H5T_NATIVE_DOUBLE, &x);
}

static int attribute_u64(hid_t where, const char *name, uint64_t n)
{
    return attribute(where, name, H5T_NATIVE_UINT64, &n);
}

static int write_versions(hid_t file, const struct outcome *o)
{
    char text[64];
    unsigned a = 0, b = 0, c = 0;
    time_t now = time(NULL);
    struct tm utc;

    H5get_libversion(&a, &b, &c);
    snprintf(text, sizeof(text), "%u.%u.%u", a, b, c);
    if (attribute_text(file, "flame_version", o->version) || attribute_text(file, "hdf5_version", text))
        return 1;
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return attribute_text(file, "created", text) || attribute_text(file, "generator", "Philox4x32-10");
}

static int write_attributes(hid_t file, const struct outcome *o)
{
    const struct model *m = &o->model;
    int bad = attribute_text(file, "payoff", model_payoff_name(m->payoff)) ||
              attribute_u64(file, "seed", m->seed) || attribute_u64(file, "samples", o->estimate.samples) ||
              attribute_u64(file, "tasks", o->tasks) || attribute_u64(file, "executors", o->executors) ||
              attribute_double(file, "estimate", o->estimate.value) ||
              attribute_double(file, "standard_error", o->estimate.error) ||
              attribute_double(file, "exact", o->exact) || attribute_double(file, "seconds", o->seconds);

    if (!bad && m->payoff != PAYOFF_PI)
        bad = attribute_double(file, "spot", m->spot) || attribute_double(file, "strike", m->strike) ||
              attribute_double(file, "rate", m->rate) ||
              attribute_double(file, "volatility", m->volatility) ||
              attribute_double(file, "maturity", m->maturity);
    if (!bad && o->progress)
        bad = attribute_double(file, "useful_core_seconds", o->useful_s) ||
              attribute_double(file, "wasted_core_seconds", o->wasted_s);
    if (!bad && o->target > 0)
        bad = attribute_double(file, "target_error", o->target);
    return bad || write_versions(file, o);
}

hid_t history_type(void)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, sizeof(struct history_row));

    H5Tinsert(t, "samples", offsetof(struct history_row, samples), H5T_NATIVE_UINT64);
    H5Tinsert(t, "estimate", offsetof(struct history_row, estimate), H5T_NATIVE_DOUBLE);
    H5Tinsert(t, "standard_error", offsetof(struct history_row, standard_error), H5T_NATIVE_DOUBLE);
    H5Tinsert(t, "exact", offsetof(struct history_row, exact), H5T_NATIVE_DOUBLE);
    H5Tinsert(t, "difference", offsetof(struct history_row, difference), H5T_NATIVE_DOUBLE);
    return t;
}

static int write_history(hid_t file, const struct history *h)
{
    hsize_t rows = (hsize_t)h->n;
    hid_t type = history_type(), space = H5Screate_simple(1, &rows, NULL);
    hid_t d = H5Dcreate2(file, "convergence", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    int bad =
        d < 0 || (rows && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, h->row) < 0) ||
        attribute_text(d, "description", "difference = estimate - exact; one row per 6 % more samples");

    if (d >= 0)
        H5Dclose(d);
    H5Sclose(space);
    H5Tclose(type);
    return bad;
}

static int take_image(hid_t file, void **image, size_t *size)
{
    ssize_t n = H5Fflush(file, H5F_SCOPE_GLOBAL) < 0 ? -1 : H5Fget_file_image(file, NULL, 0);

    *image = n > 0 ? malloc((size_t)n) : NULL;
    *size = n > 0 ? (size_t)n : 0;
    return !*image || H5Fget_file_image(file, *image, *size) != n;
}

static int write_all(hid_t file, const struct outcome *o, const struct history *h)
{
    return write_attributes(file, o) || write_history(file, h) ||
           (o->progress &&
            (attribute_text(file, "run", o->progress->run) || checkpoint_write(file, o->progress)));
}

int results_hdf5(const struct outcome *o, const struct history *h, void **image, size_t *size,
                 flm_error *error)
{
    hid_t access, file;
    int bad;

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* we say what failed */
    access = H5Pcreate(H5P_FILE_ACCESS);
    bad = H5Pset_fapl_core(access, 1 << 16, 0) < 0;
    file = bad ? -1 : H5Fcreate("montecarlo", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    bad = file < 0 || write_all(file, o, h) || take_image(file, image, size);
    if (file >= 0)
        H5Fclose(file);
    H5Pclose(access);
    return bad ? fail(error, FLM_EIO, "HDF5 could not make the results: is there memory left?") : 0;
}
