/* Tasks out and results back: sizes, order, back-pressure, callbacks that submit, flm_take_results,
 * flm_invoke, flm_fd. */
#define _GNU_SOURCE
#include "client_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Each with its own callback argument: exactly once, and its own output. */
struct one {
    uint64_t seed, id;
    unsigned times, wrong;
};

static void on_one(const struct flm_result *r, void *arg)
{
    struct one *one = arg;
    one->times++;
    if (r->task != one->id || r->state != FLM_TASK_SUCCEED || r->executor != 7 ||
        !pattern_is(r->output, r->size, one->seed))
        one->wrong++;
}

static void many_tasks(void **state)
{
    (void)state;
    struct fixture f;
    enum { N = 100000 };
    struct one *ones = calloc(N, sizeof(*ones));
    char input[100];
    fixture_open(&f, NULL, NULL, 0);
    for (uint64_t i = 0; i < N; i++) {
        ones[i].seed = i;
        ones[i].id = i + 1;
        pattern_fill(input, i % 100, i);
        assert_int_equal(flm_run_task(f.s, input, i % 100, on_one, &ones[i]), (int64_t)i + 1);
    }
    assert_int_equal(flm_wait(f.s, 20000), 0);
    assert_int_equal(flm_outstanding(f.s), 0);
    for (uint64_t i = 0; i < N; i++)
        if (ones[i].times != 1 || ones[i].wrong)
            fail_msg("task %lu: %u times, %u wrong", (unsigned long)i + 1, ones[i].times, ones[i].wrong);
    free(ones);
    fixture_close(&f);
}

static void all_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     7,     8,      9,       100,           4096,
                                   32767, 32768, 32769, 100000, 1 << 20, (5 << 20) + 3, 9};
    struct fixture f;
    char *input = malloc(8 << 20);
    fixture_open(&f, NULL, NULL, 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct flm_result r;
        pattern_fill(input, sizes[i], i);
        assert_int_equal(flm_invoke(f.s, input, sizes[i], 20000, &r), 0);
        assert_int_equal(r.state, FLM_TASK_SUCCEED);
        assert_int_equal(r.size, sizes[i]);
        assert_true(pattern_is(r.output, r.size, i));
        assert_int_equal((uintptr_t)r.output & 7, 0);
        assert_string_equal(r.message, "");
    }
    free(input);
    fixture_close(&f);
}

static void on_large(const struct flm_result *r, void *arg)
{
    struct one *one = arg;
    one->times++;
    if (!pattern_is(r->output, r->size, one->seed))
        one->wrong++;
}

/* Many at once, small and large mixed, more than the control socket holds. */
static void many_large(void **state)
{
    (void)state;
    struct fixture f;
    enum { N = 2000, SIZE = 40000 };
    struct one ones[N] = {0};
    char *input = malloc(SIZE);
    fixture_open(&f, NULL, NULL, 0);
    for (uint64_t i = 0; i < N; i++) {
        size_t size = i % 3 ? SIZE : 50;
        ones[i].seed = i;
        pattern_fill(input, size, i);
        assert_true(flm_run_task(f.s, input, size, on_large, &ones[i]) > 0);
    }
    assert_int_equal(flm_wait(f.s, 60000), 0);
    for (uint64_t i = 0; i < N; i++)
        assert_true(ones[i].times == 1 && !ones[i].wrong);
    free(input);
    fixture_close(&f);
}

