/* The loop. While there is work it polls links and looks at sockets and timers every now and then; when
 * nothing came for a while it arms every link and sleeps in libuv until a doorbell rings. */
#define _GNU_SOURCE
#include "manager/manager.h"

#include "base/endpoint.h"
#include "base/error.h"
#include "base/time.h"
#include "manager/backend.h"
#include "manager/client.h"
#include "manager/durable.h"
#include "manager/retention.h"
#include "manager/executor.h"
#include "manager/flow.h"
#include "manager/rejoin.h"
#include "manager/loop.h"
#include "manager/object_spill.h"
#include "manager/scheduler.h"
#include "net/ring.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    TICK_MS = 1,
    SECOND_LOOK_MS = 1,
    SPIN_KERNEL_NS = 2000, /* when each look asks the kernel: a turn or two */
    SPIN_LONE_NS = 100000, /* for the answer to a lone task, which takes two sleepers to wake */
    LONE_TASKS = 2,
    LOOK_AROUND_NS = 500000, /* sockets and timers are looked at so often while tasks flow */
    STOP_GRACE_MS = 5000,
};

/* ---- one turn ---------------------------------------------------------------------------- */

/* The data plane of one client. */
static unsigned serve_client(struct peer *p)
{
    unsigned work = inbound_drain(p);
    if (p->deferred && p->state == PEER_CLIENT)
        client_retry(p);
    if (p->blocked && p->state == PEER_CLIENT)
        work += outbound_pump(p);
    return work;
}

static unsigned serve_clients(struct manager *m)
{
    unsigned work = 0;
    struct peer *p, *next;
    DL_FOREACH_SAFE(m->peers, p, next)
    {
        if (p->state == PEER_CLIENT && p->link)
            work += serve_client(p);
        else if (p->state == PEER_NODE && p->node && p->node->relay && p->link)
            work += outbound_drain_relay(p->node);
    }
    return work;
}

static unsigned serve_executors(struct manager *m)
{
    unsigned work = 0;
    for (unsigned i = 0; i < m->n_executors; i++) {
        struct executor *e = m->executors[i];
        if (e->link && e->session)
            work += outbound_drain_executor(e);
        if (e->state == EXECUTOR_BOUND)
            work += dispatch_fill(e);
    }
    return work;
}

static void flush_clients(struct manager *m)
{
    struct peer *p;
    DL_FOREACH(m->peers, p)
    if (p->link_needs_flush && p->link && p->state == PEER_CLIENT) {
        p->link_needs_flush = false;
        flm__link_flush(p->link);
    }
}

static unsigned turn(struct manager *m)
{
    unsigned work = 0;
    m->now = flm__now_ns();
    if (m->fabric)
        work += (unsigned)m->fabric_ops->progress(m->fabric);
    work += serve_clients(m);
    work += serve_executors(m);
    if (m->sweeping)
        work += session_sweep(m);
    if (m->schedule)
        scheduler_run(m);
    if (__builtin_expect(m->durable != NULL, 0))
        work += durable_turn(m->durable);
    if (__builtin_expect(m->spilling, 0))
        spill_turn(m);
    flush_clients(m);
    if (m->reap)
        peer_reap(m);
    if (m->forget)
        retention_forget(m);
    return work;
}

/* ---- sleeping ------------------------------------------------------------------------------- */

static bool arm_all(struct manager *m)
{
    struct peer *p;
    bool quiet = true;
    /* What is stalled has something to be read, and is looked at again each tick. */
    DL_FOREACH(m->peers, p)
    if (p->link && p->state != PEER_GONE)
        quiet = (flm__link_arm(p->link, p->blocked && p->wants_room) || p->stalled) && quiet;
    for (unsigned i = 0; i < m->n_executors; i++)
        if (m->executors[i]->link && !m->executors[i]->stalled && !m->executors[i]->starved)
            quiet = flm__link_arm(m->executors[i]->link, false) && quiet;
    if (m->fabric)
        quiet = m->fabric_ops->arm(m->fabric) && quiet;
    if (m->durable)
        quiet = durable_arm(m->durable) && quiet;
    return quiet;
}

static void disarm_all(struct manager *m)
{
    struct peer *p;
    if (m->durable)
        durable_disarm(m->durable);
    DL_FOREACH(m->peers, p)
    if (p->link)
        flm__link_disarm(p->link);
    for (unsigned i = 0; i < m->n_executors; i++)
        if (m->executors[i]->link)
            flm__link_disarm(m->executors[i]->link);
}

static void on_tick(uv_timer_t *timer)
{
    struct manager *m = timer->data;
    m->now = flm__now_ns();
    m->schedule = true;
}

void manager_want_tick(struct manager *m)
{
    if (m->tick_on)
        return;
    m->tick_on = true;
    uv_timer_start(&m->tick, on_tick, TICK_MS, TICK_MS);
}

/* The tick runs only while time itself can bring something about. */
static void set_tick(struct manager *m)
{
    unsigned every = scheduler_tick_ms(m);
    if (every == m->tick_ms && m->tick_on == (every != 0))
        return;
    m->tick_ms = every;
    m->tick_on = every != 0;
    if (every)
        uv_timer_start(&m->tick, on_tick, every, every);
    else
        uv_timer_stop(&m->tick);
}

static void on_second_look(uv_timer_t *timer)
{
    (void)timer; /* that we are awake is all */
}

