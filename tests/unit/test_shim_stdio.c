/* The shim stdio, without an executor. */
#include "unit/shim_fixture.h"

#include "executor/shim_stdio.h"

#include <signal.h>

#define COMMAND(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SERVICE      FLM_BUILDDIR "/tests/unit/stdio_service"

static void expect(const struct fixture *f, int state, int reason, int code)
{
    if (f->task.state != state || f->task.reason != reason || f->task.code != code)
        fail_msg("state %d reason %d code %d (%s) instead of %d %d %d", f->task.state, f->task.reason,
                 f->task.code, f->task.message, state, reason, code);
}

static void say(struct fixture *f, uint64_t id, const char *text)
{
    fixture_invoke(f, id, text, strlen(text));
}

static void echo_of_size(struct fixture *f, size_t size)
{
    char *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31 + (i >> 8) * 7);
    fixture_invoke(f, 1 + size, data, size);
    expect(f, FLM_TASK_SUCCEED, 0, 0);
    assert_int_equal(f->output_size, size);
    if (size)
        assert_memory_equal(f->output, data, size);
    free(data);
}

static void test_sizes(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_stdio, 0, COMMAND(SERVICE));
#define ECHO(size) echo_of_size(&f, size)
    WITH_SIZES(ECHO);
    fixture_end(&f);
}

/* A service that answers before it has read its input: cat gives back what it
 * reads while more is sent, so here the shim must not wait for the one with the
 * other. cat answers the hello wrongly, hence a shell in front. */
static void test_both_ways_at_once(void **state)
{
    (void)state;
    struct fixture f = {0};
    size_t size = 8 << 20;
    char *data = calloc(1, size);
    /* the reply's head for task 1 and its code, then the input as it comes */
    static const char script[] =
        "head -c 18 >/dev/null; printf '\\014\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0';"
        "head -c 12 >/dev/null; printf '\\014\\0\\200\\0\\001\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0'; exec cat";
    fixture_enter(&f, &flm__shim_stdio, 0, COMMAND("sh", "-c", script));
    fixture_invoke(&f, 1, data, size);
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    assert_int_equal(f.output_size, size);
    assert_memory_equal(f.output, data, size);
    free(data);
    fixture_end(&f);
}

static void test_example(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_stdio, 0, COMMAND("python3", FLM_SRCDIR "/examples/services/upper.py"));
    say(&f, 1, "gr\xc3\xbc\xc3\x9f dich");
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    assert_string_equal(f.output, "GR\xc3\x9cSS DICH");
    say(&f, 2, "\xff");
    expect(&f, FLM_TASK_FAILED, FLM_REASON_SERVICE, 1);
    assert_non_null(strstr(f.task.message, "no UTF-8 text: byte 0"));
    say(&f, 3, "");
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    fixture_end(&f);
}

/* What a service does to one task is not felt by the next. */
static void test_misbehaviour(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        int state, reason, code;
    } cases[] = {
        {"exit 3", FLM_TASK_FAILED, FLM_REASON_EXIT, 3},
        {"exit 0", FLM_TASK_FAILED, FLM_REASON_EXIT, 0},
        {"late 3", FLM_TASK_FAILED, FLM_REASON_EXIT, 3},
        {"kill 10", FLM_TASK_FAILED, FLM_REASON_SIGNAL, SIGUSR1},
        {"kill 9", FLM_TASK_FAILED, FLM_REASON_SIGNAL, SIGKILL},
        {"fail for a reason", FLM_TASK_FAILED, FLM_REASON_SERVICE, 5},
        {"wrong", FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_EPROTO},
        {"print", FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_EPROTO},
        {"short", FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_EPROTO},
        {"huge", FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_EPROTO},
        {"half", FLM_TASK_FAILED, FLM_REASON_EXIT, 0},
    };
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_stdio, 0, COMMAND(SERVICE));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        say(&f, 2 * i + 1, cases[i].input);
        expect(&f, cases[i].state, cases[i].reason, cases[i].code);
        assert_true(f.task.message[0]);
        say(&f, 2 * i + 2, "good");
        expect(&f, FLM_TASK_SUCCEED, 0, 0);
        assert_string_equal(f.output, "good");
    }
    fixture_end(&f);
}

static void test_long_message(void **state)
{
    (void)state;
    struct fixture f = {0};
    char text[10000];
    memset(text, 'x', sizeof(text));
    memcpy(text, "fail", 4);
    fixture_enter(&f, &flm__shim_stdio, 0, COMMAND(SERVICE));
    fixture_invoke(&f, 1, text, sizeof(text));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_SERVICE, 5);
    assert_int_equal(strlen(f.task.message), FLM__SHIM_MESSAGE_MAX);
    say(&f, 2, "good");
    assert_string_equal(f.output, "good");
    fixture_end(&f);
}

