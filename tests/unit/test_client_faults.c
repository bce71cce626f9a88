/* What happens to a client whose manager goes, lies, or is asked to cancel. */
#define _GNU_SOURCE
#include "client_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the manager goes ------------------------------------------------------ */

static void answer_some(struct fake_manager *m, void *arg)
{
    size_t n = *(size_t *)arg;
    for (size_t i = 0; i < n; i++)
        fake_answer(m, &m->tasks[i], m->tasks[i].input, m->tasks[i].size);
    fake_hang_up(m, NULL);
}

static void all_calls_say_so(struct fixture *f)
{
    struct flm_result r;
    flm_error error = {0};
    struct flm_session_view *views;
    uint64_t task;
    assert_int_equal(flm_run_task(f->s, "", 0, NULL, NULL), FLM_EDISCONNECTED);
    assert_int_equal(flm_submit_task(f->s, &(struct flm_task){.size = sizeof(struct flm_task)}),
                     FLM_EDISCONNECTED);
    assert_int_equal(flm_invoke(f->s, "", 0, -1, &r), FLM_EDISCONNECTED);
    assert_int_equal(flm_take_results(f->s, &r, 1, -1), FLM_EDISCONNECTED);
    assert_int_equal(flm_wait(f->s, -1), FLM_EDISCONNECTED);
    assert_int_equal(flm_poll(f->c, -1), FLM_EDISCONNECTED);
    assert_int_equal(flm_flush(f->c), FLM_EDISCONNECTED);
    assert_int_equal(flm_sync(f->s, &task, &error), FLM_EDISCONNECTED);
    assert_int_equal(flm_cancel_task(f->s, 1, &error), FLM_EDISCONNECTED);
    assert_int_equal(flm_list_sessions(f->c, &views, &error), FLM_EDISCONNECTED);
    assert_null(flm_create_session(
        f->c,
        &(struct flm_session_options){.size = sizeof(struct flm_session_options), .application = "app"},
        &error));
    assert_int_equal(error.code, FLM_EDISCONNECTED);
    assert_true(strlen(error.text) > 10);
    assert_int_equal(flm_outstanding(f->s), 0);
    error.code = 0;
    assert_int_equal(flm_close_session(f->s, &error), FLM_EDISCONNECTED);
    assert_int_equal(error.code, FLM_EDISCONNECTED);
    f->s = NULL;
}

/* Those that were answered before have their results, the others are told. */
static void in_the_middle(void **state)
{
    (void)state;
    for (size_t answered = 0; answered <= 300; answered += 60) {
        struct fixture f;
        struct seen seen = {0};
        fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
        for (int i = 0; i < 300; i++)
            assert_true(flm_run_task(f.s, "abc", 3, seen_result, &seen) > 0);
        fake_await_tasks(f.m, 300);
        fake_do(f.m, answer_some, &answered);
        assert_int_equal(flm_wait(f.s, -1), answered == 300 ? 0 : FLM_EDISCONNECTED);
        assert_int_equal(seen.n, 300);
        assert_int_equal(seen.succeed, answered);
        assert_int_equal(seen.failed, 300 - answered);
        assert_int_equal(seen.sum, 300 * 301 / 2);
        if (answered < 300) {
            assert_int_equal(seen.last.reason, FLM_REASON_DISCONNECTED);
            assert_true(strlen(seen.message) > 10);
        }
        assert_int_equal(flm_poll(f.c, -1), FLM_EDISCONNECTED);
        all_calls_say_so(&f);
        fixture_close(&f);
    }
}

static void kept_results_can_be_taken(void **state)
{
    (void)state;
    struct fixture f;
    struct flm_result r[10];
    size_t answered = 4;
    int n, real = 0, total = 0;
    fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
    for (int i = 0; i < 9; i++)
        flm_run_task(f.s, "abc", 3, NULL, NULL);
    fake_await_tasks(f.m, 9);
    fake_do(f.m, answer_some, &answered);
    while ((n = flm_take_results(f.s, r, 10, -1)) > 0) {
        total += n;
        for (int i = 0; i < n; i++)
            real += r[i].state == FLM_TASK_SUCCEED;
    }
    assert_int_equal(n, FLM_EDISCONNECTED);
    assert_int_equal(total, 9);
    assert_int_equal(real, 4);
    all_calls_say_so(&f);
    fixture_close(&f);
}

