/* mix - many short tasks and a few long ones: how far from the ideal, and who waits in vain?
 *
 *     mix SHORT LONG LONG_MS EXECUTORS
 *
 * SHORT tasks of 1 us and, evenly among them, LONG tasks of LONG_MS are submitted at once to the session
 * manager at FLM_ENDPOINT. Each task answers when it ran and on which executor. From that: the makespan
 * from the first submission to the last result over the ideal, and the longest time for which a task
 * waited while an executor had nothing to do. Client and service (shim self) are this one program. Prints
 * one JSON object. Times are CLOCK_MONOTONIC, so all on one machine.
 */
#include "base/time.h"

#include <flm/admin.h>
#include <flm/client.h>
#include <flm/service.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a task answers. */
struct run {
    int64_t begin, end;
    uint32_t executor, pad;
};

struct answers {
    struct run *runs;
    uint64_t n, failed;
};

/* ---- service ------------------------------------------------------------------ */

static int enter(const struct flm_session_info *info, void **state)
{
    *state = (void *)(uintptr_t)info;
    return 0;
}

static int invoke(struct flm_task_context *task, void *state)
{
    const struct flm_session_info *info = state;
    struct run run = {.begin = flm__now_ns(), .executor = info->executor};
    size_t size;
    const int64_t *length = flm_task_input(task, &size);
    if (size != sizeof(*length))
        return flm_task_fail(task, 1, "%zu bytes are no duration", size);
    while ((run.end = flm__now_ns()) < run.begin + *length)
        ;
    return flm_task_set_output(task, &run, sizeof(run));
}

/* ---- client ------------------------------------------------------------------- */

static void on_result(const struct flm_result *r, void *arg)
{
    struct answers *a = arg;
    if (r->state == FLM_TASK_SUCCEED && r->size == sizeof(a->runs[0]))
        memcpy(&a->runs[a->n++], r->output, r->size);
    else
        a->failed++;
}

static int by_begin(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* The longest wait of a task during which one executor did nothing. runs are in the order of their begin:
 * while an executor idles, all that begin later wait. */
static int64_t longest_vain_wait(const struct answers *a, unsigned executors, int64_t submitted)
{
    int64_t worst = 0, last_begin = a->n ? a->runs[a->n - 1].begin : 0;
    int64_t *free_since = calloc(executors, sizeof(*free_since));
    if (!free_since)
        return -1;
    for (unsigned e = 0; e < executors; e++)
        free_since[e] = submitted;
    for (uint64_t i = 0; i < a->n; i++) {
        const struct run *r = &a->runs[i];
        if (r->executor >= executors)
            continue;
        if (r->begin - free_since[r->executor] > worst)
            worst = r->begin - free_since[r->executor];
        free_since[r->executor] = r->end;
    }
    for (unsigned e = 0; e < executors; e++)
        if (last_begin - free_since[e] > worst)
            worst = last_begin - free_since[e];
    free(free_since);
    return worst;
}

static flm_session *open_session(flm_client *client, const char *self, flm_error *error)
{
    const char *command[] = {self, NULL};
    struct flm_application app = {
        .size = sizeof(app), .name = "mix", .shim = FLM_SHIM_SELF, .command = command};
    struct flm_session_options options = {.size = sizeof(options), .application = "mix"};
    if (flm_register_application(client, &app, 1, error) < 0)
        return NULL;
    return flm_create_session(client, &options, error);
}

static int64_t submit(flm_session *session, struct answers *a, uint64_t n_short, uint64_t n_long,
                      int64_t long_ns)
{
    uint64_t all = n_short + n_long, longs = 0;
    for (uint64_t i = 0; i < all; i++) {
        int64_t length = 1000;
        if (longs * all < i * n_long) {
            length = long_ns;
            longs++;
        }
        int64_t rc = flm_run_task(session, &length, sizeof(length), on_result, a);
        if (rc < 0)
            return rc;
    }
    return flm_wait(session, -1);
}

static int measure(char **argv, const char *self)
{
    uint64_t n_short = strtoull(argv[1], NULL, 10), n_long = strtoull(argv[2], NULL, 10);
    int64_t long_ns = strtoll(argv[3], NULL, 10) * 1000000;
    unsigned executors = (unsigned)strtoul(argv[4], NULL, 10);
    struct answers a = {.runs = calloc(n_short + n_long, sizeof(struct run))};
    flm_error error = {0};
    flm_client *client = flm_connect(NULL, NULL, &error);
    flm_session *session = client && a.runs && executors ? open_session(client, self, &error) : NULL;
    if (!session) {
        fprintf(stderr, "mix: %s\n", error.text);
        flm_disconnect(client);
        free(a.runs);
        return 1;
    }
    int64_t ready = 1000; /* both are bound, so that their start is not measured */
    for (unsigned i = 0; i < 1000 * executors; i++)
        flm_run_task(session, &ready, sizeof(ready), on_result, &a);
    flm_wait(session, -1);
    a.n = 0;
    int64_t begin = flm__now_ns(), rc = submit(session, &a, n_short, n_long, long_ns), end = flm__now_ns();
    double ideal = ((double)n_short * 1e3 + (double)n_long * (double)long_ns) / executors;
    qsort(a.runs, a.n, sizeof(a.runs[0]), by_begin);
    printf("{\"tasks\": %lu, \"failed\": %lu, \"seconds\": %.6f, \"ideal_seconds\": %.6f, "
           "\"vain_wait_ms\": %.3f}\n",
           (unsigned long)a.n, (unsigned long)a.failed, (double)(end - begin) / 1e9, ideal / 1e9,
           (double)longest_vain_wait(&a, executors, begin) / 1e6);
    flm_close_session(session, NULL);
    flm_disconnect(client);
    free(a.runs);
    return rc < 0 || a.failed;
}

int main(int argc, char **argv)
{
    static const struct flm_service service = {
        .abi = FLM_SERVICE_ABI, .name = "mix", .on_session_enter = enter, .on_task_invoke = invoke};
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (argc != 5 || n < 0)
        return flm_service_run(&service, argc, argv);
    self[n] = 0;
    return measure(argv, self);
}
