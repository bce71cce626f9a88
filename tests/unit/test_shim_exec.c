/* The shim exec, without an executor. */
#include "unit/shim_fixture.h"

#include "executor/process.h"
#include "executor/shim_exec.h"

#include <flm/admin.h>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TEXT(s)      s, sizeof(s) /* with its final zero */
#define COMMAND(...) ((const char *const[]){__VA_ARGS__, NULL})

static char *pattern(size_t size)
{
    char *data = malloc(size + 1);
    uint32_t x = 12345;
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (char)(x >> 24);
    }
    return data;
}

static void expect(const struct fixture *f, int state, int reason, int code)
{
    if (f->task.state != state || f->task.reason != reason || f->task.code != code)
        fail_msg("state %d reason %d code %d (%s) instead of %d %d %d", f->task.state, f->task.reason,
                 f->task.code, f->task.message, state, reason, code);
}

/* A capture's parts; err is a copy. */
static struct flm_exec_output captured(const struct fixture *f, const char **out, size_t *err_size)
{
    struct flm_exec_output head;
    assert_true(f->output_size >= sizeof(head));
    memcpy(&head, f->output, sizeof(head));
    assert_true(head.stdout_size <= f->output_size - sizeof(head));
    *out = f->output + sizeof(head);
    *err_size = f->output_size - sizeof(head) - (size_t)head.stdout_size;
    return head;
}

static void cat_of_size(struct fixture *f, size_t size)
{
    char *data = pattern(size);
    fixture_invoke(f, 1 + size, data, size);
    expect(f, FLM_TASK_SUCCEED, 0, 0);
    assert_int_equal(f->output_size, size);
    if (size)
        assert_memory_equal(f->output, data, size);
    free(data);
}

static void test_stdin_sizes(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_STDIN, COMMAND("cat"));
#define CAT(size) cat_of_size(&f, size)
    WITH_SIZES(CAT);
    fixture_end(&f);
}

static void test_input_that_nobody_reads(void **state)
{
    (void)state;
    struct fixture f = {0};
    char *data = pattern(8 << 20);
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_STDIN, COMMAND("true"));
    fixture_invoke(&f, 1, data, 8 << 20);
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    fixture_invoke(&f, 2, data, 100);
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    free(data);
    fixture_end(&f);
}

static void test_arguments(void **state)
{
    (void)state;
    struct fixture f = {0};
    static const char input[] = "a b\0\0'q\"$x\0\xc3\xa9\nz";
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("printf", "[%s]"));
    fixture_invoke(&f, 1, input, sizeof(input));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    assert_string_equal(f.output, "[a b][]['q\"$x][\xc3\xa9\nz]");
    fixture_invoke(&f, 2, NULL, 0);
    assert_string_equal(f.output, "[]");
    fixture_invoke(&f, 3, "abc", 3); /* not ended by a zero */
    expect(&f, FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_EPROTO);
    fixture_end(&f);
}

static void test_capture(void **state)
{
    (void)state;
    struct fixture f = {0};
    const char *out;
    size_t err;
    static const char script[] = "sh\0-c\0printf out; printf error >&2; exit 3";
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_CAPTURE, NULL);
    fixture_invoke(&f, 1, script, sizeof(script));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_EXIT, 3);
    struct flm_exec_output head = captured(&f, &out, &err);
    assert_int_equal(WEXITSTATUS(head.status), 3);
    assert_int_equal(head.stdout_size, 3);
    assert_int_equal(err, 5);
    assert_memory_equal(out, "outerror", 8);
    assert_true(head.run_ns > 0);
    fixture_invoke(&f, 2, TEXT("true"));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    assert_int_equal(f.output_size, sizeof(head));
    fixture_invoke(&f, 3, NULL, 0);
    expect(&f, FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_EINVAL);
    fixture_end(&f);
}

