#define _GNU_SOURCE
#include "executor/executor.h"

#include "base/error.h"
#include "base/time.h"
#include "net/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <flm/client.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Who is told to end has so long to finish; its agent kills it after 2 s. */
static const int64_t stop_ns = 1500 * 1000000LL;

static void ring_eventfd(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    (void)n;
}

int flm__control_init(struct flm__control *c, flm_error *error)
{
    memset(c, 0, sizeof(*c));
    c->last = &c->first;
    pthread_mutex_init(&c->lock, NULL);
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return c->wake_fd < 0 ? flm__error_errno(error, FLM_ENOMEM, errno, "cannot make an eventfd") : 0;
}

static void free_event(struct flm__event *event)
{
    if (event->message)
        flm__message__free_unpacked(event->message, NULL);
    if (event->fd >= 0)
        close(event->fd);
    free(event);
}

void flm__control_fini(struct flm__control *c)
{
    while (c->first) {
        struct flm__event *gone = c->first;
        c->first = gone->next;
        free_event(gone);
    }
    flm__conn_free(c->conn);
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    pthread_mutex_destroy(&c->lock);
}

int flm__control_send(struct flm__executor *e, const Flm__Message *message, const int *fds, unsigned n_fds)
{
    struct flm__control *c = &e->control;
    pthread_mutex_lock(&c->lock);
    int rc = flm__conn_send(c->conn, message, fds, n_fds);
    bool waits = flm__conn_pending(c->conn);
    pthread_mutex_unlock(&c->lock);
    if (waits)
        ring_eventfd(c->wake_fd);
    return rc;
}

struct flm__event *flm__control_take(struct flm__executor *e)
{
    struct flm__control *c = &e->control;
    pthread_mutex_lock(&c->lock);
    struct flm__event *event = c->first;
    if (event) {
        c->first = event->next;
        if (!c->first)
            c->last = &c->first;
        c->n--;
    }
    if (!c->first && !atomic_load(&c->stopping))
        atomic_store(&c->events, false);
    pthread_mutex_unlock(&c->lock);
    return event;
}

void flm__control_stop_soon(struct flm__control *c)
{
    atomic_store(&c->stopping, true);
    atomic_store(&c->halt, true);
    ring_eventfd(c->wake_fd);
}

void flm__control_halt(struct flm__executor *e)
{
    atomic_store(&e->control.halt, true);
    atomic_store(&e->control.events, true); /* so that it does not go on resting */
    ring_eventfd(e->bell);
}

void flm__control_heed(struct flm__control *c)
{
    atomic_store(&c->halt, false);
    if (atomic_load(&c->stopping)) /* told so in between */
        atomic_store(&c->halt, true);
}

/* ---- the second thread ---- */

static void hand_over(struct flm__executor *e, Flm__Message *message, int fd)
{
    struct flm__control *c = &e->control;
    struct flm__event *event = calloc(1, sizeof(*event));
    if (!event)
        flm__end_now(e, FLM_REASON_OUT_OF_MEMORY, "no memory for a control message");
    event->message = message;
    event->fd = fd;
    pthread_mutex_lock(&c->lock);
    bool full = c->n == FLM__EVENTS_MAX;
    if (!full) {
        *c->last = event;
        c->last = &event->next;
        c->n++;
        atomic_store(&c->events, true);
    }
    pthread_mutex_unlock(&c->lock);
    if (full)
        flm__end_now(e, FLM_REASON_NONE, "%d sessions wait to be entered or left: the agent does not wait",
                     FLM__EVENTS_MAX);
    ring_eventfd(e->bell);
}

static void send_or_end(struct flm__executor *e, const Flm__Message *message)
{
    int rc = flm__control_send(e, message, NULL, 0);
    if (rc < 0 && rc != FLM_EDISCONNECTED) /* the end of the connection is seen when it is read */
        flm__end_now(e, FLM_REASON_NONE, "cannot answer the agent: %s", flm_strerror(rc));
}

static void on_ping(struct flm__executor *e, const Flm__Ping *ping)
{
    Flm__Pong pong = FLM__PONG__INIT;
    pong.number = ping->number;
    flm__arrivals_trim(&e->arrivals);
    flm__outputs_trim(&e->outputs);
    FLM__MESSAGE(m, pong, PONG, &pong);
    send_or_end(e, &m);
}

static void on_recall(struct flm__executor *e, const Flm__Recall *recall)
{
    Flm__Returned returned = FLM__RETURNED__INIT;
    returned.lane = e->identity.lane;
    returned.life = e->identity.life;
    returned.upto = recall->upto;
    returned.from = flm__recall_take(&e->recall, recall->upto, recall->spared);
    FLM__MESSAGE(m, returned, RETURNED, &returned);
    send_or_end(e, &m);
}

static void on_manager_lost(struct flm__executor *e, uint64_t round)
{
    Flm__Stock stock = FLM__STOCK__INIT;
    stock.lane = e->identity.lane;
    stock.life = e->identity.life;
    stock.round = round;
    stock.began = flm__stock_take(e, round, &stock.task);
    flm__objects_lose(&e->objects);
    flm__inputs_lose(e);
    FLM__MESSAGE(m, stock, STOCK, &stock);
    send_or_end(e, &m);
}

