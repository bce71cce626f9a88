/* Gives each of its arguments as a task to an application, and prints the outputs.
 *
 *     cc -o ask ask.c $(pkg-config --cflags --libs flm)
 *     ./ask upper one two three
 */
#include <flm/client.h>

#include <stdio.h>
#include <string.h>

struct count {
    int failed;
};

/* Runs inside flm_wait, once per task, in the order in which tasks end. */
static void on_result(const struct flm_result *r, void *arg)
{
    struct count *count = arg;
    if (r->state == FLM_TASK_SUCCEED) {
        printf("%llu: %.*s\n", (unsigned long long)r->task, (int)r->size,
               r->output ? (const char *)r->output : "");
        return;
    }
    count->failed++;
    fprintf(stderr, "task %llu failed (%s %d): %s\n", (unsigned long long)r->task,
            flm_reason_name(r->reason), r->code, r->message);
}

int main(int argc, char **argv)
{
    flm_error error;
    struct count count = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: ask APPLICATION TEXT...\n");
        return 2;
    }
    flm_client *client = flm_connect(NULL, NULL, &error); /* to FLM_ENDPOINT */
    struct flm_session_options options = {.size = sizeof(options), .application = argv[1]};
    flm_session *session = client ? flm_create_session(client, &options, &error) : NULL;
    if (!session) {
        fprintf(stderr, "ask: %s\n", error.text);
        flm_disconnect(client);
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        int64_t task = flm_run_task(session, argv[i], strlen(argv[i]), on_result, &count);
        if (task < 0) {
            fprintf(stderr, "ask: %s: %s\n", argv[i], flm_strerror((int)task));
            count.failed++;
        }
    }
    flm_wait(session, -1);
    flm_close_session(session, NULL);
    flm_disconnect(client);
    return count.failed ? 1 : 0;
}
