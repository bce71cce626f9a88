/* payload - how fast large inputs and large outputs go through, beside memcpy of as much into fresh pages
 * of shared memory.
 *
 *     payload BYTES TASKS WINDOW ROUNDS
 *
 * In each round the session at FLM_ENDPOINT gets TASKS tasks with inputs of BYTES from memory of malloc, as
 * many from memory of flm_alloc_buffer, and then as many that answer with outputs of BYTES, at most WINDOW
 * of them at once. Who makes a payload writes a word of each of its pages, who gets it reads one: what the
 * tasks cost is not to be in it, as it is not in the limits beside it. Client and service (shim self) are
 * this one program. Prints one JSON object, with the rates of the best round of each.
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

enum { PAGE = 4096, WINDOW_MAX = 64 };

/* At the beginning of an input. */
struct question {
    uint64_t output; /* bytes */
};

/* A word of each page: all of them have been there. */
static uint64_t look(const void *data, size_t size)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; i + sizeof(word) <= size; i += PAGE) {
        memcpy(&word, (const char *)data + i, sizeof(word));
        sum += word;
    }
    return sum;
}

static void make(void *data, size_t size)
{
    for (size_t i = 0; i + sizeof(i) <= size; i += PAGE)
        memcpy((char *)data + i, &i, sizeof(i));
}

/* ---- service ----------------------------------------------------------------------------------- */

static int invoke(struct flm_task_context *task, void *state)
{
    size_t size;
    struct question q;
    const void *input = flm_task_input(task, &size);
    (void)state;
    memcpy(&q, input, sizeof(q));
    uint64_t sum = look(input, size);
    if (!q.output)
        return flm_task_set_output(task, &sum, sizeof(sum));
    void *output = flm_task_output(task, q.output);
    if (!output)
        return flm_task_fail(task, 1, "no memory for the output");
    make(output, q.output);
    return 0;
}

static const struct flm_service service = {
    .abi = FLM_SERVICE_ABI, .name = "payload", .on_task_invoke = invoke};

/* ---- client ------------------------------------------------------------------------------------ */

static struct {
    flm_client *client;
    size_t bytes;
    unsigned tasks, window, rounds, free[WINDOW_MAX], n_free;
    char *mallocs[WINDOW_MAX], *buffers[WINDOW_MAX];
    size_t expected;
    uint64_t sum; /* of what is read: so that it is */
    bool wrong;
} run;

static double seconds(void)
{
    return (double)flm__now_ns() * 1e-9;
}

static int fail(const char *why)
{
    fprintf(stderr, "payload: %s\n", why);
    return 1;
}

static void on_result(const struct flm_result *r, void *arg)
{
    run.free[run.n_free++] = (unsigned)(uintptr_t)arg;
    if (r->state != FLM_TASK_SUCCEED || r->size != run.expected) {
        fprintf(stderr, "payload: %s\n", r->message);
        run.wrong = true;
    } else {
        run.sum += look(r->output, r->size);
    }
}

/* Bytes/s; negative: it went wrong. */
static double one_round(flm_session *s, char **memory, size_t input, size_t output)
{
    run.expected = output ? output : sizeof(uint64_t);
    double begin = seconds();
    for (unsigned i = 0; i < run.tasks && !run.wrong; i++) {
        while (!run.n_free)
            if (flm_poll(run.client, -1) < 0)
                return -1;
        unsigned k = run.free[--run.n_free];
        if (!output)
            make(memory[k], input);
        memcpy(memory[k], &(struct question){output}, sizeof(struct question));
        if (flm_run_task(s, memory[k], input, on_result, (void *)(uintptr_t)k) < 0)
            return -1;
    }
    if (flm_wait(s, -1) < 0 || run.wrong)
        return -1;
    return (double)run.tasks * (double)run.bytes / (seconds() - begin);
}

/* Bytes/s. */
static double one_memcpy(void)
{
    int fd = memfd_create("bench", MFD_CLOEXEC);
    void *map = fd < 0 || ftruncate(fd, (off_t)run.bytes) < 0
                    ? MAP_FAILED
                    : mmap(NULL, run.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -1;
    double begin = seconds();
    memcpy(map, run.mallocs[0], run.bytes);
    double took = seconds() - begin;
    munmap(map, run.bytes);
    close(fd);
    return (double)run.bytes / took;
}

static void keep_best(double *best, double rate)
{
    if (rate > *best)
        *best = rate;
}

static int measure(flm_session *s)
{
    double copied = 0, inputs = 0, buffers = 0, outputs = 0;
    for (unsigned i = 0; i < run.rounds; i++) {
        for (unsigned k = 0; k < run.tasks; k++)
            keep_best(&copied, one_memcpy());
        keep_best(&inputs, one_round(s, run.mallocs, run.bytes, 0));
        keep_best(&buffers, run.wrong ? -1 : one_round(s, run.buffers, run.bytes, 0));
        keep_best(&outputs, run.wrong ? -1 : one_round(s, run.mallocs, sizeof(struct question), run.bytes));
    }
    if (run.wrong || copied <= 0 || inputs <= 0 || buffers <= 0 || outputs <= 0)
        return fail("it went wrong");
    printf("{\"bytes\": %zu, \"memcpy_bytes_per_second\": %.0f, \"input_bytes_per_second\": %.0f, "
           "\"buffer_bytes_per_second\": %.0f, \"output_bytes_per_second\": %.0f}\n",
           run.bytes, copied, inputs, buffers, outputs);
    return 0;
}

/* One page after the other is there then. */
static void touch(void)
{
    for (unsigned k = 0; k < run.window; k++) {
        make(run.mallocs[k], run.bytes);
        make(run.buffers[k], run.bytes);
    }
}

static bool prepare(char **argv)
{
    run.bytes = strtoull(argv[1], NULL, 10);
    run.tasks = (unsigned)strtoul(argv[2], NULL, 10);
    run.window = (unsigned)strtoul(argv[3], NULL, 10);
    run.rounds = (unsigned)strtoul(argv[4], NULL, 10);
    bool ok = run.bytes >= sizeof(struct question) && run.window > 0 && run.window <= WINDOW_MAX;
    for (unsigned k = 0; ok && k < run.window; k++) {
        run.mallocs[k] = malloc(run.bytes);
        run.buffers[k] = flm_alloc_buffer(run.client, run.bytes, NULL);
        ok = run.mallocs[k] && run.buffers[k];
        run.free[run.n_free++] = k;
    }
    return ok;
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    if (getenv("FLM_AGENT"))
        return flm_service_run(&service, argc, argv);
    run.client = flm_connect(NULL, NULL, &e);
    if (!run.client)
        return fail(e.text);
    if (argc != 5 || !prepare(argv))
        return fail("give BYTES, TASKS, WINDOW and ROUNDS");
    touch();
    char *self = realpath("/proc/self/exe", NULL);
    const char *command[] = {self, NULL};
    struct flm_application app = {
        .size = sizeof(app), .name = "payload", .shim = FLM_SHIM_SELF, .command = command};
    struct flm_session_options o = {.size = sizeof(o), .application = app.name};
    flm_session *s = flm_register_application(run.client, &app, 1, &e) == 0
                         ? flm_create_session(run.client, &o, &e)
                         : NULL;
    int rc = s ? measure(s) : fail(e.text);
    flm_disconnect(run.client);
    for (unsigned k = 0; k < run.window; k++)
        free(run.mallocs[k]);
    free(self);
    return rc;
}
