#include "manager/session.h"

#include "base/error.h"
#include "base/time.h"
#include "manager/client.h"
#include "manager/common.h"
#include "manager/durable.h"
#include "manager/executor.h"
#include "manager/flow.h"
#include "manager/group.h"
#include "manager/results.h"
#include "manager/unread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The largest payload, with its record, must fit. */
#define QUEUE_BYTES_DEFAULT (FLM_MAX_PAYLOAD + (64 << 10))

enum {
    /* A number is index | generation << 16, so that an old one is not taken for a new one. */
    INDEX_BITS = 16,
    BIND_FAILURES_MAX = 3,
    CANCEL_GRACE_MS = 5000, /* a running task that does not heed a cancel is killed with its executor */
    RETRY_LIMIT_MAX = 10000,
    SWEEP_TASKS = 4096, /* in one turn of the loop: a millisecond or two */
};

/* More than any machine has, and sums of it stay far from overflowing. */
#define BYTES_MAX ((uint64_t)1 << 48)

static const char *const state_names[] = {"Open", "Closing", "Closing", "Closed"};

const char *session_state_name(const struct session *s)
{
    return state_names[s->state];
}

struct session *session_by_id(struct manager *m, const char *id)
{
    struct session *s;
    HASH_FIND_STR(m->sessions, id, s);
    return s;
}

struct session *session_by_serial(struct manager *m, uint64_t serial)
{
    for (struct session *s = m->sessions; s; s = s->hh.next)
        if (s->durability && s->serial == serial)
            return s;
    return NULL;
}

struct session *session_by_number(struct manager *m, uint32_t number)
{
    uint32_t index = number & ((1u << INDEX_BITS) - 1);
    struct session *s = index < m->session_numbers ? m->session_by_number[index] : NULL;
    return s && s->number == number ? s : NULL;
}

struct session *session_known_as(struct manager *m, uint32_t serial, uint32_t number)
{
    struct session *s = session_by_number(m, number);
    return s && s->durability && s->serial == serial ? s : NULL;
}

/* Room in the table for this index. */
static int grow_numbers(struct manager *m, uint32_t index, flm_error *error)
{
    uint32_t had = m->session_numbers, room = had ? had : 64;
    while (room <= index)
        room *= 2;
    struct session **more =
        room == had ? m->session_by_number : realloc(m->session_by_number, room * sizeof(*more));
    if (!more)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a session");
    memset(more + had, 0, (room - had) * sizeof(*more));
    m->session_by_number = more;
    m->session_numbers = room;
    return 0;
}

/* The number that it had with an earlier session manager, if that is free: there may be executors in it. */
static int take_number_again(struct session *s, uint32_t number, flm_error *error)
{
    struct manager *m = s->manager;
    uint32_t index = number & ((1u << INDEX_BITS) - 1);
    int rc = number ? grow_numbers(m, index, error) : 0;
    if (rc < 0 || !number || m->session_by_number[index])
        return rc;
    if (number >> INDEX_BITS > (m->next_session & 0xffff))
        m->next_session = number >> INDEX_BITS;
    s->number = number;
    m->session_by_number[index] = s;
    return 0;
}

/* A free index and a new generation. */
static int take_number(struct manager *m, struct session *s, flm_error *error)
{
    uint32_t i;
    for (i = 0; i < m->session_numbers; i++)
        if (!m->session_by_number[i])
            break;
    if (i == 1u << INDEX_BITS)
        return flm__error_set(error, FLM_EFULL, "there are %u open sessions; no more are possible", i);
    int rc = grow_numbers(m, i, error);
    if (rc < 0)
        return rc;
    if ((++m->next_session & 0xffff) == 0)
        m->next_session++; /* no number is 0 */
    s->number = i | (m->next_session & 0xffff) << INDEX_BITS;
    m->session_by_number[i] = s;
    return 0;
}

static void give_number(struct session *s)
{
    struct manager *m = s->manager;
    uint32_t index = s->number & ((1u << INDEX_BITS) - 1);
    if (index < m->session_numbers && m->session_by_number[index] == s)
        m->session_by_number[index] = NULL;
}

