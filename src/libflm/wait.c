/* Waiting: spin for some microseconds, then sleep in poll until the bell of the ring, the control
 * connection or the fabric says that there is something.
 *
 * When several threads share a client, one at a time sleeps in poll (`sleeping`); the others wait until
 * `turn` changes, which it does after each of its sleeps and whenever something was done. (A futex, since
 * waiters may miss the broadcasts of glibc's condition variables: its bug 25847, open for years.) A thread
 * that needs more than the sleeper watches for (data where it only watches the control connection, or room
 * in the link) ends its sleep through `wake`; whoever only waits for a reply leaves the place to threads
 * that wait for data. With a thread of the library (`own_thread`) only that one sleeps in poll. */
#define _GNU_SOURCE
#include "libflm/reconnect.h"
#include "base/error.h"
#include "base/time.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    /* Under load the processor is of more use to the others; a lone task is on its way through sleepers
     * that take some 25 us each to wake, and nobody needs the processor meanwhile (measured). */
    SPIN_NS = 15000,
    SPIN_KERNEL_NS = 2000, /* when each look asks the kernel: a turn or two */
    SPIN_LONE_NS = 100000,
    LONE_TASKS = 2,
    LONE_SESSIONS = 16,   /* looked at, at most */
    SPIN_RELAX = 8,       /* pauses in one turn of spinning */
    SPIN_YIELD = 4,       /* turns between two offers of the processor to others */
    NO_FD_NS = 1000000,   /* a provider without a descriptor is looked at so often */
    TICK_NS = 1000000000, /* a peer that is silent is asked so often */
};

int64_t flm__client_deadline(int timeout_ms)
{
    if (timeout_ms < 0)
        return FLM__FOR_EVER;
    return timeout_ms == 0 ? 0 : flm__now_ns() + (int64_t)timeout_ms * 1000000;
}

int flm__wait_init(flm_client *c, flm_error *error)
{
    pthread_mutexattr_t m;
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake < 0)
        return flm__error_errno(error, FLM_EIO, errno, "cannot make an eventfd");
    pthread_mutexattr_init(&m);
    pthread_mutexattr_settype(&m, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&c->mutex, &m);
    pthread_mutexattr_destroy(&m);
    return 0;
}

void flm__wait_fini(flm_client *c)
{
    if (c->wake < 0)
        return;
    pthread_mutex_destroy(&c->mutex);
    close(c->wake);
}

void flm__wait_wake(flm_client *c)
{
    uint64_t one = 1;
    ssize_t n = write(c->wake, &one, sizeof(one));
    (void)n; /* full: it is readable already */
}