static void capture_of_size(struct fixture *f, size_t size)
{
    char script[256];
    const char *out;
    size_t err;
    int n = snprintf(script, sizeof(script),
                     "sh%c-c%chead -c %zu /dev/zero >&2 & head -c %zu /dev/zero; wait", 0, 0, size, size);
    fixture_invoke(f, 1, script, (size_t)n + 1);
    expect(f, FLM_TASK_SUCCEED, 0, 0);
    struct flm_exec_output head = captured(f, &out, &err);
    assert_int_equal(head.stdout_size, size);
    assert_int_equal(err, size);
}

static void test_capture_sizes(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_CAPTURE, NULL);
#define CAPTURE(size) capture_of_size(&f, size)
    WITH_SIZES(CAPTURE);
    fixture_end(&f);
}

static void test_missing_commands(void **state)
{
    (void)state;
    struct fixture f = {0};
    flm_error error = {0};
    const char *out;
    size_t err;
    assert_int_equal(fixture_try_enter(&f, &flm__shim_exec, FLM_EXEC_STDIN, COMMAND("no-such-cmd"), &error),
                     FLM_EBIND);
    assert_non_null(strstr(error.text, "no-such-cmd"));
    flm__shim_exec.destroy(f.shim);
    assert_int_equal(fixture_try_enter(&f, &flm__shim_exec, FLM_EXEC_STDIN, NULL, &error), FLM_EBIND);
    flm__shim_exec.destroy(f.shim);
    f.app.working_directory = "/no/such/directory";
    assert_int_equal(fixture_try_enter(&f, &flm__shim_exec, FLM_EXEC_STDIN, COMMAND("true"), &error),
                     FLM_EBIND);
    assert_non_null(strstr(error.text, "/no/such/directory"));
    flm__shim_exec.destroy(f.shim);
    f.app.working_directory = NULL;

    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_CAPTURE, NULL);
    fixture_invoke(&f, 1, TEXT("no-such-cmd\0x"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_EXIT, 127);
    assert_non_null(strstr(f.task.message, "no-such-cmd"));
    assert_int_equal(captured(&f, &out, &err).status, 127 << 8);
    fixture_invoke(&f, 2, TEXT("/etc/passwd"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_EXIT, 126);
    fixture_invoke(&f, 3, TEXT("/etc"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_EXIT, 126);
    fixture_invoke(&f, 4, TEXT(""));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_EXIT, 127);
    fixture_invoke(&f, 5, TEXT("true"));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    fixture_end(&f);
}

static void test_too_many_arguments(void **state)
{
    (void)state;
    struct fixture f = {0};
    size_t size = 8 << 20;
    char *input = malloc(size);
    memset(input, 'x', size);
    memcpy(input, "true", 5);
    input[size - 1] = 0;
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_CAPTURE, NULL);
    fixture_invoke(&f, 1, input, size);
    expect(&f, FLM_TASK_FAILED, FLM_REASON_EXIT, 126);
    fixture_end(&f);
    free(input);
}

