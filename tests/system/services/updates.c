/* A service that looks whether its common data are what their version says; see tests/system/updates.c. */
#include "../updates.h"

#include <flm/service.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int enter(const struct flm_session_info *info, void **state)
{
    *state = (void *)(uintptr_t)info;
    size_t n = info->common_size / sizeof(uint64_t);
    bool right = updates_are(info->common, n, info->common_version) ||
                 updates_are_patched(info->common, n, info->common_version);
    return right ? 0 : -1;
}

static uint64_t count_maps(void)
{
    char line[512];
    uint64_t n = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps))
        n += strstr(line, "memfd:flm-blob") != NULL;
    if (maps)
        fclose(maps);
    return n;
}

static void wait_for_gate(void)
{
    const char *gate = getenv("UPDATES_GATE");
    char begun[4096];
    if (!gate)
        return;
    snprintf(begun, sizeof(begun), "%s.begun", gate);
    close(open(begun, O_CREAT | O_WRONLY, 0600));
    while (access(gate, F_OK) < 0)
        usleep(20000);
}

static int invoke(struct flm_task_context *task, void *state)
{
    const struct flm_session_info *info = state;
    struct updates_input in;
    struct updates_output out = {0};
    size_t size, n;
    uint64_t version;
    memcpy(&in, flm_task_input(task, &size), sizeof(in));
    const uint64_t *data = flm_task_common(task, &n, &version);
    if (in.wait)
        wait_for_gate();
    bool right = in.patched ? updates_are_patched(data, n / sizeof(*data), version)
                            : updates_are(data, n / sizeof(*data), version);
    if (version >= in.version && right && info->common == data && info->common_size == n &&
        info->common_version == version)
        out.version = version;
    out.maps = count_maps();
    return flm_task_set_output(task, &out, sizeof(out));
}

FLM_SERVICE = {
    .abi = FLM_SERVICE_ABI, .name = "updates", .on_session_enter = enter, .on_task_invoke = invoke};
