/* A client with an event loop, a durable session and one that is not, for reconnect.sh: says "ready" when
 * the tasks of both are with flmd, and "lost" when the second is, which it must be, alone; then waits until
 * the first has all its results, through the same flm_fd, and goes on with it. Argument: steady.so. Exit
 * status 0: all was as it should be. */
#include "steady.h"

#include <flm/admin.h>
#include <flm/client.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS = 100, LARGE = 50000 };

struct counts {
    unsigned right, lost, other, times[TASKS + 3];
};

static struct counts durable, plain;
static char large[TASKS + 2][sizeof(struct steady_input) + LARGE];

static void must(bool what, const char *text)
{
    if (what)
        return;
    fprintf(stderr, "survivor: not so: %s\n", text);
    exit(1);
}

static void on_result(const struct flm_result *r, void *arg)
{
    struct counts *n = arg;
    n->lost += r->reason == FLM_REASON_DISCONNECTED;
    bool right = r->state == FLM_TASK_SUCCEED && steady_is_right(r->output, r->size, r->task);
    n->right += right;
    n->other += !right && r->reason != FLM_REASON_DISCONNECTED;
    must(r->task < TASKS + 3 && n->times[r->task]++ == 0, "each result comes once");
}

static flm_session *open_session(flm_client *c, const char *id, int durability)
{
    flm_error e;
    flm_session *s =
        flm_create_session(c,
                           &(struct flm_session_options){.size = sizeof(struct flm_session_options),
                                                         .application = "steady",
                                                         .id = id,
                                                         .flags = FLM_NONBLOCK,
                                                         .durability = durability},
                           &e);
    if (!s)
        fprintf(stderr, "survivor: %s\n", e.text);
    must(s != NULL, "the session is open");
    return s;
}

/* Every third input is large. */
static int64_t submit(flm_session *s, struct counts *counts)
{
    uint64_t number = flm_submitted(s) + 1;
    struct steady_input in = {.number = number};
    size_t size = sizeof(in) + (number % 3 ? 8 : LARGE);
    char *input = large[number - 1];
    memcpy(input, &in, sizeof(in));
    steady_fill(input + sizeof(in), (uint32_t)(size - sizeof(in)), number);
    return flm_run_task(s, input, size, on_result, counts);
}

static void loop_until(flm_client *c, const unsigned *count, unsigned n)
{
    int fd = flm_fd(c);
    while (*count < n) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int rc = flm_poll(c, 0);
        must(rc >= 0, "the client is not lost");
        if (rc == 0 && *count < n)
            poll(&p, 1, -1);
    }
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    flm_client *c = flm_connect(NULL, NULL, &e);
    must(argc == 2 && c, e.text);
    const char *command[] = {argv[1], NULL};
    struct flm_application a = {
        .size = sizeof(a), .name = "steady", .shim = FLM_SHIM_SO, .command = command};
    must(flm_register_application(c, &a, 1, &e) == 0, e.text);
    flm_session *kept = open_session(c, "kept", FLM_DURABILITY_JOURNAL);
    flm_session *other = open_session(c, "other", FLM_DURABILITY_NONE);
    for (int i = 0; i < TASKS; i++)
        must(submit(kept, &durable) > 0 && submit(other, &plain) > 0, "tasks are taken");
    must(flm_sync(other, NULL, &e) == 0, e.text);
    must(flm_sync(kept, NULL, &e) == 0, e.text);
    say("ready");

    loop_until(c, &plain.lost, TASKS);
    must(durable.right + durable.lost + durable.other == 0, "the durable session only waits");
    must(submit(other, &plain) == FLM_EDISCONNECTED, "the other session is lost");
    must(submit(kept, &durable) == FLM_EAGAIN, "the durable one has no room");
    must(flm_wait(other, -1) == FLM_EDISCONNECTED, "waiting for the other one says so");
    must(flm_wait(kept, 0) == FLM_ETIMEDOUT, "waiting for the durable one waits");
    say("lost");

    loop_until(c, &durable.right, TASKS);
    must(submit(kept, &durable) == TASKS + 1, "the durable one takes tasks again");
    must(flm_wait(kept, -1) == 0 && durable.right == TASKS + 1, "and they are done");
    must(flm_close_session(kept, &e) == 0, e.text);
    must(flm_close_session(other, &e) == FLM_EDISCONNECTED, "the other one cannot be closed");
    must(!durable.lost && !durable.other && !plain.right && !plain.other, "nothing else came");
    flm_disconnect(c);
    return 0;
}