/* A closed session is kept to be looked at, and leaves its id to a new one: "mine" becomes "mine~1". No
 * client can choose such an id. */
static void give_way(struct session *s)
{
    struct manager *m = s->manager;
    char id[sizeof(s->id)];
    for (unsigned n = 1;; n++) {
        snprintf(id, sizeof(id), "%.*s~%u", FLM_MAX_NAME - 11, s->id, n);
        if (!session_by_id(m, id))
            break;
    }
    HASH_DEL(m->sessions, s);
    snprintf(s->id, sizeof(s->id), "%s", id);
    HASH_ADD_STR(m->sessions, id, s);
    durable_touch(s, DURABLE_STATE_CHANGED);
}

static int choose_id(struct session *s, const char *wish, flm_error *error)
{
    if (wish[0] && !application_name_is_sound(wish))
        return flm__error_set(error, FLM_EINVAL,
                              "'%.140s' is no id for a session: use 1 to %d letters, digits and "
                              ". _ - : @ +",
                              wish, FLM_MAX_NAME);
    if (wish[0])
        snprintf(s->id, sizeof(s->id), "%s", wish);
    struct session *other = wish[0] ? session_by_id(s->manager, s->id) : NULL;
    if (other && other->state == SESSION_CLOSED)
        give_way(other);
    else if (other)
        return flm__error_set(error, FLM_EEXIST, "there is already a session %s (%s)", s->id,
                              session_state_name(other));
    /* Somebody may have chosen an id like ours. */
    for (unsigned n = s->manager->next_session + 1; !wish[0]; n++) {
        snprintf(s->id, sizeof(s->id), "%.100s-%u", s->application->name, n);
        if (!session_by_id(s->manager, s->id))
            break;
    }
    return 0;
}

static unsigned first_of(unsigned a, unsigned b, unsigned otherwise)
{
    return a ? a : b ? b : otherwise;
}

static void take_spec(struct session *s, const Flm__SessionSpec *spec)
{
    const Flm__Application *a = s->application->description;
    s->min_instances = first_of(spec->min_instances, a->min_instances, 0);
    s->max_instances = first_of(spec->max_instances, a->max_instances, MANAGER_EXECUTORS_MAX);
    s->weight = spec->weight ? (spec->weight > 1000 ? 1000 : spec->weight) : 1;
    s->delay_release_ms = first_of(spec->delay_release_ms, a->delay_release_ms, 1000);
    s->deadline_ms = first_of(spec->deadline_ms, a->deadline_ms, 0);
    s->ranks = first_of(spec->ranks_per_task, a->ranks_per_task, 0);
    s->spread = spec->spread_ranks && s->ranks > 1;
    s->retry_limit = spec->retry_limit ? spec->retry_limit : 3;
    if (s->retry_limit > RETRY_LIMIT_MAX)
        s->retry_limit = RETRY_LIMIT_MAX;
    s->queue_bytes = spec->queue_bytes ? spec->queue_bytes : QUEUE_BYTES_DEFAULT;
    s->result_bytes = spec->result_bytes ? spec->result_bytes : 64 << 20;
    if (s->queue_bytes > BYTES_MAX)
        s->queue_bytes = BYTES_MAX;
    if (s->result_bytes > BYTES_MAX)
        s->result_bytes = BYTES_MAX;
    s->durability = spec->durability;
    if (spec->results[0] && !s->durability)
        s->durability = FLM_DURABILITY_JOURNAL;
    s->detached = spec->flags & FLM_DETACHED || s->durability;
}

/* A newcomer is served as if it had been there all the time, and not from zero. */
static double least_served(struct manager *m)
{
    double least = -1;
    for (struct session *s = m->sessions; s; s = s->hh.next)
        if (s->state == SESSION_OPEN && session_unfinished(s) && (least < 0 || s->served < least))
            least = s->served;
    return least < 0 ? 0 : least;
}

