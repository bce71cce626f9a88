/* The process that writes a file of results: started, heard, reaped. */
#define _GNU_SOURCE
#include "manager/results.h"

#include "base/error.h"
#include "base/time.h"
#include "manager/child.h"
#include "manager/durable.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { END_MS = 1000 }; /* for one that was killed */

static int start(const struct results *r, int *pid, flm_error *error)
{
    const struct session *s = r->session;
    char serial[16], counted[24];
    snprintf(serial, sizeof(serial), "%u", s->serial);
    snprintf(counted, sizeof(counted), "%" PRIu64, r->counted);
    char *argv[] = {NULL,
                    (char *)(uintptr_t)s->manager->options.state_dir,
                    serial,
                    counted,
                    r->file,
                    (char *)(uintptr_t)s->id,
                    (char *)(uintptr_t)s->application->name,
                    s->application->description->output_type,
                    NULL};
    return child_start("flm-results", argv, pid, error);
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
    struct results_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the writer of results");
    w->results = r;
    w->fd = start(r, &w->pid, error);
    if (w->fd >= 0 && uv_poll_init(&r->session->manager->uv, &w->poll, w->fd) < 0) {
        flm__error_set(error, FLM_EIO, "cannot watch the writer of results");
        child_kill(w->pid);
        close(w->fd);
        w->fd = -1;
    }
    if (w->fd < 0) {
        free(w);
        return error->code;
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
    bool at_end = uv_is_closing((uv_handle_t *)&w->poll); /* of flmd: the loop is over */
    bool reaped = w->gone && results_writer_reap(w);
    w->results = NULL;
    close(w->fd);
    if (!reaped)
        child_kill(w->pid);
    if (!reaped && at_end) /* so that our successor finds the file free */
        child_wait(w->pid, flm__now_ns() + END_MS * 1000000LL);
    if (at_end)
        free(w);
    else
        uv_close((uv_handle_t *)&w->poll, closed);
}
