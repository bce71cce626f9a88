/* Large payloads whose memory is used again: what somebody still looks at must stay as it is.
 *
 *     payloads held|reused
 *
 * Client and service (shim self), which answers with its input, each byte one larger. Prints one line.
 *
 * held: results of flm_take_results and flm_invoke are looked at again after many other tasks have run.
 * reused: in how many pieces of memory the outputs of TASKS tasks, one after the other, have lain.
 */
#define _GNU_SOURCE
#include <flm/admin.h>
#include <flm/client.h>
#include <flm/service.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 300000, TASKS = 40 };

static bool is_all(const char *data, size_t size, int byte)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != (char)byte)
            return false;
    return size == SIZE;
}

/* ---- service ----------------------------------------------------------------------------------- */

static int invoke(struct flm_task_context *task, void *state)
{
    size_t size;
    const char *in = flm_task_input(task, &size);
    char *out = flm_task_output(task, size);
    (void)state;
    if (!out)
        return 1;
    for (size_t i = 0; i < size; i++)
        out[i] = (char)(in[i] + 1);
    return 0;
}

static const struct flm_service service = {
    .abi = FLM_SERVICE_ABI, .name = "payloads", .on_task_invoke = invoke};

/* ---- client ------------------------------------------------------------------------------------ */

static char input[SIZE];
static flm_client *client;

static flm_session *create(void)
{
    flm_error e = {0};
    struct flm_session_options o = {.size = sizeof(o), .application = "payloads"};
    flm_session *s = flm_create_session(client, &o, &e);
    if (!s)
        printf("%s\n", e.text);
    return s;
}

static int fail(const char *what)
{
    printf("wrong: %s\n", what);
    return 1;
}

/* Runs one; its output is to be as it should. */
static bool one(flm_session *s, int byte, struct flm_result *r)
{
    memset(input, byte, SIZE);
    return flm_invoke(s, input, SIZE, -1, r) == 0 && r->state == FLM_TASK_SUCCEED &&
           is_all(r->output, r->size, byte + 1);
}

/* flm_run_task with a callback, after each of which the memory may be used again. */
static void on_result(const struct flm_result *r, void *arg)
{
    int *wrong = arg;
    *wrong += !is_all(r->output, r->size, 11);
}

static int others(flm_session *s)
{
    int wrong = 0;
    for (int i = 0; i < TASKS; i++) {
        memset(input, 10, SIZE);
        if (flm_run_task(s, input, SIZE, on_result, &wrong) < 0 || flm_wait(s, -1) < 0)
            wrong++;
    }
    return wrong;
}

static int held(flm_session *s)
{
    struct flm_result taken[3], invoked;
    int n = 0;
    memset(input, 50, SIZE);
    for (int i = 0; i < 3; i++)
        if (flm_run_task(s, input, SIZE, NULL, NULL) < 0)
            return fail("submitting");
    flm_wait(s, -1);
    while (n < 2)
        n += flm_take_results(s, taken + n, 2 - n, -1); /* one is kept by the library */
    if (!one(s, 60, &invoked))
        return fail("an invocation");
    if (others(s))
        return fail("an output");
    for (int i = 0; i < n; i++)
        if (!is_all(taken[i].output, taken[i].size, 51))
            return fail("a result that was taken has changed");
    if (!is_all(invoked.output, invoked.size, 61))
        return fail("a result of an invocation has changed");
    if (flm_take_results(s, taken, 1, -1) != 1 || !is_all(taken[0].output, taken[0].size, 51))
        return fail("a result that was kept has changed");
    if (others(s) || !is_all(taken[0].output, taken[0].size, 51))
        return fail("a result that was taken later has changed");
    puts("unchanged");
    return 0;
}

/* The file behind a mapping of ours; 0: there is none. */
static unsigned long inode_at(const void *at)
{
    char line[600];
    unsigned long from, to, inode, found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) == 3 && (uintptr_t)at >= from &&
            (uintptr_t)at < to)
            found = inode;
    if (maps)
        fclose(maps);
    return found;
}

static void on_place(const struct flm_result *r, void *arg)
{
    *(unsigned long *)arg = inode_at(r->output);
}

static int reused(flm_session *s)
{
    unsigned long inodes[TASKS];
    int n = 0;
    for (int i = 0; i < TASKS; i++) {
        inodes[n] = 0;
        if (flm_run_task(s, input, SIZE, on_place, &inodes[n]) < 0 || flm_wait(s, -1) < 0 || !inodes[n])
            return fail("an output");
        int k = 0;
        while (inodes[k] != inodes[n])
            k++;
        n += k == n;
    }
    printf("%s\n", n <= TASKS / 2 ? "again and again" : "each somewhere else");
    return 0;
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    if (getenv("FLM_AGENT"))
        return flm_service_run(&service, argc, argv);
    char *self = realpath("/proc/self/exe", NULL);
    const char *command[] = {self, NULL};
    struct flm_application app = {
        .size = sizeof(app), .name = "payloads", .shim = FLM_SHIM_SELF, .command = command};
    client = argc == 2 ? flm_connect(NULL, NULL, &e) : NULL;
    flm_session *s = client && flm_register_application(client, &app, 1, &e) == 0 ? create() : NULL;
    int rc = !s ? fail(e.text) : strcmp(argv[1], "held") == 0 ? held(s) : reused(s);
    flm_disconnect(client);
    free(self);
    return rc;
}
