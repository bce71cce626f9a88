#define _GNU_SOURCE
#include "executor/executor.h"

#include "base/error.h"
#include "base/time.h"
#include "net/handshake.h"
#include "net/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <flm/client.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const int64_t hello_ns = 30 * 1000000000LL, guest_look_ns = 50 * 1000000LL;

static int say_hello(struct flm__executor *e, flm_error *error)
{
    int64_t until = flm__now_ns() + hello_ns;
    int fd = flm__dial(e->identity.agent, until, error);
    if (fd < 0)
        return fd;
    e->control.conn = flm__conn_new_take(fd);
    if (!e->control.conn)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a connection");
    Flm__Slot slot = FLM__SLOT__INIT;
    slot.lane = e->identity.lane;
    slot.life = e->identity.life;
    slot.token = e->identity.token;
    Flm__Hello hello = FLM__HELLO__INIT;
    hello.role = FLM__ROLE__ROLE_EXECUTOR;
    hello.pid = getpid();
    hello.name = (char *)"flm-executor";
    hello.slot = &slot;
    Flm__Message *ready = NULL;
    int fds[FLM__FRAME_FDS];
    unsigned n_fds = 0;
    int rc = flm__random(&hello.incarnation, sizeof(hello.incarnation));
    if (rc == 0)
        rc = flm__handshake(e->control.conn, &hello, NULL, until, &ready, fds, &n_fds, error);
    if (rc < 0)
        return rc;
    flm__close_fds(fds, n_fds);
    flm__message__free_unpacked(ready, NULL);
    return 0;
}

static int map_status(struct flm__executor *e, int fd, flm_error *error)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(*e->status))
        return flm__error_set(error, FLM_EPROTO, "the status page of the agent is too small");
    void *page = mmap(NULL, sizeof(*e->status), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return flm__error_errno(error, FLM_ENOMEM, errno, "cannot map the status page");
    e->status = page;
    if (e->identity.world_ranks) /* the other ranks find it there */
        e->status_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return 0;
}

/* fds: memory of the ring, the bell of the peer, our bell, status page. Takes our bell. */
static int take_ring(struct flm__executor *e, const Flm__ExecutorRing *ring, int *fds, unsigned n_fds,
                     flm_error *error)
{
    if (n_fds != 4)
        return flm__error_set(error, FLM_EPROTO, "a ring came with %u descriptors, not 4", n_fds);
    int rc = map_status(e, fds[3], error);
    if (rc < 0)
        return rc;
    e->link = flm__ring_open(fds[0], ring->bytes, false, fds[1], error);
    if (!e->link)
        return FLM_EPROTO;
    e->bell = fds[2];
    fds[2] = -1;
    return 0;
}

/* What an agent may say before the ring is there. 1: it was the ring. */
static int on_early(struct flm__executor *e, const Flm__Message *m, int *fds, unsigned n_fds,
                    flm_error *error)
{
    switch ((int)m->body_case) {
    case FLM__MESSAGE__BODY_EXECUTOR_RING: {
        bool ours =
            m->executor_ring->lane == e->identity.lane && m->executor_ring->life == e->identity.life;
        int rc = ours ? take_ring(e, m->executor_ring, fds, n_fds, error) : 0;
        return rc < 0 ? rc : ours;
    }
    case FLM__MESSAGE__BODY_PING: {
        Flm__Pong pong = FLM__PONG__INIT;
        pong.number = m->ping->number;
        FLM__MESSAGE(answer, pong, PONG, &pong);
        return flm__conn_send(e->control.conn, &answer, NULL, 0);
    }
    case FLM__MESSAGE__BODY_SHUTDOWN:
    case FLM__MESSAGE__BODY_KILL:
        return flm__error_set(error, FLM_ECANCELLED, "told to end");
    default:
        return 0;
    }
}

/* Whether the stand-in of a guest wants it to end, or is gone. */
static bool is_to_leave(const struct flm__executor *e)
{
    struct pollfd p = {e->guest_fd, POLLIN, 0};
    return poll(&p, 1, 0) > 0;
}

/* A guest looks at its stand-in meanwhile: it cannot be killed in place of that. */
static int wait_for_message(struct flm__executor *e, Flm__Message **m, int *fds, unsigned *n_fds)
{
    for (;;) {
        int64_t until = e->guest_fd < 0 ? -1 : flm__now_ns() + guest_look_ns;
        int rc = flm__conn_wait_message(e->control.conn, until, m, fds, n_fds);
        if (rc != FLM_ETIMEDOUT)
            return rc;
        if (is_to_leave(e))
            return FLM_EDISCONNECTED;
    }
}

static int wait_for_ring(struct flm__executor *e, flm_error *error)
{
    for (;;) {
        Flm__Message *m;
        int fds[FLM__FRAME_FDS];
        unsigned n_fds = 0;
        int rc = wait_for_message(e, &m, fds, &n_fds);
        if (rc < 0)
            return flm__error_set(error, rc, "waiting for work: %s", flm_strerror(rc));
        rc = on_early(e, m, fds, n_fds, error);
        for (unsigned i = 0; i < n_fds; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        flm__message__free_unpacked(m, NULL);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
}

int flm__attach(struct flm__executor *e, flm_error *error)
{
    if (e->guest_fd >= 0 && is_to_leave(e))
        return FLM_EDISCONNECTED;
    int rc = say_hello(e, error);
    return rc < 0 ? rc : wait_for_ring(e, error);
}

void flm__detach(struct flm__executor *e)
{
    flm__link_destroy(e->link);
    e->link = NULL;
    if (e->bell >= 0)
        close(e->bell);
    e->bell = -1;
    if (e->status_fd >= 0)
        close(e->status_fd);
    e->status_fd = -1;
    if (e->status)
        munmap(e->status, sizeof(*e->status));
    e->status = NULL;
}