/* A session as the spec says, under the id `s->id` or, where that is "", the one of the spec. */
static int enter(struct session *s, const Flm__SessionSpec *spec, flm_error *error)
{
    int rc = s->id[0] ? 0 : choose_id(s, spec->id, error);
    if (rc == 0 && !s->number)
        rc = take_number(s->manager, s, error);
    if (rc < 0)
        return rc;
    take_spec(s, spec);
    s->served = least_served(s->manager);
    s->credit_told = s->queue_bytes;
    HASH_ADD_STR(s->manager->sessions, id, s);
    if (!flm__hash_added(&s->hh)) {
        give_number(s);
        return flm__error_set(error, FLM_ENOMEM, "no memory for a session");
    }
    s->application->open_sessions++;
    s->manager->schedule = true;
    return 0;
}

/* id "": as the spec says; number 0: any. */
static struct session *session_new(struct manager *m, struct application *a, const char *id,
                                   uint32_t number, const Flm__SessionSpec *spec, flm_error *error)
{
    struct session *s = calloc(1, sizeof(*s));
    if (!s) {
        flm__error_set(error, FLM_ENOMEM, "no memory for a session");
        return NULL;
    }
    s->manager = m;
    s->application = application_hold(a);
    snprintf(s->id, sizeof(s->id), "%s", id);
    if (take_number_again(s, number, error) == 0 && results_new(s, spec->results, error) == 0 &&
        enter(s, spec, error) == 0)
        return s;
    give_number(s);
    results_free(s);
    application_release(a);
    free(s);
    return NULL;
}

/* A group that no node can have is refused at once, if that is known by now. */
static int check_ranks(const struct manager *m, const struct application *a, const Flm__SessionSpec *spec,
                       flm_error *error)
{
    return group_possible(m, first_of(spec->ranks_per_task, a->description->ranks_per_task, 0),
                          spec->spread_ranks, error);
}

static int check_durability(struct manager *m, int durability, const char *results, flm_error *error)
{
    const char *trouble;
    if (durability == FLM_DURABILITY_NONE && !results[0])
        return 0;
    if (durability && durability != FLM_DURABILITY_JOURNAL && durability != FLM_DURABILITY_SYNC)
        return flm__error_set(error, FLM_EINVAL, "unknown durability %d", durability);
    if (!m->durable)
        return flm__error_set(error, FLM_ENOTSUP,
                              "this session manager keeps nothing: for durable sessions, and files of "
                              "results, start it with --state-dir");
    trouble = durable_trouble(m->durable);
    return trouble ? flm__error_set(error, FLM_EIO, "%s", trouble) : 0;
}

struct session *session_create(struct manager *m, const Flm__SessionSpec *spec, struct blob *common,
                               struct peer *client, flm_error *error)
{
    struct application *a = application_find(m, spec->application);
    struct session *s = NULL;
    if (!a)
        flm__error_set(error, FLM_ENOTFOUND,
                       "there is no application '%.140s': register it first (flmctl register, or "
                       "flm_register_application)",
                       spec->application);
    else if (m->hopeless)
        flm__error_set(error, FLM_EBIND, "no executor can be started: the session manager is about to end");
    else if (check_ranks(m, a, spec, error) == 0 &&
             check_durability(m, spec->durability, spec->results, error) == 0 &&
             results_make_file(spec->results, error) == 0) {
        s = session_new(m, a, "", 0, spec, error);
        if (!s && spec->results[0])
            unlink(spec->results);
    }
    if (!s) {
        blob_release(common);
        return NULL;
    }
    s->common = common;
    s->common_version = common ? 1 : 0;
    s->common_believed = UINT64_MAX;
    s->created_ns = flm__wall_ns();
    if (s->durability && !durable_begin(s)) {
        flm__error_set(error, FLM_EIO, "the session could not be recorded: the journal has no room");
        session_free(s);
        if (spec->results[0])
            unlink(spec->results);
        return NULL;
    }
    if (s->results)
        results_start(s);
    if (client)
        session_attach(s, client);
    events_add(&s->events, 0, 0, -1, "created by %s for application %s", client ? client->name : "flmd",
               a->name);
    return s;
}

struct session *session_restore(struct manager *m, struct application *a, const Flm__StoredSession *stored,
                                flm_error *error)
{
    const Flm__SessionSpec *spec = stored->spec;
    struct session *older = session_by_id(m, spec->id);
    if (older) /* that it has given way was not recorded any more */
        give_way(older);
    return session_new(m, a, spec->id, stored->number, spec, error);
}

