/* Requests of <flm/admin.h>: what goes out and what comes of the answers. */
#include "client_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T(text) ((char *)(uintptr_t)(text))

/* The manager keeps the last application, and gives it back. */
static Flm__Application *kept;

static void keep(const Flm__Application *a)
{
    size_t n = flm__application__get_packed_size(a);
    uint8_t *bytes = malloc(n);
    flm__application__pack(a, bytes);
    if (kept)
        flm__application__free_unpacked(kept, NULL);
    kept = flm__application__unpack(NULL, n, bytes);
    free(bytes);
}

static bool applications(struct fake_manager *m, const Flm__Request *q)
{
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = q->id;
    if (q->verb_case == FLM__REQUEST__VERB_REGISTER_APPLICATION) {
        if (!q->replace && kept) {
            fake_reply_code(m, q->id, FLM_EEXIST, "there is another one");
            return true;
        }
        keep(q->register_application);
    } else if (q->verb_case == FLM__REQUEST__VERB_UNREGISTER_APPLICATION) {
        r.code = strcmp(q->unregister_application, "pi") == 0 ? 0 : FLM_ENOTFOUND;
    } else if (q->verb_case == FLM__REQUEST__VERB_LIST_APPLICATIONS) {
        r.n_applications = kept ? 1 : 0;
        r.applications = &kept;
    } else {
        return false;
    }
    fake_reply(m, &r);
    return true;
}

static const struct flm_application pi = {
    .size = sizeof(pi),
    .name = "pi",
    .shim = FLM_SHIM_EXEC,
    .exec_mode = FLM_EXEC_CAPTURE,
    .command = (const char *const[]){"/usr/bin/pi", "-v", "", "a b", NULL},
    .environment = (const char *const[]){"A=1", "B=", NULL},
    .working_directory = "/tmp",
    .description = "a number",
    .min_instances = 1,
    .max_instances = 7,
    .delay_release_ms = 500,
    .deadline_ms = 1000,
    .ranks_per_task = 2,
};

static void an_application_there_and_back(void **state)
{
    (void)state;
    struct fixture f;
    struct flm_application *list;
    flm_error error = {0};
    fixture_open(&f, &(struct fake_script){.on_request = applications}, NULL, 0);
    assert_int_equal(flm_list_applications(f.c, &list, &error), 0);
    flm_free_applications(list, 0);
    assert_int_equal(flm_register_application(f.c, &pi, 0, &error), 0);
    assert_int_equal(flm_register_application(f.c, &pi, 0, &error), FLM_EEXIST);
    assert_string_equal(error.text, "there is another one");
    assert_int_equal(flm_register_application(f.c, &pi, 1, &error), 0);

    assert_int_equal(flm_list_applications(f.c, &list, &error), 1);
    assert_string_equal(list[0].name, "pi");
    assert_int_equal(list[0].shim, FLM_SHIM_EXEC);
    assert_int_equal(list[0].exec_mode, FLM_EXEC_CAPTURE);
    for (int i = 0; i < 4; i++)
        assert_string_equal(list[0].command[i], pi.command[i]);
    assert_null(list[0].command[4]);
    assert_string_equal(list[0].environment[1], "B=");
    assert_null(list[0].environment[2]);
    assert_string_equal(list[0].working_directory, "/tmp");
    assert_string_equal(list[0].description, "a number");
    assert_int_equal(list[0].min_instances, 1);
    assert_int_equal(list[0].max_instances, 7);
    assert_int_equal(list[0].delay_release_ms, 500);
    assert_int_equal(list[0].deadline_ms, 1000);
    assert_int_equal(list[0].ranks_per_task, 2);
    flm_free_applications(list, 1);

    assert_int_equal(flm_unregister_application(f.c, "pi", &error), 0);
    assert_int_equal(flm_unregister_application(f.c, "po", &error), FLM_ENOTFOUND);
    assert_true(error.text[0]);
    flm__application__free_unpacked(kept, NULL);
    kept = NULL;
    fixture_close(&f);
}

