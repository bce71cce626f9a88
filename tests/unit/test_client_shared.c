/* One client for several threads (FLM_SHARED), and the thread of the library (FLM_PROGRESS_THREAD). Run
 * under TSan, too. */
#define _GNU_SOURCE
#include "client_fixture.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct flm_connect_options shared = {.size = sizeof(shared), .flags = FLM_SHARED};
static const struct flm_connect_options threaded = {.size = sizeof(threaded),
                                                    .progress = FLM_PROGRESS_THREAD};

enum { THREADS = 4, EACH = 3000 };

/* One of the threads; cmocka's assertions are for the main thread only. */
struct worker {
    pthread_t thread;
    struct fixture *f;
    unsigned number;
    struct seen seen;
    const char *failure;
};

#define CHECK(w, x)                                                                                        \
    do {                                                                                                   \
        if (!(x) && !(w)->failure)                                                                         \
            (w)->failure = #x;                                                                             \
    } while (0)

static void run_workers(struct fixture *f, void *(*fn)(void *))
{
    struct worker w[THREADS];
    memset(w, 0, sizeof(w));
    for (unsigned i = 0; i < THREADS; i++) {
        w[i].f = f;
        w[i].number = i;
        assert_int_equal(pthread_create(&w[i].thread, NULL, fn, &w[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(w[i].thread, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        if (w[i].failure)
            fail_msg("thread %u: %s", i, w[i].failure);
}

/* All submit to one session and wait for it. */
static void *submit(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < EACH; i++) {
        CHECK(w, flm_run_task(w->f->s, "12345678", 8, seen_result, &w->seen) > 0);
        if (i % 500 == 0)
            CHECK(w, flm_wait(w->f->s, 60000) == 0);
    }
    CHECK(w, flm_wait(w->f->s, 60000) == 0);
    CHECK(w, w->seen.succeed == EACH && !w->seen.wrong);
    return NULL;
}

/* Each makes its own session, so that some wait for replies and others for results. */
static void *own_session(void *arg)
{
    struct worker *w = arg;
    for (int round = 0; round < 30; round++) {
        flm_session *s = flm_create_session(
            w->f->c,
            &(struct flm_session_options){.size = sizeof(struct flm_session_options), .application = "app"},
            NULL);
        struct flm_result r[16];
        uint64_t task;
        int taken = 0, n;
        CHECK(w, s != NULL);
        if (!s)
            return NULL;
        for (int i = 0; i < 100; i++)
            CHECK(w, flm_run_task(s, "123", 3, NULL, NULL) == i + 1);
        CHECK(w, flm_sync(s, &task, NULL) == 0);
        while ((n = flm_take_results(s, r, 16, 60000)) > 0)
            taken += n;
        CHECK(w, taken == 100);
        CHECK(w, flm_close_session(s, NULL) == 0);
    }
    return NULL;
}

/* Ping-pong: most of the time all sleep. */
static void *invoke(void *arg)
{
    struct worker *w = arg;
    for (uint64_t i = 0; i < 300; i++) {
        char input[64];
        struct flm_result r;
        pattern_fill(input, sizeof(input), i * THREADS + w->number);
        CHECK(w, flm_invoke(w->f->s, input, sizeof(input), 60000, &r) == 0);
        CHECK(w, r.size == sizeof(input) && pattern_is(r.output, r.size, i * THREADS + w->number));
    }
    return NULL;
}

static void with(const struct flm_connect_options *options, const struct fake_script *script,
                 void *(*fn)(void *))
{
    struct fixture f;
    fixture_open(&f, script, options, 0);
    run_workers(&f, fn);
    fixture_close(&f);
}

static void several_threads(void **state)
{
    (void)state;
    with(&shared, NULL, submit);
    with(&shared, &(struct fake_script){.ring_bytes = 4096, .credit = 1000}, submit);
    with(&shared, NULL, invoke);
    with(&shared, NULL, own_session);
}

static void thread_of_the_library(void **state)
{
    (void)state;
    with(&threaded, NULL, submit);
    with(&threaded, &(struct fake_script){.ring_bytes = 4096, .credit = 1000}, submit);
    with(&threaded, NULL, invoke);
    with(&threaded, NULL, own_session);
}

/* Callbacks run while the program does not call the library at all. */
static void *volatile progressed;

static void on_progress(const struct flm_result *r, void *arg)
{
    (void)r;
    __atomic_store_n(&progressed, arg, __ATOMIC_RELEASE);
}

static void without_calls(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, &threaded, 0);
    for (int i = 0; i < 50; i++) {
        __atomic_store_n(&progressed, NULL, __ATOMIC_RELAXED);
        assert_true(flm_run_task(f.s, "", 0, on_progress, &f) > 0);
        while (!__atomic_load_n(&progressed, __ATOMIC_ACQUIRE))
            sched_yield();
        if (i % 10 == 0)
            usleep(2000); /* the thread sleeps */
    }
    assert_int_equal(flm_fd(f.c), FLM_ENOTSUP);
    assert_int_equal(flm_poll(f.c, 0), 0);
    fixture_close(&f);
}

struct tree {
    flm_session *session;
    int left;
    struct seen seen;
};

static void on_branch(const struct flm_result *r, void *arg)
{
    struct tree *t = arg;
    seen_result(r, &t->seen);
    for (int i = 0; i < 3 && t->left; i++, t->left--)
        flm_run_task(t->session, "12345678", 8, on_branch, t);
}

static void callbacks_that_submit(void **state)
{
    (void)state;
    const struct flm_connect_options *options[] = {&shared, &threaded};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct tree t = {.left = 5000};
        fixture_open(&f, &(struct fake_script){.ring_bytes = 4096, .credit = 500}, options[i], 0);
        t.session = f.s;
        flm_run_task(f.s, "", 0, on_branch, &t);
        assert_int_equal(flm_wait(f.s, 60000), 0);
        assert_int_equal(t.seen.succeed, 5001);
        fixture_close(&f);
    }
}

/* One thread sleeps until a reply comes, which watches the control connection only; another wants
 * results, a third has no room: both get what they want before the reply comes. */
static void *wait_for_a_reply(void *arg)
{
    struct worker *w = arg;
    CHECK(w, flm_sync(w->f->s, NULL, NULL) == 0);
    return NULL;
}

static void *flood(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 3000; i++)
        CHECK(w, flm_run_task(w->f->s, "12345678", 8, seen_result, &w->seen) > 0);
    CHECK(w, flm_wait(w->f->s, 20000) == 0);
    CHECK(w, w->seen.succeed == 3000);
    return NULL;
}

static void hold_requests(struct fake_manager *m, void *arg)
{
    m->script.hold_requests = *(bool *)arg;
}

static void answer_request(struct fake_manager *m, void *unused)
{
    (void)unused;
    m->script.hold_requests = false;
    fake_reply_code(m, m->held->id, 0, "");
}

/* So late that who waits for it sleeps, if it is one byte. */
static void answer_late(struct fake_manager *m, struct fake_task *t)
{
    if (t->size == 1)
        usleep(20000);
    fake_answer(m, t, t->input, t->size);
}

static void waiting_for_different_things(void **state)
{
    (void)state;
    struct fixture f;
    bool yes = true;
    struct worker w = {.f = &f}, flooder = {.f = &f};
    struct flm_result r;
    fixture_open(&f, &(struct fake_script){.ring_bytes = 4096, .on_task = answer_late}, &shared, 0);
    fake_do(f.m, hold_requests, &yes);
    assert_int_equal(pthread_create(&w.thread, NULL, wait_for_a_reply, &w), 0);
    fake_await_requests(f.m, 2);
    usleep(20000); /* it sleeps by now, most likely */
    assert_int_equal(flm_invoke(f.s, "x", 1, -1, &r), 0);
    assert_int_equal(pthread_create(&flooder.thread, NULL, flood, &flooder), 0);
    pthread_join(flooder.thread, NULL);
    fake_do(f.m, answer_request, NULL);
    pthread_join(w.thread, NULL);
    assert_null(w.failure);
    assert_null(flooder.failure);
    fixture_close(&f);
}

static void *wait_for_the_end(void *arg)
{
    struct worker *w = arg;
    CHECK(w, flm_run_task(w->f->s, "x", 1, seen_result, &w->seen) > 0);
    CHECK(w, flm_wait(w->f->s, -1) == FLM_EDISCONNECTED);
    CHECK(w, w->seen.n == 1 && w->seen.last.reason == FLM_REASON_DISCONNECTED);
    CHECK(w, flm_run_task(w->f->s, "x", 1, NULL, NULL) == FLM_EDISCONNECTED);
    CHECK(w, flm_poll(w->f->c, -1) == FLM_EDISCONNECTED);
    return NULL;
}

static void hang_up_after_all(struct fake_manager *m, struct fake_task *t)
{
    (void)t;
    if (m->n_received == THREADS)
        fake_hang_up(m, NULL);
}

/* Nobody hangs when the manager goes. */
static void the_manager_goes(void **state)
{
    (void)state;
    const struct flm_connect_options *options[] = {&shared, &threaded};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        fixture_open(&f, &(struct fake_script){.on_task = hang_up_after_all}, options[i], 0);
        run_workers(&f, wait_for_the_end);
        assert_int_equal(flm_close_session(f.s, NULL), FLM_EDISCONNECTED);
        f.s = NULL;
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_threads),
        cmocka_unit_test(thread_of_the_library),
        cmocka_unit_test(without_calls),
        cmocka_unit_test(callbacks_that_submit),
        cmocka_unit_test(waiting_for_different_things),
        cmocka_unit_test(the_manager_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
