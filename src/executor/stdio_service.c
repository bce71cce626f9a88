#define _GNU_SOURCE 1
#include "executor/stdio_service.h"

#include "base/error.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIPE_SIZE = 1024 * 1024, NO_PIDFD_MS = 5, OWN_END_MS = 200 };

/* --- the process --- */

void flm__stdio_close_pipes(struct flm__stdio *x)
{
    if (x->in >= 0)
        close(x->in);
    if (x->out >= 0)
        close(x->out);
    x->in = x->out = -1;
}

int flm__stdio_stop(struct flm__stdio *x, int why)
{
    flm__watch_end(&x->watch, &x->process, why);
    flm__stdio_close_pipes(x);
    flm__watch_wait(&x->watch, &x->process);
    return flm__process_reap(&x->process);
}

int flm__stdio_stop_ending(struct flm__stdio *x)
{
    int64_t until = flm__now_ns() + OWN_END_MS * 1000000LL;
    while (x->watch.why == FLM__WATCH_NONE && !flm__process_ended(&x->process)) {
        int64_t left = (until - flm__now_ns()) / 1000000;
        if (left <= 0)
            break;
        struct pollfd fd = {x->process.pidfd, POLLIN, 0};
        poll(&fd, 1, x->process.pidfd >= 0 || left < NO_PIDFD_MS ? (int)left : NO_PIDFD_MS);
    }
    return flm__stdio_stop(x, FLM__WATCH_LIMIT);
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
static int spawn(struct flm__stdio *x)
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
        flm__stdio_close_pipes(x);
    return rc;
}

/* --- pumping --- */

static void send_some(struct flm__stdio *x, struct flm__stdio_sending *s)
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
static bool sleep_for_service(struct flm__stdio *x, const struct flm__stdio_sending *s, bool reading)
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

int flm__stdio_exchange(struct flm__stdio *x, struct flm__stdio_sending *s, void *to, size_t size)
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
                return x->watch.why ? FLM__STDIO_STOPPED : FLM__STDIO_DIED;
            got += (size_t)n;
        }
        if (got == size && (to || s->at == s->n))
            return FLM__STDIO_DONE;
        if (ended)
            return x->watch.why ? FLM__STDIO_STOPPED : FLM__STDIO_DIED;
        ended = sleep_for_service(x, s, got < size);
    }
}

static uint32_t get32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

int flm__stdio_ask(struct flm__stdio *x, struct flm__stdio_sending *s, struct flm__stdio_reply *r)
{
    unsigned char head[FLM__STDIO_REPLY];
    int how = flm__stdio_exchange(x, s, head, sizeof(head));
    if (how != FLM__STDIO_DONE)
        return how;
    uint32_t rest = get32(head);
    r->size = rest >= FLM__STDIO_REPLY - 4 ? rest - (FLM__STDIO_REPLY - 4) : UINT32_MAX;
    memcpy(&r->task, head + 4, sizeof(r->task));
    memcpy(&r->code, head + 12, sizeof(r->code));
    return FLM__STDIO_DONE;
}

/* --- start and hello --- */

int flm__stdio_read_text(struct flm__stdio *x, struct flm__stdio_sending *s, uint32_t size, char *text,
                         size_t room)
{
    char rest[4096];
    size_t keep = size < room ? size : room - 1;
    int how = flm__stdio_exchange(x, s, text, keep);
    text[how == FLM__STDIO_DONE ? keep : 0] = 0;
    for (size_t left = size - keep; left && how == FLM__STDIO_DONE;) {
        size_t n = left < sizeof(rest) ? left : sizeof(rest);
        how = flm__stdio_exchange(x, s, rest, n);
        left -= n;
    }
    return how;
}

static int say_how_it_ended(struct flm__stdio *x, int status, flm_error *error)
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

static int greet(struct flm__stdio *x, flm_error *error)
{
    unsigned char head[FLM__STDIO_HELLO] = "FLM1";
    uint32_t lengths[2] = {(uint32_t)strlen(x->info->session), (uint32_t)strlen(x->info->application)};
    memcpy(head + 4, lengths, sizeof(lengths));
    struct flm__stdio_sending s = {.part = {{head, sizeof(head)},
                                            {(void *)x->info->session, lengths[0]},
                                            {(void *)x->info->application, lengths[1]}},
                                   .n = 3};
    char text[FLM__SHIM_MESSAGE_MAX + 1];
    struct flm__stdio_reply r;
    int how = flm__stdio_ask(x, &s, &r);
    bool sound = how == FLM__STDIO_DONE && r.task == 0 && r.size <= FLM__STDIO_TEXT_MAX;
    if (how == FLM__STDIO_DONE && !sound) {
        flm__stdio_stop(x, FLM__WATCH_LIMIT);
        return flm__error_set(
            error, FLM_EBIND,
            "'%.200s' did not answer the hello as the protocol says (stdio-shim): does it print "
            "something else on stdout?",
            x->app->command[0]);
    }
    if (sound)
        how = flm__stdio_read_text(x, &s, r.size, text, sizeof(text));
    if (how == FLM__STDIO_DONE)
        how = flm__stdio_exchange(x, &s, NULL, 0);
    if (how != FLM__STDIO_DONE)
        return say_how_it_ended(x, flm__stdio_stop_ending(x), error);
    if (r.code == 0)
        return 0;
    flm__stdio_stop(x, FLM__WATCH_LIMIT);
    return flm__error_set(error, FLM_EBIND, "'%.100s' says it cannot serve (code %d): %.300s",
                          x->app->command[0], r.code, text);
}

int flm__stdio_start(struct flm__stdio *x, flm_error *error)
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
