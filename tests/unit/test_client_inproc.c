/* The endpoint "inproc:": services inside the client's process. */
#define _GNU_SOURCE
#include "client_fixture.h"
#include "client_service.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct flm_application app = {
    .size = sizeof(app),
    .name = "app",
    .shim = FLM_SHIM_SO,
    .command = (const char *const[]){"client_service.so", NULL},
    .working_directory = FLM_TEST_SERVICE_DIR,
};

static void open_with(struct fixture *f, const struct flm_connect_options *connect,
                      struct flm_session_options o)
{
    flm_error error = {0};
    f->c = flm_connect("inproc:", connect, &error);
    assert_non_null(f->c);
    assert_int_equal(flm_register_application(f->c, &app, 0, &error), 0);
    o.size = sizeof(o);
    o.application = "app";
    f->s = flm_create_session(f->c, &o, &error);
    assert_string_equal(error.text, "");
}

static void close_all(struct fixture *f)
{
    if (f->s)
        assert_int_equal(flm_close_session(f->s, NULL), 0);
    flm_disconnect(f->c);
}

static void sizes(void **state)
{
    (void)state;
    static const size_t all[] = {0, 1, 8, 100, 32768, 32769, 100001, 3 << 20};
    struct fixture f;
    struct flm_result r;
    char *input = malloc(4 << 20);
    open_with(&f, NULL, (struct flm_session_options){0});
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        pattern_fill(input, all[i], i);
        if (all[i])
            input[0] = SERVICE_ECHO;
        assert_int_equal(flm_invoke(f.s, input, all[i], -1, &r), 0);
        assert_int_equal(r.state, FLM_TASK_SUCCEED);
        assert_int_equal(r.size, all[i]);
        if (all[i])
            assert_memory_equal(r.output, input, all[i]);
    }
    free(input);
    close_all(&f);
}

static void what_the_service_does(void **state)
{
    (void)state;
    struct fixture f;
    struct flm_result r;
    int64_t left;
    int count;
    open_with(&f, NULL, (struct flm_session_options){.common = "common data", .common_size = 11});
    assert_int_equal(flm_invoke(f.s, "f", 1, -1, &r), 0);
    assert_int_equal(r.state, FLM_TASK_FAILED);
    assert_int_equal(r.reason, FLM_REASON_SERVICE);
    assert_int_equal(r.code, 42);
    assert_string_equal(r.message, "cannot do this");
    assert_int_equal(r.size, 6);
    assert_memory_equal(r.output, "partly", 6);
    assert_int_equal(flm_invoke(f.s, "s", 1, -1, &r), 0);
    assert_int_equal(r.size, 100);
    assert_memory_equal(r.output, "xxxxxxxxxx", 10);
    assert_int_equal(flm_invoke(f.s, "c", 1, -1, &r), 0);
    assert_int_equal(r.size, 11);
    assert_memory_equal(r.output, "common data", 11);
    assert_int_equal(flm_invoke(f.s, "2", 1, -1, &r), 0);
    assert_memory_equal(r.output, "second", 6);
    assert_int_equal(flm_invoke(f.s, "n", 1, -1, &r), 0);
    memcpy(&count, r.output, sizeof(count));
    assert_int_equal(count, 5);
    assert_int_equal(flm_invoke(f.s, "t", 1, -1, &r), 0);
    memcpy(&left, r.output, sizeof(left));
    assert_int_equal(left, -1);
    flm_submit_task(
        f.s, &(struct flm_task){
                 .size = sizeof(struct flm_task), .input = "t", .input_size = 1, .deadline_ms = 100000});
    assert_int_equal(flm_take_results(f.s, &r, 1, -1), 1);
    memcpy(&left, r.output, sizeof(left));
    assert_true(left > 0 && left <= 100000);
    const struct flm_object_ref object = {.name = "x"};
    struct flm_task named = {.size = sizeof(named), .output_object = &object};
    assert_int_equal(flm_submit_task(f.s, &named), FLM_ENOTSUP);
    named = (struct flm_task){.size = sizeof(named), .objects = &object, .object_count = 1};
    assert_int_equal(flm_submit_task(f.s, &named), FLM_ENOTSUP);
    close_all(&f);
}

struct updating {
    flm_session *s;
    int code;
};

static void update_in_callback(const struct flm_result *r, void *arg)
{
    struct updating *u = arg;
    (void)r;
    u->code = flm_update_common_data(u->s, "x", 1, NULL, NULL);
}

