/* The main loop: tasks from the ring in batches; between batches what the second thread hands over; with
 * nothing to do a short spin and then sleep. */
#include "executor/executor.h"

#include "base/time.h"
#include "executor/world.h"

#include <flm/client.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SPIN_NS = 20000,
    SELDOM_NS = 200000,       /* who waited so long last time does not spin this time */
    SPINS_PER_LOOK = 16,      /* at the clock, and a yield: the peer may need our core */
    CONSUME_BYTES = 16 << 10, /* room given back at least this often within a batch */
};

void flm__inbox_sleep(struct flm__executor *e)
{
    struct pollfd bell = {e->bell, POLLIN, 0};
    uint64_t count;
    int n_ready = poll(&bell, 1, -1);
    if (bell.revents & POLLNVAL)
        flm__end_closed(e);
    if (n_ready > 0) {
        ssize_t n = read(e->bell, &count, sizeof(count));
        (void)n;
    }
}

static bool has_events(struct flm__executor *e)
{
    return atomic_load_explicit(&e->control.events, memory_order_acquire);
}

/* Looks for work for a while. True: there is some. */
static bool spin(struct flm__executor *e, int64_t until)
{
    const void *data;
    do {
        for (int i = 0; i < SPINS_PER_LOOK; i++) {
            if (flm__link_peek(e->link, &data) || has_events(e))
                return true;
            flm__relax();
        }
        sched_yield();
    } while (flm__now_ns() < until);
    return false;
}

/* Until there is something to do. Where tasks come seldom there is no spinning: those who are to pass on
 * the result that was just written may need this very core. But who was woken and finds nothing waits for
 * it awake: the session manager wakes us before it knows which task it will send. */
static void rest(struct flm__executor *e, bool woken_for_nothing)
{
    int64_t begin = flm__now_ns();
    if ((e->waited_ns > SELDOM_NS && !woken_for_nothing) || !spin(e, begin + SPIN_NS)) {
        if (flm__link_arm(e->link, false) && !has_events(e))
            flm__inbox_sleep(e);
        flm__link_disarm(e->link);
    }
    e->waited_ns = flm__now_ns() - begin;
}

static void run_batch(struct flm__executor *e, const char *data, size_t n)
{
    size_t done = 0, kept = 0;
    flm__outbox_batch(e, n);
    while (done < n) {
        struct flm__record r = {0};
        uint32_t bytes = flm__record_read(data + done, n - done, &r);
        if (bytes == 0 || r.type != FLM__TASK)
            flm__end_now(e, FLM_REASON_NONE,
                         "a record in the ring makes no sense (type %u, %u bytes, %zu there)", r.type,
                         r.size, n - done);
        if (r.lane == e->wire_lane)
            flm__run_task(e, &r, flm__record_payload(data + done));
        done += bytes;
        if (done - kept >= CONSUME_BYTES) {
            flm__link_consume(e->link, done - kept);
            kept = done;
        }
        if (__builtin_expect(atomic_load_explicit(&e->control.halt, memory_order_relaxed), 0))
            break; /* what was not begun is not begun any more */
    }
    if (e->world)
        flm__world_settle(e);
    if (e->outbox.held)
        flm__outbox_publish(e);
    flm__link_consume(e->link, done - kept);
}

static void answer_bind(struct flm__executor *e, Flm__Message *message, int fd)
{
    flm_error error = {0};
    uint32_t session = message->bind->session;
    int rc = e->world ? flm__world_enter_take(e, message, fd, &error)
                      : flm__session_enter_take(e, message, fd, &error);
    if (rc < 0 && flm__end_wanted(e, INT_MAX))
        return; /* its process was ended with us: no fault of the session */
    Flm__Bound bound = FLM__BOUND__INIT;
    Flm__BindFailed failed = FLM__BIND_FAILED__INIT;
    bound.lane = failed.lane = e->identity.lane;
    bound.life = failed.life = e->identity.life;
    bound.session = failed.session = session;
    failed.code = rc;
    failed.text = error.text;
    FLM__MESSAGE(yes, bound, BOUND, &bound);
    FLM__MESSAGE(no, bind_failed, BIND_FAILED, &failed);
    flm__control_send(e, rc < 0 ? &no : &yes, NULL, 0);
}

static void answer_unbind(struct flm__executor *e, const Flm__Unbind *unbind)
{
    if (e->session.entered && e->session.number == unbind->session) {
        if (e->world)
            flm__world_leave(e);
        else
            flm__session_leave(e);
    }
    Flm__Unbound unbound = FLM__UNBOUND__INIT;
    unbound.lane = e->identity.lane;
    unbound.life = e->identity.life;
    unbound.session = unbind->session;
    FLM__MESSAGE(m, unbound, UNBOUND, &unbound);
    flm__control_send(e, &m, NULL, 0);
}

static void handle_events(struct flm__executor *e)
{
    struct flm__event *event;
    while ((event = flm__control_take(e))) {
        if (event->message->body_case == FLM__MESSAGE__BODY_BIND) {
            answer_bind(e, event->message, event->fd);
        } else {
            answer_unbind(e, event->message->unbind);
            flm__message__free_unpacked(event->message, NULL);
            if (event->fd >= 0)
                close(event->fd);
        }
        free(event);
    }
}

void flm__inbox_serve(struct flm__executor *e)
{
    bool rested = false;
    for (;;) {
        const void *data;
        size_t n = flm__link_peek(e->link, &data);
        /* After the look at the ring: whoever sent what is there may rely on what halt was set for. */
        if (__builtin_expect(atomic_load_explicit(&e->control.halt, memory_order_relaxed), 0)) {
            if (atomic_load(&e->control.stopping))
                return;
            flm__control_heed(&e->control);
            flm__stock_settle(e);
            flm__common_take(e);
        } else if (n)
            run_batch(e, data, n);
        else if (has_events(e))
            handle_events(e);
        else
            rest(e, rested);
        rested = n == 0;
    }
}
