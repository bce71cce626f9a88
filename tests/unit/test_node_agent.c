/* flm-node under a scripted flmd, with real executors. */
#define _GNU_SOURCE
#include "node_fixture.h"

#include "base/time.h"
#include "net/handshake.h"

#include <dirent.h>
#include <fcntl.h>
#include <flm/admin.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

static const char *const one_slot[] = {"--slots", "1", "--bind", "none", NULL};
static const char *const two_slots[] = {"--slots", "2", "--bind", "none", NULL};

/* Hears ExecutorLost of this lane and its present life. */
static Flm__Message *hear_lost(struct node *n, uint32_t lane)
{
    Flm__Message *m = node_hear(n, FLM__MESSAGE__BODY_EXECUTOR_LOST);
    assert_int_equal(m->executor_lost->lane, lane);
    assert_int_equal(m->executor_lost->life, n->lanes[lane].life);
    return m;
}

static void wait_for_file(const char *path)
{
    for (int i = 0; access(path, F_OK) < 0; i++) {
        assert_true(i < 60000);
        usleep(1000);
    }
}

/* The process number that a task has written into a file. */
static pid_t read_pid(const char *path)
{
    int pid = 0;
    for (int i = 0; pid == 0 && i < 60000; i++) {
        FILE *f = fopen(path, "r");
        if (!f || fscanf(f, "%d", &pid) != 1)
            usleep(1000);
        if (f)
            fclose(f);
    }
    assert_true(pid > 0);
    return pid;
}

static void says_hello(void **state)
{
    struct node n;
    (void)state;
    node_start(&n, (const char *const[]){"--slots", "2", "--cores-per-slot", "1", "--block", "b",
                                         "--block-number", "7", NULL});
    const Flm__Node *node = n.hello->hello->node;
    assert_string_equal(node->name, "here");
    assert_string_equal(node->block, "b");
    assert_int_equal(node->block_number, 7);
    assert_int_equal(node->n_slots, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(node->slots[i]->lane, i);
        assert_int_equal(node->slots[i]->cores, 1);
    }
    node_wait_up(&n, 2);
    assert_int_not_equal(n.lanes[0].pid, n.lanes[1].pid);
    node_stop(&n);
}

static void binds_runs_unbinds(void **state)
{
    struct node n;
    (void)state;
    node_start(&n, two_slots);
    node_wait_up(&n, 2);
    for (int round = 0; round < 2; round++) {
        for (uint32_t lane = 0; lane < 2; lane++) {
            node_bind(&n, lane, FLM_SHIM_EXEC, "cat; echo $PPID");
            node_task(&n, lane, 5, "hello ");
            char expected[40];
            snprintf(expected, sizeof(expected), "hello %d\n", n.lanes[lane].pid);
            assert_string_equal(node_result(&n, lane, 5), expected);
        }
        for (uint32_t lane = 0; lane < 2; lane++)
            node_unbind(&n, lane);
    }
    assert_int_equal(n.lanes[0].life, 1);
    node_stop(&n);
}

static void replaces_a_killed_executor(void **state)
{
    struct node n;
    char script[400], mark[100];
    (void)state;
    node_start(&n, one_slot);
    node_wait_up(&n, 1);
    snprintf(mark, sizeof(mark), "%s/pid", n.directory);
    /* Its child, and one in a session of its own in the background. */
    snprintf(script, sizeof(script), "setsid sleep 1000 & echo $! >%s.2; sleep 1000 & echo $! >%s; wait",
             mark, mark);
    node_bind(&n, 0, FLM_SHIM_EXEC, script);
    node_task(&n, 0, 1, "");
    node_task(&n, 0, 2, "");
    pid_t child = read_pid(mark);
    strcat(mark, ".2");
    pid_t background = read_pid(mark);
    assert_int_equal(kill(n.lanes[0].pid, SIGKILL), 0);
    Flm__Message *m = hear_lost(&n, 0);
    assert_int_equal(m->executor_lost->began, 1);
    assert_int_equal(m->executor_lost->reason, FLM_REASON_SIGNAL);
    assert_int_equal(m->executor_lost->code, SIGKILL);
    assert_false(m->executor_lost->expected);
    assert_non_null(strstr(m->executor_lost->text, "signal 9 (Killed)"));
    flm__message__free_unpacked(m, NULL);
    node_up(&n, 0, 2);
    assert_int_equal(n.lanes[0].restarts, 1);
    node_wait_gone(child);
    node_wait_gone(background);
    unlink(mark);
    mark[strlen(mark) - 2] = 0;
    unlink(mark);
    node_stop(&n);
}

