/* service.c - the service of nbody: the accelerations of some bodies, from the positions of all. */
#include "bodies.h"
#include <flm/service.h>
#include <string.h>

static int invoke(struct flm_task_context *task, void *state)
{
    struct block block;
    size_t size, bytes;
    const void *input = flm_task_input(task, &size);
    const struct body *bodies =
        flm_task_common(task, &bytes, NULL); /* of this step: the client updates them */
    size_t n = bytes / sizeof(*bodies);

    (void)state;
    if (size != sizeof(block))
        return flm_task_fail(task, FLM_EINVAL, "the input has %zu bytes, a block has %zu", size,
                             sizeof(block));
    memcpy(&block, input, sizeof(block));
    if (block.first > n || block.count > n - block.first)
        return flm_task_fail(task, FLM_EINVAL, "there are %zu bodies", n);
    double(*out)[3] = flm_task_output(task, block.count * sizeof(*out));
    if (!out)
        return flm_task_fail(task, FLM_ENOMEM, "no memory for %llu accelerations",
                             (unsigned long long)block.count);
    bodies_accelerations(bodies, n, &block, out);
    return 0;
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI, .name = "nbody", .on_task_invoke = invoke};
