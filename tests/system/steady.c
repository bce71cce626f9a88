/* A client for the tests of sessions that outlive their clients and their session manager: task n of the
 * session has the number n, so whoever comes later knows what is still to be submitted.
 *
 *     steady -I ID -l SERVICE.so [-D none|journal|sync] [-n TASKS] [-s INPUT_SIZE] [-o OUTPUT_SIZE] [-u US]
 *            [-L LOG] [-k RESULTS] [-d] [-c] [-r SECONDS] [-T] [-m TASKS] [-a] [-p]
 *            [-R BYTES] [-y SECONDS]
 *
 * Opens session ID, submits what it lacks of TASKS, takes all results, checks each and writes its task's id
 * into LOG. -d only submits, until all is durable; -k kills itself after so many results; -c closes the
 * session in the end; -r goes on with a session manager that comes again within so many seconds, by opening
 * the session again; -y leaves that to the library; -T takes results by flm_take_results; -a submits large
 * inputs as fast as it can; -p stops itself before that, and says when it is done; -R is result_bytes; -m
 * asks whether all is durable after each so many tasks, and tells LOG also when the session was opened
 * ("open LAST-TASK"), up to where all is durable ("durable TASK"), and which tasks were refused, failed or
 * had a wrong output ("refused TASK", ...). Prints "delivered N wrong N failed N submitted N durable N".
 * With -y results that come more than once while the session is open are wrong, and so is any other end.
 * Exit status 0 when nothing was wrong and nothing failed.
 */
#define _GNU_SOURCE
#include "steady.h"

#include <flm/admin.h>
#include <flm/client.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *id, *library, *log;
    uint64_t tasks, kill_after, sync_each;
    uint32_t input, output, us;
    int durability, seconds, reconnect;
    uint64_t result_bytes;
    bool submit_only, close, take, ahead, pause;
} o;

static FILE *log_file;
static char **inputs; /* of -a */
static uint64_t n_inputs;
static uint64_t delivered, wrong, failed, lost, refused, twice;
static unsigned char *seen; /* of the tasks, since the session was opened */
static bool was_open;       /* it was, in the present attempt */

/* A line of the log, there at once: the next thing may be the end of this process. */
static void tell(const char *what, uint64_t task)
{
    if (!log_file || !o.sync_each)
        return;
    fprintf(log_file, "%s %lu\n", what, (unsigned long)task);
    fflush(log_file);
}

static void note(const struct flm_result *r)
{
    if (r->reason == FLM_REASON_DISCONNECTED) {
        lost++;
        return;
    }
    if (r->state != FLM_TASK_SUCCEED) {
        failed++;
        if (failed < 5)
            fprintf(stderr, "task %lu: %s %s: %s\n", (unsigned long)r->task, flm_task_state_name(r->state),
                    flm_reason_name(r->reason), r->message);
        refused += r->reason == FLM_REASON_REFUSED;
        tell(r->reason == FLM_REASON_REFUSED ? "refused" : "failed", r->task);
        return;
    }
    if (r->size != steady_output_size(o.output) || !steady_is_right(r->output, r->size, r->task)) {
        wrong++;
        tell("wrong", r->task);
        return;
    }
    if (seen && r->task <= o.tasks)
        twice += seen[r->task]++ != 0;
    delivered++;
    if (log_file) {
        fprintf(log_file, "%lu\n", (unsigned long)r->task);
        fflush(log_file); /* before the library says that it has been taken: we may be killed */
    }
    if (delivered == o.kill_after)
        raise(SIGKILL);
}

static void on_result(const struct flm_result *r, void *arg)
{
    (void)arg;
    note(r);
}

static flm_session *open_session(flm_client *c, flm_error *e)
{
    const char *command[] = {o.library, NULL};
    struct flm_application so = {
        .size = sizeof(so), .name = "steady", .shim = FLM_SHIM_SO, .command = command};
    struct flm_session_options options = {.size = sizeof(options),
                                          .application = so.name,
                                          .id = o.id,
                                          .flags = FLM_DETACHED,
                                          .durability = o.durability,
                                          .result_bytes = o.result_bytes,
                                          .retry_limit = 10000, /* whoever kills is no task's fault */
                                          .callback = o.take ? NULL : on_result};
    if (flm_register_application(c, &so, 1, e) < 0)
        return NULL;
    return flm_open_session(c, &options, e);
}

static void take(flm_session *s, int timeout)
{
    struct flm_result results[100];
    int n;
    while ((n = flm_take_results(s, results, 100, timeout)) > 0)
        for (int i = 0; i < n; i++)
            note(&results[i]);
}

/* However long it takes: a request of its own time limit may find the disk full, or flmd stopped. */
static int sync_all(flm_session *s, uint64_t *durable, flm_error *e)
{
    int rc;
    do
        rc = flm_sync(s, durable, e);
    while (rc == FLM_ETIMEDOUT);
    if (rc == 0)
        tell("durable", *durable);
    return rc;
}

