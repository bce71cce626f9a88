/* See shim_stdio.h for the protocol. Requests and replies are pumped at the same
 * time, so that a service may answer before it has read all; outputs are read
 * straight into the room of the task's result. */
#define _GNU_SOURCE 1
#include "executor/shim_stdio.h"

#include "base/error.h"
#include "base/time.h"
#include "executor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIPE_SIZE = 1024 * 1024, FAILURE_TEXT_MAX = 64 * 1024, NO_PIDFD_MS = 5, OWN_END_MS = 200 };

struct stdio {
    struct flm__shim shim;
    struct flm__watch watch;
    struct flm__process process;
    int in, out; /* our ends of the service's stdin and stdout; -1: it does not run */
    const struct flm__shim_app *app;
    const struct flm_session_info *info;
    struct flm__environment environment;
    int common_fd, own_common_fd;
    size_t limit; /* of one output */
    uint64_t oom;
    char path[PATH_MAX];
};

/* How an exchange with the service ended. */
enum { DONE = 0, DIED, STOPPED /* it is being ended: see watch.why */ };

static struct flm__shim *stdio_create(flm_error *error)
{
    struct stdio *x = calloc(1, sizeof(*x));
    if (!x) {
        flm__error_set(error, FLM_ENOMEM, "no memory for the shim stdio");
        return NULL;
    }
    x->shim.ops = &flm__shim_stdio;
    x->process.pidfd = x->in = x->out = x->common_fd = x->own_common_fd = -1;
    int rc = flm__watch_init(&x->watch);
    if (rc) {
        flm__error_errno(error, FLM_EIO, rc, "cannot open the descriptors of the shim stdio");
        free(x);
        return NULL;
    }
    /* A service that has died is met by EPIPE. Children get the default back. */
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
    return &x->shim;
}

static void stdio_destroy(struct flm__shim *shim)
{
    struct stdio *x = (struct stdio *)shim;
    if (!x)
        return;
    flm__watch_fini(&x->watch);
    free(x);
}

/* --- the process --- */

static void close_pipes(struct stdio *x)
{
    if (x->in >= 0)
        close(x->in);
    if (x->out >= 0)
        close(x->out);
    x->in = x->out = -1;
}

/* Ends the service, politely at first, and returns its status. */
static int stop(struct stdio *x, int why)
{
    flm__watch_end(&x->watch, &x->process, why);
    close_pipes(x);
    flm__watch_wait(&x->watch, &x->process);
    return flm__process_reap(&x->process);
}

/* The end of a service that closed its output: mostly it is ending, and its own status tells why. */
static int stop_ending(struct stdio *x)
{
    int64_t until = flm__now_ns() + OWN_END_MS * 1000000LL;
    while (x->watch.why == FLM__WATCH_NONE && !flm__process_ended(&x->process)) {
        int64_t left = (until - flm__now_ns()) / 1000000;
        if (left <= 0)
            break;
        struct pollfd fd = {x->process.pidfd, POLLIN, 0};
        poll(&fd, 1, x->process.pidfd >= 0 || left < NO_PIDFD_MS ? (int)left : NO_PIDFD_MS);
    }
    return stop(x, FLM__WATCH_LIMIT);
}

/* A pipe above the first three descriptors, which a child needs for itself. */
static int open_pipe(int fds[2])
{
    int low[3], n = 0, rc = pipe2(fds, O_CLOEXEC);
    for (int i = 0; i < 2 && rc == 0; i++) {
        if (fds[i] > 2)
            continue;
        low[n++] = fds[i];
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
    }
    while (n > 0)
        close(low[--n]);
    return rc;
}

/* 0 or an errno value. */
static int spawn(struct stdio *x)
{
    int in[2], out[2];
    if (open_pipe(in) < 0)
        return errno;
    if (open_pipe(out) < 0) {
        int rc = errno;
        close(in[0]);
        close(in[1]);
        return rc;
    }
    fcntl(in[1], F_SETPIPE_SZ, PIPE_SIZE); /* as far as we may: only for speed */
    fcntl(out[0], F_SETPIPE_SZ, PIPE_SIZE);
    int rc = flm__process_start(&x->process, &(struct flm__spawn){.path = x->path,
                                                                  .argv = (char *const *)x->app->command,
                                                                  .envp = x->environment.list,
                                                                  .directory = x->app->working_directory,
                                                                  .in = in[0],
                                                                  .out = out[1],
                                                                  .err = -1,
                                                                  .common_fd = x->common_fd});
    close(in[0]);
    close(out[1]);
    x->in = in[1];
    x->out = out[0];
    fcntl(x->in, F_SETFL, O_NONBLOCK);
    fcntl(x->out, F_SETFL, O_NONBLOCK);
    if (rc)
        close_pipes(x);
    return rc;
}