static void on_lost(const struct flm_result *r, void *arg)
{
    struct fixture *f = arg;
    f->m->script.arg = f;
    assert_int_equal(r->reason, FLM_REASON_DISCONNECTED);
    assert_int_equal(flm_run_task(f->s, "", 0, NULL, NULL), FLM_EDISCONNECTED);
}

static void hang_up(struct fake_manager *m, struct fake_task *t)
{
    if (t->record.task == 1000)
        fake_hang_up(m, NULL);
}

/* A client that waits for room, and one that waits for a large output to be announced. */
static void while_it_waits(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    int64_t rc;
    uint64_t n = 0;
    fixture_open(&f, &(struct fake_script){.on_task = hang_up, .ring_bytes = 4096}, NULL, 0);
    while ((rc = flm_run_task(f.s, "12345678", 8, seen_result, &seen)) > 0)
        n++;
    assert_int_equal(rc, FLM_EDISCONNECTED);
    assert_int_equal(flm_wait(f.s, -1), FLM_EDISCONNECTED);
    assert_int_equal(seen.n, n);
    fixture_close(&(struct fixture){f.m, f.c, NULL});

    fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
    flm_run_task(f.s, "", 0, on_lost, &f);
    fake_await_tasks(f.m, 1);
    fake_do(f.m, fake_hang_up, NULL);
    struct pollfd p = {.fd = flm_fd(f.c), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    while (flm_poll(f.c, 0) >= 0)
        ;
    assert_ptr_equal(f.m->script.arg, &f);
    all_calls_say_so(&f);
    fixture_close(&f);
}

/* ---- the manager lies ------------------------------------------------------- */

struct lie {
    const char *what;
    struct flm__record record; /* added to a header that would be right */
    size_t bytes;              /* of payload written; record.size is what the header says */
    bool lost;                 /* the client gives the manager up */
    void (*payload)(struct fake_manager *m, unsigned char *payload);
};

static void long_text(struct fake_manager *m, unsigned char *payload)
{
    struct flm__outcome o = {.state = FLM_TASK_FAILED, .text = 401};
    (void)m;
    memcpy(payload, &o, sizeof(o));
}

static void no_state(struct fake_manager *m, unsigned char *payload)
{
    struct flm__outcome o = {.state = FLM_TASK_RUNNING};
    (void)m;
    memcpy(payload, &o, sizeof(o));
}

static void huge_blob(struct fake_manager *m, unsigned char *payload)
{
    struct flm__blob_ref ref = {.id = 1, .size = (uint64_t)FLM_MAX_PAYLOAD + 1};
    (void)m;
    memcpy(payload, &ref, sizeof(ref));
}

static void other_blob(struct fake_manager *m, unsigned char *payload)
{
    static char data[100000];
    struct flm__blob_ref ref = {.id = fake_announce(m, data, sizeof(data)), .size = 99999};
    memcpy(payload, &ref, sizeof(ref));
}

static const struct lie lies[] = {
    {"a longer record than there can be", {.size = 1 << 30}, 8, true, NULL},
    {"a record that does not end", {.size = 30000}, 8, true, NULL},
    {"an unknown type", {.type = 77}, 0, true, NULL},
    {"a task", {.type = FLM__TASK}, 0, true, NULL},
    {"a credit without a number", {.type = FLM__CREDIT, .size = 4}, 4, true, NULL},
    {"a credit of no session", {.type = FLM__CREDIT, .size = 8, .session = 55}, 8, false, NULL},
    {"an outcome that is too short", {.flags = FLM__RECORD_OUTCOME, .size = 8}, 8, true, NULL},
    {"a text that is too long", {.flags = FLM__RECORD_OUTCOME, .size = 500}, 500, true, long_text},
    {"a text that does not fit", {.flags = FLM__RECORD_OUTCOME, .size = 100}, 100, true, long_text},
    {"no final state", {.flags = FLM__RECORD_OUTCOME, .size = 16}, 16, true, no_state},
    {"half a blob", {.flags = FLM__RECORD_BLOB, .size = 8}, 8, true, NULL},
    {"a blob that is too large", {.flags = FLM__RECORD_BLOB, .size = 32}, 32, true, huge_blob},
    {"a blob of another size", {.flags = FLM__RECORD_BLOB, .size = 32}, 32, true, other_blob},
    {"another cookie", {.cookie = 5}, 0, false, NULL},
    {"a cookie beyond the table", {.cookie = 0x7fffffff}, 0, false, NULL},
    {"another task", {.task = 5}, 0, false, NULL},
    {"another session", {.session = 5}, 0, false, NULL},
};

static void tell(struct fake_manager *m, void *arg)
{
    const struct lie *lie = arg;
    static unsigned char payload[30000];
    struct flm__record r = m->tasks[0].record;
    memset(payload, 0, sizeof(payload));
    if (lie->payload)
        lie->payload(m, payload);
    r.type = lie->record.type ? lie->record.type : FLM__RESULT;
    r.flags = lie->record.flags;
    r.size = lie->record.size;
    r.cookie += lie->record.cookie;
    r.task += lie->record.task;
    r.session += lie->record.session;
    fake_put(m, &r, payload, lie->bytes);
}

static void lying_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct fixture f;
        struct seen seen = {0};
        fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
        flm_run_task(f.s, "abc", 3, seen_result, &seen);
        fake_await_tasks(f.m, 1);
        fake_do(f.m, tell, (void *)(uintptr_t)&lies[i]);
        int rc = flm_wait(f.s, lies[i].lost ? 20000 : 50);
        if (rc != (lies[i].lost ? FLM_EDISCONNECTED : FLM_ETIMEDOUT))
            fail_msg("%s: %d", lies[i].what, rc);
        assert_int_equal(seen.n, lies[i].lost);
        if (lies[i].lost) {
            assert_int_equal(seen.last.reason, FLM_REASON_DISCONNECTED);
            all_calls_say_so(&f);
        } else {
            fake_do(f.m, fake_release, NULL); /* the true result comes all the same */
            assert_int_equal(flm_wait(f.s, 20000), 0);
            assert_int_equal(seen.succeed, 1);
        }
        fixture_close(&f);
    }
}