static void new_common_data(void **state)
{
    (void)state;
    struct fixture f;
    struct flm_result r;
    flm_error error = {0};
    uint64_t version = 0;
    open_with(&f, NULL, (struct flm_session_options){0});
    assert_int_equal(flm_common_version(f.s), 0);
    assert_int_equal(flm_patch_common_data(f.s, 0, "x", 1, NULL, &error), FLM_EINVAL); /* of nothing */
    assert_int_equal(flm_invoke(f.s, "c", 1, -1, &r), 0);
    assert_int_equal(r.size, 0);
    for (uint64_t i = 1; i < 10; i++) {
        char text[40];
        size_t size = (size_t)snprintf(text, sizeof(text), "%.*s", (int)i, "common data");
        assert_int_equal(flm_update_common_data(f.s, text, size, i % 2 ? &version : NULL, &error), 0);
        assert_int_equal(flm_common_version(f.s), i);
        assert_int_equal(version, i - (i + 1) % 2);
        memset(text, 0, sizeof(text)); /* it was copied */
        assert_int_equal(flm_invoke(f.s, "c", 1, -1, &r), 0);
        assert_int_equal(r.size, size);
        assert_memory_equal(r.output, "common data", size);
    }
    assert_int_equal(flm_update_common_data(NULL, "x", 1, NULL, &error), FLM_EINVAL);
    assert_int_equal(flm_update_common_data(f.s, "x", 0, NULL, &error), FLM_EINVAL);
    assert_int_equal(flm_update_common_data(f.s, NULL, 1, NULL, &error), FLM_EINVAL);
    assert_int_equal(flm_update_common_data(f.s, "x", FLM_MAX_PAYLOAD + 1, NULL, &error), FLM_ETOOBIG);
    assert_int_equal(flm_patch_common_data(f.s, 3, "pat", 3, &version, &error), 0);
    assert_int_equal(version, 10);
    assert_int_equal(flm_invoke(f.s, "c", 1, -1, &r), 0);
    assert_int_equal(r.size, 9);
    assert_memory_equal(r.output, "compat da", 9);
    assert_int_equal(flm_patch_common_data(f.s, 9, "x", 1, NULL, &error), FLM_EINVAL);
    assert_int_equal(flm_patch_common_data(f.s, 10, "x", 1, NULL, &error), FLM_EINVAL);
    assert_int_equal(flm_patch_common_data(NULL, 0, "x", 1, NULL, &error), FLM_EINVAL);
    struct updating u = {f.s, 0};
    assert_true(flm_run_task(f.s, "e", 1, update_in_callback, &u) > 0);
    assert_int_equal(flm_wait(f.s, -1), 0);
    assert_int_equal(u.code, FLM_EINVAL);
    assert_int_equal(flm_common_version(f.s), version);
    assert_int_equal(flm_common_version(NULL), 0);
    close_all(&f);
}

static void many_tasks(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    char *large = calloc(1, 70000);
    large[0] = SERVICE_ECHO;
    open_with(&f, NULL, (struct flm_session_options){.queue_bytes = 200000});
    for (int i = 0; i < 10000; i++)
        assert_true(flm_run_task(f.s, large, i % 100 ? 64 : 70000, seen_result, &seen) > 0);
    assert_int_equal(flm_wait(f.s, -1), 0);
    assert_int_equal(seen.succeed, 10000);
    assert_int_equal(seen.wrong, 0);
    /* Some are cancelled before they run. */
    memset(&seen, 0, sizeof(seen));
    for (int i = 0; i < 10; i++)
        flm_run_task(f.s, large, 64, seen_result, &seen);
    assert_int_equal(flm_cancel_task(f.s, 10005, NULL), 0);
    assert_int_equal(seen.n, 0);
    assert_true(flm_poll(f.c, -1) > 0);
    assert_int_equal(flm_cancel_session(f.s, NULL), 0);
    f.s = NULL;
    assert_int_equal(seen.n, 10);
    assert_true(seen.cancelled >= 8);
    free(large);
    close_all(&f);
}

static void event_loop(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    open_with(&f, NULL, (struct flm_session_options){0});
    struct pollfd p = {.fd = flm_fd(f.c), .events = POLLIN};
    assert_int_equal(flm_poll(f.c, 0), 0);
    flm_run_task(f.s, "e", 1, seen_result, &seen);
    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_int_equal(flm_poll(f.c, 0), 1);
    assert_int_equal(flm_poll(f.c, 10), 0);
    close_all(&f);
}

/* With a thread of the library the tasks run in that. */
static void with_a_thread(void **state)
{
    (void)state;
    struct fixture f;
    struct seen seen = {0};
    open_with(&f,
              &(struct flm_connect_options){.size = sizeof(struct flm_connect_options),
                                            .progress = FLM_PROGRESS_THREAD},
              (struct flm_session_options){0});
    for (int i = 0; i < 1000; i++)
        flm_run_task(f.s, "e", 1, seen_result, &seen);
    assert_int_equal(flm_wait(f.s, 60000), 0);
    assert_int_equal(seen.succeed, 1000);
    close_all(&f);
}