/* --- pumping --- */

/* What is still to be sent. */
struct sending {
    struct iovec part[3];
    int at, n;
};

static void send_some(struct stdio *x, struct sending *s)
{
    while (s->at < s->n) {
        ssize_t done = writev(x->in, s->part + s->at, s->n - s->at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            if (errno != EAGAIN)
                s->at = s->n; /* nobody reads: what comes back tells why */
            return;
        }
        while (s->at < s->n && (size_t)done >= s->part[s->at].iov_len)
            done -= (ssize_t)s->part[s->at++].iov_len;
        if (s->at < s->n) {
            s->part[s->at].iov_base = (char *)s->part[s->at].iov_base + done;
            s->part[s->at].iov_len -= (size_t)done;
        }
    }
}

/* Sleeps until there is something to read, to send or to end. Returns true when
 * the child has ended. */
static bool sleep_for_service(struct stdio *x, const struct sending *s, bool reading)
{
    struct pollfd fds[4] = {{x->watch.wake_fd, POLLIN, 0},
                            {x->process.pidfd, POLLIN, 0},
                            {reading ? x->out : -1, POLLIN, 0},
                            {s->at < s->n ? x->in : -1, POLLOUT, 0}};
    poll(fds, 4, flm__watch_step(&x->watch, &x->process, x->process.pidfd < 0 ? NO_PIDFD_MS : -1));
    if (fds[0].revents)
        flm__watch_drain(&x->watch);
    return x->process.pidfd >= 0 ? fds[1].revents != 0 : flm__process_ended(&x->process);
}

/* Reads exactly size bytes while s is being sent; to NULL: goes on until s is
 * sent. DONE, DIED, STOPPED. */
static int exchange(struct stdio *x, struct sending *s, void *to, size_t size)
{
    size_t got = 0;
    bool ended = false;
    for (;;) {
        send_some(x, s);
        while (got < size) {
            ssize_t n = read(x->out, (char *)to + got, size - got);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno == EAGAIN)
                break;
            if (n <= 0)
                return x->watch.why ? STOPPED : DIED;
            got += (size_t)n;
        }
        if (got == size && (to || s->at == s->n))
            return DONE;
        if (ended)
            return x->watch.why ? STOPPED : DIED;
        ended = sleep_for_service(x, s, got < size);
    }
}

static uint32_t get32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

struct reply {
    uint32_t size; /* of what follows */
    uint64_t task;
    int32_t code;
};

/* Sends and reads the fixed part of the reply. */
static int ask(struct stdio *x, struct sending *s, struct reply *r)
{
    unsigned char head[FLM__STDIO_REPLY];
    int how = exchange(x, s, head, sizeof(head));
    if (how != DONE)
        return how;
    uint32_t rest = get32(head);
    r->size = rest >= FLM__STDIO_REPLY - 4 ? rest - (FLM__STDIO_REPLY - 4) : UINT32_MAX;
    memcpy(&r->task, head + 4, sizeof(r->task));
    memcpy(&r->code, head + 12, sizeof(r->code));
    return DONE;
}

/* --- start and hello --- */

/* Reads the text of a failure, at most room - 1 bytes of it. */
static int read_text(struct stdio *x, struct sending *s, uint32_t size, char *text, size_t room)
{
    char rest[4096];
    size_t keep = size < room ? size : room - 1;
    int how = exchange(x, s, text, keep);
    text[how == DONE ? keep : 0] = 0;
    for (size_t left = size - keep; left && how == DONE;) {
        size_t n = left < sizeof(rest) ? left : sizeof(rest);
        how = exchange(x, s, rest, n);
        left -= n;
    }
    return how;
}

static int say_how_it_ended(struct stdio *x, int status, flm_error *error)
{
    const char *file = x->app->command[0];
    if (x->watch.why == FLM__WATCH_CANCEL)
        return flm__error_set(error, FLM_ECANCELLED, "cancelled while '%.200s' was starting", file);
    if (x->watch.why == FLM__WATCH_DEADLINE)
        return flm__error_set(error, FLM_EBIND,
                              "'%.200s' did not answer the hello within %d s (stdio-shim)", file,
                              FLM__STDIO_START_MS / 1000);
    if (WIFSIGNALED(status))
        return flm__error_set(error, FLM_EBIND, "'%.200s' was ended by signal %d while it was starting",
                              file, WTERMSIG(status));
    return flm__error_set(
        error, FLM_EBIND,
        "'%.200s' ended with status %d while it was starting: see its messages in the logs", file,
        WEXITSTATUS(status));
}

