/* service.c - the Monte Carlo service: common data is a struct model, the input
 * of a task a struct mc_task, its output a struct mc_sums.
 */
#include "kernel.h"
#include <flm/service.h>
#include <stdlib.h>
#include <string.h>

/* What one task may ask for: some minutes of one core. */
#define MAX_SAMPLES (UINT64_C(1) << 36)

struct state {
    struct model model;
    flm_error refused; /* code not 0: every task fails with this sentence */
};

static int enter(const struct flm_session_info *info, void **state)
{
    struct state *s = calloc(1, sizeof(*s));

    if (!s)
        return FLM_ENOMEM;
    if (info->common_size == sizeof(s->model)) {
        memcpy(&s->model, info->common, sizeof(s->model));
        model_check(&s->model, &s->refused);
    } else {
        s->refused = (flm_error){FLM_EINVAL, "the common data is not a Monte Carlo model: program and "
                                             "module are of different versions"};
    }
    *state = s;
    return 0;
}

static bool cancelled(const void *task)
{
    return flm_task_cancelled(task);
}

static int invoke(struct flm_task_context *task, void *state)
{
    const struct state *s = state;
    struct mc_task input;
    struct mc_sums sums;
    size_t size;
    const void *data = flm_task_input(task, &size);

    if (s->refused.code)
        return flm_task_fail(task, s->refused.code, "%s", s->refused.text);
    if (size != sizeof(input))
        return flm_task_fail(task, FLM_EINVAL, "the input has %zu bytes, a Monte Carlo task has %zu", size,
                             sizeof(input));
    memcpy(&input, data, sizeof(input));
    if (input.samples == 0 || input.samples > MAX_SAMPLES)
        return flm_task_fail(task, FLM_EINVAL, "%llu samples in one task; 1 to %llu are allowed",
                             (unsigned long long)input.samples, (unsigned long long)MAX_SAMPLES);
    if (kernel_run(&s->model, &input, &sums, cancelled, task))
        return flm_task_fail(task, FLM_ECANCELLED, "cancelled");
    return flm_task_set_output(task, &sums, sizeof(sums));
}

static void leave(void *state)
{
    free(state);
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI,
               .name = "montecarlo",
               .on_session_enter = enter,
               .on_task_invoke = invoke,
               .on_session_leave = leave};