static void bad_tasks(void **state)
{
    (void)state;
    struct fixture f;
    struct flm_result r;
    fixture_open(&f, NULL, NULL, 0);
    assert_int_equal(flm_run_task(NULL, "x", 1, NULL, NULL), FLM_EINVAL);
    assert_int_equal(flm_run_task(f.s, NULL, 1, NULL, NULL), FLM_EINVAL);
    assert_int_equal(flm_run_task(f.s, "x", FLM_MAX_PAYLOAD + 1, NULL, NULL), FLM_ETOOBIG);
    assert_int_equal(flm_submit_task(f.s, &(struct flm_task){.size = 0}), FLM_EINVAL);
    assert_int_equal(flm_submit_task(f.s, NULL), FLM_EINVAL);
    assert_int_equal(flm_invoke(f.s, NULL, 1, -1, &r), FLM_EINVAL);
    assert_int_equal(flm_invoke(f.s, "x", 1, -1, NULL), FLM_EINVAL);
    assert_int_equal(flm_invoke(f.s, "x", FLM_MAX_PAYLOAD + 1, -1, &r), FLM_ETOOBIG);
    assert_int_equal(flm_take_results(f.s, NULL, 1, 0), FLM_EINVAL);
    assert_int_equal(flm_take_results(f.s, &r, 0, 0), FLM_EINVAL);
    assert_int_equal(flm_cancel_task(f.s, 1, NULL), FLM_ENOTFOUND);
    assert_int_equal(flm_wait(NULL, 0), FLM_EINVAL);
    assert_int_equal(flm_poll(NULL, 0), FLM_EINVAL);
    assert_int_equal(flm_outstanding(f.s), 0);
    fixture_close(&f);
}

static void check_deadlines(struct fake_manager *m, struct fake_task *t)
{
    char text[40];
    fake_answer(m, t, text,
                (size_t)snprintf(text, sizeof(text), "%lu %lu", (unsigned long)t->deadline_ms,
                                 (unsigned long)t->size));
}

static void deadlines(void **state)
{
    (void)state;
    struct fixture f;
    static char large[50000];
    static const struct {
        size_t size;
        unsigned deadline;
        const char *answer;
    } cases[] = {
        {5, 0, "0 5"}, {5, 70, "70 5"}, {32768, 1, "1 32768"}, {50000, 4000000000u, "4000000000 50000"}};
    fixture_open(&f, &(struct fake_script){.on_task = check_deadlines}, NULL, 0);
    for (size_t i = 0; i < 4; i++) {
        struct flm_result r;
        assert_true(flm_submit_task(f.s, &(struct flm_task){.size = sizeof(struct flm_task),
                                                            .input = large,
                                                            .input_size = cases[i].size,
                                                            .deadline_ms = cases[i].deadline}) > 0);
        assert_int_equal(flm_take_results(f.s, &r, 1, 20000), 1);
        assert_int_equal(r.size, strlen(cases[i].answer));
        assert_memory_equal(r.output, cases[i].answer, r.size);
    }
    fixture_close(&f);
}

/* ---- back-pressure ------------------------------------------------------ */

static void without_credit(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    int64_t rc;
    int n = 0;
    fixture_open(&f, &(struct fake_script){.hold_tasks = true, .credit = 10 * 32}, NULL, FLM_NONBLOCK);
    while ((rc = flm_run_task(f.s, "12345678", 8, seen_result, &seen)) > 0)
        n++;
    assert_int_equal(rc, FLM_EAGAIN);
    assert_int_equal(n, 10);
    assert_int_equal(flm_run_task(f.s, "", 0, seen_result, &seen), FLM_EAGAIN);
    assert_int_equal(seen.n, 0);
    fake_await_tasks(f.m, 10);
    fake_do(f.m, fake_release, NULL);
    assert_int_equal(flm_wait(f.s, 20000), 0);
    assert_int_equal(flm_run_task(f.s, "12345678", 8, seen_result, &seen), 11);
    assert_int_equal(flm_wait(f.s, 20000), 0);
    assert_int_equal(seen.n, 11);
    fixture_close(&f);
}

static void deafen(struct fake_manager *m, void *arg)
{
    m->script.deaf = *(bool *)arg;
}

