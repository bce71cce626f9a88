/* A client for the system tests: runs N tasks of a service and prints one line per kind of outcome, so
 * that a script can compare.
 *
 *     client [-a FILE | -l SERVICE.so] [-n TASKS] [-i INPUT] [-d DEADLINE_MS] [-D MS] [-m MAX_INSTANCES]
 *            [-I ID] [-c COMMON] [-q QUEUE_BYTES] [-r RESULT_BYTES] [-s SIZE] [-C MS] [-H MS] [-k RANKS]
 *            [-T] [-N]
 *
 * -d is the deadline of the session, -D of each task. -C cancels the session after so many ms, -H never
 * takes results for so long, -T takes results by flm_take_results, -N does not wait for room. Exit status 0
 * unless Flame itself failed.
 */
#define _GNU_SOURCE
#include <flm/admin.h>
#include <flm/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *file, *library, *input, *id, *common;
    uint64_t tasks, queue_bytes, result_bytes;
    size_t size;
    unsigned deadline, task_deadline, most, cancel_ms, hold_ms, retry, ranks;
    int spread;
    int take, nonblock;
} o = {.tasks = 1, .input = ""};

static struct outcome {
    char text[300];
    uint64_t n;
} outcomes[64];
static uint64_t delivered;

static void note(const char *text)
{
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
        if (outcomes[i].n && strcmp(outcomes[i].text, text) != 0)
            continue;
        snprintf(outcomes[i].text, sizeof(outcomes[i].text), "%s", text);
        outcomes[i].n++;
        return;
    }
}

