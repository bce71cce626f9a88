/* One executor process under a scripted manager: sessions and tasks. Recall, deaths and worlds have
 * programs of their own. */
#define _GNU_SOURCE
#include "executor_fixture.h"

#include "net/blob.h"
#include "net/ring.h"

#include <flm/admin.h>
#include <flm/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { RING = 64 << 10, SMALL_RING = 64 << 10 };

static void expect_output(struct manager *m, const void *output, size_t size)
{
    struct answer a;
    manager_answer(m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_SUCCEED);
    assert_int_equal(a.size, size);
    if (size)
        assert_memory_equal(a.output, output, size);
    answer_free(&a);
}

static void expect_text(struct manager *m, const char *text)
{
    expect_output(m, text, strlen(text));
}

static void enters_runs_leaves(void **state)
{
    struct manager m;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    for (int session = 1; session <= 3; session++) {
        char expected[100];
        manager_bind(&m, NULL);
        manager_task(&m, "i", 1, 0);
        /* The service stays loaded, so its count goes on. */
        snprintf(expected, sizeof(expected), "s-77 app 0 0 %d 0/1 %d %llu", EXECUTOR, session,
                 (unsigned long long)(1000 + m.sent));
        expect_text(&m, expected);
        manager_task(&m, "n", 1, 0);
        expect_output(&m, &(uint64_t){2}, 8);
        manager_unbind(&m);
    }
    assert_int_equal(atomic_load(&m.status->began), 6);
    manager_stop(&m);
}

static void results_come_in_order(void **state)
{
    enum { TASKS = 20000 };
    struct manager m;
    struct answer a;
    uint64_t answered = 0;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    while (answered < TASKS) {
        if (m.sent < TASKS && m.sent - answered < 100) {
            char input[64] = "e";
            size_t size = 1 + m.sent % sizeof(input);
            memcpy(input + 1, &m.sent, 8);
            manager_task(&m, input, size, 0);
            continue;
        }
        manager_answer(&m, &a);
        assert_int_equal(a.record.task, 1000 + ++answered);
        assert_int_equal(a.size, 1 + (answered - 1) % 64);
        assert_int_equal(a.record.flags, 0);
        answer_free(&a);
    }
    manager_stop(&m);
}

static void outcomes(void **state)
{
    static const struct {
        const char *input;
        int state, reason, code;
        const char *text, *output;
    } cases[] = {
        {"ehello", FLM_TASK_SUCCEED, 0, 0, "", "ehello"},
        {"", FLM_TASK_SUCCEED, 0, 0, "", ""},
        {"0", FLM_TASK_SUCCEED, 0, 0, "", ""},
        {"f", FLM_TASK_FAILED, FLM_REASON_SERVICE, 7, "no such row 12", "half"},
        {"F", FLM_TASK_FAILED, FLM_REASON_SERVICE, -3, "", ""},
        {"?", FLM_TASK_FAILED, FLM_REASON_SERVICE, 5, "what is '?'?", ""},
        {"t", FLM_TASK_SUCCEED, 0, 0, "", "-1"},
    };
    struct manager m;
    struct answer a;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        manager_task(&m, cases[i].input, strlen(cases[i].input), 0);
        manager_answer(&m, &a);
        assert_int_equal(a.outcome.state, cases[i].state);
        assert_int_equal(a.outcome.reason, cases[i].reason);
        assert_int_equal(a.outcome.code, cases[i].code);
        assert_string_equal(a.text, cases[i].text);
        assert_int_equal(a.size, strlen(cases[i].output));
        assert_memory_equal(a.output, cases[i].output, a.size);
        answer_free(&a);
    }
    manager_stop(&m);
}