static void tells_how_it_ended(void **state)
{
    static const struct {
        const char *script;
        int reason, code;
        const char *text;
    } cases[] = {
        {"kill -USR2 $PPID; sleep 1000", FLM_REASON_SIGNAL, SIGUSR2, "signal 12"},
        {"kill -ABRT $PPID; sleep 1000", FLM_REASON_SIGNAL, SIGABRT, "signal 6"},
    };
    struct node n;
    (void)state;
    node_start(&n, one_slot);
    node_wait_up(&n, 1);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        node_bind(&n, 0, FLM_SHIM_EXEC, cases[i].script);
        node_task(&n, 0, 1, "");
        Flm__Message *m = hear_lost(&n, 0);
        const Flm__ExecutorLost *lost = m->executor_lost;
        if (lost->reason != cases[i].reason || lost->code != cases[i].code ||
            !strstr(lost->text, cases[i].text))
            fail_msg("'%s' was told as reason %d, code %d: %s", cases[i].script, lost->reason, lost->code,
                     lost->text);
        flm__message__free_unpacked(m, NULL);
        node_up(&n, 0, i + 2);
    }
    node_stop(&n);
}

static void kills_when_told(void **state)
{
    struct node n;
    (void)state;
    node_start(&n, one_slot);
    node_wait_up(&n, 1);
    node_bind(&n, 0, FLM_SHIM_EXEC, "sleep 1000");
    node_task(&n, 0, 1, "");
    node_kill(&n, 0, FLM_REASON_DEADLINE, "too long");
    Flm__Message *m = hear_lost(&n, 0);
    assert_int_equal(m->executor_lost->reason, FLM_REASON_DEADLINE);
    assert_true(m->executor_lost->expected);
    assert_non_null(strstr(m->executor_lost->text, "too long"));
    flm__message__free_unpacked(m, NULL);
    node_up(&n, 0, 2);
    assert_int_equal(n.lanes[0].restarts, 0);
    /* A Kill of the life that has ended is not for the next one. */
    n.lanes[0].life = 1;
    node_kill(&n, 0, FLM_REASON_DEADLINE, "too late");
    node_say_bind(&n, 0, 1, FLM_SHIM_EXEC, "cat");
    n.lanes[0].life = 2;
    node_bind(&n, 0, FLM_SHIM_EXEC, "cat");
    node_task(&n, 0, 9, "x");
    assert_string_equal(node_result(&n, 0, 9), "x");
    node_stop(&n);
}

static void kills_a_silent_executor(void **state)
{
    struct node n;
    (void)state;
    node_start(&n, (const char *const[]){"--slots", "2", "--bind", "none", "--loss-time", "300", NULL});
    node_wait_up(&n, 2);
    node_bind(&n, 0, FLM_SHIM_EXEC, "cat");
    node_bind(&n, 1, FLM_SHIM_EXEC, "cat");
    assert_int_equal(kill(n.lanes[1].pid, SIGSTOP), 0);
    Flm__Message *m = hear_lost(&n, 1);
    assert_int_equal(m->executor_lost->reason, FLM_REASON_EXECUTOR_LOST);
    assert_non_null(strstr(m->executor_lost->text, "did not answer"));
    flm__message__free_unpacked(m, NULL);
    node_up(&n, 1, 2);
    /* The other one, which does answer, is still there. */
    node_task(&n, 0, 1, "x");
    assert_string_equal(node_result(&n, 0, 1), "x");
    node_stop(&n);
}

