/* flmd: init, run, fini. */
#define _GNU_SOURCE
#include "base/endpoint.h"
#include "base/error.h"
#include "base/time.h"
#include "manager/backend.h"
#include "manager/executor.h"
#include "manager/loop.h"
#include "manager/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

enum { HEARTBEAT_MS = 2000 };

static uv_signal_t signals[3];
static uv_poll_t parent;

static void on_signal(uv_signal_t *s, int number)
{
    char text[64];
    snprintf(text, sizeof(text), "signal %d", number);
    manager_stop(s->data, text);
}

static void on_parent(uv_poll_t *poll, int status, int events)
{
    char byte;
    (void)status;
    (void)events;
    struct manager *m = poll->data;
    ssize_t n = read(m->options.parent_fd, &byte, 1);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        uv_poll_stop(poll);
        manager_stop(m, "its parent has ended");
    }
}

static void on_bell(uv_poll_t *poll, int status, int events)
{
    uint64_t count;
    struct manager *m = poll->data;
    (void)status;
    (void)events;
    ssize_t n = read(m->bell, &count, sizeof(count));
    (void)n;
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct manager *m = timer->data;
    m->now = flm__now_ns();
    node_heartbeat(m);
    peer_check_links(m);
}

/* As many descriptors as we are allowed: each large payload that waits holds one. */
static void raise_limits(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static int make_identity(struct manager *m, flm_error *error)
{
    unsigned char bytes[16];
    if (flm__random(bytes, sizeof(bytes)) < 0 || flm__random(&m->incarnation, sizeof(m->incarnation)) < 0)
        return flm__error_set(error, FLM_EINTERNAL, "no random numbers");
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(m->instance + 2 * i, 3, "%02x", bytes[i]);
    m->started_ns = flm__wall_ns();
    return 0;
}

static int start_loop(struct manager *m, flm_error *error)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    m->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (uv_loop_init(&m->uv) < 0 || m->bell < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot make the event loop");
    uv_poll_init(&m->uv, &m->bell_poll, m->bell);
    m->bell_poll.data = m;
    uv_poll_start(&m->bell_poll, UV_READABLE, on_bell);
    uv_timer_init(&m->uv, &m->tick);
    uv_timer_init(&m->uv, &m->heartbeat);
    uv_timer_init(&m->uv, &m->second_look);
    m->tick.data = m->heartbeat.data = m;
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&m->uv, &signals[i]);
        signals[i].data = m;
        uv_signal_start(&signals[i], on_signal, numbers[i]);
    }
    if (m->options.parent_fd >= 0) {
        fcntl(m->options.parent_fd, F_SETFD, FD_CLOEXEC);
        fcntl(m->options.parent_fd, F_SETFL, O_NONBLOCK);
        if (uv_poll_init(&m->uv, &parent, m->options.parent_fd) == 0) {
            parent.data = m;
            uv_poll_start(&parent, UV_READABLE | UV_DISCONNECT, on_parent);
        }
    }
    return 0;
}

static bool any_tcp(const struct options *o)
{
    for (unsigned i = 0; i < o->n_endpoints; i++)
        if (strncmp(o->endpoints[i], "tcp:", 4) == 0)
            return true;
    return false;
}

static int open_endpoints(struct manager *m, flm_error *error)
{
    static char standard[300], directory[256];
    struct options *o = &m->options;
    int rc;
    if (!o->directory) {
        rc = flm__runtime_directory(directory, sizeof(directory), error);
        if (rc < 0)
            return rc;
        o->directory = directory;
    }
    if (o->n_endpoints == 0) {
        rc = flm__default_endpoint(standard, sizeof(standard));
        if (rc < 0)
            return flm__error_set(error, rc, "the path of the default endpoint is too long");
        o->endpoints[o->n_endpoints++] = standard;
    }
    if (any_tcp(o)) {
        rc = flm__secret_make(o->secret_file, &m->secret, error);
        if (rc < 0)
            return rc;
    }
    for (unsigned i = 0; i < o->n_endpoints; i++) {
        rc = listener_open(m, o->endpoints[i], error);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void say_ready(struct manager *m)
{
    int fd = m->options.ready_fd;
    if (fd >= 0) {
        dprintf(fd, "%s\n", m->endpoints);
        close(fd);
    } else {
        printf("flmd %s is ready at %s\n", FLM_VERSION, m->endpoints);
        fflush(stdout);
    }
}

static int init(struct manager *m, flm_error *error)
{
    int rc = make_identity(m, error);
    if (rc == 0)
        rc = start_loop(m, error);
    if (rc == 0)
        rc = open_endpoints(m, error);
    if (rc == 0 && strcmp(m->options.backend, "none") != 0)
        rc = backend_start(m, error);
    if (rc == 0 && m->options.provider && !manager_fabric(m, error))
        rc = FLM_ENOTSUP;
    /* Often enough that a few lost beats are not the loss of a node. */
    unsigned every = m->options.loss_ms / 4 < HEARTBEAT_MS ? m->options.loss_ms / 4 : HEARTBEAT_MS;
    if (rc == 0)
        uv_timer_start(&m->heartbeat, on_heartbeat, every, every);
    return rc;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* What holds a handle of the loop is freed only after the loop has closed it. */
static void fini(struct manager *m)
{
    struct peer *p, *next;
    m->stopping = true;
    listener_close_all(m);
    DL_FOREACH_SAFE(m->peers, p, next)
    peer_end(p, "the session manager is ending");
    peer_reap(m);
    uv_walk(&m->uv, close_handle, NULL);
    while (uv_run(&m->uv, UV_RUN_NOWAIT))
        ;
    backend_free(m);
    listener_free_all(m);
    session_free_all(m);
    node_free_all(m);
    application_free_all(m);
    if (m->fabric)
        m->fabric_ops->close(m->fabric);
    uv_loop_close(&m->uv);
    if (m->bell >= 0)
        close(m->bell);
}

int main(int argc, char **argv)
{
    static struct manager m;
    flm_error error = {0};
    options_parse(&m.options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    raise_limits();
    if (init(&m, &error) < 0) {
        fprintf(stderr, "flmd: %s\n", error.text);
        fini(&m);
        return 1;
    }
    say_ready(&m);
    loop_run(&m);
    fini(&m);
    return m.exit_status;
}