/* A client that only nudges may not have seen that we were going to sleep (net/link.h), so the first sleep
 * after some work is a short one. */
static void sleep_until_called(struct manager *m, bool after_work)
{
    set_tick(m);
    if (after_work)
        uv_timer_start(&m->second_look, on_second_look, SECOND_LOOK_MS, 0);
    if (arm_all(m) && !m->stop && !m->schedule && !m->reap && !m->spilling)
        uv_run(&m->uv, UV_RUN_ONCE);
    else
        uv_run(&m->uv, UV_RUN_NOWAIT);
    uv_timer_stop(&m->second_look);
    disarm_all(m);
    m->now = flm__now_ns();
}

/* How long to look for work before sleeping. */
static int64_t spin_ns(const struct manager *m)
{
    unsigned running = 0;
    bool are_short = true;
    int64_t usual = m->options.spin_us * 1000LL;
    if (m->fabric && usual > SPIN_KERNEL_NS && m->fabric_ops->asks_kernel(m->fabric))
        usual = SPIN_KERNEL_NS;
    for (unsigned i = 0; i < m->n_executors && running <= LONE_TASKS; i++) {
        running += m->executors[i]->n;
        are_short &= m->executors[i]->n == 0 || m->executors[i]->task_ns < SPIN_LONE_NS;
    }
    return usual && usual < SPIN_LONE_NS && are_short && running && running <= LONE_TASKS ? SPIN_LONE_NS
                                                                                          : usual;
}

/* All is over when nobody is left, or when the grace time has passed. */
static void check_stop(struct manager *m)
{
    if (m->stopping && (!backend_running(m) || flm__now_ns() > m->stop_at))
        m->stop = true;
}

void loop_run(struct manager *m)
{
    int64_t looked = flm__now_ns(), sleep_at = 0; /* 0: this turn is the first without work */
    bool worked = true;                           /* since the last sleep */
    unsigned idle_turns = 0;
    while (!m->stop) {
        bool work = turn(m) > 0;
        worked |= work;
        if (work)
            sleep_at = 0;
        else if (!sleep_at)
            sleep_at = m->now + spin_ns(m);
        if (m->now - looked > LOOK_AROUND_NS) {
            looked = m->now;
            set_tick(m);
            uv_run(&m->uv, UV_RUN_NOWAIT);
            check_stop(m);
        } else if (!work && m->now >= sleep_at) {
            sleep_until_called(m, worked);
            check_stop(m);
            looked = m->now;
            sleep_at = 0;
            worked = false;
        } else if (!work) {
            flm__relax();
            if ((++idle_turns & 15) == 0)
                sched_yield();
        }
    }
}

/* ---- shared by all --------------------------------------------------------------------------- */

static void on_fabric(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events; /* the next turn makes progress */
}

bool manager_own_address(struct manager *m)
{
    if (!m->own_address_asked)
        flm__own_address(m->options.interface, m->own_address, sizeof(m->own_address));
    m->own_address_asked = true;
    return m->own_address[0] != 0;
}

struct flm__fabric *manager_fabric(struct manager *m, flm_error *error)
{
    if (m->fabric)
        return m->fabric;
    if (!m->fabric_ops)
        m->fabric_ops = flm__fabric_load(error);
    if (!m->fabric_ops)
        return NULL;
    bool known = manager_own_address(m);
    struct flm__fabric_options o = {.provider = m->options.provider,
                                    .interface = m->options.interface,
                                    .address = known ? m->own_address : NULL};
    if (m->fabric_ops->open(&o, &m->fabric, error) < 0) {
        m->fabric = NULL;
        return NULL;
    }
    int fd = m->fabric_ops->fd(m->fabric);
    if (fd >= 0 && uv_poll_init(&m->uv, &m->fabric_poll, fd) == 0) {
        m->fabric_polled = true;
        uv_poll_start(&m->fabric_poll, UV_READABLE, on_fabric);
    }
    return m->fabric;
}

void manager_ready(struct manager *m)
{
    int fd = m->options.ready_fd;
    if (fd >= 0) {
        dprintf(fd, "%s\n", m->endpoints);
        close(fd);
        m->options.ready_fd = -1;
    } else {
        printf("flmd %s is ready at %s\n", FLM_VERSION, m->endpoints);
        fflush(stdout);
    }
}

void manager_stop(struct manager *m, const char *why)
{
    if (m->stopping)
        return;
    m->stopping = true;
    m->stop_at = flm__now_ns() + STOP_GRACE_MS * 1000000LL;
    if (m->options.verbose || m->exit_status)
        fprintf(stderr, "flmd: ending: %s\n", why);
    struct session *s, *next;
    HASH_ITER(hh, m->sessions, s, next)
    if (s->durability) /* goes on with the next session manager */
        session_pause(s);
    else
        session_cancel(s, "the session manager is ending");
    struct node *n;
    Flm__Shutdown text = FLM__SHUTDOWN__INIT;
    text.text = (char *)(uintptr_t)why;
    FLM__MESSAGE(message, shutdown, SHUTDOWN, &text);
    DL_FOREACH(m->nodes, n)
    peer_send(n->peer, &message, NULL, 0);
    rejoin_stop(m);
    backend_stop(m);
    manager_want_tick(m);
    if (!m->backend)
        m->stop_at = flm__now_ns() + 200000000;
}