static void task_of_another_session(void **state)
{
    struct manager m;
    struct answer a;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_task(&m, "e", 1, 0); /* nothing is entered */
    manager_answer(&m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_FAILED);
    assert_int_equal(a.outcome.reason, FLM_REASON_BIND);
    answer_free(&a);
    manager_bind(&m, NULL);
    manager_task(&m, "e", 1, 0);
    expect_output(&m, "e", 1);
    manager_stop(&m);
}

static void surroundings(void **state)
{
    const char *const variables[] = {"FLM_TEST_ADDED=yes", NULL};
    char directory[] = "/tmp/flm-test-XXXXXX", mark[64], text[80];
    struct manager m;
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(mark, sizeof(mark), "LEAVE_MARK=%s/left", directory);
    const char *const with_mark[] = {"FLM_TEST_ADDED=yes", mark, NULL};
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, &(struct binding_spec){.directory = directory, .environment = with_mark});
    manager_task(&m, "d", 1, 0);
    expect_text(&m, directory);
    manager_task(&m, "v", 1, 0);
    expect_text(&m, "yes -"); /* and the executor's own token is not there */
    manager_unbind(&m);
    snprintf(text, sizeof(text), "%s/left", directory);
    assert_int_equal(access(text, F_OK), 0);
    unlink(text);
    manager_bind(&m, &(struct binding_spec){.environment = variables});
    manager_task(&m, "d", 1, 0);
    assert_non_null(getcwd(text, sizeof(text)));
    expect_text(&m, text);
    manager_unbind(&m);
    manager_bind(&m, NULL);
    manager_task(&m, "v", 1, 0);
    expect_text(&m, "- -");
    manager_stop(&m);
    rmdir(directory);
}

static void common_data(void **state)
{
    struct manager m;
    char common[10000];
    (void)state;
    memset(common, 'x', sizeof(common));
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, &(struct binding_spec){.common = common, .common_size = sizeof(common)});
    manager_task(&m, "c", 1, 0);
    expect_output(&m, common, sizeof(common));
    manager_task(&m, "i", 1, 0);
    struct answer a;
    manager_answer(&m, &a);
    assert_non_null(memmem(a.output, a.size, " 10000 1 ", 9));
    answer_free(&a);
    manager_unbind(&m);
    manager_stop(&m);
}

static void newer_common_data(void **state)
{
    struct manager m;
    char old[10000], new[20000];
    (void)state;
    memset(old, 'x', sizeof(old));
    memset(new, 'y', sizeof(new));
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, &(struct binding_spec){.common = old, .common_size = sizeof(old)});
    manager_task(&m, "c", 1, 0);
    expect_output(&m, old, sizeof(old));
    /* The answer does not wait for the task that runs; what comes after the answer sees them. */
    uint64_t n = manager_task(&m, "l", 1, 0);
    while (atomic_load(&m.status->began) < n)
        usleep(100);
    for (uint64_t version = 2; version < 5; version++) {
        int fd = flm__blob_copy(new, 5000 * version, NULL);
        assert_int_equal(manager_update(&m, fd, 5000 * version, version), 0);
    }
    struct answer a;
    manager_task(&m, "c", 1, 0);
    manager_cancel(&m, n);
    manager_answer(&m, &a);
    answer_free(&a);
    expect_output(&m, new, 20000);
    manager_task(&m, "i", 1, 0);
    manager_answer(&m, &a);
    assert_non_null(memmem(a.output, a.size, " 20000 4 ", 9));
    answer_free(&a);
    /* Without their memory, or not as much of it, they cannot be had: it keeps what it has. */
    assert_true(manager_update(&m, -1, 20000, 5) < 0);
    assert_true(manager_update(&m, flm__blob_copy(new, 5000, NULL), 6000, 5) < 0);
    manager_task(&m, "c", 1, 0);
    expect_output(&m, new, 20000);
    /* Nobody takes these any more. */
    assert_int_equal(manager_update(&m, flm__blob_copy(new, 5000, NULL), 5000, 6), 0);
    manager_unbind(&m);
    manager_bind(&m, NULL);
    manager_task(&m, "c", 1, 0);
    expect_output(&m, NULL, 0);
    manager_stop(&m);
}