static void replaces_the_program(void **state)
{
    struct node n;
    (void)state;
    node_start(&n, one_slot);
    node_wait_up(&n, 1);
    /* flm-executor gives way to the program of shim self, and nobody speaks of a loss. */
    node_say_bind(&n, 0, 0, FLM_SHIM_SELF, FLM_BUILDDIR "/tests/unit/executor_self");
    node_up(&n, 0, 2);
    Flm__Message *m = node_hear(&n, FLM__MESSAGE__BODY_BOUND);
    assert_int_equal(m->bound->life, 2);
    flm__message__free_unpacked(m, NULL);
    node_task(&n, 0, 3, "echo");
    assert_string_equal(node_result(&n, 0, 3), "echo");
    node_unbind(&n, 0);
    /* The same again needs no new process, another does. */
    node_bind(&n, 0, FLM_SHIM_SELF, FLM_BUILDDIR "/tests/unit/executor_self");
    node_unbind(&n, 0);
    node_say_bind(&n, 0, 0, FLM_SHIM_EXEC, "cat");
    node_up(&n, 0, 3);
    flm__message__free_unpacked(node_hear(&n, FLM__MESSAGE__BODY_BOUND), NULL);
    node_stop(&n);
}

static void reports_a_program_that_is_not_there(void **state)
{
    static const char *const programs[] = {"/no/such/program", "no-such-program", "/etc/passwd",
                                           "/bin/false"};
    struct node n;
    (void)state;
    node_start(&n, one_slot);
    node_wait_up(&n, 1);
    for (unsigned i = 0; i < sizeof(programs) / sizeof(*programs); i++) {
        uint32_t life = n.lanes[0].life;
        node_say_bind(&n, 0, 0, FLM_SHIM_SELF, programs[i]);
        Flm__Message *m = node_hear(&n, FLM__MESSAGE__BODY_BIND_FAILED);
        assert_int_equal(m->bind_failed->life, life);
        assert_int_equal(m->bind_failed->session, NODE_SESSION);
        assert_int_equal(m->bind_failed->code, FLM_EBIND);
        assert_true(strlen(m->bind_failed->text) > 10);
        flm__message__free_unpacked(m, NULL);
        flm__message__free_unpacked(hear_lost(&n, 0), NULL);
        node_wait_up(&n, 1);
    }
    node_bind(&n, 0, FLM_SHIM_EXEC, "cat");
    node_stop(&n);
}

static void keeps_logs(void **state)
{
    struct node n;
    (void)state;
    node_start(&n, (const char *const[]){"--slots", "2", "--bind", "none", "--executor-wrapper",
                                         "sh -c 'echo out; echo \"er r\" >&2; exec \"$0\"'",
                                         "--wrap-executor", "1", NULL});
    node_wait_up(&n, 2);
    Flm__Message *m = node_logs(&n, "", -1, 0, 2);
    assert_int_equal(m->reply->n_lines, 2);
    uint64_t cursor = m->reply->cursor;
    for (unsigned i = 0; i < 2; i++) {
        const Flm__LogLine *l = m->reply->lines[i];
        assert_string_equal(l->text, l->error_stream ? "er r" : "out");
        assert_string_equal(l->session, "");
        assert_true(l->number > 0 && l->number <= cursor);
    }
    flm__message__free_unpacked(m, NULL);
    /* Tagged with executor and session from now on. */
    node_bind(&n, 0, FLM_SHIM_EXEC, "echo of a task >&2");
    node_task(&n, 0, 1, "");
    node_result(&n, 0, 1);
    m = node_logs(&n, "s-12", -1, cursor, 1);
    assert_int_equal(m->reply->n_lines, 1);
    assert_string_equal(m->reply->lines[0]->text, "of a task");
    assert_string_equal(m->reply->lines[0]->session, "s-12");
    assert_int_equal(m->reply->lines[0]->executor, 100);
    assert_true(m->reply->lines[0]->error_stream);
    flm__message__free_unpacked(m, NULL);
    m = node_logs(&n, "another", -1, 0, 0);
    assert_int_equal(m->reply->n_lines, 0);
    flm__message__free_unpacked(m, NULL);
    m = node_logs(&n, "", 101, cursor, 0);
    assert_int_equal(m->reply->n_lines, 0);
    flm__message__free_unpacked(m, NULL);
    node_stop(&n);
}