static int greet(struct stdio *x, flm_error *error)
{
    unsigned char head[FLM__STDIO_HELLO] = "FLM1";
    uint32_t lengths[2] = {(uint32_t)strlen(x->info->session), (uint32_t)strlen(x->info->application)};
    memcpy(head + 4, lengths, sizeof(lengths));
    struct sending s = {.part = {{head, sizeof(head)},
                                 {(void *)x->info->session, lengths[0]},
                                 {(void *)x->info->application, lengths[1]}},
                        .n = 3};
    char text[FLM__SHIM_MESSAGE_MAX + 1];
    struct reply r;
    int how = ask(x, &s, &r);
    bool sound = how == DONE && r.task == 0 && r.size <= FAILURE_TEXT_MAX;
    if (how == DONE && !sound) {
        stop(x, FLM__WATCH_LIMIT);
        return flm__error_set(
            error, FLM_EBIND,
            "'%.200s' did not answer the hello as the protocol says (stdio-shim): does it print "
            "something else on stdout?",
            x->app->command[0]);
    }
    if (sound)
        how = read_text(x, &s, r.size, text, sizeof(text));
    if (how == DONE)
        how = exchange(x, &s, NULL, 0);
    if (how != DONE)
        return say_how_it_ended(x, stop_ending(x), error);
    if (r.code == 0)
        return 0;
    stop(x, FLM__WATCH_LIMIT);
    return flm__error_set(error, FLM_EBIND, "'%.100s' says it cannot serve (code %d): %.300s",
                          x->app->command[0], r.code, text);
}

/* Starts the service and waits until it is ready. */
static int start(struct stdio *x, flm_error *error)
{
    if (flm__watch_cancelled(&x->watch))
        return flm__error_set(error, FLM_ECANCELLED, "cancelled before '%.200s' was started",
                              x->app->command[0]);
    int rc = spawn(x);
    if (rc)
        return flm__error_errno(error, FLM_EBIND, rc,
                                "cannot start '%.200s', the command of application '%.100s'",
                                x->app->command[0], x->app->name);
    return greet(x, error);
}

/* --- the table --- */

static void forget_session(struct stdio *x)
{
    if (x->own_common_fd >= 0)
        close(x->own_common_fd);
    x->own_common_fd = x->common_fd = -1;
    flm__environment_free(&x->environment);
    flm__watch_forget(&x->watch);
}

static int prepare(struct stdio *x, flm_error *error)
{
    const struct flm__shim_app *app = x->app;
    if (!app->command || !app->command[0])
        return flm__error_set(error, FLM_EBIND, "application '%.100s' has no command: register it with one",
                              app->name);
    if (flm__environment_make(&x->environment, app->environment, x->info))
        return flm__error_set(error, FLM_ENOMEM, "no memory for the environment of '%s'", app->name);
    flm__environment_drop_task(&x->environment);
    int rc = flm__command_find(app->command[0], app->working_directory, x->environment.list, x->path,
                               sizeof(x->path));
    if (rc)
        return flm__error_errno(error, FLM_EBIND, rc,
                                "cannot run '%.200s', the command of application '%.100s'", app->command[0],
                                app->name);
    x->common_fd = x->info->common_size ? app->common_fd : -1;
    if (!x->info->common_size || x->common_fd >= 0)
        return 0;
    x->common_fd = x->own_common_fd = flm__memory_file("flm-common", x->info->common, x->info->common_size);
    if (x->common_fd < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "no memory for %zu bytes of common data",
                                x->info->common_size);
    return 0;
}

static int stdio_enter(struct flm__shim *shim, const struct flm__shim_app *app,
                       const struct flm_session_info *info, flm_error *error)
{
    struct stdio *x = (struct stdio *)shim;
    x->app = app;
    x->info = info;
    x->limit = FLM_MAX_PAYLOAD;
    if (app->output_limit && app->output_limit < FLM_MAX_PAYLOAD)
        x->limit = app->output_limit;
    x->oom = flm__oom_kills();
    int rc = prepare(x, error);
    if (!rc) {
        flm__watch_begin(&x->watch, 0, FLM__STDIO_START_MS);
        rc = start(x, error);
    }
    if (rc)
        forget_session(x);
    return rc;
}

static void stdio_leave(struct flm__shim *shim)
{
    struct stdio *x = (struct stdio *)shim;
    if (x->process.pid) {
        close_pipes(x); /* end of file: it shall end */
        flm__watch_begin(&x->watch, 0, FLM__STDIO_LEAVE_MS);
        flm__watch_wait(&x->watch, &x->process);
        flm__process_reap(&x->process);
    }
    forget_session(x);
}

