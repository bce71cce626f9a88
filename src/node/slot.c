#define _GNU_SOURCE
#include "node/slot.h"

#include "base/time.h"
#include "node/agent.h"
#include "node/process.h"
#include "node/relay.h"

#include <fcntl.h>
#include <flm/client.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    START_MS = 30000, /* to connect, for a single process */
    START_WORLD_MS = 120000,
    REPLACE_MS = 2000, /* between SIGTERM and SIGKILL of a process that makes room */
    CLOSED_MS = 2000,  /* for a process that has closed its connection to end */
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 10000,
};

#define TO(state) (1u << SLOT_##state)
static const unsigned edges[SLOT_STATES] = {
    [SLOT_EMPTY] = TO(STARTING),
    [SLOT_STARTING] = TO(UP) | TO(LEAVING) | TO(GONE),
    [SLOT_UP] = TO(IDLE) | TO(LEAVING) | TO(GONE),
    [SLOT_IDLE] = TO(BINDING) | TO(LEAVING) | TO(GONE),
    [SLOT_BINDING] = TO(BOUND) | TO(IDLE) | TO(LEAVING) | TO(GONE),
    [SLOT_BOUND] = TO(UNBINDING) | TO(LEAVING) | TO(GONE),
    [SLOT_UNBINDING] = TO(IDLE) | TO(LEAVING) | TO(GONE),
    [SLOT_LEAVING] = TO(GONE),
    [SLOT_GONE] = TO(EMPTY),
};
#undef TO

bool slot_may(enum slot_state from, enum slot_state to)
{
    return edges[from] & (1u << to);
}

const char *slot_state_name(enum slot_state state)
{
    static const char *const names[SLOT_STATES] = {"empty", "starting",  "up",      "idle", "binding",
                                                   "bound", "unbinding", "leaving", "gone"};
    return state < SLOT_STATES ? names[state] : "?";
}

static void set_state(struct slot *slot, enum slot_state to)
{
    if (!slot_may(slot->state, to))
        agent_say(slot->agent, "a mistake in Flame: slot %u goes from %s to %s", slot->lane,
                  slot_state_name(slot->state), slot_state_name(to));
    slot->state = to;
}

void slot_init(struct slot *slot, struct agent *agent, unsigned lane)
{
    *slot = (struct slot){
        .agent = agent, .lane = lane, .place = &agent->placement.slots[lane], .page_fd = -1, .bind_fd = -1};
    slot->log.executor = lane;
    uv_timer_init(&agent->loop, &slot->timer);
    slot->timer.data = slot;
}

/* Lets go of what belongs to the life that has ended. */
static void clear_life(struct slot *slot)
{
    flm__watch_close(slot->watch);
    slot->watch = NULL;
    log_stream_end(slot->out);
    log_stream_end(slot->err);
    slot->out = slot->err = NULL;
    if (slot->page)
        munmap((void *)(uintptr_t)slot->page, sizeof(*slot->page));
    if (slot->page_fd >= 0)
        close(slot->page_fd);
    slot->page = NULL;
    slot->page_fd = -1;
    if (slot->agent->relay)
        relay_lane_close(slot->agent->relay, slot->lane);
    slot->pid = 0;
    slot->kill_reason = 0;
    slot->kill_text[0] = 0;
    slot->was_bound = slot->replaced = slot->expected = slot->asked = slot->joined = false;
    slot->last_line[0] = 0;
    slot->world_job = 0;
    uv_timer_stop(&slot->timer);
}

static void leave_session(struct slot *slot)
{
    slot->session = 0;
    slot->log.session[0] = 0;
    if (slot->common)
        relay_common_release(slot->agent->relay, slot->common);
    slot->common = NULL;
}

static void drop_bind(struct slot *slot)
{
    if (slot->bind)
        flm__bind__free_unpacked(slot->bind, NULL);
    slot->bind = NULL;
    if (slot->bind_fd >= 0)
        close(slot->bind_fd);
    slot->bind_fd = -1;
}

