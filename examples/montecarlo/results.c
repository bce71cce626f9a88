/* results.c - the result file as CSV; results_hdf5.c has the other form. */
#include "results.h"
#include "fail.h"
#include "save.h"
#include <stdio.h>
#include <stdlib.h>

static int results_csv(const struct outcome *o, const struct history *h, void **image, size_t *size,
                       flm_error *error)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, size);
    int bad;

    if (!f)
        return fail(error, FLM_ENOMEM, "no memory for the results");
    fprintf(f, "# payoff %s, seed %llu, tasks %llu, executors %u, Flame %s, generator Philox4x32-10\n",
            model_payoff_name(o->model.payoff), (unsigned long long)o->model.seed,
            (unsigned long long)o->tasks, o->executors, o->version);
    if (o->model.payoff != PAYOFF_PI)
        fprintf(f, "# spot %.17g, strike %.17g, rate %.17g, volatility %.17g, maturity %.17g\n",
                o->model.spot, o->model.strike, o->model.rate, o->model.volatility, o->model.maturity);
    fputs("samples,estimate,standard_error,exact,difference\n", f);
    for (int i = 0; i < h->n; i++)
        fprintf(f, "%llu,%.17g,%.17g,%.17g,%.17g\n", (unsigned long long)h->row[i].samples,
                h->row[i].estimate, h->row[i].standard_error, h->row[i].exact, h->row[i].difference);
    bad = ferror(f);
    if (fclose(f) || bad) {
        free(text);
        return fail(error, FLM_ENOMEM, "no memory for the results");
    }
    *image = text;
    return 0;
}

int results_write(const char *path, const struct outcome *o, const struct history *h, flm_error *error)
{
    void *image = NULL;
    size_t size = 0;
    int rc = save_has_suffix(path, ".csv") ? results_csv(o, h, &image, &size, error)
                                           : results_hdf5(o, h, &image, &size, error);

    if (rc == 0)
        rc = save_file(path, image, size, error);
    free(image);
    return rc;
}

#ifndef EXAMPLES_HDF5
int checkpoint_read(const char *path, struct progress_file *p, flm_error *error)
{
    (void)path, (void)p, (void)error;
    return FLM_ENOTFOUND;
}

int results_have_hdf5(void)
{
    return 0;
}

int results_hdf5(const struct outcome *outcome, const struct history *history, void **image, size_t *size,
                 flm_error *error)
{
    (void)outcome, (void)history, (void)image, (void)size;
    return fail(error, FLM_ENOTSUP, "built without HDF5: give --output=FILE.csv");
}
#endif