static void test_one_process_per_session(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_stdio, 0, COMMAND(SERVICE));
    say(&f, 1, "pid");
    int pid = atoi(f.output);
    say(&f, 2, "pid");
    assert_int_equal(atoi(f.output), pid);
    kill(pid, SIGKILL); /* between two tasks: the next does not suffer */
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    say(&f, 3, "pid");
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    assert_true(atoi(f.output) != pid);
    fixture_end(&f);
}

static void refuses(const char *const *command, const char *text)
{
    struct fixture f = {0};
    flm_error error = {0};
    assert_int_equal(fixture_try_enter(&f, &flm__shim_stdio, 0, command, &error), FLM_EBIND);
    if (!strstr(error.text, text))
        fail_msg("'%s' does not say '%s'", error.text, text);
    flm__shim_stdio.destroy(f.shim);
}

static void test_bad_start(void **state)
{
    (void)state;
    refuses(COMMAND(SERVICE, "refuse"), "no licence left");
    refuses(COMMAND(SERVICE, "exit"), "status 3");
    refuses(COMMAND(SERVICE, "exit late"), "status 4");
    refuses(COMMAND(SERVICE, "chatter"), "protocol");
    refuses(COMMAND("cat"), "protocol");
    refuses(COMMAND("true"), "status 0");
    refuses(COMMAND("no-such-cmd"), "no-such-cmd");
    refuses(NULL, "no command");
}

static void test_deadline_and_cancel(void **state)
{
    (void)state;
    struct fixture f = {0};
    char ready[64], text[100];
    snprintf(ready, sizeof(ready), "/tmp/flm-stdio-%d", getpid());
    fixture_enter(&f, &flm__shim_stdio, 0, COMMAND(SERVICE));
    f.task.deadline_ms = 50;
    say(&f, 1, "sleep");
    expect(&f, FLM_TASK_FAILED, FLM_REASON_DEADLINE, FLM_EDEADLINE);
    f.task.deadline_ms = 0;
    struct canceller c = {.f = &f, .task = 2, .ready = ready};
    snprintf(text, sizeof(text), "touch %s", ready);
    fixture_cancel_when(&c);
    say(&f, 2, text);
    pthread_join(c.thread, NULL);
    expect(&f, FLM_TASK_CANCELLED, FLM_REASON_CANCELLED, FLM_ECANCELLED);
    say(&f, 3, "good");
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    fixture_end(&f);
    unlink(ready);
}

static void *cancel_soon(void *shim)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    flm__shim_stdio.cancel(shim, 0);
    return NULL;
}

static void test_cancel_enter(void **state)
{
    (void)state;
    struct fixture f = {.app = {.name = "test", .command = COMMAND(SERVICE, "sleep"), .common_fd = -1},
                        .info = {.session = "s1", .application = "test"}};
    flm_error error = {0};
    pthread_t thread;
    f.shim = flm__shim_stdio.create(&error);
    pthread_create(&thread, NULL, cancel_soon, f.shim);
    assert_int_equal(flm__shim_stdio.enter(f.shim, &f.app, &f.info, &error), FLM_ECANCELLED);
    pthread_join(thread, NULL);
    flm__shim_stdio.destroy(f.shim);
}

static void test_common_data(void **state)
{
    (void)state;
    static const char common[] = "shared";
    struct fixture f = {.app.common_fd = -1, .info = {.common = common, .common_size = 6}};
    static const char script[] =
        "head -c 18 >/dev/null; printf '\\014\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0';"
        "head -c 12 >/dev/null; printf '\\022\\0\\0\\0\\001\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0'; cat "
        "$FLM_COMMON";
    fixture_enter(&f, &flm__shim_stdio, 0, COMMAND("sh", "-c", script));
    say(&f, 1, "");
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    assert_string_equal(f.output, "shared");
    fixture_end(&f);
}

static int count_at_start;
static int count_descriptors(void **state)
{
    (void)state;
    count_at_start = fixture_count_fds();
    return 0;
}
static int compare_descriptors(void **state)
{
    (void)state;
    return fixture_count_fds() == count_at_start ? 0 : -1;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, count_descriptors, compare_descriptors)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),        TEST(test_both_ways_at_once),   TEST(test_example),
        TEST(test_misbehaviour), TEST(test_long_message),        TEST(test_one_process_per_session),
        TEST(test_bad_start),    TEST(test_deadline_and_cancel), TEST(test_cancel_enter),
        TEST(test_common_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
