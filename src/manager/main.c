/* flmd: init, run, fini. */
#define _GNU_SOURCE
#include "base/endpoint.h"
#include "base/standard.h"
#include "base/error.h"
#include "base/time.h"
#include "manager/auth.h"
#include "manager/backend.h"
#include "manager/durable.h"
#include "manager/blocks.h"
#include "manager/child.h"
#include "manager/end_time.h"
#include "manager/group.h"
#include "manager/logs.h"
#include "manager/object_spill.h"
#include "manager/objects.h"
#include "manager/flow.h"
#include "manager/loop.h"
#include "manager/rejoin.h"
#include "manager/spread.h"
#include "manager/results.h"
#include "manager/retention.h"
#include "manager/session.h"
#include "manager/tables.h"
#include "manager/too_long.h"
#include "manager/unread.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

enum { HEARTBEAT_MS = 2000, DESCRIPTORS_MIN = 64 };

static const int numbers[] = {SIGTERM, SIGINT, SIGHUP}; /* signals that end it */
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
    dispatch_rouse(m);
    ssize_t n = read(m->bell, &count, sizeof(count));
    (void)n;
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct manager *m = timer->data;
    m->now = flm__now_ns();
    node_heartbeat(m);
    unread_look(m);
    spread_look(m);
    m->spilling = m->spill != NULL;
    flm__pool_trim(&m->blob_pool, m->now);
    flm__maps_trim(&m->blob_maps, m->now);
    end_time_look(m);
    blocks_comment(m);
    too_long_look(m);
    group_look(m);
    core_time_record(m);
    child_reap();
    if (m->fabric)
        m->fabric_ops->tick(m->fabric, m->now);
    peer_check_links(m);
    logs_overdue(m);
    results_look(m);
    session_end_graces(m);
    retention_look(m);
    tables_look(m);
}

static void on_file_limit(int number)
{
    (void)number;
}

/* A ring beyond the limit on file sizes is an error (EFBIG), not the end. A handler, since what is ignored
 * would be ignored in services, too. */
static void survive_file_limit(void)
{
    struct sigaction action = {.sa_handler = on_file_limit, .sa_flags = SA_RESTART};
    sigaction(SIGXFSZ, &action, NULL);
}

/* As many descriptors as we are allowed: each large payload that waits holds one. With a handful libuv
 * would end the process without a word. */
static int raise_limits(flm_error *error)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 0;
    if (r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) < 0)
            getrlimit(RLIMIT_NOFILE, &r);
    }
    if (r.rlim_cur < DESCRIPTORS_MIN)
        return flm__error_set(
            error, FLM_EFULL,
            "only %lu files may be open, which is not enough: allow %d or more (ulimit -n)",
            (unsigned long)r.rlim_cur, DESCRIPTORS_MIN);
    return 0;
}

/* The agents of this machine put their sockets there. */
static int check_directory(const char *directory, flm_error *error)
{
    struct stat st;
    if (stat(directory, &st) < 0)
        return flm__error_errno(error, FLM_EINVAL, errno, "the directory %s cannot be used", directory);
    if (!S_ISDIR(st.st_mode))
        return flm__error_set(error, FLM_EINVAL, "%s is not a directory", directory);
    if (access(directory, W_OK | X_OK) < 0)
        return flm__error_errno(error, FLM_EINVAL, errno, "the directory %s cannot be used", directory);
    return 0;
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

/* An error of libuv as one of ours. */
static int uv_failed(int rc, const char *what, flm_error *error)
{
    return flm__error_set(error, rc == UV_ENOMEM ? FLM_ENOMEM : FLM_EIO, "cannot %s: %s", what,
                          uv_strerror(rc));
}

static int watch_parent(struct manager *m, flm_error *error)
{
    int fd = m->options.parent_fd;
    if (fd < 0)
        return 0;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return flm__error_errno(error, FLM_EINVAL, errno, "--parent-fd=%d", fd);
    int rc = uv_poll_init(&m->uv, &parent, fd);
    parent.data = m;
    if (rc == 0)
        rc = uv_poll_start(&parent, UV_READABLE | UV_DISCONNECT, on_parent);
    return rc < 0 ? uv_failed(rc, "watch the descriptor of --parent-fd", error) : 0;
}

static int start_loop(struct manager *m, flm_error *error)
{
    int rc = uv_loop_init(&m->uv);
    if (rc < 0)
        return uv_failed(rc, "make the event loop", error);
    m->uv_is_made = true;
    m->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->bell < 0)
        return flm__error_errno(error, FLM_EIO, errno, "cannot make an eventfd");
    rc = uv_poll_init(&m->uv, &m->bell_poll, m->bell);
    m->bell_poll.data = m;
    if (rc == 0)
        rc = uv_poll_start(&m->bell_poll, UV_READABLE, on_bell);
    if (rc < 0)
        return uv_failed(rc, "watch an eventfd", error);
    uv_timer_init(&m->uv, &m->tick);
    uv_timer_init(&m->uv, &m->heartbeat);
    uv_timer_init(&m->uv, &m->second_look);
    uv_timer_init(&m->uv, &m->hopeless_timer);
    m->tick.data = m->heartbeat.data = m->hopeless_timer.data = m;
    for (int i = 0; i < 3; i++) {
        rc = uv_signal_init(&m->uv, &signals[i]);
        signals[i].data = m;
        if (rc == 0)
            rc = uv_signal_start(&signals[i], on_signal, numbers[i]);
        if (rc < 0)
            return uv_failed(rc, "watch signals", error);
    }
    return watch_parent(m, error);
}

