/* A client for the system tests that does what a well-behaved program rarely does; prints one line per
 * finding, for the script to compare. The first argument is the case, the second a service library.
 */
#define _GNU_SOURCE
#include <flm/admin.h>
#include <flm/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *library;
static char application[FLM_MAX_NAME + 1];
static unsigned n_done, n_succeeded, n_failed, n_cancelled, n_disconnected;
static char last_message[300];
static int last_code;

static void must(int rc, const flm_error *e, const char *what)
{
    if (rc >= 0)
        return;
    printf("%s: %s: %s\n", what, flm_error_name(rc), e ? e->text : "");
    exit(1);
}

static void on_result(const struct flm_result *r, void *arg)
{
    (void)arg;
    n_done++;
    n_succeeded += r->state == FLM_TASK_SUCCEED;
    n_failed += r->state == FLM_TASK_FAILED;
    n_cancelled += r->state == FLM_TASK_CANCELLED;
    n_disconnected += r->reason == FLM_REASON_DISCONNECTED;
    if (r->message[0])
        snprintf(last_message, sizeof(last_message), "%s", r->message);
    if (r->code)
        last_code = r->code;
}

static flm_client *join(void)
{
    flm_error e = {0};
    const char *command[] = {library, NULL};
    struct flm_application a = {
        .size = sizeof(a), .name = application, .shim = FLM_SHIM_SO, .command = command};
    flm_client *c = flm_connect(NULL, NULL, &e);
    if (!c)
        must(e.code, &e, "connect");
    snprintf(application, sizeof(application), "probe-%d", (int)getpid());
    must(flm_register_application(c, &a, 1, &e), &e, "register");
    return c;
}

static flm_session *open_session(flm_client *c, const char *id, unsigned flags, uint64_t queue_bytes,
                                 unsigned most)
{
    flm_error e = {0};
    struct flm_session_options o = {.size = sizeof(o),
                                    .application = application,
                                    .id = id,
                                    .flags = flags,
                                    .queue_bytes = queue_bytes,
                                    .max_instances = most};
    flm_session *s = id ? flm_open_session(c, &o, &e) : flm_create_session(c, &o, &e);
    if (!s)
        must(e.code, &e, "open session");
    return s;
}

/* Submits tasks of `size` bytes until that would wait; returns how many. */
static unsigned once(flm_session *s, const char *text, size_t size, unsigned most)
{
    char *input = calloc(1, size + 1);
    unsigned n = 0;
    snprintf(input, size + 1, "%s", text);
    while (n < most) {
        int64_t id = flm_run_task(s, input, size, on_result, NULL);
        if (id == FLM_EAGAIN)
            break;
        must((int)id, NULL, "run task");
        n++;
    }
    free(input);
    return n;
}

/* The same, until the session has no more room (the line may have had none for a moment). */
static unsigned burst(flm_client *c, flm_session *s, const char *text, size_t size, unsigned most)
{
    unsigned n = 0;
    for (int i = 0; i < 5 && n < most; i++) {
        n += once(s, text, size, most - n);
        flm_flush(c);
        flm_poll(c, 20);
    }
    return n;
}

/* The second client of a session does not get room that the first has taken. */
static void reattach(void)
{
    unsigned first, second = 0;
    flm_client *c = join();
    flm_session *s = open_session(c, "shared", FLM_DETACHED | FLM_NONBLOCK, 100000, 1);
    first = burst(c, s, "sleep 3000", 1000, 100000);
    flm_disconnect(c);
    for (int i = 0; i < 5; i++) {
        c = flm_connect(NULL, NULL, NULL);
        s = open_session(c, "shared", FLM_DETACHED | FLM_NONBLOCK, 100000, 1);
        second += burst(c, s, "sleep 3000", 1000, 100000);
        flm_disconnect(c);
    }
    printf("the first client had room: %s\n", first > 80 && first < 110 ? "as much as it asked for" : "no");
    printf("five later ones had room for %s\n", second <= 5 ? "one each at most" : "more than there is");
    c = flm_connect(NULL, NULL, NULL);
    s = open_session(c, "shared", FLM_DETACHED | FLM_NONBLOCK, 100000, 1);
    flm_cancel_session(s, NULL);
    flm_disconnect(c);
}

/* Tasks that are refused, or fail in the queue, give their room back whole. */
static void room_comes_back(const char *how)
{
    flm_error e = {0};
    flm_client *c = join();
    flm_session *s = open_session(c, NULL, FLM_NONBLOCK, 50000, 0);
    unsigned n = 0, widest = 0;
    if (strcmp(how, "closed") == 0)
        must(flm_admin_cancel_session(c, flm_session_id(s), &e), &e, "cancel");
    while (n < 2000) {
        unsigned now = once(s, "ok", 1000, 2000 - n);
        n += now;
        if (n > 200 && now > widest)
            widest = now;
        flm_poll(c, 1000);
    }
    flm_wait(s, -1);
    printf("%u of %u answered, %u succeeded, %s, %s\n", n_done, n, n_succeeded, flm_error_name(last_code),
           widest > 10 ? "many at a time" : "one at a time");
    flm_close_session(s, NULL);
    flm_disconnect(c);
}

/* Submits a task whose input is large; returns its id. */
static uint64_t run_large(flm_session *s, const char *text)
{
    static char large[100000];
    strcpy(large, text);
    int64_t id = flm_run_task(s, large, sizeof(large), on_result, NULL);
    must((int)id, NULL, "run large task");
    return (uint64_t)id;
}

