#define _GNU_SOURCE
#include "node/slot_inside.h"

#include "base/time.h"
#include "node/agent.h"
#include "node/process.h"
#include "node/relay.h"

#include <flm/client.h>
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
    SIGNALLED_MS = 1000, /* for a signal to reach all processes of a job */
    CLOSED_MS = 2000,    /* for a process that has closed its connection to end */
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

void slot_set_state(struct slot *slot, enum slot_state to)
{
    if (!slot_may(slot->state, to))
        agent_say(slot->agent, "a mistake in Flame: slot %u goes from %s to %s", slot->lane,
                  slot_state_name(slot->state), slot_state_name(to));
    slot->state = to;
}

void slot_init(struct slot *slot, struct agent *agent, unsigned lane)
{
    *slot = (struct slot){.agent = agent,
                          .lane = lane,
                          .place = &agent->placement.slots[lane],
                          .page_fd = -1,
                          .bind_fd = -1,
                          .ring_fd = -1,
                          .ring_bell = -1};
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
    slot_drop_kept(slot);
    if (slot->agent->relay) {
        relay_lane_close(slot->agent->relay, slot->lane);
        relay_objects_lose(slot->agent->relay, slot);
    }
    slot->pid = 0;
    slot->kill_reason = 0;
    slot->kill_text[0] = 0;
    slot->was_bound = slot->replaced = slot->expected = slot->asked = slot->joined = false;
    slot_forget_line(slot);
    slot->world_job = 0;
    uv_timer_stop(&slot->timer);
}

void slot_drop_update(struct slot *slot)
{
    if (slot->update)
        flm__common__free_unpacked(slot->update, NULL);
    slot->update = NULL;
    if (slot->coming)
        relay_shared_leave(slot->coming);
    slot->coming = NULL;
}

void slot_leave_session(struct slot *slot)
{
    slot_drop_update(slot);
    slot->session = slot->serial = 0;
    slot->common_version = 0;
    slot->log.session[0] = 0;
    if (slot->common)
        relay_shared_leave(slot->common);
    slot->common = NULL;
}

void slot_drop_bind(struct slot *slot)
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
    slot_drop_bind(slot);
    slot_leave_session(slot);
    slot_kind_clear(&slot->kind);
    log_free(&slot->log);
    uv_close((uv_handle_t *)&slot->timer, NULL);
}

/* ---- to flmd ----------------------------------------------------------------------------------- */

void slot_tell_bind_failed(struct slot *slot, const char *text)
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
    char how[160], words[300], text[1100];
    const Flm__Application *app = slot->bind->application;
    const char *program = slot->kind.self && app && app->n_command ? app->command[0]
                          : slot->kind.world                       ? slot->agent->options->world_command
                                                                   : "flm-executor";
    process_describe(slot->status, &slot->usage, slot->inherited_kib, how, sizeof(how));
    slot_last_words(slot, words, sizeof(words));
    snprintf(text, sizeof(text), "'%.200s' %s before it was ready to serve: %s%s", program, how,
             *slot->kill_text  ? slot->kill_text
             : slot->kind.self ? "a program of shim self must call flm_service_run (flmctl logs has what "
                                 "it printed)"
                               : "flmctl logs has what it printed",
             *slot->kill_text ? "" : words);
    slot_tell_bind_failed(slot, text);
}

void slot_tell_up(struct slot *slot, int32_t pid)
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
        flm__oom_lately(&slot->agent->oom, flm__now_ns()))
        return FLM_REASON_OUT_OF_MEMORY;
    return FLM_REASON_SIGNAL;
}

