/* A service whose output follows from its input; see tests/system/steady.h and its client, steady.c. Inputs
 * larger than struct steady_input go on with what steady_fill makes of the number, which is checked.
 * STEADY_TRACE names a file that gets a line for each begin of a session or task. STEADY_GATE names one
 * that the first STEADY_GATED tasks wait for. */
#include "../steady.h"

#include <flm/service.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void trace(const char *what, uint64_t number)
{
    char line[64];
    const char *file = getenv("STEADY_TRACE");
    int fd = file ? open(file, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (fd < 0)
        return;
    int n = snprintf(line, sizeof(line), "%s %d %lu\n", what, (int)getpid(), (unsigned long)number);
    if (write(fd, line, (size_t)n) < 0)
        perror(file);
    close(fd);
}

static void pass_gate(uint64_t number)
{
    const char *gate = getenv("STEADY_GATE"), *gated = getenv("STEADY_GATED");
    while (gate && gated && number <= strtoull(gated, NULL, 10) && access(gate, F_OK) < 0)
        usleep(20000);
}

static int enter(const struct flm_session_info *info, void **state)
{
    (void)info;
    (void)state;
    trace("enter", 0);
    return 0;
}

static void leave(void *state)
{
    (void)state;
    trace("leave", 0);
}

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
    trace("begin", in.number);
    pass_gate(in.number);
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

FLM_SERVICE = {.abi = FLM_SERVICE_ABI,
               .name = "steady",
               .on_session_enter = enter,
               .on_task_invoke = invoke,
               .on_session_leave = leave};
