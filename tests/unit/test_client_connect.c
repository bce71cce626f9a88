/* flm_connect: the list of endpoints, the greeting and all that can go wrong in it; flm_disconnect. */
#include "client_fixture.h"

#include "base/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define OPTIONS(...)                                                                                       \
    (&(struct flm_connect_options){.size = sizeof(struct flm_connect_options), __VA_ARGS__})

static void greetings(void **state)
{
    (void)state;
    static const struct {
        struct fake_script script;
        int code;
        const char *text;
    } cases[] = {
        {{.greeting = FAKE_GREETS}, 0, ""},
        {{.greeting = FAKE_REFUSES, .refuse_code = FLM_EAUTH}, FLM_EAUTH, "not welcome"},
        {{.greeting = FAKE_REFUSES, .refuse_code = FLM_EVERSION}, FLM_EVERSION, "not welcome"},
        {{.greeting = FAKE_OTHER_VERSION}, FLM_EVERSION, "version 99"},
        {{.greeting = FAKE_NO_RING}, FLM_EPROTO, "neither a ring nor a fabric"},
        {{.greeting = FAKE_NO_DESCRIPTORS}, FLM_EPROTO, "neither"},
        {{.greeting = FAKE_OPEN_MEMORY}, FLM_EPROTO, "not what was announced"},
        {{.greeting = FAKE_GARBAGE}, FLM_EPROTO, "greeting"},
        {{.greeting = FAKE_HANGS_UP}, FLM_EDISCONNECTED, "greeting"},
        {{.greeting = FAKE_SILENT}, FLM_ETIMEDOUT, "greeting"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake_manager *m = fake_start(&cases[i].script);
        flm_error error = {0};
        bool silent = cases[i].script.greeting == FAKE_SILENT;
        if (cases[i].script.greeting == FAKE_HANGS_UP)
            m->script.greeting = FAKE_HANGS_UP;
        flm_client *c = flm_connect(m->endpoint, OPTIONS(.timeout_ms = silent ? 50 : 20000), &error);
        if (cases[i].code == 0) {
            assert_non_null(c);
        } else {
            if (cases[i].script.greeting == FAKE_HANGS_UP && c) /* it greeted first */
                error = (flm_error){FLM_EDISCONNECTED, "greeting"};
            else
                assert_null(c);
            if (error.code != cases[i].code || !strstr(error.text, cases[i].text))
                fail_msg("case %zu: %d, %s", i, error.code, error.text);
        }
        flm_disconnect(c);
        fake_stop(m);
    }
}

static void endpoints_are_tried_in_order(void **state)
{
    (void)state;
    struct fake_manager *m = fake_start(NULL);
    char list[400];
    flm_error error = {0};

    snprintf(list, sizeof(list), "unix:/nonexistent/a, tcp:127.0.0.1:1 ,%s,unix:/nonexistent/b",
             m->endpoint);
    flm_client *c = flm_connect(list, NULL, &error);
    assert_string_equal(error.text, "");
    assert_non_null(c);
    flm_disconnect(c);

    assert_null(flm_connect("unix:/nonexistent/a,unix:/nonexistent/b", NULL, &error));
    assert_int_equal(error.code, FLM_ECONNECT);
    assert_non_null(strstr(error.text, "/nonexistent/a"));
    assert_non_null(strstr(error.text, "/nonexistent/b"));

    setenv("FLM_ENDPOINT", m->endpoint, 1);
    c = flm_connect(NULL, NULL, &error);
    assert_non_null(c);
    flm_disconnect(c);
    unsetenv("FLM_ENDPOINT");
    fake_stop(m);
}

static void bad_arguments(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"", " , ", "http://x", "unix", "tcp:nowhere", "inproc:x"};
    flm_error error;
    setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
        error = (flm_error){0};
        if (!endpoints[i][0])
            continue;
        assert_null(flm_connect(endpoints[i], NULL, &error));
        if (error.code != FLM_EINVAL || !error.text[0])
            fail_msg("'%s': %d, %s", endpoints[i], error.code, error.text);
    }
    const struct flm_connect_options *options[] = {
        &(struct flm_connect_options){.size = 0},
        OPTIONS(.progress = 7),
        OPTIONS(.flags = 0x80),
    };
    for (size_t i = 0; i < 3; i++) {
        error = (flm_error){0};
        assert_null(flm_connect("unix:/nonexistent/a", options[i], &error));
        assert_int_equal(error.code, FLM_EINVAL);
    }
    assert_null(flm_connect("unix:/nonexistent/a", NULL, NULL));
    flm_disconnect(NULL);
}