static void what_is_wrong(void **state)
{
    (void)state;
    const struct {
        struct flm_application app;
        struct flm_session_options o;
        int code;
        const char *text;
    } cases[] = {
        {{.command = (const char *const[]){"missing.so", NULL}},
         {.application = "x"},
         FLM_ELOAD,
         "missing.so"},
        {{.command = (const char *const[]){"libc.so.6", NULL}},
         {.application = "x"},
         FLM_ELOAD,
         "flm_service"},
        {{.shim = FLM_SHIM_EXEC, .command = (const char *const[]){"true", NULL}},
         {.application = "x"},
         FLM_ENOTSUP,
         "exec"},
        {{.command = (const char *const[]){FLM_TEST_SERVICE_DIR "/client_service.so", NULL}},
         {.application = "x", .common = "refuse", .common_size = 7},
         FLM_EBIND,
         "13"},
        {{.command = (const char *const[]){"x", NULL}}, {.application = "other"}, FLM_ENOTFOUND, "other"},
        {{.command = (const char *const[]){FLM_TEST_SERVICE_DIR "/client_service.so", NULL}},
         {.application = "x", .results = "/tmp/results.h5"},
         FLM_ENOTSUP,
         "/tmp/results.h5"},
        {{.command = (const char *const[]){FLM_TEST_SERVICE_DIR "/client_service.so", NULL}},
         {.application = "x", .ranks_per_task = 2},
         FLM_ENOTSUP,
         "2 ranks"},
        {{.command = (const char *const[]){FLM_TEST_SERVICE_DIR "/client_service.so", NULL},
          .ranks_per_task = 3},
         {.application = "x"},
         FLM_ENOTSUP,
         "3 ranks"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        flm_error error = {0};
        struct flm_application a = cases[i].app;
        struct flm_session_options o = cases[i].o;
        struct flm_node_view *nodes;
        flm_client *c = flm_connect("inproc:", NULL, &error);
        a.size = sizeof(a);
        a.name = "x";
        a.shim = a.shim ? a.shim : FLM_SHIM_SO;
        o.size = sizeof(o);
        assert_int_equal(flm_register_application(c, &a, 0, &error), 0);
        assert_null(flm_create_session(c, &o, &error));
        if (error.code != cases[i].code || !strstr(error.text, cases[i].text))
            fail_msg("case %zu: %d, %s", i, error.code, error.text);
        assert_int_equal(flm_list_nodes(c, &nodes, &error), FLM_ENOTSUP);
        flm_disconnect(c);
    }
}

static void verbs(void **state)
{
    (void)state;
    struct fixture f;
    flm_error error = {0};
    struct flm_application *list, other = app;
    struct flm_session_view *sessions;
    struct flm_instance_view *instance;
    uint64_t task;
    open_with(&f, NULL, (struct flm_session_options){.id = "mine"});
    other.deadline_ms = 5;
    assert_int_equal(flm_register_application(f.c, &app, 0, &error), 0); /* the same */
    assert_int_equal(flm_register_application(f.c, &other, 0, &error), FLM_EEXIST);
    assert_int_equal(flm_register_application(f.c, &other, 1, &error), 0);
    assert_int_equal(flm_list_applications(f.c, &list, &error), 1);
    assert_int_equal(list[0].deadline_ms, 5);
    flm_free_applications(list, 1);
    assert_int_equal(flm_unregister_application(f.c, "app", &error), FLM_EBUSY);
    assert_null(flm_create_session(f.c,
                                   &(struct flm_session_options){.size = sizeof(struct flm_session_options),
                                                                 .application = "app",
                                                                 .id = "mine"},
                                   &error));
    assert_int_equal(error.code, FLM_EEXIST);
    flm_run_task(f.s, "f", 1, NULL, NULL);
    assert_int_equal(flm_sync(f.s, &task, &error), 0);
    assert_int_equal(task, 1);
    assert_int_equal(flm_wait(f.s, -1), 0);
    assert_int_equal(flm_list_sessions(f.c, &sessions, &error), 1);
    assert_string_equal(sessions[0].id, "mine");
    assert_int_equal(sessions[0].failed, 1);
    flm_free_sessions(sessions, 1);
    assert_int_equal(flm_get_session(f.c, "yours", &sessions, &error), FLM_ENOTFOUND);
    assert_int_equal(flm_get_instance(f.c, &instance, &error), 0);
    assert_string_equal(instance->version, flm_version());
    flm_free_instance(instance);
    assert_int_equal(flm_close_session(f.s, NULL), 0);
    f.s = NULL;
    assert_int_equal(flm_unregister_application(f.c, "app", &error), 0);
    close_all(&f);
}

/* Disconnecting with a session open and tasks that never ran. */
static void leaving(void **state)
{
    (void)state;
    struct fixture f;
    char *large = calloc(1, 70000);
    open_with(&f, NULL, (struct flm_session_options){.common = "x", .common_size = 1});
    for (int i = 0; i < 10; i++)
        flm_run_task(f.s, large, i % 2 ? 10 : 70000, NULL, NULL);
    flm_disconnect(f.c);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),           cmocka_unit_test(what_the_service_does),
        cmocka_unit_test(many_tasks),      cmocka_unit_test(event_loop),
        cmocka_unit_test(with_a_thread),   cmocka_unit_test(what_is_wrong),
        cmocka_unit_test(verbs),           cmocka_unit_test(leaving),
        cmocka_unit_test(new_common_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