static void test_signals(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("sh", "-c"));
    fixture_invoke(&f, 1, TEXT("kill -SEGV $$"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_SIGNAL, SIGSEGV);
    fixture_invoke(&f, 2, TEXT("printf partial; kill -KILL $$"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_SIGNAL, SIGKILL);
    assert_string_equal(f.output, "partial");
    fixture_invoke(&f, 3, TEXT("exit 255"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_EXIT, 255);
    fixture_end(&f);
}

/* Children start with default dispositions and an empty mask, whatever we do. */
static void test_signal_state(void **state)
{
    (void)state;
    struct fixture f = {0};
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("grep", "-E", "Sig(Blk|Ign)"));
    fixture_invoke(&f, 1, TEXT("/proc/self/status"));
    unsigned long long blocked = 1, ignored = 1;
    assert_int_equal(sscanf(f.output, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    assert_int_equal(blocked, 0);
    assert_int_equal(ignored & ~0x180000000ull, 0); /* 32 and 33 are the C library's own */
    fixture_end(&f);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    signal(SIGINT, SIG_DFL);
}

static void write_kills(const char *file, int kills)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fprintf(f, "oom 7\noom_kill %d\n", kills);
    fclose(f);
}

/* A child that SIGKILL has ended, as a shim sees it. */
static int reason_of_kill(struct flm__watch *w)
{
    struct flm__shim_task t = {0};
    flm__outcome_of_child(&t, SIGKILL, FLM__WATCH_NONE, &w->oom, "x");
    return t.reason;
}

/* The kernel's kills for lack of memory count while the task runs, not those before it. */
static void test_kills_for_memory(void **state)
{
    (void)state;
    struct flm__watch w;
    assert_int_equal(flm__watch_init(&w), 0);
    snprintf(w.oom.file, sizeof(w.oom.file), "/tmp/flm-test-events-%d", (int)getpid());
    w.oom.kills = 0;
    for (int older = 0; older < 3; older++) {
        write_kills(w.oom.file, 10 * older + 5);
        w.oom.looked_ns = 0; /* long ago */
        flm__watch_begin(&w, 1, 0);
        assert_int_equal(reason_of_kill(&w), FLM_REASON_SIGNAL);
        flm__watch_begin(&w, 2, 0);
        write_kills(w.oom.file, 10 * older + 6);
        assert_int_equal(reason_of_kill(&w), FLM_REASON_OUT_OF_MEMORY);
        flm__watch_begin(&w, 3, 0);
        assert_int_equal(reason_of_kill(&w), FLM_REASON_SIGNAL);
    }
    unlink(w.oom.file);
    flm__watch_fini(&w);
}

static void test_deadline(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("sh", "-c"));
    f.task.deadline_ms = 50;
    fixture_invoke(&f, 1, TEXT("sleep 1000"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_DEADLINE, FLM_EDEADLINE);
    /* who ignores SIGTERM gets SIGKILL */
    fixture_invoke(&f, 2, TEXT("trap '' TERM; while :; do sleep 0.1; done"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_DEADLINE, FLM_EDEADLINE);
    f.task.deadline_ms = 600000;
    fixture_invoke(&f, 3, TEXT("exit 0"));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    fixture_end(&f);
}

static void test_cancel(void **state)
{
    (void)state;
    struct fixture f = {0};
    char ready[64], script[200];
    snprintf(ready, sizeof(ready), "/tmp/flm-shim-%d", getpid());
    struct canceller c = {.f = &f, .task = 5, .ready = ready};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("sh", "-c"));
    flm__shim_exec.cancel(f.shim, 4); /* another task: nothing happens to ours */
    int n = snprintf(script, sizeof(script), "touch %s; exec sleep 1000", ready);
    fixture_cancel_when(&c);
    fixture_invoke(&f, 5, script, (size_t)n + 1);
    pthread_join(c.thread, NULL);
    expect(&f, FLM_TASK_CANCELLED, FLM_REASON_CANCELLED, FLM_ECANCELLED);

    flm__shim_exec.cancel(f.shim, 6); /* before it begins */
    fixture_invoke(&f, 6, script, (size_t)n + 1);
    expect(&f, FLM_TASK_CANCELLED, FLM_REASON_CANCELLED, FLM_ECANCELLED);
    fixture_invoke(&f, 7, TEXT("exit 0"));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);

    flm__shim_exec.cancel(f.shim, 0); /* the whole session */
    fixture_invoke(&f, 8, script, (size_t)n + 1);
    expect(&f, FLM_TASK_CANCELLED, FLM_REASON_CANCELLED, FLM_ECANCELLED);
    flm__shim_exec.leave(f.shim);
    flm_error error;
    assert_int_equal(flm__shim_exec.enter(f.shim, &f.app, &f.info, &error), 0);
    fixture_invoke(&f, 8, TEXT("exit 0"));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    fixture_end(&f);
    unlink(ready);
}

/* A grandchild that holds stdout: the task ends, and so does the grandchild. */
static void test_grandchild(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("sh", "-c"));
    static const char script[] = "sleep 1000 & echo $!";
    fixture_invoke(&f, 1, script, sizeof(script));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    pid_t pid = (pid_t)atoi(f.output);
    assert_true(pid > 1);
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    for (int i = 0; i < 5000; i++) { /* it is no child of ours: gone, or a zombie for a moment */
        char text[256] = "";
        FILE *s = fopen(path, "r");
        if (!s || !fgets(text, sizeof(text), s) || strstr(text, ") Z "))
            i = 1000000;
        if (s)
            fclose(s);
        if (i == 4999)
            fail_msg("process %d lives on", pid);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    static const char flood[] = "yes & echo first";
    fixture_invoke(&f, 2, flood, sizeof(flood));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    fixture_end(&f);
}

static void test_output_limit(void **state)
{
    (void)state;
    struct fixture f = {.app.output_limit = 1000};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("sh", "-c"));
    fixture_invoke(&f, 1, TEXT("head -c 1000 /dev/zero"));
    expect(&f, FLM_TASK_SUCCEED, 0, 0);
    fixture_invoke(&f, 2, TEXT("head -c 1001 /dev/zero"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_ETOOBIG);
    fixture_invoke(&f, 3, TEXT("yes"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_SERVICE, FLM_ETOOBIG);
    fixture_end(&f);
}

static void test_environment(void **state)
{
    (void)state;
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "A=b", "FLM_TASK_ID=old", NULL};
    static const char common[] = "shared data";
    struct fixture f = {.app = {.environment = environment, .working_directory = "/usr", .common_fd = -1},
                        .info = {.common = common, .common_size = sizeof(common)}};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("sh", "-c"));
    static const char script[] =
        "echo $FLM_TASK_ID $FLM_SESSION_ID $FLM_EXECUTOR $A $FLM_COMMON_SIZE; pwd; cat $FLM_COMMON";
    for (int i = 0; i < 2; i++) { /* each task reads it from the start */
        fixture_invoke(&f, 18446744073709551615u, script, sizeof(script));
        assert_string_equal(f.output, "18446744073709551615 s1 7 b 12\n/usr\nshared data");
    }
    fixture_invoke(&f, 2, TEXT("echo x >> $FLM_COMMON"));
    assert_int_equal(f.task.state, FLM_TASK_FAILED); /* read-only */
    fixture_end(&f);
}

