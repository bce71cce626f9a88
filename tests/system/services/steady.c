/* A service whose output follows from its input; see tests/system/steady.h and its client, steady.c. Inputs
 * larger than struct steady_input go on with what steady_fill makes of the number, which is checked. */
#include "../steady.h"

#include <flm/service.h>
#include <time.h>

static int invoke(struct flm_task_context *task, void *state)
{
    struct steady_input in;
    size_t size;
    const char *data = flm_task_input(task, &size);
    (void)state;
    if (size < sizeof(in))
        return 1;
    memcpy(&in, data, sizeof(in));
    if (size >= sizeof(in) + 16 && !steady_is_right(data + sizeof(in), size - sizeof(in), in.number))
        return 2;
    struct timespec pause = {.tv_sec = in.us / 1000000, .tv_nsec = in.us % 1000000 * 1000L};
    if (in.us)
        nanosleep(&pause, NULL);
    size = steady_output_size(in.size);
    void *output = flm_task_output(task, size);
    if (!output)
        return 3;
    steady_fill(output, size, in.number);
    return 0;
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI, .name = "steady", .on_task_invoke = invoke};