/* The same result twice: the second finds nobody. */
static void answer_twice(struct fake_manager *m, struct fake_task *t)
{
    fake_answer(m, t, t->input, t->size);
    fake_answer(m, t, t->input, t->size);
}

static void results_come_twice(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    char *large = calloc(1, 50000);
    fixture_open(&f, &(struct fake_script){.on_task = answer_twice}, NULL, 0);
    for (int i = 0; i < 3000; i++)
        flm_run_task(f.s, large, i % 100 ? 10 : 50000, seen_result, &seen);
    assert_int_equal(flm_wait(f.s, 20000), 0);
    assert_int_equal(seen.succeed, 3000);
    assert_int_equal(seen.sum, 3000 * 3001 / 2);
    free(large);
    fixture_close(&f);
}

static void send_garbage(struct fake_manager *m, void *arg)
{
    fake_send_bytes(m, arg, 64);
}

static void garbage_on_the_control_connection(void **state)
{
    (void)state;
    static char garbage[2][64] = {"this is no frame",
                                  "FLM1\x08\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct seen seen = {0};
        fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
        flm_run_task(f.s, "abc", 3, seen_result, &seen);
        fake_await_tasks(f.m, 1);
        fake_do(f.m, send_garbage, garbage[i]);
        assert_int_equal(flm_wait(f.s, 20000), FLM_EDISCONNECTED);
        assert_int_equal(seen.failed, 1);
        assert_non_null(strstr(seen.message, "no control message"));
        all_calls_say_so(&f);
        fixture_close(&f);
    }
}

/* A large output that is never announced. */
static void missing_blob(struct fake_manager *m, struct fake_task *t)
{
    struct flm__blob_ref ref = {.id = 424242, .size = 50000};
    struct flm__record r = t->record;
    r.type = FLM__RESULT;
    r.flags = FLM__RECORD_BLOB;
    r.size = sizeof(ref);
    fake_put(m, &r, &ref, sizeof(ref));
}

static void an_output_is_missing(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    fixture_open(
        &f, &(struct fake_script){.on_task = missing_blob},
        &(struct flm_connect_options){.size = sizeof(struct flm_connect_options), .timeout_ms = 50}, 0);
    flm_run_task(f.s, "abc", 3, seen_result, &seen);
    assert_int_equal(flm_wait(f.s, 20000), FLM_EDISCONNECTED);
    assert_int_equal(seen.failed, 1);
    fixture_close(&(struct fixture){f.m, f.c, NULL});
}

/* ---- cancelling ------------------------------------------------------------------ */