static void test_relative_command_and_script(void **state)
{
    (void)state;
    char directory[] = "/tmp/flm-shim-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/tool", directory);
    FILE *s = fopen(path, "w");
    fputs("echo plain script $1\n", s); /* no #! */
    fclose(s);
    assert_int_equal(chmod(path, 0755), 0);
    struct fixture f = {.app.working_directory = directory};
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("./tool"));
    fixture_invoke(&f, 1, TEXT("one"));
    assert_string_equal(f.output, "plain script one\n");
    unlink(path); /* it goes away while the session lives */
    fixture_invoke(&f, 2, TEXT("one"));
    expect(&f, FLM_TASK_FAILED, FLM_REASON_EXIT, 127);
    fixture_end(&f);
    rmdir(directory);
}

/* A child sees 0, 1, 2, and what ls opens: 3. */
static void test_descriptors(void **state)
{
    (void)state;
    struct fixture f = {0};
    int leak = dup(0), before;
    assert_true(leak > 2);
    fixture_enter(&f, &flm__shim_exec, FLM_EXEC_ARGS, COMMAND("ls"));
    fixture_invoke(&f, 1, TEXT("/proc/self/fd"));
    assert_string_equal(f.output, "0\n1\n2\n3\n");
    before = fixture_count_fds();
    for (uint64_t i = 2; i < 50; i++)
        fixture_invoke(&f, i, "/", 2);
    assert_int_equal(fixture_count_fds(), before);
    fixture_end(&f);
    close(leak);
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
        TEST(test_stdin_sizes),        TEST(test_input_that_nobody_reads),
        TEST(test_arguments),          TEST(test_capture),
        TEST(test_capture_sizes),      TEST(test_missing_commands),
        TEST(test_too_many_arguments), TEST(test_signals),
        TEST(test_signal_state),       TEST(test_kills_for_memory),
        TEST(test_deadline),           TEST(test_cancel),
        TEST(test_grandchild),         TEST(test_output_limit),
        TEST(test_environment),        TEST(test_relative_command_and_script),
        TEST(test_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