void slot_fini(struct slot *slot)
{
    clear_life(slot);
    drop_bind(slot);
    leave_session(slot);
    slot_kind_clear(&slot->kind);
    log_free(&slot->log);
    uv_close((uv_handle_t *)&slot->timer, NULL);
}

/* ---- to flmd ----------------------------------------------------------------------------------- */

static void tell_bind_failed(struct slot *slot, const char *text)
{
    Flm__BindFailed failed = FLM__BIND_FAILED__INIT;
    failed.lane = slot->lane;
    failed.life = slot->announced;
    failed.session = slot->bind ? slot->bind->session : slot->session;
    failed.code = FLM_EBIND;
    failed.text = (char *)(uintptr_t)text;
    FLM__MESSAGE(m, bind_failed, BIND_FAILED, &failed);
    agent_tell(slot->agent, &m, NULL, 0);
}

/* The process that was to be the session's executor never became one. */
static void tell_not_attached(struct slot *slot)
{
    char how[160], text[900];
    const Flm__Application *app = slot->bind->application;
    const char *program = slot->kind.self && app && app->n_command ? app->command[0]
                          : slot->kind.ranks                       ? slot->agent->options->world_command
                                                                   : "flm-executor";
    process_describe(slot->status, &slot->usage, slot->inherited_kib, how, sizeof(how));
    snprintf(text, sizeof(text), "'%.200s' %s before it was ready to serve: %s", program, how,
             *slot->kill_text  ? slot->kill_text
             : slot->kind.self ? "a program of shim self must call flm_service_run (flmctl logs has what "
                                 "it printed)"
                               : "flmctl logs has what it printed");
    tell_bind_failed(slot, text);
}

static void tell_up(struct slot *slot, int32_t pid)
{
    Flm__ExecutorUp up = FLM__EXECUTOR_UP__INIT;
    up.lane = slot->lane;
    up.life = slot->life;
    up.pid = pid;
    up.cpus = slot->kind.ranks ? "" : (char *)(uintptr_t)slot->place->cpus;
    up.restarts = slot->restarts;
    FLM__MESSAGE(m, executor_up, EXECUTOR_UP, &up);
    agent_tell(slot->agent, &m, NULL, 0);
    slot->announced = slot->life;
}

/* Why it ended, as enum flm_reason and code. */
static int loss_reason(struct slot *slot, int *code)
{
    int own = slot->page ? slot->page->reason : 0;
    *code = WIFSIGNALED(slot->status) ? WTERMSIG(slot->status) : WEXITSTATUS(slot->status);
    if (slot->kill_reason)
        return slot->kill_reason;
    if (own)
        return own;
    if (!WIFSIGNALED(slot->status))
        return FLM_REASON_EXIT;
    if (WTERMSIG(slot->status) == SIGKILL && !slot->expected &&
        oom_happened(&slot->agent->oom, flm__now_ns()))
        return FLM_REASON_OUT_OF_MEMORY;
    return FLM_REASON_SIGNAL;
}

static void tell_lost(struct slot *slot)
{
    char how[160], text[700];
    process_describe(slot->status, &slot->usage, slot->inherited_kib, how, sizeof(how));
    Flm__ExecutorLost lost = FLM__EXECUTOR_LOST__INIT;
    lost.reason = loss_reason(slot, &lost.code);
    if (slot->pid)
        snprintf(text, sizeof(text), "process %d %s%s%s%s", (int)slot->pid, how,
                 *slot->kill_text ? ": " : "", slot->kill_text,
                 lost.reason == FLM_REASON_OUT_OF_MEMORY
                     ? ": killed for lack of memory: ask for more, or run fewer executors on a node"
                     : "");
    else
        snprintf(text, sizeof(text), "it gave way to a program that could not be started");
    lost.lane = slot->lane;
    lost.life = slot->announced;
    lost.pid = slot->pid;
    if (slot->announced == slot->life) {
        lost.began = slot->page ? slot->page->began : 0;
        lost.relayed = slot->agent->relay ? relay_lane_relayed(slot->agent->relay, slot->lane) : 0;
    }
    lost.text = text;
    lost.expected = slot->expected;
    FLM__MESSAGE(m, executor_lost, EXECUTOR_LOST, &lost);
    agent_tell(slot->agent, &m, NULL, 0);
    slot->announced = 0;
    if (slot->agent->options->log_to_stderr && !slot->expected)
        agent_say(slot->agent, "executor %u: %s", slot->log.executor, text);
}