static bool any_tcp(const struct options *o)
{
    for (unsigned i = 0; i < o->n_endpoints; i++)
        if (strncmp(o->endpoints[i], "tcp:", 4) == 0 || strncmp(o->endpoints[i], "fd:", 3) == 0)
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
    rc = check_directory(o->directory, error);
    if (rc < 0)
        return rc;
    if (o->n_endpoints == 0) {
        rc = flm__default_endpoint(standard, sizeof(standard));
        if (rc < 0)
            return flm__error_set(error, rc, "the path of the default endpoint is too long");
        o->endpoints[o->n_endpoints++] = standard;
    }
    /* Agents of a batch system are on other nodes. */
    if (strcmp(o->backend, "local") != 0 && strcmp(o->backend, "none") != 0 && !any_tcp(o) &&
        o->n_endpoints < sizeof(o->endpoints) / sizeof(o->endpoints[0]))
        o->endpoints[o->n_endpoints++] = "tcp:*:0";
    if (any_tcp(o)) {
        rc = auth_prepare(m, error);
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

static int init(struct manager *m, flm_error *error)
{
    int rc = raise_limits(error);
    if (rc == 0)
        rc = make_identity(m, error);
    if (rc == 0)
        rc = start_loop(m, error);
    if (rc == 0)
        rc = open_endpoints(m, error);
    if (rc == 0 && m->options.state_dir)
        rc = durable_open(m, error);
    if (rc == 0 && m->options.state_dir)
        rc = rejoin_open(m, error);
    objects_init(m);
    if (rc == 0)
        rc = spill_open(m, error);
    if (rc == 0)
        tables_start(m);
    if (rc == 0 && strcmp(m->options.backend, "none") != 0 && !rejoin_awaits_backend(m))
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

/* A second signal (timeout(1) sends two) is not to end it in the middle of its end. */
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        sigaddset(&set, numbers[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* What holds a handle of the loop is freed only after the loop has closed it. */
static void fini(struct manager *m)
{
    struct peer *p, *next;
    if (!m->uv_is_made)
        return; /* nothing else is there either */
    block_signals();
    m->stopping = true;
    listener_close_all(m);
    DL_FOREACH_SAFE(m->peers, p, next)
    peer_end(p, "the session manager is ending");
    peer_reap(m);
    spill_stop(m);
    uv_walk(&m->uv, close_handle, NULL);
    while (uv_run(&m->uv, UV_RUN_NOWAIT))
        ;
    backend_free(m);
    blocks_free(m);
    listener_free_all(m);
    durable_stop(m);
    tables_stop(m);
    session_free_all(m);
    objects_free(m);
    durable_free(m);
    rejoin_free(m);
    node_free_all(m);
    application_free_all(m);
    if (m->fabric)
        m->fabric_ops->close(m->fabric); /* reads that are still under way end here */
    flm__pool_clear(&m->blob_pool);
    flm__maps_clear(&m->blob_maps);
    uv_loop_close(&m->uv);
    if (m->bell >= 0)
        close(m->bell);
}

int main(int argc, char **argv)
{
    static struct manager m = {.bell = -1};
    flm_error error = {0};
    flm__standard_open();
    options_parse(&m.options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    survive_file_limit();
    if (init(&m, &error) < 0) {
        fprintf(stderr, "flmd: %s\n", error.code ? error.text : flm_strerror(FLM_ENOMEM));
        fini(&m);
        return 1;
    }
    if (strcmp(m.options.backend, "none") == 0) /* else once that is ready */
        manager_ready(&m);
    loop_run(&m);
    fini(&m);
    return m.exit_status;
}
