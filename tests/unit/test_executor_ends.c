/* How an executor ends: told to, by its service, by a deadline, by its agent, by nonsense. */
#define _GNU_SOURCE
#include "executor_fixture.h"

#include <flm/admin.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { RING = 64 << 10 };

static void wait_begun(struct manager *m, uint64_t n)
{
    while (atomic_load(&m->status->began) < n || !atomic_load(&m->status->busy))
        usleep(100);
}

/* One answered task, then one that ends the executor, then one that is not begun. */
static void by_the_service(void **state)
{
    static const struct {
        const char *input;
        int reason, status, signal;
    } cases[] = {
        {"x", FLM_REASON_EXIT, 3, 0},
        {"a", FLM_REASON_NONE, 0, SIGABRT},
        {"k", FLM_REASON_NONE, 0, SIGSEGV},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct manager m;
        struct answer a;
        manager_start(&m, NULL, NULL, RING);
        manager_bind(&m, NULL);
        manager_task(&m, "e", 1, 0);
        manager_task(&m, cases[i].input, 1, 0);
        manager_task(&m, "e", 1, 0);
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)m.pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(atomic_load(&m.status->began), 2);
        assert_int_equal(atomic_load(&m.status->busy), 1);
        assert_int_equal(atomic_load(&m.status->reason), cases[i].reason);
        /* What was done before is in the ring. */
        assert_true(manager_answer_now(&m, &a));
        assert_int_equal(a.record.task, 1001);
        answer_free(&a);
        assert_false(manager_answer_now(&m, &a));
        int status = manager_reap(&m);
        if (cases[i].signal)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == cases[i].signal);
        else
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == cases[i].status);
    }
}

static void on_enter(void **state)
{
    const char *const crash[] = {"CRASH_ENTER=1", NULL};
    struct manager m;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_send_bind(&m, &(struct binding_spec){.environment = crash});
    int status = manager_reap(&m);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* By its own deadline and by the session's; the short tasks before it end in time. */
static void by_deadline(void **state)
{
    (void)state;
    for (int of_session = 0; of_session < 2; of_session++) {
        struct manager m;
        struct answer a;
        manager_start(&m, NULL, NULL, RING);
        manager_bind(&m, &(struct binding_spec){.deadline_ms = of_session ? 1000 : 0});
        for (int i = 0; i < 50; i++) {
            manager_task(&m, "w\1", 2, of_session ? 0 : 1000);
            manager_answer(&m, &a);
            assert_int_equal(a.outcome.state, FLM_TASK_SUCCEED);
            answer_free(&a);
        }
        manager_task(&m, "t", 1, of_session ? 0 : 600000);
        manager_answer(&m, &a);
        a.output[a.size] = 0;
        long left = atol((char *)a.output);
        assert_true(of_session ? left >= 0 && left <= 1000 : left > 300000 && left <= 600000);
        answer_free(&a);
        uint64_t n = manager_task(&m, "L", 1, of_session ? 0 : 30);
        manager_task(&m, "e", 1, 0);
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)m.pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(atomic_load(&m.status->began), n);
        assert_int_equal(atomic_load(&m.status->reason), FLM_REASON_DEADLINE);
        assert_false(manager_answer_now(&m, &a));
        int status = manager_reap(&m);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    }
}

/* Deadlines at the edge: each task ends in time or ends the executor, with or without its result. */
static void at_the_deadline(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct manager m;
        struct answer a;
        uint64_t answered = 0;
        siginfo_t info = {0};
        manager_start(&m, NULL, NULL, RING);
        manager_bind(&m, &(struct binding_spec){.deadline_ms = 5});
        for (int k = 0; k < 20; k++)
            manager_task(&m, "w\5", 2, 0);
        while (info.si_pid == 0 && answered < m.sent) {
            assert_int_equal(waitid(P_PID, (id_t)m.pid, &info, WEXITED | WNOWAIT | WNOHANG), 0);
            while (manager_answer_now(&m, &a)) {
                answered++;
                answer_free(&a);
            }
        }
        if (info.si_pid) { /* the one that was begun last has no result */
            assert_int_equal(atomic_load(&m.status->reason), FLM_REASON_DEADLINE);
            assert_int_equal(atomic_load(&m.status->began), answered + 1);
            manager_reap(&m);
        } else {
            manager_stop(&m);
        }
    }
}

static void by_kill_message(void **state)
{
    struct manager m;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    wait_begun(&m, manager_task(&m, "L", 1, 0));
    Flm__Kill kill_message = FLM__KILL__INIT;
    FLM__MESSAGE(message, kill, KILL, &kill_message);
    kill_message.lane = LANE;
    kill_message.life = LIFE + 1; /* another's */
    manager_say(&m, &message, NULL, 0);
    usleep(20000);
    assert_int_equal(waitpid(m.pid, NULL, WNOHANG), 0);
    kill_message.life = LIFE;
    kill_message.reason = FLM_REASON_CANCELLED;
    kill_message.text = (char *)"its session was cancelled";
    manager_say(&m, &message, NULL, 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)m.pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(atomic_load(&m.status->reason), FLM_REASON_CANCELLED);
    manager_reap(&m);
}