/* ---- start and end of a life ------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer)
{
    slot_start(timer->data);
}

/* ms 0: later each time. */
static void retry_later(struct slot *slot, unsigned ms)
{
    unsigned next = slot->backoff_ms * 2;
    slot->backoff_ms = next < BACKOFF_MS ? BACKOFF_MS : next > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : next;
    uv_timer_start(&slot->timer, on_retry, ms ? ms : slot->backoff_ms, 0);
}

static void on_too_slow(uv_timer_t *timer)
{
    slot_fail(timer->data, "it did not connect to its agent in time");
}

/* The program could not even be started. */
static void start_failed(struct slot *slot, const char *text)
{
    unsigned retry_ms = 0;
    if (!slot->bind) {
        retry_ms = slot_count_failure(slot, text);
    } else {
        agent_say(slot->agent, "slot %u: %s", slot->lane, text);
        tell_bind_failed(slot, text);
        drop_bind(slot);
        leave_session(slot);
    }
    slot_kind_clear(&slot->kind);
    clear_life(slot);
    if (slot->announced) { /* it gave way to what could not be started */
        slot->expected = true;
        slot->status = 0;
        memset(&slot->usage, 0, sizeof(slot->usage));
        tell_lost(slot);
        slot->expected = false;
    }
    retry_later(slot, retry_ms);
}

void slot_start(struct slot *slot)
{
    flm_error error = {0, ""};
    if (slot->agent->stopping || slot->state != SLOT_EMPTY)
        return;
    if (slot_launch(slot, &error) < 0) {
        start_failed(slot, error.text);
        return;
    }
    set_state(slot, SLOT_STARTING);
    if (!slot_is_wrapped(slot))
        uv_timer_start(&slot->timer, on_too_slow, slot->kind.ranks ? START_WORLD_MS : START_MS, 0);
}

static void on_grace_over(uv_timer_t *timer)
{
    struct slot *slot = timer->data;
    process_signal(slot->pid, SIGKILL);
}

void slot_end(struct slot *slot, int reason, const char *text, unsigned grace_ms)
{
    if (slot->state == SLOT_EMPTY || slot->state == SLOT_GONE)
        return;
    if (!slot->kill_reason && reason) {
        slot->kill_reason = reason;
        snprintf(slot->kill_text, sizeof(slot->kill_text), "%s", text ? text : "");
    }
    slot->expected = true;
    if (slot->state != SLOT_LEAVING)
        set_state(slot, SLOT_LEAVING);
    if (!grace_ms)
        process_signal(slot->pid, SIGKILL);
    else if (!slot->asked)
        process_signal(slot->pid, SIGTERM);
    slot->asked = true;
    if (grace_ms)
        uv_timer_start(&slot->timer, on_grace_over, grace_ms, 0);
    else
        uv_timer_stop(&slot->timer);
}

void slot_fail(struct slot *slot, const char *text)
{
    bool expected = slot->expected;
    slot_end(slot, FLM_REASON_EXECUTOR_LOST, text, 0);
    slot->expected = expected;
}

/* Ends the process so that another kind can take the lane; flmd is told of the new one only. */
static void replace(struct slot *slot)
{
    slot->replaced = true;
    slot_end(slot, 0, NULL, REPLACE_MS);
}