static void bind_failures(void **state)
{
    const char *const refuse[] = {"REFUSE_ENTER=1", NULL};
    const char *const nonsense[] = {"no equals sign", NULL};
    const struct {
        struct binding_spec spec;
        int code;
        const char *text[3];
    } cases[] = {
        {{.file = "/nowhere/none.so"}, FLM_ELOAD, {"/nowhere/none.so"}},
        {{.file = "none.so"}, FLM_ELOAD, {"none.so"}},
        {{.file = FLM_SRCDIR "/configure.ac"}, FLM_ELOAD, {"configure.ac"}},
        {{.file = "libm.so.6"}, FLM_ELOAD, {"libm.so.6", "flm_service", "FLM_SERVICE"}},
        {{.file = FLM_TEST_OLD_SERVICE}, FLM_EABI, {"42", "1", "compile it again"}},
        {{.environment = refuse}, FLM_ESERVICE, {"on_session_enter", "42"}},
        {{.environment = nonsense}, FLM_EINVAL, {"no equals sign"}},
        {{.directory = "/nowhere"}, FLM_EBIND, {"/nowhere"}},
        {{.shim = FLM_SHIM_SELF}, FLM_ENOTSUP, {"self"}},
        {{.shim = 99}, FLM_ENOTSUP, {"99"}},
        {{.ranks = 2}, FLM_ENOTSUP, {"2"}},
        {{.shim = FLM_SHIM_EXEC, .file = "/nowhere/command"}, 0, {"/nowhere/command"}},
    };
    struct manager m;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text;
        int code = manager_bind_fails(&m, &cases[i].spec, &text);
        assert_true(code < 0);
        if (cases[i].code)
            assert_int_equal(code, cases[i].code);
        for (size_t k = 0; k < 3 && cases[i].text[k]; k++)
            if (!strstr(text, cases[i].text[k]))
                fail_msg("case %zu: \"%s\" says nothing of \"%s\"", i, text, cases[i].text[k]);
        free(text);
        manager_bind(&m, NULL); /* and it works on */
        manager_task(&m, "e", 1, 0);
        expect_output(&m, "e", 1);
        manager_unbind(&m);
    }
    manager_stop(&m);
}

static void large_inputs(void **state)
{
    static const size_t sizes[] = {FLM__INLINE_MAX, FLM__INLINE_MAX + 1, 3 << 20};
    struct manager m;
    (void)state;
    manager_start(&m, NULL, NULL, 1 << 20);
    manager_bind(&m, NULL);
    for (size_t i = 0; i < 3; i++) {
        unsigned char *input = malloc(sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            input[k] = (unsigned char)(k * 13);
        input[0] = 'e';
        manager_large_task(&m, input, sizes[i], 500 + i);
        if (sizes[i] <= FLM__INLINE_MAX)
            manager_task(&m, input, sizes[i], 0);
        expect_output(&m, input, sizes[i]);
        if (sizes[i] <= FLM__INLINE_MAX)
            expect_output(&m, input, sizes[i]);
        free(input);
    }
    manager_stop(&m);
}

static void large_outputs(void **state)
{
    static const struct {
        char how;
        uint64_t size;
    } cases[] = {{'b', FLM__INLINE_MAX},
                 {'b', FLM__INLINE_MAX + 1},
                 {'b', 5 << 20},
                 {'B', 20000},
                 {'B', 10000},
                 {'B', 3 << 20},
                 {'b', 0}};
    struct manager m;
    struct answer a;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned char input[16] = {(unsigned char)cases[i].how};
        memcpy(input + 8, &cases[i].size, 8);
        manager_task(&m, input, sizeof(input), 0);
        manager_answer(&m, &a);
        assert_int_equal(a.outcome.state, FLM_TASK_SUCCEED);
        assert_int_equal(a.size, cases[i].size);
        for (uint64_t k = 0; k < a.size; k++)
            if (a.output[k] != (unsigned char)(k * 7 + (k >> 8)))
                fail_msg("case %zu: byte %llu is wrong", i, (unsigned long long)k);
        answer_free(&a);
    }
    uint64_t too_much = FLM_MAX_PAYLOAD + 1;
    unsigned char input[16] = {'b'};
    memcpy(input + 8, &too_much, 8);
    manager_task(&m, input, sizeof(input), 0);
    manager_answer(&m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_FAILED);
    answer_free(&a);
    manager_stop(&m);
}