void session_attach(struct session *s, struct peer *client)
{
    inbound_new_client(s);
    s->client = client;
    s->clients++;
    s->given_up = false; /* by an earlier one */
    s->grace_ns = 0;
    s->last_task = session_newest(s);
    s->refused = 0;
    s->attached_bytes = s->finished_bytes + session_held_bytes(s);
    s->next_attached = client->attached;
    client->attached = s;
    s->in_blocked = false;
    outbox_rewind(&s->outbox);
    if (!outbox_empty(&s->outbox)) {
        s->in_blocked = true;
        s->next_blocked = client->blocked;
        client->blocked = s;
        client->wants_room = true;
    }
}

static void unlink_from(struct session **list, struct session *s, bool attached)
{
    while (*list && *list != s)
        list = attached ? &(*list)->next_attached : &(*list)->next_blocked;
    if (*list)
        *list = attached ? s->next_attached : s->next_blocked;
}

void session_detach(struct session *s)
{
    if (!s->client)
        return;
    unlink_from(&s->client->attached, s, true);
    if (s->in_blocked)
        unlink_from(&s->client->blocked, s, false);
    s->in_blocked = s->opening = false;
    client_drop_syncs(s); /* they know the client */
    s->client = NULL;
    s->manager->forget |= s->state == SESSION_CLOSED;
    if (!s->detached)
        outbound_drop(s);
}

void session_client_lost(struct session *s)
{
    unsigned grace = s->manager->options.client_grace_s;
    if (!s->detached && grace && s->state == SESSION_OPEN)
        s->detached = s->graced = true; /* so results wait, too */
    session_detach(s);
    if (s->detached)
        unread_run_again(s);
    if (!s->detached) {
        session_cancel(s, "its client is gone");
    } else if (s->graced) {
        s->grace_ns = s->manager->now + grace * 1000000000LL;
        events_add(&s->events, 0, 0, -1, "its client is gone; it may come back for %u s", grace);
    }
}

void session_end_graces(struct manager *m)
{
    for (struct session *s = m->sessions; s; s = s->hh.next) {
        if (!s->grace_ns || m->now < s->grace_ns)
            continue;
        s->grace_ns = 0;
        s->detached = s->graced = false;
        outbound_drop(s);
        session_cancel(s, "its client is gone and has not come back in time");
    }
}

void session_close(struct session *s)
{
    if (s->state == SESSION_OPEN) {
        s->state = SESSION_CLOSING;
        durable_touch(s, DURABLE_STATE_CHANGED);
        events_add(&s->events, 0, 0, -1, "closing");
    }
    session_settle(s);
}

/* ---- sweeping ---- */

/* The tasks that wait are ended, some in each turn of the loop, for there may be millions. */

void session_end_cancelled(struct session *s, struct task_ref ref)
{
    outbound_end_waiting(s, ref,
                         &(struct ending){.state = FLM_TASK_CANCELLED,
                                          .reason = FLM_REASON_CANCELLED,
                                          .code = FLM_ECANCELLED,
                                          .attempts = queue_record(ref)->lane,
                                          .text = "cancelled before it began"});
}

void session_end_waiting(struct session *s, struct task_ref ref)
{
    struct flm__record *r = queue_record(ref);
    if (r->type == QUEUE_FETCHING || r->type == QUEUE_DEFERRED) {
        /* Its client may use the memory again when it is answered, so not while we read there. */
        r->flags |= SESSION_CANCEL_WANTED;
        return;
    }
    if (s->state == SESSION_CANCELLING || !s->trouble[0]) {
        session_end_cancelled(s, ref);
        return;
    }
    outbound_end_waiting(s, ref,
                         &(struct ending){.state = FLM_TASK_FAILED,
                                          .reason = FLM_REASON_BIND,
                                          .code = FLM_EBIND,
                                          .attempts = r->lane,
                                          .text = s->trouble});
}