static void on_cancel(struct flm__executor *e, uint64_t number)
{
    if (number == 0)
        return;
    /* Before the task runs the main thread finds it here, while it runs both do. */
    atomic_store(&e->cancels->numbers[number % FLM__CANCELS], number);
    flm__session_cancel(e, number);
}

static void on_blob(struct flm__executor *e, const Flm__Blob *blob, int fd)
{
    flm_error error = {0};
    int rc = fd < 0 || blob->size == 0 || blob->size > FLM_MAX_PAYLOAD
                 ? flm__error_set(&error, FLM_EPROTO,
                                  "a large input of %llu bytes was announced without its memory",
                                  (unsigned long long)blob->size)
                 : flm__arrivals_put(&e->arrivals, blob, fd, &error);
    if (rc < 0)
        flm__end_now(e, FLM_REASON_NONE, "%s", error.text);
}

static bool is_ours(const struct flm__executor *e, uint32_t lane, uint32_t life)
{
    return lane == e->identity.lane && life == e->identity.life;
}

/* Whether message is for this life of this lane. What has no lane is. */
static bool concerns_us(const struct flm__executor *e, const Flm__Message *m)
{
    switch (m->body_case) {
#define OF_LANE(CASE, field)                                                                               \
    case FLM__MESSAGE__BODY_##CASE:                                                                        \
        return is_ours(e, m->field->lane, m->field->life);
        OF_LANE(BIND, bind)
        OF_LANE(UNBIND, unbind)
        OF_LANE(RECALL, recall)
        OF_LANE(CANCEL, cancel)
        OF_LANE(KILL, kill)
        OF_LANE(BLOB, blob)
        OF_LANE(BLOB_DONE, blob_done)
        OF_LANE(COMMON, common)
        OF_LANE(GOT_OBJECT, got_object)
        OF_LANE(MANAGER_LOST, manager_lost)
        OF_LANE(EXECUTOR_RING, executor_ring)
#undef OF_LANE
    default:
        return true;
    }
}

/* Takes message and its descriptors. */
static void on_message(struct flm__executor *e, Flm__Message *m, const int *fds, unsigned n_fds)
{
    bool ours = concerns_us(e, m);
    int fd = n_fds ? fds[0] : -1;
    if (n_fds > 1)
        flm__close_fds(fds + 1, n_fds - 1);
    switch (ours ? (int)m->body_case : -1) {
    case FLM__MESSAGE__BODY_BIND:
    case FLM__MESSAGE__BODY_UNBIND:
        hand_over(e, m, fd);
        return;
    case FLM__MESSAGE__BODY_PING:
        on_ping(e, m->ping);
        break;
    case FLM__MESSAGE__BODY_RECALL:
        on_recall(e, m->recall);
        break;
    case FLM__MESSAGE__BODY_CANCEL:
        on_cancel(e, m->cancel->number);
        break;
    case FLM__MESSAGE__BODY_BLOB:
        on_blob(e, m->blob, fd);
        break;
    case FLM__MESSAGE__BODY_BLOB_DONE:
        flm__outputs_back(&e->outputs, m->blob_done->id, m->blob_done->object[0]);
        break;
    case FLM__MESSAGE__BODY_GOT_OBJECT:
        flm__objects_got(e, m->got_object, fd);
        break;
    case FLM__MESSAGE__BODY_OBJECT_GONE:
        flm__inputs_gone(e, m->object_gone);
        break;
    case FLM__MESSAGE__BODY_COMMON:
        flm__common_arrive(e, m->common, fd);
        break;
    case FLM__MESSAGE__BODY_MANAGER_LOST:
        on_manager_lost(e, m->manager_lost->round);
        break;
    case FLM__MESSAGE__BODY_EXECUTOR_RING: /* the ring stays, with another at its other end */
        if (fd >= 0 && flm__ring_change_bell(e->link, fd) < 0)
            flm__end_now(e, FLM_REASON_NONE, "no descriptor for the bell of the session manager");
        break;
    case FLM__MESSAGE__BODY_KILL:
        flm__end_now(e, m->kill->reason, "ended by the session manager: %s", m->kill->text);
    case FLM__MESSAGE__BODY_SHUTDOWN:
        flm__control_stop_soon(&e->control);
        break;
    default:
        break; /* of a newer version, or not for us */
    }
    if (fd >= 0)
        close(fd);
    flm__message__free_unpacked(m, NULL);
}

/* Of a guest: nobody answers any more. Whatever the main thread waits for, it is to look. */
static void go_alone(struct flm__executor *e)
{
    atomic_store(&e->control.alone, true);
    flm__objects_lose(&e->objects);
    flm__arrivals_lose(&e->arrivals);
    ring_eventfd(e->bell);
    flm__control_stop_soon(&e->control);
}

