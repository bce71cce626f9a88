/* flm_poll, flm_fd, flm_flush: for programs with an event loop of their own. */
#include "libflm/reconnect.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    NO_FD_MS = 1,   /* a provider without a descriptor is looked at so often */
    TICK_MS = 1000, /* a peer that is silent is asked so often */
    AWAY_MS = 50,   /* and so often whether a manager has come again */
};

static bool something_came(struct flm__wait *wait)
{
    const struct {
        flm_client *client;
        uint64_t before;
    } *p = wait->arg;
    return p->client->delivered != p->before;
}

static int poll_client(flm_client *c, int timeout_ms)
{
    struct {
        flm_client *client;
        uint64_t before;
    } p = {c, c->delivered};
    struct flm__wait wait = {FLM__WAIT_DATA, something_came, &p, flm__client_deadline(timeout_ms)};
    int rc = flm__client_check_outside(c, NULL);
    if (rc < 0)
        return rc;
    rc = flm__wait_until(c, &wait);
    uint64_t n = c->delivered - p.before;
    if (n == 0)
        flm__wait_arm_fd(c);
    if (n == 0 && flm__client_is_lost(c))
        return FLM_EDISCONNECTED;
    return n < INT32_MAX ? (int)n : INT32_MAX;
}

int flm_poll(flm_client *c, int timeout_ms)
{
    if (!c)
        return FLM_EINVAL;
    flm__client_lock(c);
    int n = poll_client(c, timeout_ms);
    flm__client_unlock(c);
    return n;
}

static int add(int epoll, int fd)
{
    struct epoll_event e = {.events = EPOLLIN};
    return fd < 0 ? 0 : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

/* Looks every so many ms, where nothing else says that there is something; 0: not any more. */
static void set_timer(flm_client *c, long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    struct itimerspec every = {t, t};
    timerfd_settime(c->timer, 0, &every, NULL);
}

/* Watches the descriptors of the present connection. */
static int join_connection(flm_client *c, int epoll)
{
    int fabric = c->fabric ? c->fabric_ops->fd(c->fabric) : -1;
    set_timer(c, c->away ? AWAY_MS : !c->fabric ? 0 : fabric < 0 ? NO_FD_MS : TICK_MS);
    if (add(epoll, c->bell) < 0 || add(epoll, fabric) < 0 ||
        (c->conn && add(epoll, flm__conn_fd(c->conn)) < 0))
        return FLM_ENOMEM;
    return 0;
}

static int make_fd(flm_client *c)
{
    if (c->own_thread)
        return FLM_ENOTSUP;
    if (c->epoll >= 0)
        return c->epoll;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (c->timer < 0)
        c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (epoll < 0 || c->timer < 0 || add(epoll, c->wake) < 0 || add(epoll, c->timer) < 0 ||
        join_connection(c, epoll) < 0) {
        if (epoll >= 0)
            close(epoll);
        return FLM_ENOMEM;
    }
    c->epoll = epoll;
    flm__wait_arm_fd(c);
    return epoll;
}

static void leave(const flm_client *c, int fd)
{
    if (fd >= 0)
        epoll_ctl(c->epoll, EPOLL_CTL_DEL, fd, NULL);
}

void flm__fd_leave(flm_client *c)
{
    if (c->epoll < 0)
        return;
    leave(c, c->bell);
    leave(c, c->fabric ? c->fabric_ops->fd(c->fabric) : -1);
    leave(c, c->conn ? flm__conn_fd(c->conn) : -1);
    set_timer(c, AWAY_MS);
}

void flm__fd_join(flm_client *c)
{
    if (c->epoll >= 0 && join_connection(c, c->epoll) < 0)
        flm__client_lost(c, FLM_ENOMEM, "the descriptor of flm_fd cannot watch another connection");
    if (c->epoll >= 0)
        flm__wait_wake(c);
}

int flm_fd(flm_client *c)
{
    if (!c)
        return FLM_EINVAL;
    flm__client_lock(c);
    int fd = make_fd(c);
    flm__client_unlock(c);
    return fd;
}

int flm_flush(flm_client *c)
{
    if (!c)
        return FLM_EINVAL;
    flm__client_lock(c);
    if (!c->in_callback && !c->lost && !c->away) {
        flm__overflow_pump(c);
        flm__progress_fabric(c);
    }
    if (!c->lost) {
        flm__progress_let_out(c);
        if (c->conn && flm__conn_flush(c->conn) < 0)
            flm__client_lost(c, FLM_EDISCONNECTED, "the session manager closed the connection");
    }
    int rc = flm__client_is_lost(c) ? FLM_EDISCONNECTED : 0;
    flm__client_unlock(c);
    return rc;
}
