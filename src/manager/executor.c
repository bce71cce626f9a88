#include "manager/executor_inside.h"

#include "manager/common.h"
#include "manager/durable.h"
#include "manager/flow.h"
#include "manager/group.h"
#include "manager/inputs.h"
#include "net/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const char *const state_names[] = {"Void", "Idle", "Binding", "Bound", "Unbinding", "Released"};

enum {
    FIRST_DEPTH = 4, /* tasks sent ahead while their duration is not known */
    INFLIGHT_FIRST = 16,
};

const char *executor_state_name(const struct executor *e)
{
    if (e->trouble && e->state == EXECUTOR_VOID)
        return "Failed";
    if (e->lent_to)
        return "Lent";
    return e->node && e->node->drained && !e->node->unread_bytes && e->state == EXECUTOR_IDLE
               ? "Drained"
               : state_names[e->state];
}

/* An executor that lost its node leaves a place in the table that a new one takes. */
static struct executor *free_place(struct manager *m)
{
    for (unsigned i = 0; i < m->n_executors; i++)
        if (m->executors[i]->state == EXECUTOR_RELEASED)
            return m->executors[i];
    return NULL;
}

struct executor *executor_of(const struct manager *m, unsigned id, uint64_t birth)
{
    struct executor *e = id < m->n_executors ? m->executors[id] : NULL;
    return e && e->birth == birth && e->node && e->node->peer ? e : NULL;
}

struct executor *executor_new(struct manager *m, struct node *node, const Flm__Slot *slot)
{
    struct executor *e = free_place(m);
    if (!e) {
        if (m->n_executors == MANAGER_EXECUTORS_MAX)
            return NULL;
        struct executor **more = realloc(m->executors, (m->n_executors + 1) * sizeof(*more));
        if (!more)
            return NULL;
        m->executors = more;
        e = calloc(1, sizeof(*e));
        if (!e)
            return NULL;
        e->id = m->n_executors;
        m->executors[m->n_executors++] = e;
    }
    e->state = EXECUTOR_VOID;
    e->node = node;
    e->lane = slot->lane;
    e->life = 0;
    e->cores = slot->cores;
    e->restarts = e->ranks = 0;
    e->done = 0;
    e->lent_to = e->lent_before = NULL;
    e->torn = false;
    snprintf(e->cpus, sizeof(e->cpus), "%s", slot->cpus);
    return e;
}

static void send_to_agent(struct executor *e, const Flm__Message *m, const int *fds, unsigned n)
{
    if (e->node->peer)
        peer_send(e->node->peer, m, fds, n);
}

/* ---- sessions ------------------------------------------------------------ */

bool executor_join_session(struct executor *e, struct session *s)
{
    if (s->n_bound == s->bound_room) {
        unsigned room = s->bound_room ? 2 * s->bound_room : 8;
        struct executor **more = realloc(s->bound, room * sizeof(*more));
        if (!more)
            return false;
        s->bound = more;
        s->bound_room = room;
    }
    e->session = s;
    e->bound_index = s->n_bound;
    s->bound[s->n_bound++] = e;
    e->place = places_find(&s->places, e->node->name, e->node->block);
    e->done_before = e->done;
    return true;
}

void executor_leave_session(struct executor *e)
{
    struct session *s = e->session;
    if (!s)
        return;
    if (e->task_ns > 0)
        s->task_ns = e->task_ns;
    places_count(&s->places, e->place, e->done - e->done_before);
    core_time_leave(e);
    if (group_width(s) > 1)
        group_release(e);
    struct executor *last = s->bound[--s->n_bound];
    s->bound[e->bound_index] = last;
    last->bound_index = e->bound_index;
    e->updating = false;
    e->common_version = 0;
    e->session = NULL;
    s->manager->schedule = true;
    s->manager->forget |= s->state == SESSION_CLOSED;
}

void executor_reset_flow(struct executor *e)
{
    e->first = e->n = e->bytes = 0;
    e->depth = FIRST_DEPTH;
    e->task_ns = 0;
    e->recalling = e->leaving = e->stalled = e->starved = false;
    e->kill_ns = 0;
    e->back = BACK_NO;
}

bool executor_grow_inflight(struct executor *e)
{
    uint32_t room = e->room ? 2 * e->room : INFLIGHT_FIRST;
    struct inflight *more = malloc(room * sizeof(*more));
    if (!more)
        return false;
    for (uint32_t i = 0; i < e->n; i++)
        more[i] = *executor_inflight(e, i);
    free(e->inflight);
    e->inflight = more;
    e->room = room;
    e->first = 0;
    return true;
}