static void bad_applications(void **state)
{
    (void)state;
    struct fixture f;
    flm_error error;
    struct flm_application cases[8];
    for (int i = 0; i < 8; i++)
        cases[i] = pi;
    cases[0].size = 0;
    cases[1].name = "no name";
    cases[2].name = NULL;
    cases[3].shim = 0;
    cases[4].shim = 9;
    cases[5].command = NULL; /* without an exec_mode that takes it from the input */
    cases[5].exec_mode = FLM_EXEC_STDIN;
    cases[6].command = (const char *const[]){NULL};
    cases[6].shim = FLM_SHIM_STDIO;
    cases[7].min_instances = 8;
    fixture_open(&f, NULL, NULL, 0);
    for (int i = 0; i < 8; i++) {
        error = (flm_error){0};
        assert_int_equal(flm_register_application(f.c, &cases[i], 0, &error), FLM_EINVAL);
        assert_int_equal(error.code, FLM_EINVAL);
    }
    assert_int_equal(flm_register_application(f.c, NULL, 0, &error), FLM_EINVAL);
    assert_int_equal(flm_register_application(NULL, &pi, 0, &error), FLM_EINVAL);

    /* More than a control message takes. */
    char *huge = malloc(9 << 20);
    memset(huge, 'x', 9 << 20);
    huge[(9 << 20) - 1] = 0;
    struct flm_application large = pi;
    large.description = huge;
    assert_int_equal(flm_register_application(f.c, &large, 0, &error), FLM_ETOOBIG);
    free(huge);
    fixture_close(&f);
}

static bool views(struct fake_manager *m, const Flm__Request *q)
{
    Flm__Reply r = FLM__REPLY__INIT;
    Flm__Event e[2] = {FLM__EVENT__INIT, FLM__EVENT__INIT}, *events[] = {&e[0], &e[1]};
    Flm__SessionView s[2] = {FLM__SESSION_VIEW__INIT, FLM__SESSION_VIEW__INIT},
                     *sessions[] = {&s[0], &s[1]};
    Flm__TaskView t = FLM__TASK_VIEW__INIT, *tasks[] = {&t};
    Flm__ExecutorView x = FLM__EXECUTOR_VIEW__INIT, *executors[] = {&x};
    Flm__NodeView n = FLM__NODE_VIEW__INIT, *nodes[] = {&n};
    Flm__InstanceView i = FLM__INSTANCE_VIEW__INIT;
    Flm__LogLine l = FLM__LOG_LINE__INIT, *lines[] = {&l};
    e[0].text = T("first");
    e[1].text = T("second");
    e[1].task = 9;
    e[1].executor = 4;
    r.id = q->id;
    switch (q->verb_case) {
    case FLM__REQUEST__VERB_LIST_SESSIONS:
    case FLM__REQUEST__VERB_GET_SESSION:
        s[0].id = T("one");
        s[0].pending = 5;
        s[1].id = T("two");
        s[1].tasks_per_second = 2.5;
        s[1].n_events = 2;
        s[1].events = events;
        r.n_sessions =
            q->verb_case == FLM__REQUEST__VERB_LIST_SESSIONS ? 2 : strcmp(q->get_session, "two") == 0;
        r.sessions = r.n_sessions == 1 ? sessions + 1 : sessions;
        break;
    case FLM__REQUEST__VERB_LIST_TASKS:
        t.id = q->list_tasks->from < 3 ? 3 : q->list_tasks->from;
        t.message = T("went wrong");
        t.n_events = 1;
        t.events = events;
        t.executor = -1;
        r.n_tasks = strcmp(q->list_tasks->session, "two") == 0 && q->list_tasks->n > 0;
        r.tasks = tasks;
        break;
    case FLM__REQUEST__VERB_LIST_EXECUTORS:
        x.id = 3;
        x.cpus = T("0-3");
        x.done = 77;
        r.n_executors = 1;
        r.executors = executors;
        break;
    case FLM__REQUEST__VERB_LIST_NODES:
        n.name = T("here");
        n.time_left_s = -1;
        r.n_nodes = 1;
        r.nodes = nodes;
        break;
    case FLM__REQUEST__VERB_GET_INSTANCE:
        i.version = T("9.9");
        i.tasks = 12;
        r.instance = &i;
        break;
    case FLM__REQUEST__VERB_READ_LOGS:
        l.text = T("hello");
        l.executor = (uint32_t)q->read_logs->executor;
        l.error_stream = true;
        r.n_lines = q->read_logs->cursor == 0;
        r.lines = lines;
        r.cursor = 1;
        break;
    case FLM__REQUEST__VERB_EVENTS:
        r.n_events = q->events->cursor == 0 ? 2 : 0;
        r.events = events;
        r.cursor = 2;
        break;
    default:
        return false;
    }
    fake_reply(m, &r);
    return true;
}

