/* A program that is its own executor (shim self): it sums the numbers that each task brings, and keeps
 * what it needs for that from the first task of a session to the last.
 *
 *     cc -o self self.c $(pkg-config --cflags --libs flm)
 *
 * Input: any number of doubles. Output: their sum, and how many numbers this executor has seen in the
 * session so far (uint64_t).
 */
#include <flm/service.h>
#include <stdlib.h>
#include <string.h>

struct sums {
    const struct flm_session_info *info;
    uint64_t seen;
};

static int enter(const struct flm_session_info *info, void **state)
{
    struct sums *s = calloc(1, sizeof(*s));
    if (!s)
        return FLM_ENOMEM; /* this executor does not enter; the session hears why */
    s->info = info;
    *state = s;
    return 0;
}

static int invoke(struct flm_task_context *task, void *state)
{
    struct sums *s = state;
    size_t size;
    const double *numbers = flm_task_input(task, &size);
    if (size % sizeof(double))
        return flm_task_fail(task, 1, "%zu bytes are no whole number of doubles", size);
    double sum = 0;
    for (size_t i = 0; i < size / sizeof(double); i++)
        sum += numbers[i];
    s->seen += size / sizeof(double);

    char *out = flm_task_output(task, sizeof(sum) + sizeof(s->seen));
    if (!out)
        return flm_task_fail(task, 2, "no memory for the output");
    memcpy(out, &sum, sizeof(sum));
    memcpy(out + sizeof(sum), &s->seen, sizeof(s->seen));
    return 0;
}

static void leave(void *state)
{
    free(state);
}

int main(int argc, char **argv)
{
    static const struct flm_service service = {
        .abi = FLM_SERVICE_ABI,
        .name = "sums",
        .on_session_enter = enter,
        .on_task_invoke = invoke,
        .on_session_leave = leave,
    };
    return flm_service_run(&service, argc, argv);
}