int executor_bind(struct executor *e, struct session *s)
{
    struct manager *m = s->manager;
    struct group_places places = {0};
    if (group_places_init(&places, s) < 0 || !executor_join_session(e, s)) {
        group_places_free(&places);
        return FLM_ENOMEM;
    }
    Flm__Bind b = FLM__BIND__INIT;
    if (s->ranks) {
        group_take(e, s);
        group_tell(e, &places);
        b.lanes = places.lanes;
        b.n_lanes = places.n_lanes;
        b.nodes = places.nodes;
        b.cpus = places.cpus;
    }
    e->ranks = s->ranks;
    e->spread = s->spread;
    e->torn = false;
    Flm__BlobRef common = FLM__BLOB_REF__INIT;
    b.lane = e->lane;
    b.life = e->life;
    b.session = s->number;
    b.session_id = s->id;
    b.application = s->application->description;
    b.deadline_ms = s->deadline_ms;
    b.executor = e->id;
    b.ranks = s->ranks;
    b.serial = s->serial;
    b.timed = s->results != NULL;
    int fd = -1;
    if (s->common) {
        fd = common_show(e, &common);
        b.common = &common;
    }
    FLM__MESSAGE(message, bind, BIND, &b);
    send_to_agent(e, &message, &fd, fd >= 0);
    common_shown(e);
    group_places_free(&places);
    executor_reset_flow(e);
    e->state = EXECUTOR_BINDING;
    e->bound_ns = e->served_ns = m->now;
    e->idle_ns = 0;
    return 0;
}

/* Nothing is left to be answered: the executor may leave. */
static void send_unbind(struct executor *e)
{
    Flm__Unbind u = FLM__UNBIND__INIT;
    u.lane = e->lane;
    u.life = e->life;
    u.session = e->session->number;
    FLM__MESSAGE(m, unbind, UNBIND, &u);
    e->leaving = false;
    send_to_agent(e, &m, NULL, 0);
}

static void recall(struct executor *e, bool spares)
{
    if (e->recalling || e->n == 0 || (e->state != EXECUTOR_BOUND && e->state != EXECUTOR_UNBINDING))
        return;
    Flm__Recall r = FLM__RECALL__INIT;
    r.lane = e->lane;
    r.life = e->life;
    r.upto = e->sent;
    r.spares = spares;
    FLM__MESSAGE(m, recall, RECALL, &r);
    e->recalling = true;
    send_to_agent(e, &m, NULL, 0);
}

void executor_recall(struct executor *e)
{
    recall(e, false);
}

void executor_recall_rest(struct executor *e)
{
    recall(e, true);
}

static void unbind(struct executor *e, bool spares)
{
    if (e->state == EXECUTOR_BINDING) {
        e->leaving = true; /* when it has entered */
        return;
    }
    if (e->state != EXECUTOR_BOUND)
        return;
    e->state = EXECUTOR_UNBINDING;
    e->leaving = true;
    recall(e, spares);
    executor_settle(e);
}

void executor_unbind(struct executor *e)
{
    unbind(e, false);
}

void executor_unbind_later(struct executor *e)
{
    unbind(e, true);
}

void executor_bound(struct executor *e, const Flm__Bound *bound)
{
    if (e->state != EXECUTOR_BINDING || !e->session || bound->session != e->session->number)
        return;
    e->state = EXECUTOR_BOUND;
    e->idle_ns = e->bound_ns = executor_manager(e)->now;
    session_bind_succeeded(e->session);
    common_tell(e);
    if (e->session->results)
        durable_place(e->session, e->id, e->node->name);
    events_add(&e->events, 0, 0, (int)e->id, "entered session %s", e->session->id);
    executor_manager(e)->schedule = true;
    if (e->leaving) {
        e->leaving = false;
        executor_unbind(e);
    }
}

void executor_bind_failed(struct executor *e, const Flm__BindFailed *failed)
{
    if (e->state != EXECUTOR_BINDING || !e->session || failed->session != e->session->number)
        return;
    struct session *s = e->session;
    e->state = EXECUTOR_IDLE;
    e->ranks = 0; /* it may be that there is no world any more */
    executor_leave_session(e);
    session_bind_failed(s, (int)e->id, failed->code, failed->text);
}

void executor_unbound(struct executor *e)
{
    if (e->state != EXECUTOR_UNBINDING)
        return;
    executor_leave_session(e);
    e->state = EXECUTOR_IDLE;
    executor_manager(e)->schedule = true;
}

void executor_give_back(struct session *s, struct task_ref ref)
{
    struct flm__record *r = queue_record(ref);
    if (s->state == SESSION_CANCELLING || r->flags & SESSION_CANCEL_WANTED) {
        session_end_cancelled(s, ref);
        return;
    }
    s->running--;
    s->pending++;
    r->type = QUEUE_PENDING;
    if (s->trouble[0])
        session_end_waiting(s, ref); /* nobody will look at it again */
    else
        queue_push_back(&s->queue, ref);
}

void executor_returned(struct executor *e, const Flm__Returned *returned)
{
    struct session *s = e->session;
    if (!e->recalling || !s)
        return;
    e->recalling = false;
    while (e->n) {
        struct inflight *last = executor_inflight(e, e->n - 1);
        if (last->number <= returned->from)
            break;
        e->bytes -= flm__record_bytes(queue_record(last->ref)->size);
        e->n--;
        inputs_unstamp(e, last->ref);
        executor_give_back(s, last->ref);
    }
    if (e->n == 0)
        e->idle_ns = s->manager->now;
    s->manager->schedule = true;
    executor_settle(e);
    session_settle(s);
}

