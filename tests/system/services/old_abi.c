/* A service built for another version of Flame. */
#include <flm/service.h>

static int invoke(struct flm_task_context *task, void *state)
{
    (void)task;
    (void)state;
    return 0;
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI + 41, .name = "old", .on_task_invoke = invoke};