static void tell_lost(struct slot *slot)
{
    char how[160], words[300] = "", text[1100];
    process_describe(slot->status, &slot->usage, slot->inherited_kib, how, sizeof(how));
    if (!*slot->kill_text && !slot->expected)
        slot_last_words(slot, words, sizeof(words));
    Flm__ExecutorLost lost = FLM__EXECUTOR_LOST__INIT;
    lost.reason = loss_reason(slot, &lost.code);
    if (slot->pid)
        snprintf(text, sizeof(text), "process %d %s%s%s%s%s", (int)slot->pid, how,
                 *slot->kill_text ? ": " : "", slot->kill_text,
                 lost.reason == FLM_REASON_OUT_OF_MEMORY
                     ? ": killed for lack of memory: ask for more, or run fewer executors on a node"
                     : "",
                 words);
    else
        snprintf(text, sizeof(text), "it gave way to a program that could not be started");
    lost.lane = slot->lane;
    lost.life = slot->announced;
    lost.pid = slot->pid;
    if (slot->announced == slot->life) {
        lost.began = slot->page ? flm__status_began(slot->page) : 0;
        lost.relayed = slot->agent->relay ? relay_lane_relayed(slot->agent->relay, slot->lane) : 0;
    }
    lost.user_us = process_us(&slot->usage.ru_utime);
    lost.system_us = process_us(&slot->usage.ru_stime);
    lost.max_rss_kib = slot->usage.ru_maxrss > slot->inherited_kib ? (uint64_t)slot->usage.ru_maxrss : 0;
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
        slot_tell_bind_failed(slot, text);
        slot_drop_bind(slot);
        slot_leave_session(slot);
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
    if (slot->agent->stopping || slot->agent->finish_ns || slot->state != SLOT_EMPTY)
        return;
    if (slot_launch(slot, &error) < 0) {
        start_failed(slot, error.text);
        return;
    }
    slot_set_state(slot, SLOT_STARTING);
    if (!slot_is_wrapped(slot))
        uv_timer_start(&slot->timer, on_too_slow, slot->kind.world ? START_WORLD_MS : START_MS, 0);
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
        slot_set_state(slot, SLOT_LEAVING);
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

void slot_closed(struct slot *slot)
{
    slot_set_state(slot, SLOT_LEAVING);
    uv_timer_start(&slot->timer, on_grace_over, CLOSED_MS, 0);
}

void slot_fail(struct slot *slot, const char *text)
{
    bool expected = slot->expected;
    slot_end(slot, FLM_REASON_EXECUTOR_LOST, text, 0);
    slot->expected = expected;
}

void slot_replace(struct slot *slot)
{
    slot->replaced = true;
    slot_end(slot, 0, NULL, SLOT_REPLACE_MS);
}

static void slot_move_on(struct slot *slot)
{
    if (slot->agent->finish_ns || slot->agent->stopping)
        slot->expected = true;
    if (!slot->agent->relay || relay_lane_drain(slot->agent->relay, slot->lane))
        slot_drained(slot);
}

static void on_no_signal(uv_timer_t *timer)
{
    slot_move_on(timer->data);
}

void slot_exited(struct slot *slot, int status, const struct rusage *usage)
{
    slot->status = status;
    slot->usage = *usage;
    uv_timer_stop(&slot->timer);
    slot_set_state(slot, SLOT_GONE);
    slot_world_sweep(slot);
    flm__watch_read(slot->watch); /* what it said before it went */
    log_stream_end(slot->out);
    log_stream_end(slot->err);
    slot->out = slot->err = NULL;
    /* Who signals us signals all processes of the job, in any order. */
    bool asked = WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGTERM;
    if (slot->agent->options->grace_s && asked && !slot->expected && !slot->agent->finish_ns)
        uv_timer_start(&slot->timer, on_no_signal, SIGNALLED_MS, 0);
    else
        slot_move_on(slot);
}

void slot_end_of_job(struct slot *slot)
{
    if (slot->state == SLOT_GONE && uv_is_active((uv_handle_t *)&slot->timer)) {
        uv_timer_stop(&slot->timer);
        slot_move_on(slot);
    }
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
            slot_drop_bind(slot);
        }
        if (slot->announced)
            tell_lost(slot);
        slot_leave_session(slot);
    }
    slot_world_sweep(slot); /* once more: its children have lived a little longer */
    if (slot_kind_set(&slot->kind, replaced ? slot->bind : NULL) < 0)
        slot_drop_bind(slot);
    clear_life(slot);
    slot_set_state(slot, SLOT_EMPTY);
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