void executor_settle(struct executor *e)
{
    if (e->dying) {
        if (!e->link && e->received >= e->death.relayed)
            executor_bury(e);
        return;
    }
    if (e->n == 0) {
        e->kill_ns = 0;
        if (e->leaving && !e->recalling && e->state == EXECUTOR_UNBINDING)
            send_unbind(e);
    }
    if (e->session)
        session_settle(e->session);
}

static void send_kill(struct executor *e, int reason, bool gently, const char *text)
{
    Flm__Kill k = FLM__KILL__INIT;
    k.lane = e->lane;
    k.life = e->life;
    k.reason = reason;
    k.text = (char *)(uintptr_t)text;
    k.gently = gently;
    FLM__MESSAGE(m, kill, KILL, &k);
    send_to_agent(e, &m, NULL, 0);
}

void executor_kill(struct executor *e, int reason, const char *text)
{
    e->kill_reason = reason;
    e->kill_ns = 0;
    send_kill(e, reason, false, text);
}

void executor_send_home(struct executor *e, const char *text)
{
    send_kill(e, FLM_REASON_NONE, true, text);
}

void executor_cancel(struct executor *e, uint64_t number)
{
    Flm__Cancel c = FLM__CANCEL__INIT;
    c.lane = e->lane;
    c.life = e->life;
    c.number = number;
    FLM__MESSAGE(m, cancel, CANCEL, &c);
    send_to_agent(e, &m, NULL, 0);
}

void executor_lies(struct executor *e, const char *what)
{
    events_add(&e->events, FLM_EPROTO, 0, (int)e->id, "%s", what);
    executor_kill(e, FLM_REASON_EXECUTOR_LOST, what);
}

/* ---- a new process ------------------------------------------------------------ */

/* Makes the ring of an executor on our node and hands it over through its agent. */
static int give_ring(struct executor *e, struct manager *m, flm_error *error)
{
    int memfd = -1, bell = -1;
    int rc = flm__ring_create(m->options.ring_bytes, &memfd, error);
    if (rc < 0)
        return rc;
    bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell >= 0)
        e->link = flm__ring_open(memfd, m->options.ring_bytes, true, bell, error);
    if (e->link) {
        Flm__ExecutorRing ring = FLM__EXECUTOR_RING__INIT;
        ring.lane = e->lane;
        ring.life = e->life;
        ring.bytes = m->options.ring_bytes;
        ring.executor = e->id;
        FLM__MESSAGE(message, executor_ring, EXECUTOR_RING, &ring);
        send_to_agent(e, &message, (int[]){memfd, m->bell, bell}, 3);
    }
    close(memfd);
    if (bell >= 0)
        close(bell);
    return e->link ? 0 : FLM_ENOMEM;
}

void executor_up(struct executor *e, const Flm__ExecutorUp *up)
{
    struct manager *m = executor_manager(e);
    flm_error error = {0};
    if (e->dying || (e->session && e->state != EXECUTOR_BINDING)) {
        /* Its predecessor is over, with all of its results that are to come. */
        if (!e->dying) {
            e->death.began = 0;
            e->death.reason = FLM_REASON_EXECUTOR_LOST;
            e->death.expected = true;
            snprintf(e->death.text, sizeof(e->death.text), "another process took its place");
        }
        executor_bury(e);
    }
    struct session *binding = e->state == EXECUTOR_BINDING ? e->session : NULL;
    flm__link_destroy(e->link);
    e->link = NULL;
    executor_forget_trouble(e);
    e->birth = ++m->births;
    e->life = up->life;
    e->pid = up->pid;
    e->restarts = up->restarts;
    e->sent = e->received = 0;
    e->limit_bytes = m->options.ring_bytes / 2;
    if (up->cpus[0])
        snprintf(e->cpus, sizeof(e->cpus), "%s", up->cpus);
    events_add(&e->events, 0, 0, (int)e->id, "process %d attached", up->pid);
    if (e->node->relay) {
        Flm__ExecutorRing ring = FLM__EXECUTOR_RING__INIT;
        ring.lane = e->lane;
        ring.life = e->life;
        ring.executor = e->id;
        FLM__MESSAGE(message, executor_ring, EXECUTOR_RING, &ring);
        send_to_agent(e, &message, NULL, 0);
    } else if (give_ring(e, m, &error) < 0) {
        executor_kill(e, FLM_REASON_EXECUTOR_LOST, error.text);
        return;
    }
    if (!binding) { /* else the agent gives it the Bind that it holds */
        e->state = EXECUTOR_IDLE;
        e->ranks = 0;
    }
    m->schedule = true;
}

void executor_free(struct executor *e)
{
    flm__link_destroy(e->link);
    executor_drop_blobs(e);
    events_clear(&e->events);
    executor_forget_trouble(e);
    free(e->inflight);
    free(e);
}
