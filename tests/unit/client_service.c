#include "client_service.h"

#include <flm/service.h>
#include <stdlib.h>
#include <string.h>

struct state {
    const struct flm_session_info *info;
    int count;
};

static int enter(const struct flm_session_info *info, void **state)
{
    struct state *s = calloc(1, sizeof(*s));
    if (!s)
        return 1;
    if (info->common_size == 7) { /* "refuse" */
        free(s);
        return 13;
    }
    s->info = info;
    *state = s;
    return 0;
}

static int invoke(struct flm_task_context *task, void *state)
{
    struct state *s = state;
    size_t size;
    const char *input = flm_task_input(task, &size);
    int64_t left = flm_task_time_left_ms(task);
    const void *common;
    uint64_t version;
    char *out;
    s->count++;
    switch (size ? input[0] : SERVICE_ECHO) {
    case SERVICE_FAIL:
        flm_task_set_output(task, "partly", 6);
        return flm_task_fail(task, 42, "cannot do %s", "this");
    case SERVICE_SHRINK:
        out = flm_task_output(task, 1 << 20);
        memset(out, 'x', 1 << 20);
        return flm_task_shrink_output(task, 100);
    case SERVICE_COMMON:
        common = flm_task_common(task, &size, &version);
        if (common != s->info->common || size != s->info->common_size || version != s->info->common_version)
            return flm_task_fail(task, 1, "there are two versions of common data");
        return flm_task_set_output(task, common, size);
    case SERVICE_TIME:
        return flm_task_set_output(task, &left, sizeof(left));
    case SERVICE_COUNT:
        return flm_task_set_output(task, &s->count, sizeof(s->count));
    case SERVICE_TWICE:
        flm_task_set_output(task, input, size);
        return flm_task_set_output(task, "second", 6);
    }
    return flm_task_set_output(task, input, size);
}

static void leave(void *state)
{
    free(state);
}

FLM_SERVICE = {
    .abi = FLM_SERVICE_ABI,
    .name = "client_service",
    .on_session_enter = enter,
    .on_task_invoke = invoke,
    .on_session_leave = leave,
};