static void on_event(const struct flm_event *event, void *arg)
{
    int *n = arg;
    assert_string_equal(event->text, *n ? "second" : "first");
    ++*n;
}

static void all_views(void **state)
{
    (void)state;
    struct fixture f;
    flm_error error = {0};
    struct flm_session_view *s;
    struct flm_task_view *t;
    struct flm_executor_view *x;
    struct flm_node_view *n;
    struct flm_instance_view *i;
    struct flm_log_line *l;
    uint64_t cursor = 0;
    int events = 0;
    fixture_open(&f, &(struct fake_script){.on_request = views}, NULL, 0);

    assert_int_equal(flm_list_sessions(f.c, &s, &error), 2);
    assert_string_equal(s[0].id, "one");
    assert_string_equal(s[0].trouble, "");
    assert_int_equal(s[0].pending, 5);
    assert_int_equal(s[0].n_events, 0);
    assert_true(s[1].tasks_per_second == 2.5);
    assert_int_equal(s[1].n_events, 2);
    assert_string_equal(s[1].events[1].text, "second");
    assert_int_equal(s[1].events[1].task, 9);
    assert_int_equal(s[1].events[1].executor, 4);
    flm_free_sessions(s, 2);
    assert_int_equal(flm_get_session(f.c, "two", &s, &error), 0);
    assert_string_equal(s->id, "two");
    flm_free_sessions(s, 1);
    assert_int_equal(flm_get_session(f.c, "three", &s, &error), FLM_ENOTFOUND);
    assert_null(s);

    assert_int_equal(flm_list_tasks(f.c, "two", 0, 100, &t, &error), 1);
    assert_string_equal(t->message, "went wrong");
    assert_string_equal(t->events[0].text, "first");
    assert_int_equal(t->executor, -1);
    flm_free_tasks(t, 1);
    assert_int_equal(flm_list_tasks(f.c, "two", 0, -1, &t, &error), FLM_EINVAL);
    assert_int_equal(flm_get_task(f.c, "two", 5, &t, &error), 0);
    flm_free_tasks(t, 1);
    assert_int_equal(flm_get_task(f.c, "two", 2, &t, &error), FLM_ENOTFOUND);
    assert_int_equal(flm_get_task(f.c, "one", 5, &t, &error), FLM_ENOTFOUND);

    assert_int_equal(flm_list_executors(f.c, &x, &error), 1);
    assert_int_equal(x->id, 3);
    assert_string_equal(x->cpus, "0-3");
    assert_string_equal(x->session, "");
    assert_int_equal(x->done, 77);
    flm_free_executors(x, 1);
    assert_int_equal(flm_list_nodes(f.c, &n, &error), 1);
    assert_string_equal(n->name, "here");
    assert_int_equal(n->time_left_s, -1);
    flm_free_nodes(n, 1);
    assert_int_equal(flm_get_instance(f.c, &i, &error), 0);
    assert_string_equal(i->version, "9.9");
    assert_int_equal(i->tasks, 12);
    flm_free_instance(i);

    assert_int_equal(flm_read_logs(f.c, NULL, 8, &cursor, &l, &error), 1);
    assert_string_equal(l->text, "hello");
    assert_int_equal(l->executor, 8);
    assert_int_equal(l->error_stream, 1);
    flm_free_logs(l, 1);
    assert_int_equal(flm_read_logs(f.c, NULL, -1, &cursor, &l, &error), 0);
    flm_free_logs(l, 0);

    cursor = 0;
    assert_int_equal(flm_watch_session(f.c, "one", &cursor, -1, on_event, &events, &error), 2);
    assert_int_equal(events, 2);
    assert_int_equal(cursor, 2);
    assert_int_equal(flm_watch_session(f.c, "one", &cursor, 20, on_event, &events, &error), 0);
    fixture_close(&f);
}

