#define _GNU_SOURCE
#include "node_fixture.h"

#include "base/time.h"
#include "net/ring.h"
#include "wire/record.h"

#include <dirent.h>
#include <errno.h>
#include <flm/admin.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

static const int64_t patience_ns = 60 * 1000000000LL;
enum { ARGUMENTS = 32 };

static int64_t deadline(void)
{
    return flm__now_ns() + patience_ns;
}

static void greet(struct node *n)
{
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    struct pollfd p = {n->listener, POLLIN, 0};
    assert_int_equal(poll(&p, 1, (int)(patience_ns / 1000000)), 1);
    int fd = accept(n->listener, NULL, NULL);
    assert_true(fd >= 0);
    n->conn = flm__conn_new_take(fd);
    assert_int_equal(flm__conn_wait_message(n->conn, deadline(), &n->hello, fds, &n_fds), 1);
    assert_int_equal(n->hello->body_case, FLM__MESSAGE__BODY_HELLO);
    assert_int_equal(n->hello->hello->role, FLM__ROLE__ROLE_AGENT);
    Flm__Ready ready = FLM__READY__INIT;
    ready.version = FLM__PROTOCOL_VERSION;
    FLM__MESSAGE(m, ready, READY, &ready);
    node_say(n, &m, NULL, 0);
}

void node_start(struct node *n, const char *const *arguments)
{
    flm_error error = {0, ""};
    char path[100];
    const char *argv[ARGUMENTS] = {FLM_BUILDDIR "/bin/flm-node",
                                   "--endpoint",
                                   n->endpoint,
                                   "--directory",
                                   n->directory,
                                   "--name",
                                   "here"};
    int argc = 7;
    memset(n, 0, sizeof(*n));
    snprintf(n->directory, sizeof(n->directory), "/tmp/flm-test-node-XXXXXX");
    assert_non_null(mkdtemp(n->directory));
    snprintf(path, sizeof(path), "unix:%s/m", n->directory);
    n->listener = flm__listen(path, n->endpoint, sizeof(n->endpoint), &error);
    assert_true(n->listener >= 0);
    while (arguments && *arguments && argc < ARGUMENTS - 1)
        argv[argc++] = *arguments++;
    argv[argc] = NULL;
    assert_int_equal(posix_spawn(&n->pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ), 0);
    greet(n);
}

void node_say(struct node *n, Flm__Message *m, const int *fds, unsigned n_fds)
{
    assert_int_equal(flm__conn_send(n->conn, m, fds, n_fds), 0);
    assert_int_equal(flm__conn_wait_sent(n->conn, deadline()), 0);
}

Flm__Message *node_hear(struct node *n, int body_case)
{
    Flm__Message *m;
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    int rc = flm__conn_wait_message(n->conn, deadline(), &m, fds, &n_fds);
    if (rc != 1)
        print_message("waiting for message %d: %s\n", body_case, flm_strerror(rc));
    assert_int_equal(rc, 1);
    flm__close_fds(fds, n_fds);
    if ((int)m->body_case != body_case)
        print_message("message %d came instead of %d\n", (int)m->body_case, body_case);
    if ((int)m->body_case != body_case && m->body_case == FLM__MESSAGE__BODY_EXECUTOR_LOST)
        print_message("lost: %s\n", m->executor_lost->text);
    assert_int_equal(m->body_case, body_case);
    return m;
}

static void give_ring(struct node *n, uint32_t lane)
{
    struct node_lane *l = &n->lanes[lane];
    flm_error error;
    int memfd;
    flm__link_destroy(l->link);
    if (l->bell)
        flm__close_fds((int[]){l->bell, l->executor_bell}, 2);
    l->bell = eventfd(0, EFD_CLOEXEC);
    l->executor_bell = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(flm__ring_create(FLM__RING_BYTES, &memfd, &error), 0);
    l->link = flm__ring_open(memfd, FLM__RING_BYTES, true, l->executor_bell, &error);
    assert_non_null(l->link);
    Flm__ExecutorRing ring = FLM__EXECUTOR_RING__INIT;
    ring.lane = lane;
    ring.life = l->life;
    ring.bytes = FLM__RING_BYTES;
    ring.executor = lane + 100;
    FLM__MESSAGE(m, executor_ring, EXECUTOR_RING, &ring);
    node_say(n, &m, (int[]){memfd, l->bell, l->executor_bell}, 3);
    close(memfd);
}