void slot_exited(struct slot *slot, int status, const struct rusage *usage)
{
    slot->status = status;
    slot->usage = *usage;
    uv_timer_stop(&slot->timer);
    set_state(slot, SLOT_GONE);
    slot_world_sweep(slot);
    flm__watch_read(slot->watch); /* what it said before it went */
    log_stream_end(slot->out);
    log_stream_end(slot->err);
    slot->out = slot->err = NULL;
    if (!slot->agent->relay || relay_lane_drain(slot->agent->relay, slot->lane))
        slot_drained(slot);
}

void slot_drained(struct slot *slot)
{
    bool replaced = slot->replaced && slot->bind && !slot->kill_reason, expected = slot->expected;
    bool was_bound = slot->was_bound, failed = !slot->joined && !replaced && !expected && !slot->bind;
    char text[700];
    if (failed)
        slot_describe_failure(slot, text, sizeof(text));
    if (!replaced) {
        if (slot->bind) {
            tell_not_attached(slot);
            drop_bind(slot);
        }
        if (slot->announced)
            tell_lost(slot);
        leave_session(slot);
    }
    if (slot_kind_set(&slot->kind, replaced ? slot->bind : NULL) < 0)
        drop_bind(slot);
    clear_life(slot);
    set_state(slot, SLOT_EMPTY);
    if (slot->agent->stopping) {
        agent_slot_empty(slot->agent);
        return;
    }
    if (!replaced && !expected)
        slot->restarts++;
    if (replaced || expected || was_bound)
        slot_start(slot);
    else
        retry_later(slot, failed ? slot_count_failure(slot, text) : 0);
}

/* ---- the executor ------------------------------------------------------------------------------ */

static void give_bind(struct slot *slot)
{
    Flm__Bind *bind = slot->bind;
    if (!bind || slot->state != SLOT_IDLE || !slot_kind_fits(&slot->kind, bind))
        return;
    bool has_common = bind->common && bind->common->size;
    if (has_common && slot->bind_fd < 0)
        return; /* on its way */
    bind->lane = slot->lane;
    bind->life = slot->life;
    if (has_common)
        bind->common->address = bind->common->key = 0;
    FLM__MESSAGE(m, bind, BIND, bind);
    flm__watch_send(slot->watch, &m, &slot->bind_fd, has_common);
    slot->session = bind->session;
    slot->log.executor = bind->executor;
    snprintf(slot->log.session, sizeof(slot->log.session), "%s", bind->session_id);
    slot->heard_ns = flm__now_ns();
    drop_bind(slot);
    set_state(slot, SLOT_BINDING);
}

static void forward(struct slot *slot, const Flm__Message *message, int *fds, unsigned n_fds)
{
    agent_tell(slot->agent, message, fds, n_fds);
}

static void on_bound(struct slot *slot, Flm__Message *m)
{
    if (slot->state != SLOT_BINDING)
        return;
    set_state(slot, SLOT_BOUND);
    slot->was_bound = true;
    slot->backoff_ms = 0;
    m->bound->lane = slot->lane;
    m->bound->life = slot->life;
    m->bound->session = slot->session;
    forward(slot, m, NULL, 0);
}

static void on_bind_failed(struct slot *slot, Flm__Message *m)
{
    if (slot->state != SLOT_BINDING)
        return;
    set_state(slot, SLOT_IDLE);
    m->bind_failed->lane = slot->lane;
    m->bind_failed->life = slot->life;
    m->bind_failed->session = slot->session;
    leave_session(slot);
    forward(slot, m, NULL, 0);
}

static void on_unbound(struct slot *slot, Flm__Message *m)
{
    if (slot->state != SLOT_UNBINDING)
        return;
    set_state(slot, SLOT_IDLE);
    m->unbound->lane = slot->lane;
    m->unbound->life = slot->life;
    m->unbound->session = slot->session;
    leave_session(slot);
    forward(slot, m, NULL, 0);
}

