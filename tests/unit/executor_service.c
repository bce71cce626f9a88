/* The service that the executor's tests run: the first byte of the input says what to do. */
#define _GNU_SOURCE
#include <flm/service.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int sessions;

struct state {
    const struct flm_session_info *info;
    uint64_t runs;
};

/* Ends as it would without sanitizers, which catch the signal. */
static void crash(void)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static int enter(const struct flm_session_info *info, void **state)
{
    if (getenv("REFUSE_ENTER"))
        return 42;
    if (getenv("CRASH_ENTER"))
        abort();
    struct state *s = calloc(1, sizeof(*s));
    s->info = info;
    sessions++;
    *state = s;
    return 0;
}

static void leave(void *state)
{
    free(state);
    if (getenv("LEAVE_MARK"))
        fclose(fopen(getenv("LEAVE_MARK"), "w"));
}

static int say(struct flm_task_context *task, const char *text)
{
    return flm_task_set_output(task, text, strlen(text));
}

static void nap(long us)
{
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
}

static int until_cancelled(struct flm_task_context *task)
{
    while (!flm_task_cancelled(task))
        nap(1000);
    return flm_task_fail(task, 9, "stopped as asked");
}

/* 'b' and a size: so many bytes of a pattern; 'B': the same, asked for twice as large first. */
static int big(struct flm_task_context *task, const unsigned char *input)
{
    uint64_t size;
    memcpy(&size, input + 8, sizeof(size));
    unsigned char *out = flm_task_output(task, *input == 'B' ? 2 * size : size);
    if (!out)
        return flm_task_fail(task, 1, "no room for %llu bytes", (unsigned long long)size);
    for (uint64_t i = 0; i < size; i++)
        out[i] = (unsigned char)(i * 7 + (i >> 8));
    return *input == 'B' ? flm_task_shrink_output(task, size) : 0;
}

static int tell(struct flm_task_context *task, const struct state *s, char what)
{
    char text[4200];
    const struct flm_session_info *i = s->info;
    switch (what) {
    case 'd':
        return getcwd(text, sizeof(text)) ? say(task, text) : 1;
    case 'v':
        snprintf(text, sizeof(text), "%s %s", getenv("FLM_TEST_ADDED") ? getenv("FLM_TEST_ADDED") : "-",
                 getenv("FLM_TOKEN") ? "token" : "-");
        return say(task, text);
    case 'i':
        snprintf(text, sizeof(text), "%s %s %zu %llu %u %d/%d %d %llu", i->session, i->application,
                 i->common_size, (unsigned long long)i->common_version, i->executor, i->rank, i->ranks,
                 sessions, (unsigned long long)flm_task_id(task));
        return say(task, text);
    case 'c':
        return flm_task_set_output(task, i->common, i->common_size);
    case 'n':
        return flm_task_set_output(task, &s->runs, sizeof(s->runs));
    case 't':
        snprintf(text, sizeof(text), "%lld", (long long)flm_task_time_left_ms(task));
        return say(task, text);
    default:
        return flm_task_fail(task, 5, "what is '%c'?", what);
    }
}

static int invoke(struct flm_task_context *task, void *state)
{
    struct state *s = state;
    size_t size;
    const unsigned char *input = flm_task_input(task, &size);
    s->runs++;
    switch (size ? *input : 'e') {
    case 'e':
        return flm_task_set_output(task, input, size);
    case '0':
        return 0; /* no output at all */
    case 'f':
        flm_task_set_output(task, "half", 4);
        return flm_task_fail(task, 7, "no such row %d", 12);
    case 'F':
        return -3;
    case 's': /* spin for a while */
        for (volatile unsigned i = 0; i < input[1] * 200u; i++)
            ;
        return 0;
    case 'w':
        nap(input[1] * 1000);
        return 0;
    case 'x':
        exit(3);
    case 'a':
        abort();
    case 'k':
        crash();
        return 0;
    case 'l':
        return until_cancelled(task);
    case 'L':
        for (;;)
            nap(10000);
    case 'b':
    case 'B':
        return big(task, input);
    default:
        return tell(task, s, (char)*input);
    }
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI,
               .name = "test",
               .on_session_enter = enter,
               .on_task_invoke = invoke,
               .on_session_leave = leave};