static uint32_t hear_up(struct node *n)
{
    Flm__Message *m = node_hear(n, FLM__MESSAGE__BODY_EXECUTOR_UP);
    uint32_t lane = m->executor_up->lane;
    assert_true(lane < NODE_SLOTS_MAX);
    struct node_lane *l = &n->lanes[lane];
    assert_true(m->executor_up->life > l->life);
    l->life = m->executor_up->life;
    l->pid = m->executor_up->pid;
    l->restarts = m->executor_up->restarts;
    flm__message__free_unpacked(m, NULL);
    give_ring(n, lane);
    return lane;
}

void node_wait_up(struct node *n, unsigned n_slots)
{
    unsigned seen = 0;
    while (n_slots--)
        seen |= 1u << hear_up(n);
    assert_int_equal(seen & (seen + 1), 0);
}

void node_up(struct node *n, uint32_t lane, uint32_t life)
{
    assert_int_equal(hear_up(n), lane);
    assert_int_equal(n->lanes[lane].life, life);
}

void node_say_bind(struct node *n, uint32_t lane, uint32_t life, int shim, const char *command)
{
    char *words[] = {"sh", "-c", (char *)(uintptr_t)command}, *alone[] = {(char *)(uintptr_t)command};
    Flm__Application application = FLM__APPLICATION__INIT;
    application.name = "app";
    application.shim = shim;
    application.exec_mode = FLM_EXEC_STDIN;
    application.command = shim == FLM_SHIM_SELF ? alone : words;
    application.n_command = shim == FLM_SHIM_SELF ? 1 : 3;
    Flm__Bind bind = FLM__BIND__INIT;
    bind.lane = lane;
    bind.life = life ? life : n->lanes[lane].life;
    bind.session = NODE_SESSION;
    bind.session_id = "s-12";
    bind.application = &application;
    bind.executor = lane + 100;
    FLM__MESSAGE(m, bind, BIND, &bind);
    node_say(n, &m, NULL, 0);
}

void node_bind(struct node *n, uint32_t lane, int shim, const char *command)
{
    node_say_bind(n, lane, 0, shim, command);
    Flm__Message *m = node_hear(n, FLM__MESSAGE__BODY_BOUND);
    assert_int_equal(m->bound->lane, lane);
    assert_int_equal(m->bound->life, n->lanes[lane].life);
    assert_int_equal(m->bound->session, NODE_SESSION);
    flm__message__free_unpacked(m, NULL);
}

void node_unbind(struct node *n, uint32_t lane)
{
    Flm__Unbind unbind = FLM__UNBIND__INIT;
    unbind.lane = lane;
    unbind.life = n->lanes[lane].life;
    unbind.session = NODE_SESSION;
    FLM__MESSAGE(m, unbind, UNBIND, &unbind);
    node_say(n, &m, NULL, 0);
    Flm__Message *answer = node_hear(n, FLM__MESSAGE__BODY_UNBOUND);
    assert_int_equal(answer->unbound->lane, lane);
    assert_int_equal(answer->unbound->life, n->lanes[lane].life);
    flm__message__free_unpacked(answer, NULL);
}

void node_kill(struct node *n, uint32_t lane, int reason, const char *text)
{
    Flm__Kill kill_it = FLM__KILL__INIT;
    kill_it.lane = lane;
    kill_it.life = n->lanes[lane].life;
    kill_it.reason = reason;
    kill_it.text = (char *)(uintptr_t)text;
    FLM__MESSAGE(m, kill, KILL, &kill_it);
    node_say(n, &m, NULL, 0);
}

