/* common - how long new common data take to reach the executors of a node, beside one memcpy of as much
 * into fresh pages of shared memory.
 *
 *     common BYTES EXECUTORS ROUNDS
 *
 * In each round the session at FLM_ENDPOINT, which has EXECUTORS executors, gets BYTES of new common data,
 * and then tasks until each executor has answered one in which it has seen them. "reached": it has read the
 * first and the last word. "read": it has read all of them. Client and service (shim self) are this one
 * program. Prints one JSON object, with the seconds of the best round of each, and ends when its input
 * does: the memory of all can be looked at until then.
 */
#define _GNU_SOURCE
#include "base/time.h"

#include <flm/admin.h>
#include <flm/client.h>
#include <flm/service.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXECUTORS_MAX = 1024 };

struct question {
    uint64_t all; /* read all of them, but once only */
};
struct answer {
    uint64_t version, first, last, sum;
    uint32_t executor;
};

/* ---- service ----------------------------------------------------------------------------------- */

static int enter(const struct flm_session_info *info, void **state)
{
    *state = (void *)(uintptr_t)info;
    return 0;
}

static int invoke(struct flm_task_context *task, void *state)
{
    static uint64_t read_version, sum;
    struct answer a = {.executor = ((const struct flm_session_info *)state)->executor};
    struct question q;
    size_t size;
    memcpy(&q, flm_task_input(task, &size), sizeof(q));
    const uint64_t *data = flm_task_common(task, &size, &a.version);
    size_t n = size / sizeof(*data);
    a.first = data[0];
    a.last = data[n - 1];
    if (q.all && read_version != a.version) {
        read_version = a.version;
        sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += data[i];
    }
    a.sum = sum;
    return flm_task_set_output(task, &a, sizeof(a));
}

static const struct flm_service service = {
    .abi = FLM_SERVICE_ABI, .name = "common", .on_session_enter = enter, .on_task_invoke = invoke};

/* ---- client ------------------------------------------------------------------------------------ */

static struct {
    uint64_t *data;
    size_t n;
    unsigned executors;
    uint64_t version, seen[EXECUTORS_MAX]; /* newest version, by executor */
    unsigned n_seen;
    bool wrong;
} run;

static double seconds(void)
{
    return (double)flm__now_ns() * 1e-9;
}

static int fail(const char *why)
{
    fprintf(stderr, "common: %s\n", why);
    return 1;
}

static void on_result(const struct flm_result *r, void *arg)
{
    const struct answer *a = r->output;
    (void)arg;
    if (r->state != FLM_TASK_SUCCEED || r->size != sizeof(*a) || a->executor >= EXECUTORS_MAX ||
        a->version != run.version || a->first != run.data[0] || a->last != run.data[run.n - 1]) {
        run.wrong = true;
        return;
    }
    run.n_seen += run.seen[a->executor] != a->version;
    run.seen[a->executor] = a->version;
}

/* Tasks until each executor has seen the newest; asking all of them to read all, or not. */
static int until_seen(flm_session *s, bool all)
{
    struct question q = {all};
    run.n_seen = 0;
    memset(run.seen, 0, sizeof(run.seen));
    while (run.n_seen < run.executors && !run.wrong) {
        for (unsigned i = 0; i < 4 * run.executors; i++)
            flm_run_task(s, &q, sizeof(q), on_result, NULL);
        if (flm_wait(s, -1) < 0)
            return fail("waiting");
    }
    return run.wrong ? fail("an answer is wrong") : 0;
}

static double one_memcpy(void)
{
    size_t size = run.n * sizeof(*run.data);
    int fd = memfd_create("bench", MFD_CLOEXEC);
    void *map = fd < 0 || ftruncate(fd, (off_t)size) < 0
                    ? MAP_FAILED
                    : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -1;
    double begin = seconds();
    memcpy(map, run.data, size);
    double took = seconds() - begin;
    munmap(map, size);
    close(fd);
    return took;
}

static void keep_best(double *best, double took)
{
    if (*best == 0 || took < *best)
        *best = took;
}

static int measure(flm_session *s, unsigned rounds)
{
    double copied = 0, updated = 0, reached = 0, read = 0;
    flm_error e = {0};
    for (unsigned i = 0; i < rounds; i++) {
        for (size_t k = 0; k < run.n; k += 512)
            run.data[k] = run.data[run.n - 1] = i + 1;
        keep_best(&copied, one_memcpy());
        double begin = seconds();
        if (flm_update_common_data(s, run.data, run.n * sizeof(*run.data), &run.version, &e) < 0)
            return fail(e.text);
        keep_best(&updated, seconds() - begin);
        if (until_seen(s, false))
            return 1;
        keep_best(&reached, seconds() - begin);
        if (until_seen(s, true))
            return 1;
        keep_best(&read, seconds() - begin);
    }
    printf(
        "{\"bytes\": %zu, \"executors\": %u, \"memcpy_s\": %.6f, \"update_s\": %.6f, \"reached_s\": %.6f, "
        "\"read_s\": %.6f}\n",
        run.n * sizeof(*run.data), run.executors, copied, updated, reached, read);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    if (getenv("FLM_AGENT"))
        return flm_service_run(&service, argc, argv);
    if (argc != 4)
        return fail("give BYTES, EXECUTORS and ROUNDS");
    run.n = strtoull(argv[1], NULL, 10) / sizeof(*run.data);
    run.executors = (unsigned)strtoul(argv[2], NULL, 10);
    run.data = calloc(run.n ? run.n : 1, sizeof(*run.data));
    char *self = realpath("/proc/self/exe", NULL);
    const char *command[] = {self, NULL};
    struct flm_application app = {
        .size = sizeof(app), .name = "common", .shim = FLM_SHIM_SELF, .command = command};
    struct flm_session_options o = {.size = sizeof(o),
                                    .application = app.name,
                                    .min_instances = run.executors,
                                    .max_instances = run.executors};
    flm_client *c = run.data && run.n ? flm_connect(NULL, NULL, &e) : NULL;
    flm_session *s =
        c && flm_register_application(c, &app, 1, &e) == 0 ? flm_create_session(c, &o, &e) : NULL;
    int rc = s ? measure(s, (unsigned)strtoul(argv[3], NULL, 10)) : fail(e.text);
    flm_disconnect(c);
    free(run.data);
    free(self);
    return rc;
}