/* A request right behind a large task: control and data meet. */
static void large_and_sync(void)
{
    flm_error e = {0};
    flm_client *c = join();
    flm_session *s = open_session(c, NULL, 0, 0, 0);
    unsigned n = 0;
    for (int i = 0; i < 500; i++) {
        for (int k = 0; k < i % 4; k++, n++)
            must((int)flm_run_task(s, "ok", 2, on_result, NULL), NULL, "run task");
        uint64_t id = run_large(s, "ok");
        n++;
        if (i % 2)
            must(flm_sync(s, NULL, &e), &e, "sync");
        else
            must(flm_cancel_task(s, id, &e), &e, "cancel");
    }
    must(flm_close_session(s, &e), &e, "close");
    printf("%u of %u answered, %u failed\n", n_done, n, n_failed);
    flm_disconnect(c);
}

/* Large inputs that wait when their session is cancelled. */
static void cancel_large(void)
{
    flm_error e = {0};
    flm_client *c = join();
    flm_session *s = open_session(c, NULL, 0, 0, 1);
    for (int i = 0; i < 100; i++)
        run_large(s, "sleep 300");
    must(flm_cancel_session(s, &e), &e, "cancel");
    printf("%u answered\n", n_done);
    flm_disconnect(c);
}

/* A session that is older than many that were closed before it. */
static void many_sessions(void)
{
    flm_error e = {0};
    flm_client *c = join();
    flm_session *old = open_session(c, NULL, 0, 0, 0);
    for (int i = 0; i < 300; i++)
        must(flm_close_session(open_session(c, NULL, 0, 0, 0), &e), &e, "close");
    must((int)flm_run_task(old, "ok", 2, on_result, NULL), NULL, "run task");
    must(flm_close_session(old, &e), &e, "close the old one");
    printf("%u succeeded\n", n_succeeded);
    flm_disconnect(c);
}

/* An administrator ends the session of a client that has not taken its results yet. */
static void ended_by_others(void)
{
    flm_error e = {0};
    flm_client *c = join(), *admin = flm_connect(NULL, NULL, NULL);
    flm_session *s = open_session(c, NULL, 0, 0, 0);
    struct flm_session_view *v;
    unsigned n = once(s, "big 30000", 100, 300);
    flm_flush(c);
    do {
        usleep(20000);
        must(flm_get_session(admin, flm_session_id(s), &v, &e), &e, "view");
        uint64_t finished = v->succeed;
        flm_free_sessions(v, 1);
        if (finished >= 200) /* over some lines the last ones leave only when we look */
            break;
    } while (1);
    must(flm_admin_cancel_session(admin, flm_session_id(s), &e), &e, "cancel");
    must(flm_wait(s, -1), NULL, "wait");
    for (int i = 0; i < 100; i++)
        flm_poll(c, 1);
    n += once(s, "ok", 2, 10);
    int rc = flm_wait(s, 20000);
    printf("%u of %u answered, the late ones: %s\n", n_done, n, rc ? flm_error_name(rc) : last_message);
    flm_disconnect(admin);
    flm_disconnect(c);
}

/* Somebody has chosen the id that the manager would give. */
static void clever_id(void)
{
    char id[200];
    unsigned n;
    flm_client *c = join();
    flm_session *s = open_session(c, NULL, 0, 0, 0);
    const char *dash = strrchr(flm_session_id(s), '-');
    n = (unsigned)atoi(dash + 1);
    for (unsigned k = 1; k < 6; k++) {
        snprintf(id, sizeof(id), "%s-%u", application, n + 2 * k);
        open_session(c, id, 0, 0, 0);
        open_session(c, NULL, 0, 0, 0);
    }
    printf("all could be created\n");
    flm_disconnect(c);
}

/* As many tasks as are asked for, in a window that fits nowhere. */
static void flood(unsigned tasks, size_t size, const char *text)
{
    flm_client *c = join();
    flm_session *s = open_session(c, NULL, 0, (uint64_t)1 << 40, 0);
    char *input = calloc(1, size + 1);
    unsigned n = 0;
    int rc = 0;
    snprintf(input, size + 1, "%s", text);
    for (; n < tasks && rc >= 0; n++)
        rc = (int)flm_run_task(s, input, size, on_result, NULL);
    int waited = flm_wait(s, -1);
    rc = rc < 0 ? rc : waited;
    printf("%u of %u answered, %u succeeded, %u failed: %s, %s\n", n_done, n, n_succeeded, n_failed,
           rc < 0 ? flm_error_name(rc) : "ok", last_message);
    flm_disconnect(c);
    free(input);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    library = argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(argv[1], "reattach") == 0)
        reattach();
    else if (strcmp(argv[1], "room") == 0)
        room_comes_back(argv[3]);
    else if (strcmp(argv[1], "large-and-sync") == 0)
        large_and_sync();
    else if (strcmp(argv[1], "cancel-large") == 0)
        cancel_large();
    else if (strcmp(argv[1], "many-sessions") == 0)
        many_sessions();
    else if (strcmp(argv[1], "ended-by-others") == 0)
        ended_by_others();
    else if (strcmp(argv[1], "clever-id") == 0)
        clever_id();
    else if (strcmp(argv[1], "flood") == 0)
        flood((unsigned)atoi(argv[3]), (size_t)atol(argv[4]), argv[5]);
    else
        return 2;
    return 0;
}
