/* A service of an ABI that does not fit. */
#include <flm/service.h>

static int invoke(struct flm_task_context *task, void *state)
{
    (void)task;
    (void)state;
    return 0;
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI + 41, .name = "old", .on_task_invoke = invoke};