/* The lock is held, so nobody is between reading `turn` and waiting for its change unnoticed. */
static void wake_waiters(flm_client *c)
{
    if (!c->waiters)
        return;
    atomic_fetch_add_explicit(&c->turn, 1, memory_order_release);
    syscall(SYS_futex, &c->turn, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Gives up the lock until `turn` changes or the deadline is over. */
static void wait_for_turn(flm_client *c, int64_t deadline)
{
    uint32_t turn = atomic_load_explicit(&c->turn, memory_order_relaxed);
    struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    flm__client_unlock(c);
    syscall(SYS_futex, &c->turn, FUTEX_WAIT_BITSET_PRIVATE, turn, deadline == FLM__FOR_EVER ? NULL : &until,
            NULL, FUTEX_BITSET_MATCH_ANY);
    flm__client_lock(c);
}

void flm__wait_notify(flm_client *c)
{
    wake_waiters(c);
    if (c->sleeping)
        flm__wait_wake(c);
}

static void read_event(int fd)
{
    uint64_t count;
    ssize_t n = fd >= 0 ? read(fd, &count, sizeof(count)) : 0;
    (void)n;
}

/* ---- arming ------------------------------------------------------------ */

/* True: whatever comes from now on makes a descriptor readable. */
static bool arm(flm_client *c, bool room)
{
    if (c->reads_done || !flm__link_arm(c->link, room))
        return false;
    return !c->fabric || c->fabric_ops->arm(c->fabric);
}

static void disarm(flm_client *c)
{
    flm__link_disarm(c->link);
}

void flm__wait_disarm_fd(flm_client *c)
{
    if (!c->armed)
        return;
    c->armed = false;
    disarm(c);
    read_event(c->bell);
    read_event(c->wake);
    read_event(c->timer);
}

/* Looks for peers that say nothing. True: look again in a second. */
static bool tick(flm_client *c, int64_t now_ns)
{
    bool reading = flm__blob_give_up_silent(c, now_ns);
    return c->fabric_ops->tick(c->fabric, now_ns) || reading;
}

void flm__wait_arm_fd(flm_client *c)
{
    if (c->epoll < 0)
        return;
    c->armed = true;
    if (c->fabric)
        tick(c, flm__now_ns());
    if (c->conn) {
        struct epoll_event e = {.events = EPOLLIN | (flm__conn_pending(c->conn) ? (uint32_t)EPOLLOUT : 0)};
        epoll_ctl(c->epoll, EPOLL_CTL_MOD, flm__conn_fd(c->conn), &e);
    }
    if (c->lost || !arm(c, c->pump_wants_room))
        flm__wait_wake(c);
}

/* ---- one sleep ----------------------------------------------------------- */

static struct timespec time_left(int64_t until)
{
    int64_t left = until - flm__now_ns();
    if (left < 0)
        left = 0;
    return (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
}

static void sleep_in_poll(flm_client *c, const struct flm__wait *w)
{
    int control = c->conn ? flm__conn_fd(c->conn) : -1;
    int fabric = c->fabric ? c->fabric_ops->fd(c->fabric) : -1;
    bool data = w->what != FLM__WAIT_CONTROL;
    struct pollfd p[] = {
        {.fd = control, .events = POLLIN},
        {.fd = c->wake, .events = POLLIN},
        {.fd = fabric, .events = POLLIN},
        {.fd = data ? c->bell : -1, .events = POLLIN},
    };
    int64_t until = w->deadline;
    if (c->conn && flm__conn_pending(c->conn))
        p[0].events |= POLLOUT;
    if (c->away && (until == FLM__FOR_EVER || flm__reconnect_next(c) < until))
        until = flm__reconnect_next(c);
    if (c->fabric) {
        int64_t now = flm__now_ns(), soon = now + (fabric < 0 ? NO_FD_NS : TICK_NS);
        if ((tick(c, now) || fabric < 0) && (until == FLM__FOR_EVER || soon < until))
            until = soon;
    }
    c->sleeping = true;
    c->sleeps_for_data = data;
    flm__client_unlock(c);
    struct timespec left = until == FLM__FOR_EVER ? (struct timespec){0} : time_left(until);
    int n = ppoll(p, sizeof(p) / sizeof(p[0]), until == FLM__FOR_EVER ? NULL : &left, NULL);
    flm__client_lock(c);
    c->sleeping = c->sleeps_for_data = c->sleeps_for_room = false;
    if (n > 0 && p[1].revents)
        read_event(c->wake);
    if (n > 0 && p[3].revents)
        read_event(c->bell);
    if (n > 0 && p[0].revents)
        flm__control_read(c);
}

static void sleep_first(flm_client *c, const struct flm__wait *w)
{
    bool room = w->what == FLM__WAIT_ROOM || c->room_waiters || c->pump_wants_room;
    bool armed = false, work = false;
    if (w->what == FLM__WAIT_CONTROL) {
        work = c->fabric && !c->fabric_ops->arm(c->fabric);
    } else {
        armed = true;
        work = !arm(c, room);
        c->sleeps_for_room = room;
    }
    if (!work)
        sleep_in_poll(c, w);
    c->sleeps_for_room = false;
    if (armed)
        disarm(c);
    wake_waiters(c);
    if (work && c->waiters) { /* perhaps theirs: let them */
        flm__client_unlock(c);
        sched_yield();
        flm__client_lock(c);
    }
}

/* Another thread sleeps in poll, or is about to. */
static void sleep_behind(flm_client *c, const struct flm__wait *w)
{
    bool data = w->what != FLM__WAIT_CONTROL, room = w->what == FLM__WAIT_ROOM;
    if (c->sleeping && ((data && !c->sleeps_for_data) || (room && !c->sleeps_for_room)))
        flm__wait_wake(c);
    c->waiters++;
    c->data_waiters += data;
    c->room_waiters += room;
    wait_for_turn(c, w->deadline);
    c->waiters--;
    c->data_waiters -= data;
    c->room_waiters -= room;
}

static bool is_own_thread(const flm_client *c)
{
    return c->own_thread && pthread_equal(c->thread, pthread_self());
}

static void sleep_once(flm_client *c, const struct flm__wait *w)
{
    bool behind = c->sleeping || (c->own_thread && !is_own_thread(c)) ||
                  (w->what == FLM__WAIT_CONTROL && c->data_waiters);
    if (behind)
        sleep_behind(c, w);
    else
        sleep_first(c, w);
}

/* ---- until ------------------------------------------------------------------ */

/* How long to spin now. */
static int64_t spin_time(const flm_client *c)
{
    uint64_t tasks = 0;
    int n = 0;
    for (const flm_session *s = c->sessions; s && n < LONE_SESSIONS; s = s->next, n++)
        tasks += s->outstanding;
    if (tasks && tasks <= LONE_TASKS)
        return SPIN_LONE_NS;
    return c->fabric && c->fabric_ops->asks_kernel(c->fabric) ? SPIN_KERNEL_NS : SPIN_NS;
}

struct spin {
    int64_t until; /* 0: not begun */
    unsigned turns;
};

/* True: look again; false: it has been long enough. */
static bool spin(flm_client *c, struct spin *s, int64_t now)
{
    if (!s->until)
        s->until = now + spin_time(c);
    if (now >= s->until)
        return false;
    flm__client_unlock(c);
    if (++s->turns % SPIN_YIELD == 0)
        sched_yield();
    else
        for (int i = 0; i < SPIN_RELAX; i++)
            flm__relax();
    flm__client_lock(c);
    return true;
}

/* One turn; returns how much was done. */
static unsigned turn(flm_client *c, const struct flm__wait *w)
{
    unsigned n;
    if (c->own_thread && !is_own_thread(c))
        return 0;
    if (w->what == FLM__WAIT_CONTROL)
        n = flm__progress_fabric(c) + (c->away ? flm__reconnect_try(c) : 0);
    else
        n = flm__progress(c);
    if (n && c->shared)
        flm__wait_notify(c);
    return n;
}

static bool over(const flm_client *c, const struct flm__wait *w)
{
    return c->lost && (w->what == FLM__WAIT_CONTROL || c->buried);
}

static int until(flm_client *c, struct flm__wait *w)
{
    struct spin s = {0};
    bool may_spin = w->what != FLM__WAIT_CONTROL && !(c->own_thread && !is_own_thread(c));
    for (;;) {
        unsigned n = turn(c, w);
        if (w->done(w))
            return 0;
        if (over(c, w))
            return FLM_EDISCONNECTED;
        if (n && w->deadline == FLM__FOR_EVER) {
            s.until = 0;
            continue;
        }
        int64_t now = w->deadline ? flm__now_ns() : 0;
        if (w->deadline != FLM__FOR_EVER && now >= w->deadline)
            return FLM_ETIMEDOUT;
        if (n)
            s.until = 0;
        else if (!may_spin || !spin(c, &s, now))
            sleep_once(c, w);
    }
}

int flm__wait_until(flm_client *c, struct flm__wait *w)
{
    flm__wait_disarm_fd(c);
    if (w->what == FLM__WAIT_CONTROL) /* no progress will do it */
        flm__progress_let_out(c);
    int rc = until(c, w);
    if (c->shared) {
        wake_waiters(c);     /* who left us the place in poll must take it now */
        flm__wait_arm_fd(c); /* for another thread that sleeps on flm_fd */
    }
    return rc;
}