/* Options of a newer header: unknown members are refused unless they are zero. */
static void newer_options(void **state)
{
    (void)state;
    struct fake_manager *m = fake_start(NULL);
    struct {
        struct flm_connect_options o;
        uint64_t more[4];
    } newer = {.o.size = sizeof(newer)};
    flm_error error = {0};
    flm_client *c = flm_connect(m->endpoint, &newer.o, &error);
    assert_non_null(c);
    flm_disconnect(c);
    newer.more[2] = 1;
    assert_null(flm_connect(m->endpoint, &newer.o, &error));
    assert_int_equal(error.code, FLM_EINVAL);
    fake_stop(m);
}

/* A foreign directory in /tmp is not believed. */
static void default_endpoint(void **state)
{
    (void)state;
    char directory[] = "/tmp/flm-test-XXXXXX", endpoint[FLM__ENDPOINT_MAX], expected[FLM__ENDPOINT_MAX];
    char made[FLM__ENDPOINT_MAX];
    flm_error error = {0};
    assert_non_null(mkdtemp(directory));

    setenv("XDG_RUNTIME_DIR", directory, 1);
    assert_int_equal(flm__default_endpoint(endpoint, sizeof(endpoint)), 0);
    snprintf(expected, sizeof(expected), "unix:%s/flame/flmd.sock", directory);
    assert_string_equal(endpoint, expected);
    assert_int_equal(flm__runtime_directory(made, sizeof(made), &error), 0);
    assert_int_equal(flm__runtime_directory(made, sizeof(made), &error), 0);

    /* Open to others: neither used nor repaired. */
    assert_int_equal(chmod(made, 0755), 0);
    assert_int_equal(flm__default_endpoint(endpoint, sizeof(endpoint)), FLM_EPERM);
    assert_int_equal(flm__runtime_directory(made, sizeof(made), &error), FLM_EPERM);
    assert_null(flm_connect(NULL, NULL, &error));
    assert_int_equal(error.code, FLM_EPERM);
    assert_int_equal(rmdir(made), 0);

    /* A link instead of a directory. */
    assert_int_equal(symlink("/tmp", made), 0);
    assert_int_equal(flm__default_endpoint(endpoint, sizeof(endpoint)), FLM_EPERM);
    assert_int_equal(unlink(made), 0);

    /* A runtime directory that is not ours alone is passed over. */
    assert_int_equal(chmod(directory, 0777), 0);
    snprintf(expected, sizeof(expected), "unix:/tmp/flame-%u/flmd.sock", (unsigned)geteuid());
    if (flm__default_endpoint(endpoint, sizeof(endpoint)) == 0)
        assert_string_equal(endpoint, expected);
    assert_int_equal(flm__default_endpoint(endpoint, 5), FLM_ETOOBIG);
    rmdir(directory);
}

static void session_options(void **state)
{
    (void)state;
    struct fixture f;
    static char long_name[FLM_MAX_NAME + 2];
    memset(long_name, 'a', FLM_MAX_NAME + 1);
    const struct {
        struct flm_session_options o;
        int code;
    } cases[] = {
        {{.application = NULL}, FLM_EINVAL},
        {{.application = ""}, FLM_EINVAL},
        {{.application = "a b"}, FLM_EINVAL},
        {{.application = long_name}, FLM_EINVAL},
        {{.application = long_name + 1}, 0},
        {{.application = "app", .id = "x/y"}, FLM_EINVAL},
        {{.application = "app", .flags = 0x100}, FLM_EINVAL},
        {{.application = "app", .weight = 1001}, FLM_EINVAL},
        {{.application = "app", .min_instances = 3, .max_instances = 2}, FLM_EINVAL},
        {{.application = "app", .durability = FLM_DURABILITY_SYNC + 1}, FLM_EINVAL},
        {{.application = "app", .common_size = 5}, FLM_EINVAL},
        {{.application = "app", .common = "x", .common_size = FLM_MAX_PAYLOAD + 1}, FLM_ETOOBIG},
    };
    fixture_open(&f, NULL, NULL, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flm_session_options o = cases[i].o;
        flm_error error = {0};
        o.size = sizeof(o);
        flm_session *s = flm_create_session(f.c, &o, &error);
        if (!s != (cases[i].code != 0) || error.code != cases[i].code)
            fail_msg("case %zu: %d, %s", i, error.code, error.text);
    }
    flm_error error = {0};
    assert_null(flm_open_session(
        f.c,
        &(struct flm_session_options){.size = sizeof(struct flm_session_options), .application = "app"},
        &error));
    assert_int_equal(error.code, FLM_EINVAL);
    assert_null(flm_create_session(f.c, NULL, &error));
    assert_null(flm_create_session(NULL, NULL, NULL));
    fixture_close(&f);
}