static void without_room(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    bool yes = true, no = false;
    int64_t rc;
    unsigned n = 0;
    fixture_open(&f, &(struct fake_script){.ring_bytes = 4096}, NULL, FLM_NONBLOCK);
    fake_do(f.m, deafen, &yes);
    while ((rc = flm_run_task(f.s, "12345678", 8, seen_result, &seen)) > 0)
        n++;
    assert_int_equal(rc, FLM_EAGAIN);
    assert_int_equal(n, 4096 / 32);
    fake_do(f.m, deafen, &no);
    assert_int_equal(flm_wait(f.s, 20000), 0);
    assert_int_equal(seen.succeed, n);
    fixture_close(&f);
}

/* Credit for three tasks, a ring for few: everything is submitted all the same. */
static void waiting_for_both(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    enum { N = 20000 };
    char input[300] = {0};
    fixture_open(&f, &(struct fake_script){.ring_bytes = 4096, .credit = 1000}, NULL, 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(flm_run_task(f.s, input, (size_t)(i % 300), seen_result, &seen), i + 1);
    assert_int_equal(flm_wait(f.s, 20000), 0);
    assert_int_equal(seen.succeed, N);
    fixture_close(&f);
}

/* A task that is larger than the whole queue goes through alone. */
static void larger_than_the_queue(void **state)
{
    (void)state;
    struct fixture f;
    struct flm_result r;
    char *input = calloc(1, 200000);
    fixture_open(&f, &(struct fake_script){.credit = 1000}, NULL, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(flm_invoke(f.s, input, 200000, 20000, &r), 0);
        assert_int_equal(r.size, 200000);
        assert_int_equal(flm_invoke(f.s, input, 2000, 20000, &r), 0);
    }
    free(input);
    fixture_close(&f);
}

/* ---- callbacks that submit ------------------------------------------------- */

struct tree {
    flm_session *session;
    struct seen seen;
    uint64_t left, refused;
    size_t size;
    const char *input;
};

static void on_branch(const struct flm_result *r, void *arg)
{
    struct tree *t = arg;
    seen_result(r, &t->seen);
    for (int i = 0; i < 3 && t->left; i++) {
        t->left--;
        t->refused += flm_run_task(t->session, t->input, t->size, on_branch, t) <= 0;
    }
}

static void tree(size_t size, uint64_t n, const struct fake_script *script)
{
    struct fixture f;
    struct tree t = {.left = n, .size = size, .input = calloc(1, size + 1)};
    fixture_open(&f, script, NULL, FLM_NONBLOCK);
    t.session = f.s;
    assert_int_equal(flm_run_task(f.s, t.input, size, on_branch, &t), 1);
    assert_int_equal(flm_wait(f.s, 60000), 0);
    assert_int_equal(t.refused, 0);
    assert_int_equal(t.seen.succeed, n + 1);
    assert_int_equal(t.seen.sum, (n + 1) * (n + 2) / 2); /* each id once */
    assert_int_equal(t.seen.bytes, (n + 1) * size);
    free((void *)(uintptr_t)t.input);
    fixture_close(&f);
}

/* The manager checks that they come in order. */
static void submitting_in_callbacks(void **state)
{
    (void)state;
    tree(16, 50000, NULL);
    tree(16, 20000, &(struct fake_script){.ring_bytes = 4096});
    tree(16, 20000, &(struct fake_script){.credit = 500});
    tree(700, 20000, &(struct fake_script){.ring_bytes = 4096, .credit = 5000});
    tree(40000, 300, &(struct fake_script){.credit = 500000});
}

static void on_forbidden(const struct flm_result *r, void *arg)
{
    struct fixture *f = arg;
    struct flm_result result;
    flm_error error = {0};
    struct flm_session_view *views;
    (void)r;
    assert_int_equal(flm_wait(f->s, 0), FLM_EINVAL);
    assert_int_equal(flm_poll(f->c, 0), FLM_EINVAL);
    assert_int_equal(flm_invoke(f->s, "", 0, 0, &result), FLM_EINVAL);
    assert_int_equal(flm_sync(f->s, NULL, &error), FLM_EINVAL);
    assert_int_equal(flm_close_session(f->s, &error), FLM_EINVAL);
    assert_int_equal(flm_cancel_session(f->s, &error), FLM_EINVAL);
    assert_int_equal(flm_list_sessions(f->c, &views, &error), FLM_EINVAL);
    assert_non_null(strstr(error.text, "callback"));
    assert_int_equal(flm_flush(f->c), 0);
    flm_disconnect(f->c); /* has no effect */
    f->m->script.arg = f;
}

static void forbidden_in_callbacks(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, NULL, 0);
    flm_run_task(f.s, "", 0, on_forbidden, &f);
    assert_int_equal(flm_wait(f.s, 20000), 0);
    assert_ptr_equal(f.m->script.arg, &f);
    fixture_close(&f);
}