uint64_t session_deadline_ms(const struct session *s, struct task_ref ref)
{
    const struct flm__record *r = queue_record(ref);
    uint64_t own = 0;
    if (r->flags & FLM__RECORD_DEADLINE && r->size >= sizeof(own))
        memcpy(&own, queue_payload(ref), sizeof(own));
    return own ? own : s->deadline_ms;
}

struct sweep {
    struct session *session;
    unsigned ended;
    bool paused; /* at session->sweep_from */
};

static bool sweep_task(struct task_ref ref, void *arg)
{
    struct sweep *w = arg;
    struct flm__record *r = queue_record(ref);
    if (w->ended == SWEEP_TASKS || (w->session->client && session_results_full(w->session)) ||
        (w->session->durability && !durable_room(w->session->manager->durable, FLM__MESSAGE_MAX))) {
        w->paused = true;
        w->session->sweep_from = r->task;
        return false;
    }
    if (r->type != QUEUE_RUNNING) {
        session_end_waiting(w->session, ref);
        w->ended++;
    }
    return true;
}

static unsigned sweep_some(struct session *s)
{
    struct sweep w = {.session = s};
    queue_each(&s->queue, s->sweep_from, sweep_task, &w);
    outbound_credit(s);
    if (!w.paused) {
        s->sweeping = false;
        s->manager->sweeping--;
        session_settle(s);
    }
    return w.ended;
}

static void sweep_begin(struct session *s)
{
    queue_forget_back(&s->queue);
    s->sweep_from = 0;
    if (!s->sweeping)
        s->manager->sweeping++;
    s->sweeping = true;
    sweep_some(s);
}

void session_resume(struct session *s)
{
    if (s->state == SESSION_CANCELLING || (s->state != SESSION_CLOSED && s->trouble[0]))
        sweep_begin(s);
    session_settle(s);
}

unsigned session_sweep(struct manager *m)
{
    struct session *s, *next;
    unsigned ended = 0;
    HASH_ITER(hh, m->sessions, s, next)
    if (s->sweeping)
        ended += sweep_some(s);
    return ended;
}

/* Asks for the running task to stop; what was sent ahead is taken back. */
static void stop_executor(struct executor *e)
{
    if (e->n == 0 || e->dying)
        return;
    /* Only one of them can be running: the first ones are the candidates. */
    for (uint32_t i = 0; i < e->n && i < 2; i++)
        executor_cancel(e, executor_inflight(e, i)->number);
    executor_recall(e);
    e->kill_ns = e->session->manager->now + CANCEL_GRACE_MS * 1000000LL;
    e->kill_reason = FLM_REASON_CANCELLED;
    manager_want_tick(e->session->manager);
}

void session_cancel(struct session *s, const char *why)
{
    if (s->state == SESSION_CLOSED || s->state == SESSION_CANCELLING)
        return;
    s->state = SESSION_CANCELLING;
    durable_touch(s, DURABLE_STATE_CHANGED);
    events_add(&s->events, FLM_ECANCELLED, 0, -1, "cancelled: %s", why);
    for (unsigned i = 0; i < s->n_bound; i++)
        stop_executor(s->bound[i]);
    queue_forget_back(&s->queue); /* so that nothing is looked for there */
    unread_run_again(s);
    sweep_begin(s);
}

void session_pause(struct session *s)
{
    s->paused = true;
    for (unsigned i = 0; i < s->n_bound; i++)
        executor_recall(s->bound[i]);
}

/* The executor that was sent the task, and where it stands there. */
static struct executor *runner(struct session *s, struct task_ref ref, uint64_t *number)
{
    for (unsigned i = 0; i < s->n_bound; i++) {
        struct executor *e = s->bound[i];
        for (uint32_t k = 0; k < e->n; k++) {
            struct inflight *in = executor_inflight(e, k);
            if (in->ref.chunk == ref.chunk && in->ref.offset == ref.offset) {
                *number = in->number;
                return e;
            }
        }
    }
    return NULL;
}