static void on_result(const struct flm_result *r, void *arg)
{
    char text[300];
    uint64_t *seen = arg;
    delivered++;
    if (seen[r->task / 64] & (uint64_t)1 << (r->task % 64))
        note("TWICE");
    seen[r->task / 64] |= (uint64_t)1 << (r->task % 64);
    int n = snprintf(text, sizeof(text), "%s %s %d", flm_task_state_name(r->state),
                     flm_reason_name(r->reason), r->code);
    if (r->size && r->size < 100)
        n += snprintf(text + n, sizeof(text) - (size_t)n, " [%.*s]", (int)r->size, (const char *)r->output);
    else if (r->size)
        n += snprintf(text + n, sizeof(text) - (size_t)n, " (%zu bytes)", r->size);
    if (r->message[0])
        snprintf(text + n, sizeof(text) - (size_t)n, " %s", r->message);
    note(text);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void parse(int argc, char **argv)
{
    int c;
    while ((c = getopt(argc, argv, "a:l:n:i:d:D:m:I:c:q:r:s:C:H:R:k:STN")) != -1) {
        switch (c) {
        case 'a':
            o.file = optarg;
            break;
        case 'l':
            o.library = optarg;
            break;
        case 'n':
            o.tasks = strtoull(optarg, NULL, 10);
            break;
        case 'i':
            o.input = optarg;
            break;
        case 'd':
            o.deadline = (unsigned)atoi(optarg);
            break;
        case 'D':
            o.task_deadline = (unsigned)atoi(optarg);
            break;
        case 'm':
            o.most = (unsigned)atoi(optarg);
            break;
        case 'I':
            o.id = optarg;
            break;
        case 'c':
            o.common = optarg;
            break;
        case 'q':
            o.queue_bytes = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            o.result_bytes = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o.size = strtoull(optarg, NULL, 10);
            break;
        case 'C':
            o.cancel_ms = (unsigned)atoi(optarg);
            break;
        case 'H':
            o.hold_ms = (unsigned)atoi(optarg);
            break;
        case 'R':
            o.retry = (unsigned)atoi(optarg);
            break;
        case 'k':
            o.ranks = (unsigned)atoi(optarg);
            break;
        case 'S':
            o.spread = 1;
            break;
        case 'T':
            o.take = 1;
            break;
        case 'N':
            o.nonblock = 1;
            break;
        default:
            exit(2);
        }
    }
}

static int fail(const flm_error *e)
{
    printf("%s: %s\n", flm_error_name(e->code), e->text);
    return 1;
}

static int register_application(flm_client *c, char *name, size_t n, flm_error *e)
{
    const char *command[] = {o.library, NULL};
    struct flm_application so = {.size = sizeof(so), .name = name, .shim = FLM_SHIM_SO, .command = command};
    struct flm_application *a = &so;
    int rc;
    snprintf(name, n, "test-%d", (int)getpid());
    if (!o.library) {
        a = flm_read_application(o.file, e);
        if (!a)
            return e->code;
        snprintf(name, n, "%s", a->name);
    }
    rc = flm_register_application(c, a, 1, e);
    if (!o.library)
        flm_free_applications(a, 1);
    return rc;
}

/* Submits all; returns how many were taken. */
static uint64_t submit(flm_session *s, uint64_t *seen)
{
    char *input = calloc(1, o.size + strlen(o.input) + 1);
    strcpy(input, o.input);
    size_t size = o.size ? o.size : strlen(o.input);
    uint64_t n = 0, full = 0;
    while (n < o.tasks) {
        const struct flm_task task = {.size = sizeof(task),
                                      .input = input,
                                      .input_size = size,
                                      .callback = o.take ? NULL : on_result,
                                      .arg = seen,
                                      .deadline_ms = o.task_deadline};
        int64_t id = flm_submit_task(s, &task);
        if (id == FLM_EAGAIN) {
            full++;
            break;
        }
        if (id < 0) {
            printf("%s\n", flm_error_name((int)id));
            break;
        }
        n++;
    }
    if (full)
        printf("would wait after %s\n", n ? "some" : "none");
    free(input);
    return n;
}

static void take(flm_session *s, uint64_t *seen)
{
    struct flm_result results[100];
    int n;
    while ((n = flm_take_results(s, results, 100, -1)) > 0)
        for (int i = 0; i < n; i++)
            on_result(&results[i], seen);
}

int main(int argc, char **argv)
{
    char name[FLM_MAX_NAME + 1];
    flm_error e = {0};
    parse(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    flm_client *c = flm_connect(NULL, NULL, &e);
    if (!c)
        return fail(&e);
    if (register_application(c, name, sizeof(name), &e) < 0) {
        flm_disconnect(c);
        return fail(&e);
    }
    struct flm_session_options so = {.size = sizeof(so),
                                     .application = name,
                                     .id = o.id,
                                     .deadline_ms = o.deadline,
                                     .max_instances = o.most,
                                     .common = o.common,
                                     .queue_bytes = o.queue_bytes,
                                     .common_size = o.common ? strlen(o.common) : 0,
                                     .result_bytes = o.result_bytes,
                                     .retry_limit = o.retry,
                                     .ranks_per_task = o.ranks,
                                     .spread_ranks = o.spread,
                                     .flags = o.nonblock ? FLM_NONBLOCK : 0};
    flm_session *s = flm_create_session(c, &so, &e);
    if (!s) {
        flm_disconnect(c);
        return fail(&e);
    }
    uint64_t *seen = calloc(o.tasks / 64 + 2, sizeof(*seen));
    uint64_t n = submit(s, seen);
    if (o.hold_ms)
        usleep(o.hold_ms * 1000);
    int rc = 0;
    if (o.take)
        take(s, seen);
    if (o.cancel_ms) {
        int64_t end = now_ms() + o.cancel_ms;
        while (now_ms() < end)
            flm_poll(c, 10);
        rc = flm_cancel_session(s, &e);
    } else {
        rc = flm_close_session(s, &e);
    }
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]) && outcomes[i].n; i++)
        printf("%lu x %s\n", (unsigned long)outcomes[i].n, outcomes[i].text);
    if (delivered != n)
        printf("LOST: %lu of %lu delivered\n", (unsigned long)delivered, (unsigned long)n);
    flm_disconnect(c);
    free(seen);
    return rc < 0 ? fail(&e) : 0;
}