/* Told to end while user code does not listen, and while it does. */
static void told_to_end(void **state)
{
    static const char *const inputs[] = {"L", "l", NULL};
    (void)state;
    for (int by_signal = 0; by_signal < 2; by_signal++) {
        for (int i = 0; i < 3; i++) {
            struct manager m;
            manager_start(&m, NULL, NULL, RING);
            manager_bind(&m, NULL);
            if (inputs[i])
                wait_begun(&m, manager_task(&m, inputs[i], 1, 0));
            if (!by_signal) {
                manager_stop(&m);
                continue;
            }
            kill(m.pid, SIGTERM);
            int status = manager_reap(&m);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
    }
}

/* The agent is gone: the executor ends, and the process group of its child. */
static void with_its_agent(void **state)
{
    char file[] = "/tmp/flm-test-XXXXXX", command[100];
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    snprintf(command, sizeof(command), "echo $$ > %s; sleep 1000 & wait", file);
    const char *const shell[] = {"-c", command, NULL};
    struct manager m;
    pid_t child = 0;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, &(struct binding_spec){.shim = FLM_SHIM_EXEC, .file = "/bin/sh", .arguments = shell});
    manager_task(&m, "", 0, 0);
    while (child == 0) {
        char text[20] = "";
        usleep(1000);
        if (pread(fd, text, sizeof(text) - 1, 0) > 0 && strchr(text, '\n'))
            child = atoi(text);
    }
    assert_int_equal(getpgid(child), child);
    flm__conn_free(m.conn);
    m.conn = NULL;
    manager_reap(&m);
    for (int i = 0; kill(-child, 0) == 0; i++) { /* init reaps them when it comes to it */
        char path[64], line[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)child);
        FILE *f = fopen(path, "r");
        if (f && fgets(line, sizeof(line), f) && strstr(line, ") Z"))
            i = 1 << 20;
        if (f)
            fclose(f);
        if (i >= 1 << 20)
            break;
        usleep(1000);
        assert_true(i < 20000);
    }
    close(fd);
    unlink(file);
}