int session_cancel_task(struct session *s, uint64_t task, flm_error *error)
{
    struct task_ref ref;
    uint64_t number;
    if (!queue_find(&s->queue, task, &ref)) {
        if (task && task <= s->last_task)
            return 0; /* finished: its result is on the way */
        return flm__error_set(error, FLM_ENOTFOUND, "session %s has no task %" PRIu64, s->id, task);
    }
    if (queue_record(ref)->type != QUEUE_RUNNING) {
        session_end_waiting(s, ref);
        outbound_credit(s);
        session_settle(s);
        return 0;
    }
    queue_record(ref)->flags |= SESSION_CANCEL_WANTED;
    struct executor *e = runner(s, ref, &number);
    if (e) {
        executor_cancel(e, number);
        executor_recall(e);
    }
    return 0;
}

/* They leave in their own time; executor.c takes them off the list then. */
static void release_executors(struct session *s)
{
    for (unsigned i = 0; i < s->n_bound; i++)
        executor_unbind(s->bound[i]);
}

void session_settle(struct session *s)
{
    if (s->state == SESSION_OPEN || s->state == SESSION_CLOSED)
        return;
    if (session_unfinished(s) || s->fetching || s->sweeping)
        return;
    s->state = SESSION_CLOSED;
    durable_touch(s, DURABLE_STATE_CHANGED);
    s->closed_ns = flm__wall_ns();
    s->application->open_sessions--;
    events_add(&s->events, 0, 0, -1,
               "closed: %" PRIu64 " succeeded, %" PRIu64 " failed, %" PRIu64 " cancelled", s->succeed,
               s->failed, s->cancelled);
    queue_clear(&s->queue);
    release_executors(s);
    if (results_finish(s))
        client_answer_closers(s);
    if (!s->client && !s->detached)
        outbound_drop(s);
    s->manager->schedule = true;
    s->manager->forget = true;
}

void session_bind_failed(struct session *s, int executor, int code, const char *text)
{
    if (s->paused) /* they end, as the session manager does */
        return;
    s->bind_failures++;
    events_add(&s->events, code ? code : FLM_EBIND, 0, executor, "executor %d could not enter: %s",
               executor, text);
    s->bind_retry_ns = s->manager->now + (50000000LL << (s->bind_failures < 6 ? s->bind_failures : 6));
    /* What cannot change by trying again is not tried again. */
    bool final = code == FLM_ELOAD || code == FLM_EABI || code == FLM_ENOTSUP || code == FLM_EINVAL;
    if (!final && s->bind_failures < BIND_FAILURES_MAX) {
        manager_want_tick(s->manager);
        return;
    }
    session_fail(s, "no executor can enter the session", text);
    events_add(&s->events, FLM_EBIND, 0, -1, "takes no more executors after %u failures", s->bind_failures);
}

void session_fail(struct session *s, const char *what, const char *why)
{
    if (!s->trouble[0])
        snprintf(s->trouble, sizeof(s->trouble), "%s: %s", what, why);
    durable_touch(s, DURABLE_STATE_CHANGED);
    sweep_begin(s);
}

void session_bind_succeeded(struct session *s)
{
    s->bind_failures = 0;
}

static bool release_input(struct task_ref ref, void *arg)
{
    struct flm__record *r = queue_record(ref);
    (void)arg;
    if (r->flags & FLM__RECORD_BLOB)
        blob_release(flow_blob(r));
    return true;
}

void session_free(struct session *s)
{
    unread_forget(s);
    session_detach(s);
    durable_forget(s);
    results_free(s);
    if (s->state != SESSION_CLOSED)
        s->application->open_sessions--;
    HASH_DEL(s->manager->sessions, s);
    give_number(s);
    outbound_drop(s);
    queue_each(&s->queue, 0, release_input, NULL);
    queue_clear(&s->queue);
    events_clear(&s->events);
    notes_clear(&s->notes);
    places_clear(&s->places);
    common_forget(s);
    application_release(s->application);
    free(s->bound);
    free(s);
}

void session_free_all(struct manager *m)
{
    struct session *s, *next;
    HASH_ITER(hh, m->sessions, s, next)
    {
        s->n_bound = 0;
        session_free(s);
    }
    free(m->session_by_number);
    m->session_by_number = NULL;
    m->session_numbers = 0;
}