static void cancelling_a_session(void **state)
{
    (void)state;
    for (int credit = 0; credit < 2; credit++) {
        struct fixture f;
        struct seen seen = {0};
        fixture_open(&f, &(struct fake_script){.hold_tasks = true, .credit = credit ? 100 * 24 : 0}, NULL,
                     FLM_NONBLOCK);
        for (int i = 0; i < 100; i++)
            flm_run_task(f.s, "", 0, seen_result, &seen);
        assert_int_equal(flm_cancel_session(f.s, NULL), 0);
        assert_int_equal(seen.cancelled, 100);
        assert_int_equal(seen.wrong, 0);
        fixture_close(&(struct fixture){f.m, f.c, NULL});
    }
}

static void on_first(const struct flm_result *r, void *arg)
{
    struct tree {
        flm_session *session;
        struct seen seen;
    } *t = arg;
    if (r->task == 1)
        for (int i = 0; i < 50; i++)
            flm_run_task(t->session, "", 0, seen_result, &t->seen);
}

static void hold_all_but_first(struct fake_manager *m, struct fake_task *t)
{
    fake_answer(m, t, t->input, t->size);
    m->script.hold_tasks = true;
}

/* Tasks that wait in the client never reach the manager. */
static void cancelling_what_was_not_sent(void **state)
{
    (void)state;
    struct fixture f;
    struct {
        flm_session *session;
        struct seen seen;
    } t = {0};
    fixture_open(&f, &(struct fake_script){.on_task = hold_all_but_first, .credit = 5 * 24}, NULL, 0);
    t.session = f.s;
    flm_run_task(f.s, "", 0, on_first, &t);
    while (flm_outstanding(f.s) != 50)
        flm_poll(f.c, 20000);
    assert_int_equal(flm_cancel_task(f.s, 40, NULL), 0);
    assert_int_equal(flm_cancel_task(f.s, 51, NULL), 0);
    assert_int_equal(flm_cancel_task(f.s, 52, NULL), FLM_ENOTFOUND);
    assert_int_equal(t.seen.n, 0); /* callbacks run in progress only */
    assert_true(flm_poll(f.c, 20000) > 0);
    assert_int_equal(t.seen.cancelled, 2);
    assert_int_equal(flm_cancel_session(f.s, NULL), 0);
    assert_int_equal(t.seen.cancelled, 50);
    assert_int_equal(t.seen.sum, 51 * 52 / 2 - 1);
    assert_int_equal(f.m->n_received, 6);
    fixture_close(&(struct fixture){f.m, f.c, NULL});
}

static void on_cancel(const struct flm_result *r, void *arg)
{
    struct fixture *f = arg;
    (void)r;
    assert_int_equal(flm_cancel_task(f->s, 2, NULL), 0);
}

static void cancelling_in_a_callback(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    fixture_open(&f, NULL, NULL, 0);
    flm_run_task(f.s, "", 0, on_cancel, &f);
    flm_run_task(f.s, "", 0, seen_result, &seen);
    assert_int_equal(flm_wait(f.s, 20000), 0);
    assert_int_equal(seen.n, 1);
    fake_await_requests(f.m, 2);
    fixture_close(&f);
}

/* A session that is given up with tasks on the way: late results find nobody. */
static void leaving_with_tasks(void **state)
{
    (void)state;
    struct fixture f;
    char *large = calloc(1, 50000);
    struct seen seen = {0};
    struct flm_result r;
    fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
    for (int i = 0; i < 100; i++)
        flm_run_task(f.s, large, i % 2 ? 10 : 50000, i % 3 ? seen_result : NULL, &seen);
    assert_int_equal(flm_invoke(f.s, "", 0, 10, &r), FLM_ETIMEDOUT);
    free(large);
    flm_disconnect(f.c);
    assert_int_equal(seen.n, 0);
    fake_stop(f.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_middle),
        cmocka_unit_test(kept_results_can_be_taken),
        cmocka_unit_test(while_it_waits),
        cmocka_unit_test(lying_records),
        cmocka_unit_test(results_come_twice),
        cmocka_unit_test(garbage_on_the_control_connection),
        cmocka_unit_test(an_output_is_missing),
        cmocka_unit_test(cancelling_a_session),
        cmocka_unit_test(cancelling_what_was_not_sent),
        cmocka_unit_test(cancelling_in_a_callback),
        cmocka_unit_test(leaving_with_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