static void refused(void **state)
{
    struct manager m;
    Flm__Refused no = FLM__REFUSED__INIT;
    no.code = FLM_EAUTH;
    no.text = (char *)"the token is wrong";
    FLM__MESSAGE(message, refused, REFUSED, &no);
    (void)state;
    manager_spawn(&m, NULL, NULL);
    manager_hear_hello(&m);
    manager_say(&m, &message, NULL, 0);
    int status = manager_reap(&m);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

/* By hand, or with an environment that makes no sense: it says so and does not hang. */
static void nonsense_at_start(void **state)
{
    static const struct {
        const char *environment;
        int status;
    } cases[] = {
        {"env -u FLM_AGENT", 2},
        {"env FLM_AGENT=unix:/nowhere/agent", 3},
        {"env FLM_AGENT=nonsense", 3},
        {"env FLM_AGENT=unix:/nowhere/agent FLM_LANE=5000", 2},
        {"env FLM_AGENT=unix:/nowhere/agent FLM_TOKEN=abc", 2},
        {"env FLM_AGENT=unix:/nowhere/agent FLM_CPUS=0-", 3},
        {"env FLM_AGENT=unix:/nowhere/agent FLM_NUMA=9999", 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char command[300], text[400] = "";
        snprintf(command, sizeof(command), "%s " FLM_BUILDDIR "/bin/flm-executor 2>&1",
                 cases[i].environment);
        FILE *f = popen(command, "r");
        assert_non_null(f);
        assert_non_null(fgets(text, sizeof(text), f));
        assert_non_null(strstr(text, "flm-executor: "));
        assert_int_equal(WEXITSTATUS(pclose(f)), cases[i].status);
    }
}

/* A manager that sends nonsense: the executor says so and ends, it does not crash or hang. */
static void hostile_records(void **state)
{
    static const struct flm__record records[] = {
        {.size = FLM__RECORD_MAX, .type = FLM__TASK, .lane = WIRE_LANE},
        {.size = UINT32_MAX, .type = FLM__TASK, .lane = WIRE_LANE},
        {.size = 64, .type = FLM__TASK, .lane = WIRE_LANE}, /* only the header is there */
        {.size = 0, .type = FLM__RESULT, .lane = WIRE_LANE},
        {.size = 0, .type = 0, .lane = WIRE_LANE},
        {.size = 0, .type = 200, .lane = WIRE_LANE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        struct manager m;
        manager_start(&m, NULL, NULL, RING);
        manager_bind(&m, NULL);
        char *p = flm__link_reserve(m.link, FLM__RECORD_HEADER);
        memcpy(p, &records[i], FLM__RECORD_HEADER);
        flm__link_commit(m.link, FLM__RECORD_HEADER);
        flm__link_flush(m.link);
        int status = manager_reap(&m);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
    }
}

/* Records that are whole but say something silly fail alone. */
static void silly_records(void **state)
{
    static const char payload[sizeof(struct flm__blob_ref) + 8];
    static const struct flm__record records[] = {
        {.size = 4,
         .type = FLM__TASK,
         .flags = FLM__RECORD_DEADLINE,
         .lane = WIRE_LANE,
         .session = SESSION},
        {.size = sizeof(payload),
         .type = FLM__TASK,
         .flags = FLM__RECORD_BLOB,
         .lane = WIRE_LANE,
         .session = SESSION},
        {.size = 0, .type = FLM__TASK, .lane = WIRE_LANE, .session = SESSION + 1},
    };
    struct manager m;
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    struct flm__record other = {.type = FLM__TASK, .lane = WIRE_LANE + 1, .session = SESSION};
    manager_record(&m, &other, NULL); /* another lane's: no number, no result */
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        manager_record(&m, &records[i], payload);
        const void *data;
        struct flm__record r;
        while (flm__link_peek(m.link, &data) == 0)
            usleep(100);
        uint32_t bytes = flm__record_read(data, 4096, &r);
        struct flm__result_parts parts;
        assert_true(flm__result_split(&r, flm__record_payload(data), &parts));
        assert_int_equal(parts.outcome.state, FLM_TASK_FAILED);
        assert_int_equal(r.session, records[i].session);
        flm__link_consume(m.link, bytes);
        assert_int_equal(atomic_load(&m.status->began), i + 1);
    }
    manager_stop(&m);
}

/* An object that is named and not there is the task's failure; one that cannot be read is the executor's.
 */
static void objects_that_fail(void **state)
{
    static const struct {
        struct flm__task_objects list;
        uint64_t version, least; /* struct flm__object_ref, which ends with an open array */
        uint32_t bytes, pad;
        char name[8];
    } payload = {.list = {sizeof(payload), 1},
                 .bytes = sizeof(struct flm__object_ref) + sizeof(payload.name),
                 .name = "a"};
    static const struct {
        int code;
        bool ends;
    } cases[] = {{FLM_ENOTFOUND, false}, {FLM_ESTALE, false}, {FLM_EIO, true}, {FLM_ENOMEM, true}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct manager m;
        manager_start(&m, NULL, NULL, RING);
        manager_bind(&m, NULL);
        manager_record(&m,
                       &(struct flm__record){.size = sizeof(payload),
                                             .type = FLM__TASK,
                                             .flags = FLM__RECORD_OBJECTS,
                                             .lane = WIRE_LANE,
                                             .session = SESSION,
                                             .task = 1000},
                       &payload);
        Flm__Message *asked = manager_hear(&m, FLM__MESSAGE__BODY_GET_OBJECT, NULL, NULL);
        Flm__GotObject got = FLM__GOT_OBJECT__INIT;
        got.lane = LANE;
        got.life = LIFE;
        got.number = asked->get_object->number;
        got.code = cases[i].code;
        got.text = (char *)"cannot be read";
        flm__message__free_unpacked(asked, NULL);
        FLM__MESSAGE(message, got_object, GOT_OBJECT, &got);
        manager_say(&m, &message, NULL, 0);
        if (cases[i].ends) {
            int status = manager_reap(&m);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
            continue;
        }
        struct answer a;
        manager_answer(&m, &a);
        assert_int_equal(a.outcome.reason, FLM_REASON_OBJECT);
        assert_int_equal(a.outcome.code, cases[i].code);
        answer_free(&a);
        manager_stop(&m);
    }
}

static void hostile_messages(void **state)
{
    struct manager m;
    Flm__Blob blob = FLM__BLOB__INIT;
    blob.lane = LANE;
    blob.life = LIFE;
    blob.id = 1;
    blob.size = 1 << 20;
    FLM__MESSAGE(message, blob, BLOB, &blob);
    (void)state;
    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    manager_say(&m, &message, NULL, 0); /* without its memory */
    assert_true(WIFEXITED(manager_reap(&m)));

    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    int small = memfd_create("small", MFD_CLOEXEC); /* smaller than announced, and not sealed */
    manager_say(&m, &message, &small, 1);
    close(small);
    assert_true(WIFEXITED(manager_reap(&m)));

    manager_start(&m, NULL, NULL, RING);
    manager_bind(&m, NULL);
    assert_int_equal(write(flm__conn_fd(m.conn), "this is not a frame at all", 26), 26);
    assert_true(WIFEXITED(manager_reap(&m)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_the_service),    cmocka_unit_test(on_enter),
        cmocka_unit_test(by_deadline),       cmocka_unit_test(at_the_deadline),
        cmocka_unit_test(by_kill_message),   cmocka_unit_test(told_to_end),
        cmocka_unit_test(with_its_agent),    cmocka_unit_test(refused),
        cmocka_unit_test(nonsense_at_start), cmocka_unit_test(hostile_records),
        cmocka_unit_test(silly_records),     cmocka_unit_test(hostile_messages),
        cmocka_unit_test(objects_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