static void ends_with_flmd(void **state)
{
    struct node n;
    (void)state;
    node_start(&n, two_slots);
    node_wait_up(&n, 2);
    pid_t pids[2] = {n.lanes[0].pid, n.lanes[1].pid};
    flm__conn_free(n.conn);
    n.conn = NULL;
    int status = node_reap(&n);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    node_wait_gone(pids[0]);
    node_wait_gone(pids[1]);
}

static void ends_on_sigterm(void **state)
{
    struct node n;
    char script[400], mark[100];
    (void)state;
    node_start(&n, one_slot);
    node_wait_up(&n, 1);
    /* Even with a task that does not want to end. */
    snprintf(mark, sizeof(mark), "%s/pid", n.directory);
    snprintf(script, sizeof(script), "trap '' TERM; echo $$ >%s; while :; do sleep 0.1; done", mark);
    node_bind(&n, 0, FLM_SHIM_EXEC, script);
    node_task(&n, 0, 1, "");
    pid_t child = read_pid(mark), executor = n.lanes[0].pid;
    unlink(mark);
    kill(n.pid, SIGTERM);
    Flm__Message *m = hear_lost(&n, 0);
    assert_true(m->executor_lost->expected);
    flm__message__free_unpacked(m, NULL);
    int status = node_reap(&n);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    node_wait_gone(executor);
    node_wait_gone(child);
}

/* The agent's own directory in the one that it was given. */
static void agent_directory(const struct node *n, char *out, size_t size)
{
    DIR *dir = opendir(n->directory);
    assert_non_null(dir);
    *out = 0;
    for (struct dirent *e; (e = readdir(dir));)
        if (strncmp(e->d_name, "node-", 5) == 0)
            snprintf(out, size, "%s/%s", n->directory, e->d_name);
    closedir(dir);
    assert_true(*out);
}

static void executors_end_with_a_killed_agent(void **state)
{
    struct node n;
    char path[400];
    (void)state;
    node_start(&n, two_slots);
    node_wait_up(&n, 2);
    pid_t pids[2] = {n.lanes[0].pid, n.lanes[1].pid};
    kill(n.pid, SIGKILL);
    agent_directory(&n, path, sizeof(path));
    int status = node_reap(&n);
    assert_true(WIFSIGNALED(status));
    node_wait_gone(pids[0]);
    node_wait_gone(pids[1]);
    char socket[420];
    snprintf(socket, sizeof(socket), "%s/s", path);
    unlink(socket);
    rmdir(path);
    rmdir(n.directory);
}

/* A variable of a process's environment as it was started with. */
static void environment_of(pid_t pid, const char *name, char *out, size_t n)
{
    char path[64], *entry = NULL;
    size_t room = 0;
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    *out = 0;
    while (getdelim(&entry, &room, 0, f) > 0)
        if (strncmp(entry, name, strlen(name)) == 0 && entry[strlen(name)] == '=')
            snprintf(out, n, "%s", entry + strlen(name) + 1);
    free(entry);
    fclose(f);
}