/* Verbs that only succeed or fail: each arrives as what it is. */
static int verb_seen;

static bool verbs(struct fake_manager *m, const Flm__Request *q)
{
    if (q->verb_case == FLM__REQUEST__VERB_CREATE_SESSION ||
        q->verb_case == FLM__REQUEST__VERB_CLOSE_SESSION)
        return false;
    verb_seen = (int)q->verb_case;
    bool good =
        (q->verb_case == FLM__REQUEST__VERB_ADMIN_CLOSE && strcmp(q->admin_close, "a") == 0) ||
        (q->verb_case == FLM__REQUEST__VERB_ADMIN_CANCEL && strcmp(q->admin_cancel, "b") == 0) ||
        (q->verb_case == FLM__REQUEST__VERB_ADMIN_CANCEL_TASK && q->admin_cancel_task->task == 5) ||
        (q->verb_case == FLM__REQUEST__VERB_DRAIN && q->drain->drain && strcmp(q->drain->node, "n") == 0) ||
        (q->verb_case == FLM__REQUEST__VERB_SHUTDOWN);
    fake_reply_code(m, q->id, good ? 0 : FLM_EPERM, "not like this");
    return true;
}

static void plain_verbs(void **state)
{
    (void)state;
    struct fixture f;
    flm_error error = {0};
    fixture_open(&f, &(struct fake_script){.on_request = verbs}, NULL, 0);
    assert_int_equal(flm_admin_close_session(f.c, "a", &error), 0);
    assert_int_equal(flm_admin_cancel_session(f.c, "b", &error), 0);
    assert_int_equal(flm_admin_cancel_task(f.c, "c", 5, &error), 0);
    assert_int_equal(flm_admin_drain(f.c, "n", 1, &error), 0);
    assert_int_equal(flm_admin_shutdown(f.c, &error), 0);
    assert_int_equal(verb_seen, FLM__REQUEST__VERB_SHUTDOWN);
    assert_int_equal(flm_admin_drain(f.c, "n", 0, &error), FLM_EPERM);
    assert_string_equal(error.text, "not like this");
    assert_int_equal(flm_admin_close_session(f.c, NULL, &error), FLM_EPERM);
    assert_int_equal(flm_admin_shutdown(NULL, &error), FLM_EINVAL);
    fixture_close(&f);
}

static void names(void **state)
{
    (void)state;
    for (int i = FLM_REASON_NONE; i <= FLM_REASON_DISCONNECTED; i++)
        assert_string_not_equal(flm_reason_name(i), "unknown");
    assert_string_equal(flm_reason_name(-1), "unknown");
    assert_string_equal(flm_reason_name(1000), "unknown");
    assert_string_equal(flm_task_state_name(FLM_TASK_FAILED), "Failed");
    assert_string_equal(flm_task_state_name(77), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_application_there_and_back),
        cmocka_unit_test(bad_applications),
        cmocka_unit_test(all_views),
        cmocka_unit_test(plain_verbs),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
