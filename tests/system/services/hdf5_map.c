/* The service of hdf5_map.sh. Its application's common data say what it does: "double" every element, give
 * the "sums" of the first two columns of each row, "short" (one double, whatever is wanted), "fail" in rows
 * from 10 on, or "int" (elements as int32, given as doubles). "opens" gives for each row how often this
 * process has opened a file; "gate:FILE" waits for that file and doubles. */
#define _GNU_SOURCE
#include <flm/hdf5.h>

#include <dlfcn.h>
#include <hdf5.h>
#include <unistd.h>

#include <stdlib.h>
#include <string.h>

static unsigned opens;

/* In the way between libflm_hdf5 and HDF5: a module is looked at before what it needs. */
__attribute__((visibility("default"))) hid_t H5Fopen(const char *name, unsigned flags, hid_t how)
{
    hid_t (*open_file)(const char *, unsigned, hid_t) =
        (hid_t(*)(const char *, unsigned, hid_t))dlsym(RTLD_NEXT, "H5Fopen");
    opens++;
    return open_file(name, flags, how);
}

static int count_opens(struct flm_task_context *task, const struct flm_hdf5_slab *slab)
{
    double *out = flm_task_output(task, slab->count[0] * sizeof(double));
    for (uint64_t i = 0; out && i < slab->count[0]; i++)
        out[i] = opens;
    return out ? 0 : FLM_ENOMEM;
}

static int doubled(struct flm_task_context *task, const struct flm_hdf5_slab *slab, int is_int)
{
    size_t n = slab->bytes / (is_int ? sizeof(int32_t) : sizeof(double));
    double *out = flm_task_output(task, n * sizeof(double));
    for (size_t i = 0; out && i < n; i++)
        out[i] = is_int ? ((const int32_t *)slab->data)[i] : 2 * ((const double *)slab->data)[i];
    return out ? 0 : FLM_ENOMEM;
}

static int sums(struct flm_task_context *task, const struct flm_hdf5_slab *slab)
{
    const double *in = slab->data;
    size_t width = slab->bytes / sizeof(double) / slab->count[0];
    double *out = flm_task_output(task, slab->count[0] * 2 * sizeof(double));
    for (uint64_t i = 0; out && i < slab->count[0]; i++) {
        out[2 * i] = in[i * width] + in[i * width + 1];
        out[2 * i + 1] = (double)(slab->start[0] + i);
    }
    return out ? 0 : FLM_ENOMEM;
}

static int invoke(struct flm_task_context *task, void *state)
{
    const char *what = flm_task_common(task, NULL, NULL);
    struct flm_hdf5_slab slab;
    flm_error error;
    int is_int = strcmp(what, "int") == 0;
    (void)state;
    while (strncmp(what, "gate:", 5) == 0 && access(what + 5, F_OK) != 0)
        usleep(10000);
    if (flm_hdf5_read(task, is_int ? FLM_HDF5_INT32 : FLM_HDF5_DOUBLE, &slab, &error) < 0)
        return flm_task_fail(task, error.code, "%s", error.text);
    if (strcmp(what, "fail") == 0 && slab.start[0] >= 10)
        return flm_task_fail(task, 7, "it was to fail");
    if (strcmp(what, "short") == 0)
        return flm_task_set_output(task, slab.data, sizeof(double));
    if (strcmp(what, "opens") == 0)
        return count_opens(task, &slab);
    return strcmp(what, "sums") == 0 ? sums(task, &slab) : doubled(task, &slab, is_int);
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI, .name = "hdf5_map", .on_task_invoke = invoke};