/* Whether the agent at endpoint takes somebody who says that. */
static bool is_taken(const char *endpoint, int role, uint32_t lane, uint32_t life)
{
    flm_error error;
    int fd = flm__dial(endpoint, flm__now_ns() + 5000000000, &error);
    assert_true(fd >= 0);
    struct flm__conn *c = flm__conn_new_take(fd);
    Flm__Slot slot = FLM__SLOT__INIT;
    slot.lane = lane;
    slot.life = life;
    slot.token = 12345;
    Flm__Hello hello = FLM__HELLO__INIT;
    hello.role = role;
    hello.slot = &slot;
    Flm__Message *ready = NULL;
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    int rc = flm__handshake(c, &hello, NULL, flm__now_ns() + 5000000000, &ready, fds, &n_fds, &error);
    if (rc == 0)
        flm__message__free_unpacked(ready, NULL);
    flm__conn_free(c);
    return rc == 0;
}

/* While the agent waits for an executor, who knows all but the token is not it. */
static void a_wrong_token_gets_nowhere(void **state)
{
    struct node n;
    char script[100], endpoint[420], path[400];
    char directory[] = "/tmp/flm-test-token-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(script, sizeof(script), "%s/x", directory);
    FILE *f = fopen(script, "w");
    fprintf(f, "#!/bin/sh\nexec sleep 1000\n");
    fclose(f);
    chmod(script, 0700);
    node_start(&n, (const char *const[]){"--slots", "1", "--executor", script, NULL});
    flm__message__free_unpacked(node_logs(&n, "", -1, 0, 0), NULL); /* it has begun */
    agent_directory(&n, path, sizeof(path));
    snprintf(endpoint, sizeof(endpoint), "unix:%s/s", path);
    assert_false(is_taken(endpoint, FLM__ROLE__ROLE_EXECUTOR, 0, 1));
    node_stop(&n);
    unlink(script);
    rmdir(directory);
}