/* ---- flm_take_results --------------------------------------------------------- */

static void taking_results(void **state)
{
    (void)state;
    struct fixture f;
    enum { N = 5000, AT_ONCE = 64 };
    struct flm_result results[AT_ONCE];
    char *input = malloc(60000);
    uint64_t sum = 0;
    int taken = 0, n;
    fixture_open(&f, NULL, NULL, 0);
    assert_int_equal(flm_take_results(f.s, results, AT_ONCE, -1), 0); /* nothing to wait for */
    for (uint64_t i = 1; i <= N; i++) {
        size_t size = i % 50 == 0 ? 60000 : i % 90;
        pattern_fill(input, size, i);
        assert_int_equal(flm_run_task(f.s, input, size, NULL, NULL), (int64_t)i);
    }
    assert_int_equal(flm_wait(f.s, 20000), 0); /* kept ones count as delivered */
    while ((n = flm_take_results(f.s, results, AT_ONCE, -1)) > 0) {
        for (int i = 0; i < n; i++) {
            size_t size = results[i].task % 50 == 0 ? 60000 : results[i].task % 90;
            assert_int_equal(results[i].size, size);
            assert_true(pattern_is(results[i].output, size, results[i].task));
            sum += results[i].task;
        }
        taken += n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(taken, N);
    assert_int_equal(sum, (uint64_t)N * (N + 1) / 2);
    /* Some are never taken. */
    for (int i = 0; i < 100; i++)
        flm_run_task(f.s, input, i % 10 ? 10 : 60000, NULL, NULL);
    assert_int_equal(flm_take_results(f.s, results, 10, -1) > 0, 1);
    free(input);
    fixture_close(&f);
}

static void taking_takes_time(void **state)
{
    (void)state;
    struct fixture f;
    struct flm_result r;
    fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
    flm_run_task(f.s, "abc", 3, NULL, NULL);
    assert_int_equal(flm_take_results(f.s, &r, 1, 0), 0);
    assert_int_equal(flm_take_results(f.s, &r, 1, 30), 0);
    assert_int_equal(flm_wait(f.s, 30), FLM_ETIMEDOUT);
    assert_int_equal(flm_poll(f.c, 30), 0);
    fake_await_tasks(f.m, 1);
    fake_do(f.m, fake_release, NULL);
    assert_int_equal(flm_take_results(f.s, &r, 1, -1), 1);
    assert_memory_equal(r.output, "abc", 3);
    fixture_close(&f);
}

/* ---- the rest --------------------------------------------------------------------- */

static void fail_task(struct fake_manager *m, struct fake_task *t)
{
    struct flm__outcome o = {
        .state = FLM_TASK_FAILED, .reason = FLM_REASON_SIGNAL, .code = 11, .attempts = 2, .executor = 345};
    char text[FLM__MESSAGE_MAX + 1];
    memset(text, 'm', sizeof(text));
    text[t->record.task % (FLM__MESSAGE_MAX + 1)] = 0;
    fake_answer_outcome(m, t, &o, text, t->input, t->size);
}

static void failures(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    char *large = calloc(1, 40000);
    fixture_open(&f, &(struct fake_script){.on_task = fail_task}, NULL, 0);
    for (uint64_t i = 1; i <= 450; i++) {
        size_t size = i % 20 ? i % 33 : 40000;
        flm_run_task(f.s, large, size, seen_result, &seen);
        assert_int_equal(flm_wait(f.s, 20000), 0);
        assert_int_equal(seen.n, i);
        assert_int_equal(seen.last.state, FLM_TASK_FAILED);
        assert_int_equal(seen.last.reason, FLM_REASON_SIGNAL);
        assert_int_equal(seen.last.code, 11);
        assert_int_equal(seen.last.attempts, 2);
        assert_int_equal(seen.last.executor, 345);
        assert_int_equal(seen.last.size, size);
        assert_int_equal(strlen(seen.message), i % (FLM__MESSAGE_MAX + 1));
    }
    assert_int_equal(seen.wrong, 0);
    free(large);
    fixture_close(&f);
}

static void an_invocation_takes_too_long(void **state)
{
    (void)state;
    struct fixture f;
    struct flm_result r;
    fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
    assert_int_equal(flm_invoke(f.s, "one", 3, 20, &r), FLM_ETIMEDOUT);
    assert_int_equal(flm_outstanding(f.s), 1);
    fake_await_tasks(f.m, 1);
    fake_do(f.m, fake_release, NULL);
    assert_int_equal(flm_invoke(f.s, "second", 6, 20000, &r), 0);
    assert_int_equal(r.task, 2);
    assert_memory_equal(r.output, "second", 6);
    assert_int_equal(flm_outstanding(f.s), 0);
    fixture_close(&f);
}

/* A program with an event loop never misses a result, however late it comes. */
static void event_loop(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    fixture_open(&f, NULL, NULL, 0);
    struct pollfd p = {.fd = flm_fd(f.c), .events = POLLIN};
    assert_true(p.fd >= 0);
    assert_int_equal(flm_fd(f.c), p.fd);
    for (uint64_t i = 1; i <= 2000; i++) {
        assert_true(flm_run_task(f.s, "x", 1, seen_result, &seen) > 0);
        while (seen.n < i) {
            int n;
            while ((n = flm_poll(f.c, 0)) > 0)
                ;
            assert_int_equal(n, 0);
            if (seen.n < i)
                assert_int_equal(poll(&p, 1, 20000), 1);
        }
    }
    /* Nothing to do: it becomes quiet. */
    int readable;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(flm_poll(f.c, 0), 0);
        readable = poll(&p, 1, 0);
    }
    assert_int_equal(readable, 0);
    fixture_close(&f);
}

