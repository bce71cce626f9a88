/* The service of flmping: checks its input, takes its time, answers with an
 * output that can be checked. */
#include "tools/flmping_pattern.h"

#include <flm/service.h>

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

struct ping_service {
    struct flmping_common common;
    char *input, *output; /* templates */
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void leave(void *state)
{
    struct ping_service *s = state;
    if (!s)
        return;
    free(s->input);
    free(s->output);
    free(s);
}

static int enter(const struct flm_session_info *info, void **state)
{
    struct flmping_common c;
    if (!info->common || info->common_size != sizeof(c))
        return FLMPING_FAIL_COMMON;
    memcpy(&c, info->common, sizeof(c));
    if (memcmp(c.magic, FLMPING_MAGIC, 8) != 0)
        return FLMPING_FAIL_COMMON;
    struct ping_service *s = calloc(1, sizeof(*s));
    if (!s)
        return FLMPING_FAIL_MEMORY;
    s->common = c;
    s->input = malloc(c.input_size + 1);
    s->output = malloc(c.output_size + 1);
    if (!s->input || !s->output) {
        leave(s);
        return FLMPING_FAIL_MEMORY;
    }
    flmping_template(s->input, c.input_size, FLMPING_INPUT);
    flmping_template(s->output, c.output_size, FLMPING_OUTPUT);
    *state = s;
    return 0;
}

/* How long this task takes. */
static uint64_t duration(const struct flmping_common *c, uint64_t number)
{
    if (!number)
        return 0;
    if (c->mix_every && number % c->mix_every == 0)
        return c->mix_ns;
    return c->duration_ns;
}

/* In pieces, so that a task that is cancelled does not go on for hours. */
static void take_time(struct flm_task_context *task, uint64_t ns, bool sleeping)
{
    const uint64_t piece = 20000000;
    uint64_t end = now_ns() + ns, now;
    while ((now = now_ns()) < end && !flm_task_cancelled(task)) {
        uint64_t part = end - now < piece ? end - now : piece;
        struct timespec t = {0, (long)part};
        if (sleeping)
            nanosleep(&t, NULL);
        else
            for (uint64_t until = now + part; now < until; now = now_ns())
                ;
    }
}

static int invoke(struct flm_task_context *task, void *state)
{
    const struct ping_service *s = state;
    const struct flmping_common *c = &s->common;
    uint64_t number = flmping_number(flm_task_id(task));
    size_t size;
    const void *input = flm_task_input(task, &size);
    if (size != c->input_size || !flmping_check(input, size, s->input, number, FLMPING_INPUT))
        return flm_task_fail(task, FLMPING_FAIL_INPUT,
                             "the input of task number %" PRIu64 " (%zu bytes) is not what flmping sends",
                             number, size);
    uint64_t ns = duration(c, number);
    if (ns)
        take_time(task, ns, c->flags & FLMPING_SLEEP);
    if (c->fail_every && number && number % c->fail_every == 0)
        return flm_task_fail(task, FLMPING_FAIL_ASKED, "failed as asked (--fail-every)");
    if (!c->output_size)
        return 0;
    char *output = flm_task_output(task, c->output_size);
    if (!output)
        return flm_task_fail(task, FLMPING_FAIL_MEMORY, "no memory for an output of %" PRIu64 " bytes",
                             c->output_size);
    memcpy(output, s->output, c->output_size);
    flmping_stamp_on(output, c->output_size, number, FLMPING_OUTPUT);
    return 0;
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI,
               .name = "flmping",
               .on_session_enter = enter,
               .on_task_invoke = invoke,
               .on_session_leave = leave};