static void on_blob(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    if (n_fds != 1)
        return;
    if (slot->agent->relay) {
        relay_blob_from_executor(slot->agent->relay, slot->lane, m->blob->id, m->blob->size, fds[0]);
        fds[0] = -1;
        return;
    }
    m->blob->lane = slot->lane;
    m->blob->life = slot->life;
    forward(slot, m, fds, 1);
}

static void on_message(void *arg, Flm__Message *m, int *fds, unsigned n_fds)
{
    struct slot *slot = arg;
    slot->heard_ns = flm__now_ns();
    switch (m->body_case) {
    case FLM__MESSAGE__BODY_BOUND:
        on_bound(slot, m);
        break;
    case FLM__MESSAGE__BODY_BIND_FAILED:
        on_bind_failed(slot, m);
        break;
    case FLM__MESSAGE__BODY_UNBOUND:
        on_unbound(slot, m);
        break;
    case FLM__MESSAGE__BODY_RETURNED:
        m->returned->lane = slot->lane;
        m->returned->life = slot->life;
        if (slot->agent->relay)
            relay_lane_returned(slot->agent->relay, slot->lane, m->returned->from, m->returned->upto);
        forward(slot, m, NULL, 0);
        break;
    case FLM__MESSAGE__BODY_BLOB:
        on_blob(slot, m, fds, n_fds);
        break;
    default: /* PONG has said what it had to say */
        break;
    }
}

static void on_end(void *arg, int code)
{
    struct slot *slot = arg;
    if (slot->state == SLOT_GONE || slot->state == SLOT_LEAVING || slot->state == SLOT_EMPTY)
        return;
    if (code != FLM_EDISCONNECTED) {
        slot_fail(slot, "what it sent to its agent is not the protocol");
        return;
    }
    /* It is about to end by itself; how, its status will tell. */
    set_state(slot, SLOT_LEAVING);
    uv_timer_start(&slot->timer, on_grace_over, CLOSED_MS, 0);
}

/* A relay makes the ring itself. */
static int make_ring(struct slot *slot, flm_error *error)
{
    int fds[4];
    Flm__ExecutorRing ring = FLM__EXECUTOR_RING__INIT;
    int rc = relay_lane_open(slot->agent->relay, slot->lane, slot->life, fds, &ring.bytes, error);
    if (rc < 0)
        return rc;
    fds[3] = slot->page_fd;
    ring.lane = slot->lane;
    ring.life = slot->life;
    ring.executor = slot->log.executor;
    FLM__MESSAGE(m, executor_ring, EXECUTOR_RING, &ring);
    flm__watch_send(slot->watch, &m, fds, 4);
    close(fds[0]);
    close(fds[2]);
    return 0;
}

void slot_attached(struct slot *slot, struct flm__watch *watch, int32_t pid)
{
    flm_error error = {0, ""};
    uv_timer_stop(&slot->timer);
    slot->watch = watch;
    slot->heard_ns = flm__now_ns();
    slot_has_joined(slot);
    flm__watch_retarget(watch, on_message, on_end, slot);
    set_state(slot, SLOT_UP);
    slot_world_learn(slot, pid);
    tell_up(slot, pid);
    if (!slot->agent->relay)
        return;
    if (make_ring(slot, &error) < 0) {
        slot_fail(slot, error.text);
        return;
    }
    set_state(slot, SLOT_IDLE);
    give_bind(slot);
}