/* More results than the ring holds while nobody reads: the executor waits, and nothing is lost. */
static void ring_full(void **state)
{
    enum { TASKS = 60 };
    struct manager m;
    uint64_t size = 16000;
    unsigned char input[16] = {'b'};
    struct answer a;
    (void)state;
    manager_start(&m, NULL, NULL, SMALL_RING);
    manager_bind(&m, NULL);
    memcpy(input + 8, &size, 8);
    for (int i = 0; i < TASKS; i++)
        manager_task(&m, input, sizeof(input), 0);
    usleep(50000); /* it fills the ring and falls asleep */
    assert_true(atomic_load(&m.status->began) < TASKS);
    for (int i = 1; i <= TASKS; i++) {
        manager_answer(&m, &a);
        assert_int_equal(a.record.task, 1000 + i);
        assert_int_equal(a.size, size);
        assert_int_equal(a.output[size - 1], (unsigned char)((size - 1) * 7 + ((size - 1) >> 8)));
        answer_free(&a);
    }
    manager_stop(&m);
}

/* Results of short tasks are committed several at a time; but not when a long task comes behind them. */
static void no_result_waits_behind_a_long_task(void **state)
{
    struct manager m;
    struct answer a;
    (void)state;
    manager_start(&m, NULL, NULL, 1 << 20);
    manager_bind(&m, NULL);
    for (int extra = 0; extra < 20; extra++) {
        int n = 1000 + extra;
        uint64_t first = manager_task(&m, "w\20", 2, 0); /* meanwhile a batch collects */
        for (int i = 0; i < n; i++)
            manager_task(&m, "e", 1, 0);
        uint64_t last = manager_task(&m, "l", 1, 0);
        for (uint64_t k = first; k < last; k++) {
            manager_answer(&m, &a);
            assert_int_equal(a.record.task, 1000 + k);
            answer_free(&a);
        }
        manager_cancel(&m, last);
        manager_answer(&m, &a);
        assert_int_equal(a.record.task, 1000 + last);
        assert_int_equal(a.outcome.state, FLM_TASK_CANCELLED);
        answer_free(&a);
    }
    manager_stop(&m);
}

/* It sleeps when there is nothing to do, and wakes for a task and for a message. */
static void wakes_from_sleep(void **state)
{
    struct manager m;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    for (int i = 0; i < 20; i++) {
        usleep(3000);
        manager_bind(&m, NULL);
        usleep(3000);
        manager_task(&m, "e", 1, 0);
        expect_output(&m, "e", 1);
        usleep(3000);
        manager_unbind(&m);
    }
    manager_stop(&m);
}

