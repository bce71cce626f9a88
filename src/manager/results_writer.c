/* The process that writes a file of results: started, heard, reaped. */
#define _GNU_SOURCE
#include "manager/results.h"

#include "base/error.h"
#include "base/paths.h"
#include "manager/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Programs that we start have descriptor 3 from us. */
enum { THEIR_FD = 3, BEYOND_THEIRS = 10 };

static int spawn(struct results *r, int *pid, int theirs, flm_error *error)
{
    const struct session *s = r->session;
    char program[PATH_MAX], serial[16], counted[24];
    if (flm__find_program("flm-results", program, sizeof(program)) < 0)
        return flm__error_set(error, FLM_ENOTFOUND, "the program flm-results is not found beside flmd");
    snprintf(serial, sizeof(serial), "%u", s->serial);
    snprintf(counted, sizeof(counted), "%" PRIu64, r->counted);
    char *argv[] = {program,
                    (char *)(uintptr_t)s->manager->options.state_dir,
                    serial,
                    counted,
                    r->file,
                    (char *)(uintptr_t)s->id,
                    (char *)(uintptr_t)s->application->name,
                    s->application->description->output_type,
                    NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0); /* the terminal's Ctrl-C is not for it */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_adddup2(&actions, theirs, THEIR_FD);
    int e = posix_spawn(pid, program, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return e ? flm__error_errno(error, FLM_EIO, e, "cannot start %.200s", program) : 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct results_writer *w = poll->data;
    struct results *r = w->results;
    (void)status;
    (void)events;
    if (!r || w->gone || results_writer_read(w))
        return;
    w->gone = true;
    uv_poll_stop(&w->poll);
    kill(w->pid, SIGKILL); /* it has closed its end: whatever it still does, it is not for us */
    if (r->done) {
        r->writer = NULL;
        results_writer_free(w);
    } else {
        results_lost(r);
        results_look(r->session->manager);
    }
}

int results_writer_start(struct results *r, flm_error *error)
{
    int pair[2];
    struct results_writer *w = calloc(1, sizeof(*w));
    if (!w || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        free(w);
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot start the writer of results");
    }
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, BEYOND_THEIRS);
    close(pair[1]);
    w->fd = pair[0];
    w->results = r;
    int rc = theirs < 0 ? flm__error_errno(error, FLM_EIO, errno, "cannot start the writer of results")
                        : spawn(r, &w->pid, theirs, error);
    if (theirs >= 0)
        close(theirs);
    if (rc == 0 && uv_poll_init(&r->session->manager->uv, &w->poll, w->fd) < 0) {
        rc = flm__error_set(error, FLM_EIO, "cannot watch the writer of results");
        kill(w->pid, SIGKILL);
        waitpid(w->pid, NULL, 0);
    }
    if (rc < 0) {
        close(w->fd);
        free(w);
        return rc;
    }
    w->poll.data = w;
    uv_poll_start(&w->poll, UV_READABLE, on_readable);
    r->writer = w;
    return 0;
}

static void take_lines(struct results_writer *w)
{
    char *end;
    while (w->results && (end = memchr(w->line, '\n', w->n))) {
        char line[sizeof(w->line)];
        unsigned size = (unsigned)(end - w->line);
        memcpy(line, w->line, size);
        line[size] = 0;
        w->n -= size + 1;
        memmove(w->line, end + 1, w->n);
        results_heard(w->results, line);
    }
    if (w->n == sizeof(w->line))
        w->n = 0; /* no line of ours is so long */
}

bool results_writer_read(struct results_writer *w)
{
    ssize_t n = recv(w->fd, w->line + w->n, sizeof(w->line) - w->n, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    w->n += (unsigned)n;
    take_lines(w);
    return true;
}

bool results_writer_reap(struct results_writer *w)
{
    return waitpid(w->pid, NULL, WNOHANG) != 0;
}

static void closed(uv_handle_t *handle)
{
    free(handle->data);
}

void results_writer_free(struct results_writer *w)
{
    if (!w)
        return;
    w->results = NULL;
    if (!w->gone || !results_writer_reap(w)) {
        kill(w->pid, SIGKILL);
        waitpid(w->pid, NULL, 0);
    }
    close(w->fd);
    if (uv_is_closing((uv_handle_t *)&w->poll))
        free(w); /* at the end of flmd, when the loop is over */
    else
        uv_close((uv_handle_t *)&w->poll, closed);
}
