/* flm-backend at the other end of a socket pair, with the plugins fake and local, and some that do not fit.
 */
#define _GNU_SOURCE
#include "base/time.h"
#include "net/conn.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIND(k) FLM__BLOCK_EVENT__KIND__##k
#define FAKE    FLM_BUILDDIR "/lib/flame/.libs/flm-backend-fake.so"

extern char **environ;

struct backend {
    pid_t pid;
    struct flm__conn *conn;
};

static int64_t deadline(void)
{
    return flm__now_ns() + 60 * 1000000000LL;
}

static void start(struct backend *b, const char *const *arguments)
{
    const char *argv[16] = {FLM_BUILDDIR "/bin/flm-backend"};
    int pair[2], argc = 1;
    posix_spawn_file_actions_t actions;
    while (*arguments)
        argv[argc++] = *arguments++;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
    close(pair[1]);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs, 3);
    assert_int_equal(posix_spawn(&b->pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    close(theirs);
    b->conn = flm__conn_new_take(pair[0]);
}

static int reap(struct backend *b)
{
    int status;
    flm__conn_free(b->conn);
    assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
    return status;
}

/* The next event, which must be of this kind. Freed by the caller. */
static Flm__Message *hear(struct backend *b, int kind)
{
    Flm__Message *m;
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    assert_int_equal(flm__conn_wait_message(b->conn, deadline(), &m, fds, &n_fds), 1);
    assert_int_equal(m->body_case, FLM__MESSAGE__BODY_BLOCK_EVENT);
    if ((int)m->block_event->kind != kind)
        print_message("event %d: %s\n", m->block_event->kind, m->block_event->text);
    assert_int_equal(m->block_event->kind, kind);
    return m;
}

/* The same of this block; its text must have `part` in it. */
static void expect(struct backend *b, int kind, uint64_t block, const char *part)
{
    Flm__Message *m = hear(b, kind);
    assert_int_equal(m->block_event->block, block);
    if (!strstr(m->block_event->text, part))
        fail_msg("'%s' is not in '%s'", part, m->block_event->text);
    flm__message__free_unpacked(m, NULL);
}

static void say(struct backend *b, Flm__Message *m)
{
    assert_int_equal(flm__conn_send(b->conn, m, NULL, 0), 0);
    assert_int_equal(flm__conn_wait_sent(b->conn, deadline()), 0);
}

static void ask(struct backend *b, uint64_t block, unsigned nodes, bool dry_run, const char *const *command)
{
    Flm__BlockRequest r = FLM__BLOCK_REQUEST__INIT;
    r.block = block;
    r.nodes = nodes;
    r.name = "test";
    r.dry_run = dry_run;
    while (command && command[r.n_agent_command])
        r.n_agent_command++;
    r.agent_command = (char **)(uintptr_t)command;
    FLM__MESSAGE(m, block_request, BLOCK_REQUEST, &r);
    say(b, &m);
}

static void release(struct backend *b, uint64_t block)
{
    Flm__BlockRelease r = FLM__BLOCK_RELEASE__INIT;
    r.block = block;
    FLM__MESSAGE(m, block_release, BLOCK_RELEASE, &r);
    say(b, &m);
}

static void start_ready(struct backend *b, const char *const *arguments)
{
    start(b, arguments);
    flm__message__free_unpacked(hear(b, KIND(READY)), NULL);
}

static void expect_end_in_order(struct backend *b)
{
    int status = reap(b);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- plugins that are refused ------------------------------------------------------------------ */

static void refuses_what_does_not_fit(void **state)
{
    static const struct {
        const char *plugin, *option;
        int code;
        const char *text;
    } cases[] = {
        {FLM_ODD "abi.so", NULL, FLM_EABI, "was built for ABI 77, this flm-backend has 1"},
        {FLM_ODD "small.so", NULL, FLM_EABI, "has 16 bytes"},
        {FLM_ODD "holes.so", NULL, FLM_EABI, "lacks one of"},
        {FLM_ODD "nothing.so", NULL, FLM_ELOAD, "no symbol flm_backend"},
        {"no-such-plugin", NULL, FLM_ENOTFOUND, "there is no backend 'no-such-plugin'"},
        {"/no/such/file.so", NULL, FLM_ELOAD, "/no/such/file.so"},
        {"/etc/passwd", NULL, FLM_ELOAD, "/etc/passwd"},
        {FAKE, "fail=no luck", FLM_EIO, "no luck"},
        {"local", "nodes=0", FLM_EINVAL, "nodes=0"},
        {"local", "nodes=many", FLM_EINVAL, "nodes=many"},
        {"local", "colour=red", FLM_EINVAL, "no option 'colour=red'"},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct backend b;
        start(&b, (const char *const[]){cases[i].plugin, cases[i].option, NULL});
        Flm__Message *m = hear(&b, KIND(REFUSED));
        assert_int_equal(m->block_event->code, cases[i].code);
        if (!strstr(m->block_event->text, cases[i].text))
            fail_msg("'%s' is not in '%s'", cases[i].text, m->block_event->text);
        flm__message__free_unpacked(m, NULL);
        int status = reap(&b);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
    }
}

/* ---- fake -------------------------------------------------------------------------------------- */

static void grants_and_releases(void **state)
{
    struct backend b;
    (void)state;
    start_ready(&b, (const char *const[]){FAKE, NULL});
    for (uint64_t block = 1; block < 4; block++) {
        ask(&b, block, 1, false, NULL);
        expect(&b, KIND(GRANTED), block, "fake-1");
    }
    release(&b, 2);
    expect(&b, KIND(ENDED), 2, "released");
    ask(&b, 3, 1, false, NULL);
    expect(&b, KIND(LOG), 3, "already");
    release(&b, 99); /* nobody minds */
    /* The end of the connection ends all. */
    shutdown(flm__conn_fd(b.conn), SHUT_WR);
    for (int left = 2; left; left--)
        flm__message__free_unpacked(hear(&b, KIND(ENDED)), NULL);
    expect_end_in_order(&b);
}

static void answers_later(void **state)
{
    struct backend b;
    (void)state;
    start_ready(&b,
                (const char *const[]){FAKE, "delay=20", "waiting=the queue is long", "end-after=20", NULL});
    ask(&b, 1, 1, false, NULL);
    expect(&b, KIND(WAITING), 1, "the queue is long");
    expect(&b, KIND(GRANTED), 1, "");
    expect(&b, KIND(ENDED), 1, "its time is over");
    ask(&b, 1, 1, false, NULL); /* the number is free again */
    expect(&b, KIND(WAITING), 1, "");
    /* Ends while an answer is due. */
    shutdown(flm__conn_fd(b.conn), SHUT_WR);
    expect_end_in_order(&b);
}

static void refuses_blocks(void **state)
{
    struct backend b;
    (void)state;
    start_ready(&b, (const char *const[]){FAKE, "refuse=no account", NULL});
    ask(&b, 4, 1, false, NULL);
    expect(&b, KIND(REFUSED), 4, "no account");
    ask(&b, 5, 1, true, NULL);
    Flm__Message *m = hear(&b, KIND(DRY_RUN));
    assert_int_equal(m->block_event->code, FLM_ENOTSUP); /* fake has no dry run */
    flm__message__free_unpacked(m, NULL);
    shutdown(flm__conn_fd(b.conn), SHUT_WR);
    expect_end_in_order(&b);
}

static void watches_over_the_contract(void **state)
{
    struct backend b;
    (void)state;
    start_ready(&b, (const char *const[]){FAKE, "odd=twice", NULL});
    ask(&b, 1, 1, false, NULL);
    expect(&b, KIND(GRANTED), 1, "fake-1");
    expect(&b, KIND(LOG), 1, "'granted' of block 1, which is granted already");
    release(&b, 1);
    expect(&b, KIND(ENDED), 1, "released");
    expect(&b, KIND(LOG), 1, "'ended' of block 1, which is not asked for");
    shutdown(flm__conn_fd(b.conn), SHUT_WR);
    expect_end_in_order(&b);
    start_ready(&b, (const char *const[]){FAKE, "odd=stranger", NULL});
    ask(&b, 1, 1, false, NULL);
    expect(&b, KIND(LOG), 1001, "not asked for");
    expect(&b, KIND(GRANTED), 1, "");
    reap(&b);
    start_ready(&b, (const char *const[]){FAKE, "odd=early", NULL});
    ask(&b, 1, 1, false, NULL);
    expect(&b, KIND(LOG), 1, "not granted");
    expect(&b, KIND(GRANTED), 1, "");
    reap(&b);
}

static void a_library_may_exit(void **state)
{
    struct backend b;
    Flm__Message *m;
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    (void)state;
    start_ready(&b, (const char *const[]){FAKE, "exit=9", NULL});
    ask(&b, 1, 1, false, NULL);
    assert_int_equal(flm__conn_wait_message(b.conn, deadline(), &m, fds, &n_fds), FLM_EDISCONNECTED);
    int status = reap(&b);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 9);
}

static void survives_nonsense(void **state)
{
    struct backend b;
    (void)state;
    start_ready(&b, (const char *const[]){FAKE, NULL});
    Flm__Ping ping = FLM__PING__INIT;
    FLM__MESSAGE(m, ping, PING, &ping);
    say(&b, &m); /* not for it */
    ask(&b, 1, 0, false, NULL);
    expect(&b, KIND(GRANTED), 1, "");
    assert_int_equal(write(flm__conn_fd(b.conn), "GET / HTTP/1.0\r\n\r\n", 18), 18);
    flm__message__free_unpacked(hear(&b, KIND(ENDED)), NULL);
    int status = reap(&b);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

/* ---- local ------------------------------------------------------------------------------------- */

static void tells_the_world_command(void **state)
{
    static const struct {
        const char *option, *words;
    } cases[] = {
        {NULL, "{mpirun} -n {n} "},
        {"world=mpiexec.hydra --np={n} -launcher fork", "mpiexec.hydra --np={n} -launcher fork "},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct backend b;
        char words[200] = "";
        start(&b, (const char *const[]){"local", cases[i].option, NULL});
        Flm__Message *m = hear(&b, KIND(READY));
        for (size_t k = 0; k < m->block_event->n_world_command; k++)
            strcat(strcat(words, m->block_event->world_command[k]), " ");
        assert_string_equal(words, cases[i].words);
        flm__message__free_unpacked(m, NULL);
        shutdown(flm__conn_fd(b.conn), SHUT_WR);
        expect_end_in_order(&b);
    }
}

static void starts_agents(void **state)
{
    struct backend b;
    char host[128] = "", expected[400];
    (void)state;
    gethostname(host, sizeof(host) - 1);
    start_ready(&b, (const char *const[]){"local", NULL});
    /* The command runs; how it ends is told. */
    ask(&b, 1, 1, false, (const char *const[]){"sh", "-c", "exit 5", "agent", NULL});
    expect(&b, KIND(GRANTED), 1, "local");
    expect(&b, KIND(ENDED), 1, "exited with status 5");
    ask(&b, 2, 1, false, (const char *const[]){"sh", "-c", "kill -9 $$", "agent", NULL});
    expect(&b, KIND(GRANTED), 2, "local");
    expect(&b, KIND(ENDED), 2, "signal 9");
    ask(&b, 3, 1, false, (const char *const[]){"/no/such/program", NULL});
    expect(&b, KIND(REFUSED), 3, "/no/such/program");
    ask(&b, 4, 1, false, NULL);
    expect(&b, KIND(REFUSED), 4, "no agent command");
    ask(&b, 5, 9999, false, (const char *const[]){"true", NULL});
    expect(&b, KIND(REFUSED), 5, "9999");
    /* What it would do, and what it does, are the same. */
    ask(&b, 6, 2, true, (const char *const[]){"flm-node", "-n", "2", NULL});
    snprintf(expected, sizeof(expected),
             "flm-node -n 2 --name %s.0 --relay\nflm-node -n 2 --name %s.1 --relay\n", host, host);
    expect(&b, KIND(DRY_RUN), 6, expected);
    ask(&b, 7, 1, false,
        (const char *const[]){"sh", "-c", "[ \"$0 $1 $2\" = \"a --name $(hostname)\" ] && exit 3", "a",
                              NULL});
    expect(&b, KIND(GRANTED), 7, "");
    expect(&b, KIND(ENDED), 7, "status 3");
    shutdown(flm__conn_fd(b.conn), SHUT_WR);
    expect_end_in_order(&b);
}

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

static void agents_end(void **state)
{
    struct backend b;
    char directory[] = "/tmp/flm-test-backend-XXXXXX", script[200], mark[100];
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(mark, sizeof(mark), "%s/pid", directory);
    snprintf(script, sizeof(script), "trap 'exit 0' TERM; echo $$ >%s; while :; do sleep 0.02; done", mark);
    start_ready(&b, (const char *const[]){"local", NULL});
    ask(&b, 1, 1, false, (const char *const[]){"sh", "-c", script, NULL});
    expect(&b, KIND(GRANTED), 1, "");
    pid_t pid = read_pid(mark);
    release(&b, 1);
    expect(&b, KIND(ENDED), 1, "released");
    assert_int_equal(kill(pid, 0), -1);
    unlink(mark);
    /* The same at the end of flmd. */
    ask(&b, 2, 1, false, (const char *const[]){"sh", "-c", script, NULL});
    expect(&b, KIND(GRANTED), 2, "");
    pid = read_pid(mark);
    expect_end_in_order(&b);
    assert_int_equal(kill(pid, 0), -1);
    unlink(mark);
    rmdir(directory);
}

static void refuses_bad_command_lines(void **state)
{
    static const char *const cases[][4] = {
        {NULL}, {"local", "nonsense", NULL}, {"local", "=x", NULL}, {"--no", NULL}};
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct backend b;
        int saved = dup(2), null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        start(&b, cases[i]);
        dup2(saved, 2);
        close(saved);
        close(null);
        int status = reap(&b);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(grants_and_releases),
        cmocka_unit_test(answers_later),
        cmocka_unit_test(refuses_blocks),
        cmocka_unit_test(watches_over_the_contract),
        cmocka_unit_test(a_library_may_exit),
        cmocka_unit_test(survives_nonsense),
        cmocka_unit_test(tells_the_world_command),
        cmocka_unit_test(starts_agents),
        cmocka_unit_test(agents_end),
        cmocka_unit_test(refuses_bad_command_lines),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