void slot_ping(struct slot *slot, uint64_t number, int64_t now_ns, int64_t interval_ns)
{
    const struct node_options *o = slot->agent->options;
    if (slot->state < SLOT_BINDING || slot->state > SLOT_UNBINDING)
        return;
    int64_t silent = now_ns - slot->heard_ns;
    /* Under a debugger it may stand still for as long as it likes. */
    if (silent > (int64_t)o->loss_ms * 1000000 + interval_ns && !slot_is_wrapped(slot)) {
        char text[100];
        snprintf(text, sizeof(text), "it did not answer for %.1f s", (double)silent * 1e-9);
        slot_fail(slot, text);
        return;
    }
    Flm__Ping ping = FLM__PING__INIT;
    ping.number = number;
    FLM__MESSAGE(m, ping, PING, &ping);
    flm__watch_send(slot->watch, &m, NULL, 0);
}

/* ---- what flmd says ---------------------------------------------------------------------------- */

static void take_ring(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    slot->log.executor = m->executor_ring->executor;
    if (slot->agent->relay || slot->state != SLOT_UP)
        return;
    if (n_fds != 3) {
        agent_say(slot->agent, "flmd sent a ring without its descriptors");
        return;
    }
    int all[4] = {fds[0], fds[1], fds[2], slot->page_fd};
    flm__watch_send(slot->watch, m, all, 4);
    set_state(slot, SLOT_IDLE);
    give_bind(slot);
}

static void take_bind(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    if (slot->bind || (slot->state != SLOT_UP && slot->state != SLOT_IDLE))
        return; /* it is ending, flmd will hear of it */
    slot->bind = m->bind;
    m->bind = NULL;
    m->body_case = FLM__MESSAGE__BODY__NOT_SET;
    if (n_fds) {
        slot->bind_fd = fds[0];
        fds[0] = -1;
    }
    const Flm__BlobRef *common = slot->bind->common;
    if (slot->agent->relay && common && common->size)
        slot->common = relay_common_get(slot->agent->relay, slot, slot->bind->session, common);
    if (!slot->bind) /* the common data cannot be had: told already */
        return;
    if (!slot_kind_fits(&slot->kind, slot->bind))
        replace(slot);
    else
        give_bind(slot);
}

void slot_common_ready(struct slot *slot, int fd, const char *text)
{
    if (!slot->bind)
        return;
    if (fd >= 0)
        slot->bind_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* not for those that we start meanwhile */
    if (slot->bind_fd >= 0) {
        give_bind(slot);
        return;
    }
    tell_bind_failed(slot, text);
    drop_bind(slot);
    slot->common = NULL;
    slot->replaced = false;
}

static void take_unbind(struct slot *slot, Flm__Message *m)
{
    if (slot->state == SLOT_BOUND) {
        set_state(slot, SLOT_UNBINDING);
        flm__watch_send(slot->watch, m, NULL, 0);
    } else if (slot->bind && slot->bind->session == m->unbind->session) {
        Flm__Unbound unbound = FLM__UNBOUND__INIT; /* it never came to entering */
        unbound.lane = slot->lane;
        unbound.life = slot->announced;
        unbound.session = m->unbind->session;
        FLM__MESSAGE(answer, unbound, UNBOUND, &unbound);
        drop_bind(slot);
        leave_session(slot);
        agent_tell(slot->agent, &answer, NULL, 0);
    }
}

void slot_from_manager(struct slot *slot, Flm__Message *m, int *fds, unsigned n_fds)
{
    switch (m->body_case) {
    case FLM__MESSAGE__BODY_EXECUTOR_RING:
        take_ring(slot, m, fds, n_fds);
        break;
    case FLM__MESSAGE__BODY_BIND:
        take_bind(slot, m, fds, n_fds);
        break;
    case FLM__MESSAGE__BODY_UNBIND:
        take_unbind(slot, m);
        break;
    case FLM__MESSAGE__BODY_KILL:
        slot_end(slot, m->kill->reason, m->kill->text, 0);
        break;
    case FLM__MESSAGE__BODY_RECALL:
    case FLM__MESSAGE__BODY_CANCEL:
    case FLM__MESSAGE__BODY_BLOB:
        if (slot->life == slot->announced)
            flm__watch_send(slot->watch, m, fds, n_fds);
        break;
    default:
        break;
    }
}