static void answers_while_a_task_runs(void **state)
{
    struct manager m;
    struct answer a;
    Flm__Ping ping = FLM__PING__INIT;
    ping.number = 99;
    FLM__MESSAGE(message, ping, PING, &ping);
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    uint64_t n = manager_task(&m, "l", 1, 0);
    while (atomic_load(&m.status->began) < n || !atomic_load(&m.status->busy))
        usleep(100);
    manager_say(&m, &message, NULL, 0);
    Flm__Message *pong = manager_hear(&m, FLM__MESSAGE__BODY_PONG, NULL, NULL);
    assert_int_equal(pong->pong->number, 99);
    flm__message__free_unpacked(pong, NULL);
    assert_false(manager_answer_now(&m, &a));
    manager_cancel(&m, n);
    manager_answer(&m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_CANCELLED);
    assert_int_equal(a.outcome.reason, FLM_REASON_CANCELLED);
    assert_string_equal(a.text, "stopped as asked");
    answer_free(&a);
    /* Cancelled before it begins; one that has ended; one that is not looked at. */
    manager_cancel(&m, n + 1);
    manager_cancel(&m, n);
    manager_task(&m, "l", 1, 0);
    manager_answer(&m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_CANCELLED);
    answer_free(&a);
    manager_task(&m, "e", 1, 0);
    expect_output(&m, "e", 1);
    manager_stop(&m);
}

static void child_processes(void **state)
{
    const char *const shell[] = {"-c", "read x; echo got $x; test \"$x\" != bad", NULL};
    const char *const sleeper[] = {"-c", "exec sleep 1000", NULL};
    struct manager m;
    struct answer a;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, &(struct binding_spec){.shim = FLM_SHIM_EXEC, .file = "/bin/sh", .arguments = shell});
    manager_task(&m, "one\n", 4, 0);
    manager_task(&m, "bad\n", 4, 0);
    expect_text(&m, "got one\n");
    manager_answer(&m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_FAILED);
    assert_int_equal(a.outcome.reason, FLM_REASON_EXIT);
    assert_int_equal(a.outcome.code, 1);
    assert_int_equal(a.size, 8);
    assert_memory_equal(a.output, "got bad\n", 8);
    answer_free(&a);
    manager_unbind(&m);

    manager_bind(&m,
                 &(struct binding_spec){.shim = FLM_SHIM_EXEC, .file = "/bin/sh", .arguments = sleeper});
    uint64_t n = manager_task(&m, "", 0, 0);
    while (atomic_load(&m.status->began) < n)
        usleep(100);
    manager_cancel(&m, n);
    manager_answer(&m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_CANCELLED);
    answer_free(&a);
    manager_cancel(&m, n + 1); /* ahead of its task */
    manager_task(&m, "", 0, 0);
    manager_answer(&m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_CANCELLED);
    answer_free(&a);
    manager_task(&m, "", 0, 50);
    manager_answer(&m, &a);
    assert_int_equal(a.outcome.state, FLM_TASK_FAILED);
    assert_int_equal(a.outcome.reason, FLM_REASON_DEADLINE);
    answer_free(&a);
    manager_stop(&m);
}

static void shim_self(void **state)
{
    char *const argv[] = {FLM_BUILDDIR "/tests/unit/executor_self", NULL};
    struct manager m;
    char *text;
    (void)state;
    manager_start(&m, argv, NULL, RING);
    assert_int_equal(manager_bind_fails(&m, &(struct binding_spec){0}, &text), FLM_ENOTSUP);
    assert_non_null(strstr(text, "self"));
    free(text);
    manager_bind(&m, &(struct binding_spec){.shim = FLM_SHIM_SELF});
    manager_task(&m, "ehello", 6, 0);
    expect_text(&m, "ehello");
    manager_unbind(&m);
    manager_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enters_runs_leaves), cmocka_unit_test(results_come_in_order),
        cmocka_unit_test(outcomes),           cmocka_unit_test(task_of_another_session),
        cmocka_unit_test(surroundings),       cmocka_unit_test(common_data),
        cmocka_unit_test(newer_common_data),  cmocka_unit_test(bind_failures),
        cmocka_unit_test(large_inputs),       cmocka_unit_test(large_outputs),
        cmocka_unit_test(ring_full),          cmocka_unit_test(no_result_waits_behind_a_long_task),
        cmocka_unit_test(wakes_from_sleep),   cmocka_unit_test(answers_while_a_task_runs),
        cmocka_unit_test(child_processes),    cmocka_unit_test(shim_self),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
