/* Large outputs that their client reads late.
 *
 *     outputs LOG MARK
 *
 * Client and service (shim self). TASKS tasks are submitted, each of which waits until there is a file
 * MARK, adds a line to LOG and answers with SIZE bytes like the one of its input. Prints, once all have
 * ended, how many outputs were right and how many tasks were cancelled or lost with the session manager;
 * each callback comes once, else it says so.
 */
#include <flm/admin.h>
#include <flm/client.h>
#include <flm/service.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 300000, TASKS = 8 };

struct input {
    char byte;
    char log[400], mark[400];
};

static int invoke(struct flm_task_context *task, void *state)
{
    size_t size;
    const struct input *in = flm_task_input(task, &size);
    (void)state;
    while (access(in->mark, F_OK) < 0)
        usleep(10000);
    int log = open(in->log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (log < 0 || write(log, "ran\n", 4) != 4)
        return 1;
    close(log);
    char *out = flm_task_output(task, SIZE);
    if (!out)
        return 1;
    memset(out, in->byte, SIZE);
    return 0;
}

static const struct flm_service service = {
    .abi = FLM_SERVICE_ABI, .name = "outputs", .on_task_invoke = invoke};

static unsigned ends[TASKS], right, gone;

static int is_right(const struct flm_result *r, char byte)
{
    const char *data = r->output;
    size_t i = 0;
    while (i < r->size && data[i] == byte)
        i++;
    return i == SIZE && r->size == SIZE;
}

static void on_result(const struct flm_result *r, void *arg)
{
    unsigned *end = arg;
    (*end)++;
    if (r->state == FLM_TASK_SUCCEED)
        right += is_right(r, (char)(end - ends + 1));
    gone += r->state == FLM_TASK_CANCELLED || r->reason == FLM_REASON_DISCONNECTED;
}

static int run(flm_client *client, const char *log, const char *mark)
{
    flm_error e = {0};
    struct flm_session_options o = {.size = sizeof(o), .application = "outputs"};
    flm_session *s = flm_create_session(client, &o, &e);
    if (!s)
        return printf("%s\n", e.text);
    for (int i = 0; i < TASKS; i++) {
        struct input in = {.byte = (char)(i + 1)};
        snprintf(in.log, sizeof(in.log), "%s", log);
        snprintf(in.mark, sizeof(in.mark), "%s", mark);
        if (flm_run_task(s, &in, sizeof(in), on_result, &ends[i]) < 0)
            return printf("no task\n");
    }
    flm_wait(s, -1);
    for (int i = 0; i < TASKS; i++)
        if (ends[i] != 1)
            return printf("task %d has ended %u times\n", i, ends[i]);
    printf("%u right, %u gone\n", right, gone);
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
        .size = sizeof(app), .name = "outputs", .shim = FLM_SHIM_SELF, .command = command};
    flm_client *client = argc == 3 ? flm_connect(NULL, NULL, &e) : NULL;
    if (!client || flm_register_application(client, &app, 1, &e) < 0)
        printf("%s\n", e.text);
    else
        run(client, argv[1], argv[2]);
    flm_disconnect(client);
    free(self);
    return 0;
}