/* Reads and handles what is there. */
static void listen_to_agent(struct flm__executor *e)
{
    struct flm__control *c = &e->control;
    pthread_mutex_lock(&c->lock);
    int lost = flm__conn_fill(c->conn);
    pthread_mutex_unlock(&c->lock);
    for (;;) {
        Flm__Message *message;
        int fds[FLM__FRAME_FDS];
        unsigned n_fds;
        pthread_mutex_lock(&c->lock);
        int rc = flm__conn_take(c->conn, &message, fds, &n_fds);
        pthread_mutex_unlock(&c->lock);
        if (rc < 0)
            flm__end_now(e, FLM_REASON_NONE, "the agent sent something that is not the protocol");
        if (rc == 0)
            break;
        on_message(e, message, fds, n_fds);
    }
    if (lost < 0 && fcntl(flm__conn_fd(c->conn), F_GETFD) < 0)
        flm__end_closed(e);
    if (lost < 0 && e->hosted)
        go_alone(e);
    else if (lost < 0) {
        flm__end_children();
        _exit(1); /* the agent is gone, nobody is left to tell */
    }
}

/* The agent kills an executor that does not end. A guest it cannot kill, only the guest's stand-in: for the
 * agent that is the same, and the process, which is the user's, goes on. */
static void part(struct flm__executor *e, int reason)
{
    flm__outbox_rescue(e);
    atomic_store(&e->status->reason, reason);
    shutdown(e->guest_fd, SHUT_RDWR);
    go_alone(e);
}

/* Told to end: the main thread finishes what runs, and then what waits is not begun. */
static void begin_stop(struct flm__executor *e)
{
    atomic_store(&e->cancels->all, true);
    flm__session_cancel(e, 0);
    atomic_store(&e->control.events, true);
    ring_eventfd(e->bell);
}

/* How long to sleep; does what is due. */
static int due(struct flm__executor *e, int64_t *stop_at)
{
    struct flm__control *c = &e->control;
    int timeout = flm__deadline_look(&e->deadline);
    if (timeout == -2 && e->hosted) {
        part(e, FLM_REASON_DEADLINE);
        timeout = -1;
    }
    if (timeout == -2) /* the main thread stays in that task, and no other overwrites its id */
        flm__end_now(e, FLM_REASON_DEADLINE, "task %llu ran beyond its deadline",
                     (unsigned long long)e->task.id);
    int look = flm__outbox_look(e);
    if (look >= 0 && (timeout < 0 || timeout > look))
        timeout = look;
    if (!atomic_load(&c->stopping))
        return timeout;
    int64_t now = flm__now_ns();
    if (*stop_at == 0) {
        *stop_at = now + stop_ns;
        begin_stop(e);
    }
    if (e->hosted)
        return timeout;
    if (now >= *stop_at) {
        flm__outbox_rescue(e);
        flm__end_children();
        _exit(0);
    }
    int left = (int)((*stop_at - now) / 1000000) + 1;
    return timeout < 0 || timeout > left ? left : timeout;
}

static void *second_thread(void *arg)
{
    struct flm__executor *e = arg;
    struct flm__control *c = &e->control;
    int64_t stop_at = 0;
    listen_to_agent(e); /* some may have been read together with the beginning */
    while (!atomic_load(&c->quit)) {
        int timeout = due(e, &stop_at);
        pthread_mutex_lock(&c->lock);
        flm__conn_flush(c->conn);
        bool pending = flm__conn_pending(c->conn);
        pthread_mutex_unlock(&c->lock);
        int agent_fd = atomic_load(&c->alone) ? -1 : flm__conn_fd(c->conn);
        struct pollfd fds[3] = {{agent_fd, (short)(POLLIN | (pending ? POLLOUT : 0)), 0},
                                {c->wake_fd, POLLIN, 0},
                                {atomic_load(&c->stopping) ? -1 : e->guest_fd, POLLIN, 0}};
        if (poll(fds, 3, timeout) <= 0)
            continue;
        if (fds[2].revents)
            flm__control_stop_soon(c);
        if ((fds[0].revents | fds[1].revents) & POLLNVAL)
            flm__end_closed(e);
        if (fds[1].revents) {
            uint64_t count;
            ssize_t n = read(c->wake_fd, &count, sizeof(count));
            (void)n;
        }
        if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
            listen_to_agent(e);
    }
    return NULL;
}

int flm__control_start(struct flm__executor *e, flm_error *error)
{
    struct flm__control *c = &e->control;
    sigset_t all, old;
    /* Signals are the main thread's, as in a program without us. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&c->thread, NULL, second_thread, e);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        return flm__error_errno(error, FLM_ENOMEM, rc, "cannot start a thread");
    c->started = true;
    return 0;
}

void flm__control_stop(struct flm__executor *e)
{
    struct flm__control *c = &e->control;
    if (!c->started)
        return;
    atomic_store(&c->quit, true);
    ring_eventfd(c->wake_fd);
    pthread_join(c->thread, NULL);
    c->started = false;
}