void node_task(struct node *n, uint32_t lane, uint64_t task, const char *input)
{
    struct node_lane *l = &n->lanes[lane];
    struct flm__record r = {.size = (uint32_t)strlen(input),
                            .type = FLM__TASK,
                            .session = NODE_SESSION,
                            .task = task,
                            .lane = (uint16_t)(lane | (l->life & 15) << 12)};
    uint32_t bytes = flm__record_bytes(r.size);
    char *room = flm__link_reserve(l->link, bytes);
    assert_non_null(room);
    memset(room, 0, bytes);
    memcpy(room, &r, sizeof(r));
    memcpy(room + sizeof(r), input, r.size);
    flm__link_commit(l->link, bytes);
    flm__link_flush(l->link);
}

const char *node_result(struct node *n, uint32_t lane, uint64_t task)
{
    static char text[4096];
    struct flm__record r;
    struct flm__result_parts parts;
    const void *data;
    int64_t until = deadline();
    size_t there;
    while ((there = flm__link_peek(n->lanes[lane].link, &data)) == 0) {
        assert_true(flm__now_ns() < until);
        usleep(1000);
    }
    uint32_t bytes = flm__record_read(data, there, &r);
    assert_true(bytes > 0);
    assert_int_equal(r.task, task);
    assert_true(flm__result_split(&r, flm__record_payload(data), &parts));
    snprintf(text, sizeof(text), "%.*s", (int)parts.size, parts.size ? (const char *)parts.output : "");
    flm__link_consume(n->lanes[lane].link, bytes);
    return text;
}

Flm__Message *node_logs(struct node *n, const char *session, int executor, uint64_t cursor,
                        unsigned at_least)
{
    static uint64_t id = 1000;
    int64_t until = deadline();
    for (;;) {
        Flm__LogQuery query = FLM__LOG_QUERY__INIT;
        query.session = (char *)(uintptr_t)session;
        query.executor = executor;
        query.cursor = cursor;
        Flm__Request request = FLM__REQUEST__INIT;
        request.id = ++id;
        request.verb_case = FLM__REQUEST__VERB_READ_LOGS;
        request.read_logs = &query;
        FLM__MESSAGE(m, request, REQUEST, &request);
        node_say(n, &m, NULL, 0);
        Flm__Message *answer = node_hear(n, FLM__MESSAGE__BODY_REPLY);
        assert_int_equal(answer->reply->id, id);
        assert_int_equal(answer->reply->code, 0);
        if (answer->reply->n_lines >= at_least)
            return answer;
        flm__message__free_unpacked(answer, NULL);
        assert_true(flm__now_ns() < until);
        usleep(10000);
    }
}

static void end(struct node *n)
{
    for (unsigned i = 0; i < NODE_SLOTS_MAX; i++) {
        flm__link_destroy(n->lanes[i].link);
        if (n->lanes[i].bell)
            flm__close_fds((int[]){n->lanes[i].bell, n->lanes[i].executor_bell}, 2);
    }
    flm__conn_free(n->conn);
    flm__message__free_unpacked(n->hello, NULL);
    close(n->listener);
    unlink(n->endpoint + strlen("unix:"));
    /* The agent has removed its own folder; a killed one has not. */
    DIR *dir = opendir(n->directory);
    unsigned left = 0;
    for (struct dirent *e; dir && (e = readdir(dir));)
        left += e->d_name[0] != '.';
    closedir(dir);
    if (!left)
        rmdir(n->directory);
}

int node_reap(struct node *n)
{
    int status;
    assert_int_equal(waitpid(n->pid, &status, 0), n->pid);
    end(n);
    return status;
}

void node_stop(struct node *n)
{
    Flm__Shutdown shutdown_it = FLM__SHUTDOWN__INIT;
    shutdown_it.text = "end of the test";
    FLM__MESSAGE(m, shutdown, SHUTDOWN, &shutdown_it);
    node_say(n, &m, NULL, 0);
    int status = node_reap(n);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(access(n->directory, F_OK), -1);
    for (unsigned i = 0; i < NODE_SLOTS_MAX; i++)
        if (n->lanes[i].pid)
            node_wait_gone(n->lanes[i].pid);
}

void node_wait_gone(pid_t pid)
{
    int64_t until = deadline();
    while (kill(pid, 0) == 0 || errno != ESRCH) {
        assert_true(flm__now_ns() < until);
        usleep(5000);
    }
}