static int submit(flm_session *s, uint64_t *durable, flm_error *e)
{
    size_t size = sizeof(struct steady_input) + o.input;
    char *input = malloc(size);
    int64_t id = 0;
    int rc = 0;
    if (o.ahead && !inputs)
        inputs = calloc(o.tasks, sizeof(*inputs));
    while (flm_submitted(s) < o.tasks && id >= 0 && rc == 0) {
        struct steady_input in = {flm_submitted(s) + 1, o.us, o.output};
        memcpy(input, &in, sizeof(in));
        if (o.input)
            steady_fill(input + sizeof(in), o.input, in.number);
        id = flm_run_task(s, input, size, o.take ? NULL : on_result, NULL);
        if (o.ahead) {
            char *another = malloc(size); /* it is Flame's until the end */
            if (!another)
                return FLM_ENOMEM;
            inputs[n_inputs++] = input;
            input = another;
        } else
            /* a large input is Flame's until it is durable */
            if (size > 32768 || (o.sync_each && flm_submitted(s) % o.sync_each == 0))
                rc = sync_all(s, durable, e);
        if (o.take && flm_submitted(s) % 1000 == 0)
            take(s, 0);
    }
    free(input);
    return id < 0 ? (int)id : rc;
}

/* The disk was full: the session takes tasks again when it is opened again. */
static int say_refused(flm_error *e)
{
    snprintf(e->text, sizeof(e->text), "tasks were refused");
    return e->code = FLM_EIO;
}

static void on_connection(int event, const char *text, void *arg)
{
    (void)arg;
    if (event == FLM_CONNECTION_GIVEN_UP)
        fprintf(stderr, "steady: %s\n", text);
}

/* One life of the session manager. 0, or an error. */
static int attend(flm_error *e, uint64_t *submitted, uint64_t *durable)
{
    uint64_t refused_before = refused;
    struct flm_connect_options connect = {.size = sizeof(connect),
                                          .reconnect_ms = o.reconnect ? o.reconnect * 1000 : -1,
                                          .on_connection = on_connection};
    flm_client *c = flm_connect(NULL, &connect, e);
    flm_session *s = c ? open_session(c, e) : NULL;
    was_open = s != NULL;
    if (s)
        tell("open", flm_submitted(s));
    if (o.reconnect) {
        free(seen);
        seen = calloc(o.tasks + 1, 1);
    }
    if (o.pause)
        raise(SIGSTOP);
    int rc = s ? submit(s, durable, e) : e->code;
    if (o.pause) {
        printf("has submitted\n");
        fflush(stdout);
    }
    if (rc == 0)
        rc = sync_all(s, durable, e);
    if (rc == 0 && !o.submit_only && o.take)
        take(s, -1);
    if (rc == 0 && !o.submit_only)
        rc = flm_wait(s, -1);
    if (s)
        *submitted = flm_submitted(s);
    if (rc == 0 && lost)
        rc = FLM_EDISCONNECTED;
    if (s && rc == FLM_EDISCONNECTED)
        flm_sync(s, durable, e); /* says why */
    if (rc == 0 && refused != refused_before)
        rc = say_refused(e);
    if (rc == 0 && o.close)
        rc = flm_close_session(s, e);
    flm_disconnect(c);
    return rc;
}

static void options(int argc, char **argv)
{
    int c;
    while ((c = getopt(argc, argv, "I:l:D:n:s:o:u:L:k:dcr:TapR:m:y:")) != -1)
        switch (c) {
        case 'I':
            o.id = optarg;
            break;
        case 'l':
            o.library = optarg;
            break;
        case 'D':
            o.durability = *optarg == 'j' ? 1 : *optarg == 's' ? 2 : 0;
            break;
        case 'n':
            o.tasks = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o.input = (uint32_t)atoi(optarg);
            break;
        case 'o':
            o.output = (uint32_t)atoi(optarg);
            break;
        case 'u':
            o.us = (uint32_t)atoi(optarg);
            break;
        case 'L':
            o.log = optarg;
            break;
        case 'k':
            o.kill_after = strtoull(optarg, NULL, 10);
            break;
        case 'd':
            o.submit_only = true;
            break;
        case 'c':
            o.close = true;
            break;
        case 'r':
            o.seconds = atoi(optarg);
            break;
        case 'y':
            o.reconnect = o.seconds = atoi(optarg);
            break;
        case 'a':
            o.ahead = true;
            break;
        case 'p':
            o.pause = true;
            break;
        case 'R':
            o.result_bytes = strtoull(optarg, NULL, 10);
            break;
        case 'T':
            o.take = true;
            break;
        case 'm':
            o.sync_each = strtoull(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
}

/* The campaign sets the time of day. */
static int64_t now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    uint64_t submitted = 0, durable = 0;
    options(argc, argv);
    log_file = o.log ? fopen(o.log, "a") : NULL;
    int64_t last = now_s();
    int rc;
    for (;;) {
        uint64_t before = delivered;
        lost = 0;
        rc = attend(&e, &submitted, &durable);
        if (delivered != before)
            last = now_s();
        if (o.reconnect && was_open && rc < 0 && rc != FLM_EIO)
            break; /* but for tasks that a full disk refused, nothing reaches us */
        if (rc == 0 || !o.seconds || now_s() - last > o.seconds)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    while (n_inputs)
        free(inputs[--n_inputs]);
    free(inputs);
    if (log_file)
        fclose(log_file);
    if (rc < 0)
        fprintf(stderr, "steady: %s: %s\n", flm_error_name(rc), e.text);
    free(seen);
    if (twice)
        printf("%lu came twice; ", (unsigned long)twice);
    printf("delivered %lu wrong %lu failed %lu submitted %lu durable %lu\n", (unsigned long)delivered,
           (unsigned long)wrong, (unsigned long)failed, (unsigned long)submitted, (unsigned long)durable);
    return rc < 0 || wrong || twice || failed != (o.seconds ? refused : 0);
}
