/* The smallest service: each task is answered with its own input.
 *
 *     cc -shared -fPIC -o echo.so echo.c $(pkg-config --cflags flm)
 *
 * It needs no library at link time: the executor that loads it has flm_task_*.
 */
#include <flm/service.h>

static int invoke(struct flm_task_context *task, void *state)
{
    size_t size;
    const void *input = flm_task_input(task, &size);
    (void)state;
    return flm_task_set_output(task, input, size);
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI, .name = "echo", .on_task_invoke = invoke};
