/* Sessions that a session manager takes up again: what the client says to the next one, and how it counts
 * what comes. (tests/system/reconnect.sh has the same with real ones.) */
#define _GNU_SOURCE
#include "client_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { RESUME = 77 };

/* What a session manager with a journal knows. */
struct journal {
    uint64_t tasks, taken, owed; /* said when the session is opened */
    uint64_t recorded;           /* and to who asks */
    uint64_t sent;               /* results, to the present client */
    uint64_t keys[2];            /* of the handle: when it was opened, and resumed */
    unsigned resumed, too_many;
};

static void open_reply(struct fake_manager *m, const Flm__Request *q, struct journal *j)
{
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = q->id;
    r.session = ++m->n_sessions;
    r.session_id = (char *)(uintptr_t) "mine";
    r.credit = 1 << 20;
    r.task = j->tasks;
    r.taken = j->taken;
    r.owed = j->owed;
    r.acknowledge = true;
    r.resume = RESUME;
    j->sent = j->taken;
    fake_reply(m, &r);
}

static bool on_request(struct fake_manager *m, const Flm__Request *q)
{
    struct journal *j = m->script.arg;
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = q->id;
    switch (q->verb_case) {
    case FLM__REQUEST__VERB_CREATE_SESSION:
        j->keys[q->create_session->resume != 0] = q->create_session->key;
        j->resumed += q->create_session->resume == RESUME;
        open_reply(m, q, j);
        return true;
    case FLM__REQUEST__VERB_SYNC_SESSION:
        j->too_many += q->taken > j->sent || m->acknowledged > j->sent;
        r.task = j->recorded;
        break;
    default:
        break;
    }
    fake_reply(m, &r);
    return true;
}

static void send_results(struct fake_manager *m, void *arg)
{
    struct journal *j = m->script.arg;
    for (uint64_t i = 1; i <= *(uint64_t *)arg; i++) {
        struct flm__record r = {.type = FLM__RESULT, .session = 1, .cookie = UINT32_MAX, .task = i};
        fake_put(m, &r, NULL, 0);
        j->sent++;
    }
}

static void note_back(int event, const char *text, void *arg)
{
    (void)text;
    *(unsigned *)arg += event == FLM_CONNECTION_BACK;
}

static unsigned times_back;
static const struct flm_connect_options patient = {.size = sizeof(patient),
                                                   .reconnect_ms = 60000,
                                                   .on_connection = note_back,
                                                   .on_connection_arg = &times_back};

static void begin(struct fixture *f, struct journal *j, unsigned flags, struct seen *seen, bool hold)
{
    flm_error error = {0};
    times_back = 0;
    f->m = fake_start(&(struct fake_script){.on_request = on_request, .arg = j, .hold_tasks = hold});
    f->c = flm_connect(f->m->endpoint, &patient, &error);
    assert_non_null(f->c);
    f->s = flm_open_session(f->c,
                            &(struct flm_session_options){.size = sizeof(struct flm_session_options),
                                                          .application = "app",
                                                          .id = "mine",
                                                          .flags = flags,
                                                          .callback = seen ? seen_result : NULL,
                                                          .arg = seen},
                            &error);
    assert_string_equal(error.text, "");
    assert_non_null(f->s);
}

static void lose_and_await(struct fixture *f)
{
    fake_do(f->m, fake_hang_up, NULL);
    while (!times_back)
        assert_true(flm_poll(f->c, 100) >= 0);
}

/* Results that are acknowledged already come again; they are not acknowledged before that. */
static void acknowledged_before(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    struct journal j = {.tasks = 2, .owed = 2, .recorded = 2};
    uint64_t both = 2;
    begin(&f, &j, FLM_KEEP_RESULTS, &seen, false);
    fake_do(f.m, send_results, &both);
    assert_int_equal(flm_wait(f.s, -1), 0);
    assert_int_equal(flm_acknowledge(f.s), 0);
    lose_and_await(&f);
    assert_int_equal(j.resumed, 1);
    assert_true(j.keys[0] != 0);
    assert_true(j.keys[0] == j.keys[1]);
    assert_int_equal(flm_sync(f.s, NULL, NULL), 0);
    assert_int_equal(j.too_many, 0);
    fake_do(f.m, send_results, &both);
    while (f.m->acknowledged != 2) {
        assert_int_equal(flm_poll(f.c, 1), 0);
        assert_int_equal(flm_sync(f.s, NULL, NULL), 0);
    }
    assert_int_equal(seen.n, 2);
    assert_int_equal(j.too_many, 0);
    fixture_close(&f);
}

/* What was recorded is not there any more: nobody waits for it. */
static void an_older_state(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    struct journal j = {.recorded = 2};
    flm_error error = {0};
    begin(&f, &j, 0, NULL, true);
    for (int i = 0; i < 3; i++)
        assert_true(flm_run_task(f.s, "12345678", 8, seen_result, &seen) > 0);
    assert_int_equal(flm_sync(f.s, NULL, NULL), 0);
    j.tasks = 1;
    lose_and_await(&f);
    assert_int_equal(flm_wait(f.s, 60000), FLM_EDISCONNECTED);
    assert_int_equal(seen.failed, 3);
    assert_int_equal(flm_sync(f.s, NULL, &error), FLM_EDISCONNECTED);
    assert_non_null(strstr(error.text, "older state"));
    assert_int_equal(flm_close_session(f.s, NULL), FLM_EDISCONNECTED);
    f.s = NULL;
    fixture_close(&f);
}

/* ---- a session that is opened while another thread takes results ---- */

static bool results_overtake(struct fake_manager *m, const Flm__Request *q)
{
    struct journal *j = m->script.arg;
    if (q->verb_case != FLM__REQUEST__VERB_CREATE_SESSION || m->n_sessions == 0)
        return on_request(m, q);
    struct flm__record r = {.type = FLM__RESULT, .session = 2, .cookie = UINT32_MAX, .task = 1};
    fake_put(m, &r, NULL, 0);
    usleep(50000); /* who takes what is not his has done so by now */
    j->tasks = j->owed = 1;
    open_reply(m, q, j);
    return true;
}

static void *wait_for_all(void *s)
{
    return flm_wait(s, -1) == 0 ? s : NULL;
}

static void opened_by_another_thread(void **state)
{
    (void)state;
    const struct flm_connect_options options[] = {
        {.size = sizeof(options[0]), .flags = FLM_SHARED},
        {.size = sizeof(options[0]), .progress = FLM_PROGRESS_THREAD}};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct journal j = {0};
        struct seen seen = {0};
        pthread_t thread;
        void *waited;
        fixture_open(&f,
                     &(struct fake_script){.on_request = results_overtake, .arg = &j, .hold_tasks = true},
                     &options[i], 0);
        assert_true(flm_run_task(f.s, "1", 1, seen_result, &seen) > 0);
        assert_int_equal(pthread_create(&thread, NULL, wait_for_all, f.s), 0);
        fake_await_tasks(f.m, 1);
        flm_session *s =
            flm_open_session(f.c,
                             &(struct flm_session_options){.size = sizeof(struct flm_session_options),
                                                           .application = "app",
                                                           .id = "other",
                                                           .callback = seen_result,
                                                           .arg = &seen},
                             NULL);
        assert_non_null(s);
        assert_int_equal(flm_wait(s, 60000), 0);
        fake_do(f.m, fake_release, NULL);
        pthread_join(thread, &waited);
        assert_non_null(waited);
        assert_int_equal(seen.succeed, 2);
        assert_int_equal(flm_close_session(s, NULL), 0);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_before),
        cmocka_unit_test(an_older_state),
        cmocka_unit_test(opened_by_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
