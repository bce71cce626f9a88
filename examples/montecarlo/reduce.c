/* reduce.c - see reduce.h */
#include "reduce.h"
#include <math.h>
#include <stdlib.h>

/* D. E. Knuth's TwoSum: the rounding error of high + x goes to low. */
static void twofold_add(struct twofold *s, double x)
{
    double high = s->high + x;
    double part = high - s->high;

    s->low += (s->high - (high - part)) + (x - part);
    s->high = high;
}

int reduce_init(struct reduce *r, const struct model *model, uint64_t window)
{
    *r = (struct reduce){.model = *model, .window = window};
    r->ring = calloc(window, sizeof(*r->ring));
    return r->ring ? 0 : FLM_ENOMEM;
}

void reduce_fini(struct reduce *r)
{
    free(r->ring);
    r->ring = NULL;
}

int reduce_put(struct reduce *r, const struct mc_sums *sums)
{
    struct mc_sums *slot = &r->ring[sums->number & (r->window - 1)];

    if (sums->number < r->next || sums->number - r->next >= r->window || slot->samples)
        return FLM_EINVAL;
    if (!sums->samples || !isfinite(sums->sum) || !(sums->sum2 >= 0) || !isfinite(sums->sum2))
        return FLM_EINVAL;
    *slot = *sums;
    return 0;
}

int reduce_has(const struct reduce *r, uint64_t number)
{
    const struct mc_sums *slot = &r->ring[number & (r->window - 1)];

    return number < r->next || (slot->samples && slot->number == number);
}

int reduce_step(struct reduce *r)
{
    struct mc_sums *slot = &r->ring[r->next & (r->window - 1)];

    if (!slot->samples)
        return 0;
    twofold_add(&r->sum, slot->sum);
    twofold_add(&r->sum2, slot->sum2);
    r->samples += slot->samples;
    r->next++;
    slot->samples = 0;
    return 1;
}

struct estimate reduce_estimate(const struct reduce *r)
{
    double n = (double)r->samples, scale = model_scale(&r->model);
    double sum = r->sum.high + r->sum.low;
    double mean = sum / n;
    double variance = fmax((r->sum2.high - sum * mean + r->sum2.low) / (n - 1), 0);

    return (struct estimate){.samples = r->samples,
                             .value = scale * (r->model.centre + mean),
                             .error = r->samples > 1 ? scale * sqrt(variance / n) : NAN};
}