static bool knows_no_application(struct fake_manager *m, const Flm__Request *q)
{
    fake_reply_code(m, q->id, FLM_ENOTFOUND, "no application is called app; register it first");
    return true;
}

static void text_of_the_manager(void **state)
{
    (void)state;
    struct fake_manager *m = fake_start(&(struct fake_script){.on_request = knows_no_application});
    flm_error error = {0};
    flm_client *c = flm_connect(m->endpoint, NULL, &error);
    assert_null(flm_create_session(
        c, &(struct flm_session_options){.size = sizeof(struct flm_session_options), .application = "app"},
        &error));
    assert_int_equal(error.code, FLM_ENOTFOUND);
    assert_string_equal(error.text, "no application is called app; register it first");
    flm_disconnect(c);
    fake_stop(m);
}

static void common_data(void **state)
{
    (void)state;
    struct fixture f;
    static char common[300000];
    flm_error error = {0};
    pattern_fill(common, sizeof(common), 5);
    fixture_open(&f, NULL, NULL, 0);
    flm_session *s =
        flm_create_session(f.c,
                           &(struct flm_session_options){.size = sizeof(struct flm_session_options),
                                                         .application = "app",
                                                         .id = "mine",
                                                         .common = common,
                                                         .common_size = sizeof(common)},
                           &error);
    assert_non_null(s);
    assert_string_equal(flm_session_id(s), "mine");
    assert_int_equal(f.m->common_size, sizeof(common)); /* the manager waits for the next thing */
    assert_true(pattern_is(f.m->common, sizeof(common), 5));
    fixture_close(&f);
}

static void hold(struct fake_manager *m, void *arg)
{
    m->script.hold_requests = *(bool *)arg;
}

static void a_request_takes_too_long(void **state)
{
    (void)state;
    struct fixture f;
    bool yes = true, no = false;
    flm_error error = {0};
    uint64_t task;
    fixture_open(&f, NULL, OPTIONS(.timeout_ms = 50), 0);
    fake_do(f.m, hold, &yes);
    assert_int_equal(flm_sync(f.s, &task, &error), FLM_ETIMEDOUT);
    assert_non_null(strstr(error.text, "50 ms"));
    fake_do(f.m, hold, &no);
    assert_int_equal(flm_sync(f.s, &task, &error), 0);
    fixture_close(&f);
}

static void read_received(struct fake_manager *m, void *arg)
{
    *(uint64_t *)arg = m->n_received;
}

/* The session was created, and asked how far the tasks have come. */
static void check_asked(struct fake_manager *m, void *arg)
{
    *(bool *)arg = m->n_requests == 2;
}

/* What was submitted to a detached session has arrived before the client goes. */
static void detached_tasks_arrive(void **state)
{
    (void)state;
    struct fixture f;
    static char large[100000];
    struct seen seen = {0};
    uint64_t received;
    bool asked;
    enum { N = 5000 };
    fixture_open(&f, &(struct fake_script){.hold_tasks = true, .ring_bytes = 65536}, NULL, FLM_DETACHED);
    for (int i = 0; i < N; i++)
        assert_true(flm_run_task(f.s, large, i % 100 ? 16 : sizeof(large), seen_result, &seen) > 0);
    flm_disconnect(f.c);
    assert_int_equal(seen.n, 0);
    fake_do(f.m, read_received, &received); /* without waiting */
    assert_int_equal(received, N);
    fake_do(f.m, check_asked, &asked);
    assert_true(asked);
    fake_stop(f.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greetings),
        cmocka_unit_test(endpoints_are_tried_in_order),
        cmocka_unit_test(bad_arguments),
        cmocka_unit_test(newer_options),
        cmocka_unit_test(default_endpoint),
        cmocka_unit_test(session_options),
        cmocka_unit_test(text_of_the_manager),
        cmocka_unit_test(common_data),
        cmocka_unit_test(a_request_takes_too_long),
        cmocka_unit_test(detached_tasks_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