/* The service broke the protocol or cannot go on. */
static void give_up(struct stdio *x, struct flm__shim_task *t, int code, const char *format)
{
    stop(x, FLM__WATCH_LIMIT);
    flm__outcome_fail(t, FLM_REASON_SERVICE, code, format, x->app->command[0]);
}

/* The service died in this task, or is being ended because of it. */
static void bury(struct stdio *x, struct flm__shim_task *t)
{
    int why = x->watch.why;
    int status = stop_ending(x);
    flm__outcome_of_child(t, status, why, &x->oom, x->app->command[0]);
    if (t->state == FLM_TASK_SUCCEED)
        flm__outcome_fail(t, FLM_REASON_EXIT, 0, "'%.200s' ended (status 0) before it had answered",
                          x->app->command[0]);
}

/* The body of a reply to the task's request. */
static int take_body(struct stdio *x, struct flm__shim_task *t, struct sending *s, const struct reply *r)
{
    void *to = NULL;
    int how;
    if (r->code) {
        flm__outcome_fail(t, FLM_REASON_SERVICE, r->code, "%s", "");
        how = read_text(x, s, r->size, t->message, sizeof(t->message));
    } else {
        if (r->size && !(to = t->output(t, r->size))) {
            give_up(x, t, FLM_ENOMEM, "no memory for an output of '%.200s'");
            return DONE;
        }
        how = exchange(x, s, to, r->size);
    }
    if (how == DONE)
        how = exchange(x, s, NULL, 0);
    return how;
}

static void converse(struct stdio *x, struct flm__shim_task *t)
{
    unsigned char head[FLM__STDIO_REQUEST];
    uint32_t rest = (uint32_t)(8 + t->input_size);
    memcpy(head, &rest, sizeof(rest));
    memcpy(head + 4, &t->task, sizeof(t->task));
    struct sending s = {.part = {{head, sizeof(head)}, {(void *)t->input, t->input_size}}, .n = 2};
    struct reply r;
    t->state = FLM_TASK_SUCCEED;
    t->reason = FLM_REASON_NONE;
    t->code = 0;
    t->message[0] = 0;
    int how = ask(x, &s, &r);
    if (how == DONE && (r.task != t->task || r.size == UINT32_MAX || (r.code && r.size > FAILURE_TEXT_MAX)))
        give_up(x, t, FLM_EPROTO,
                "what '%.200s' answered is not the protocol (stdio-shim): does it print something else on "
                "stdout?");
    else if (how == DONE && !r.code && r.size > x->limit)
        give_up(x, t, FLM_ETOOBIG, "the output of '%.200s' is larger than the limit");
    else if (how == DONE)
        how = take_body(x, t, &s, &r);
    if (how != DONE)
        bury(x, t);
    else if (x->watch.why && x->process.pid)
        stop(x, FLM__WATCH_LIMIT); /* it answered after SIGTERM: the answer counts, the process goes */
}

static int stdio_invoke(struct flm__shim *shim, struct flm__shim_task *t)
{
    struct stdio *x = (struct stdio *)shim;
    flm_error error = {0};
    int rc = 0;
    if (x->process.pid && flm__process_ended(&x->process)) {
        flm__watch_begin(&x->watch, 0, 0);
        stop(x, FLM__WATCH_LIMIT); /* it ended between two tasks: nobody's fault */
    }
    flm__watch_begin(&x->watch, t->task, t->deadline_ms);
    if (flm__watch_cancelled(&x->watch)) {
        flm__outcome_fail(t, FLM_REASON_CANCELLED, FLM_ECANCELLED, "cancelled before it began");
    } else {
        if (!x->process.pid)
            rc = start(x, &error);
        if (!rc)
            converse(x, t);
        else if (x->watch.why == FLM__WATCH_DEADLINE)
            flm__outcome_fail(t, FLM_REASON_DEADLINE, FLM_EDEADLINE,
                              "the deadline passed while '%.200s' was started", x->app->command[0]);
        else
            flm__outcome_fail(t, rc == FLM_ECANCELLED ? FLM_REASON_CANCELLED : FLM_REASON_SERVICE, rc, "%s",
                              error.text);
    }
    x->watch.task = 0;
    return 0;
}

static void stdio_cancel(struct flm__shim *shim, uint64_t task)
{
    flm__watch_cancel(&((struct stdio *)shim)->watch, task);
}

const struct flm__shim_ops flm__shim_stdio = {
    .name = "stdio",
    .create = stdio_create,
    .destroy = stdio_destroy,
    .enter = stdio_enter,
    .invoke = stdio_invoke,
    .leave = stdio_leave,
    .cancel = stdio_cancel,
};