static void other_sessions(void **state)
{
    (void)state;
    struct fixture f;
    flm_session *more[20];
    struct seen seen[20] = {0};
    fixture_open(&f, NULL, NULL, 0);
    for (int i = 0; i < 20; i++) {
        char id[20];
        snprintf(id, sizeof(id), "s%d", i);
        more[i] = flm_create_session(
            f.c,
            &(struct flm_session_options){
                .size = sizeof(struct flm_session_options), .application = "app", .id = id},
            NULL);
        assert_non_null(more[i]);
    }
    for (int i = 0; i < 2000; i++)
        flm_run_task(more[i % 20], "x", 1, seen_result, &seen[i % 20]);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(flm_close_session(more[i], NULL), 0);
        assert_int_equal(seen[i].succeed, 100);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_tasks),
        cmocka_unit_test(all_sizes),
        cmocka_unit_test(many_large),
        cmocka_unit_test(bad_tasks),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(without_credit),
        cmocka_unit_test(without_room),
        cmocka_unit_test(waiting_for_both),
        cmocka_unit_test(larger_than_the_queue),
        cmocka_unit_test(submitting_in_callbacks),
        cmocka_unit_test(forbidden_in_callbacks),
        cmocka_unit_test(taking_results),
        cmocka_unit_test(taking_takes_time),
        cmocka_unit_test(failures),
        cmocka_unit_test(an_invocation_takes_too_long),
        cmocka_unit_test(event_loop),
        cmocka_unit_test(other_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