static void strangers_get_nowhere(void **state)
{
    struct node n;
    flm_error error;
    char endpoint[200];
    (void)state;
    node_start(&n, one_slot);
    node_wait_up(&n, 1);
    environment_of(n.lanes[0].pid, "FLM_AGENT", endpoint, sizeof(endpoint));
    assert_false(is_taken(endpoint, FLM__ROLE__ROLE_EXECUTOR, 0, 1));
    assert_false(is_taken(endpoint, FLM__ROLE__ROLE_EXECUTOR, 0, 2));
    assert_false(is_taken(endpoint, FLM__ROLE__ROLE_EXECUTOR, 4000, 1));
    assert_false(is_taken(endpoint, FLM__ROLE__ROLE_CLIENT, 0, 1));
    /* Bytes that are nothing; and one that says nothing, which is cut off some day. */
    int fd = flm__dial(endpoint, flm__now_ns() + 5000000000, &error);
    assert_int_equal(write(fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
    char byte;
    assert_true(read(fd, &byte, 1) <= 0);
    close(fd);
    int silent = flm__dial(endpoint, flm__now_ns() + 5000000000, &error);
    node_bind(&n, 0, FLM_SHIM_EXEC, "cat");
    node_task(&n, 0, 1, "still here");
    assert_string_equal(node_result(&n, 0, 1), "still here");
    close(silent);
    node_stop(&n);
}

static void backs_off(void **state)
{
    struct node n;
    char script[100], count[100];
    struct stat st;
    (void)state;
    char directory[] = "/tmp/flm-test-backoff-XXXXXX";
    assert_non_null(mkdtemp(directory));
    snprintf(script, sizeof(script), "%s/x", directory);
    snprintf(count, sizeof(count), "%s/n", directory);
    FILE *f = fopen(script, "w");
    fprintf(f, "#!/bin/sh\nprintf x >>%s\nexit 9\n", count);
    fclose(f);
    chmod(script, 0700);
    node_start(&n, (const char *const[]){"--slots", "1", "--executor", script, NULL});
    wait_for_file(count);
    usleep(1000000);
    assert_int_equal(stat(count, &st), 0);
    /* At 0, 0.1, 0.3, 0.7 s; a loop without back-off would be at hundreds. */
    assert_true(st.st_size >= 2 && st.st_size < 8);
    node_stop(&n);
    unlink(script);
    unlink(count);
    rmdir(directory);
}

static void environment_of_executors(void **state)
{
    struct node n;
    char text[200];
    (void)state;
    setenv("OMP_NUM_THREADS", "77", 1);
    setenv("PMIX_RANK", "3", 1);
    setenv("SLURM_PROCID", "3", 1);
    setenv("SLURM_JOB_ID", "42", 1);
    node_start(&n, (const char *const[]){"--slots", "1", "--cores-per-slot", "2", "--bind", "none", NULL});
    node_wait_up(&n, 1);
    static const char *const expected[][2] = {{"OMP_NUM_THREADS", "77"}, {"OPENBLAS_NUM_THREADS", "2"},
                                              {"PMIX_RANK", ""},         {"SLURM_PROCID", ""},
                                              {"SLURM_JOB_ID", "42"},    {"FLM_LANE", "0"},
                                              {"FLM_LIFE", "1"}};
    for (unsigned i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
        environment_of(n.lanes[0].pid, expected[i][0], text, sizeof(text));
        assert_string_equal(text, expected[i][1]);
    }
    unsetenv("OMP_NUM_THREADS");
    unsetenv("PMIX_RANK");
    unsetenv("SLURM_PROCID");
    unsetenv("SLURM_JOB_ID");
    node_stop(&n);
}

static int run_node(const char *const *arguments)
{
    const char *argv[12] = {FLM_BUILDDIR "/bin/flm-node"};
    int status, n = 1;
    pid_t pid;
    while (*arguments)
        argv[n++] = *arguments++;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    assert_int_equal(posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void refuses_bad_command_lines(void **state)
{
    static const struct {
        const char *arguments[8];
        int status;
    } cases[] = {
        {{NULL}, 64},
        {{"--endpoint", "unix:/no/such/socket", NULL}, 1},
        {{"--endpoint", "what is this", NULL}, 1},
        {{"--endpoint", "unix:/x", "--slots", "-1", NULL}, 64},
        {{"--endpoint", "unix:/x", "--slots", "5000", NULL}, 64},
        {{"--endpoint", "unix:/x", "--bind", "moon", NULL}, 64},
        {{"--endpoint", "unix:/x", "--loss-time", "0", NULL}, 64},
        {{"--endpoint", "unix:/x", "--directory", "/no/such/directory", NULL}, 1},
        {{"--endpoint", "unix:/x", "extra", NULL}, 64},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(run_node(cases[i].arguments), cases[i].status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_hello),
        cmocka_unit_test(binds_runs_unbinds),
        cmocka_unit_test(replaces_a_killed_executor),
        cmocka_unit_test(tells_how_it_ended),
        cmocka_unit_test(kills_when_told),
        cmocka_unit_test(kills_a_silent_executor),
        cmocka_unit_test(replaces_the_program),
        cmocka_unit_test(reports_a_program_that_is_not_there),
        cmocka_unit_test(keeps_logs),
        cmocka_unit_test(ends_with_flmd),
        cmocka_unit_test(ends_on_sigterm),
        cmocka_unit_test(executors_end_with_a_killed_agent),
        cmocka_unit_test(a_wrong_token_gets_nowhere),
        cmocka_unit_test(strangers_get_nowhere),
        cmocka_unit_test(backs_off),
        cmocka_unit_test(environment_of_executors),
        cmocka_unit_test(refuses_bad_command_lines),
    };
    signal(SIGPIPE, SIG_IGN);
    cmocka_set_test_filter(getenv("FLM_TEST")); /* NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
