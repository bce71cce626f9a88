/* The loop. Without a relay libuv's own is all there is. With one, it is hot while records move: links are
 * polled, libuv is looked at once a millisecond; after SPIN_NS without a record it arms the links and
 * sleeps in libuv, which wakes for a bell, the fabric, a message, a child. */
#define _GNU_SOURCE
#include "node/agent.h"

#include "base/error.h"
#include "base/paths.h"
#include "base/time.h"
#include "node/process.h"
#include "node/relay.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SPIN_NS = 20000,
    SPIN_KERNEL_NS = 2000, /* when each look asks the kernel: a turn or two */
    LOOP_NS = 1000000,     /* most time between two looks at libuv */
    PING_MS = 2000,
    FINISHING_MS = 100,
    GRACE_MS = 2000,   /* of executors at the end, between SIGTERM and SIGKILL */
    GIVE_UP_MS = 1000, /* after SIGKILL: something stays in the kernel */
    FILES = 4096,
    FILES_PER_SLOT = 16,
};

void agent_say(const struct agent *agent, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "flm-node %s: %s\n", agent->options->name, text);
}

void agent_tell(struct agent *agent, const Flm__Message *message, const int *fds, unsigned n_fds)
{
    flm__watch_send(agent->manager, message, fds, n_fds);
}

/* ---- the end ----------------------------------------------------------------------------------- */

/* Whether all slots are empty; then the agent may end. */
void agent_slot_empty(struct agent *agent)
{
    for (unsigned i = 0; i < agent->n_slots; i++)
        if (agent->slots[i].state != SLOT_EMPTY)
            return;
    agent_kill_strays(agent);
    agent->stopped = agent->stopping;
}

static void on_give_up(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    agent_say(agent, "some process did not end after SIGKILL; leaving it behind");
    agent->stopped = true;
}

static void on_grace_over(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    agent->killed = true;
    uv_timer_start(&agent->ending, on_give_up, GIVE_UP_MS, 0);
    for (unsigned i = 0; i < agent->n_slots; i++) {
        slot_end(&agent->slots[i], 0, NULL, 0);
        if (agent->slots[i].state ==
            SLOT_GONE) /* its last results wait for a flmd that does not take them */
            slot_drained(&agent->slots[i]);
    }
}

void agent_stop(struct agent *agent, int status, const char *format, ...)
{
    if (agent->stopping)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(agent->why, sizeof(agent->why), format, args);
    va_end(args);
    agent->stopping = true;
    agent->status = status;
    uv_timer_stop(&agent->rejoining);
    if (agent->options->log_to_stderr) /* else flmd, or who lost it, has more to say */
        agent_say(agent, "ends: %s", agent->why);
    for (unsigned i = 0; i < agent->n_slots; i++) {
        slot_end_of_job(&agent->slots[i]);
        uv_timer_stop(&agent->slots[i].timer);
        slot_end(&agent->slots[i], 0, NULL, GRACE_MS + GIVE_UP_MS);
    }
    uv_timer_start(&agent->ending, on_grace_over, GRACE_MS, 0);
    agent_slot_empty(agent);
}

static bool any_task(const struct agent *agent)
{
    for (unsigned i = 0; i < agent->n_slots; i++)
        if (agent->slots[i].state == SLOT_BOUND || agent->slots[i].state == SLOT_BINDING ||
            agent->slots[i].state == SLOT_UNBINDING)
            return true;
    return false;
}

static void on_finishing(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    bool needed = any_task(agent) || (agent->relay && relay_lends(agent->relay));
    if (needed && flm__now_ns() < agent->finish_ns)
        return;
    uv_timer_stop(timer);
    agent_stop(agent, 0, "it was told to end");
}

/* A batch system says that our time is over soon: flmd gives us nothing more, takes back what has not
 * begun, and what runs may be finished. */
static void finish(struct agent *agent)
{
    Flm__NodeDrained drained = FLM__NODE_DRAINED__INIT;
    drained.drain = true;
    FLM__MESSAGE(m, node_drained, NODE_DRAINED, &drained);
    agent_tell(agent, &m, NULL, 0);
    agent->finish_ns = flm__now_ns() + (int64_t)agent->options->grace_s * 1000000000;
    for (unsigned i = 0; i < agent->n_slots; i++)
        slot_end_of_job(&agent->slots[i]);
    uv_timer_start(&agent->finishing, on_finishing, FINISHING_MS, FINISHING_MS);
}

/* The first signal ends in order, another one at once: who presses Ctrl-C again means it. flmd's word to
 * end is none of them: that and the one SIGTERM of flm-backend come together. */
static void on_end_signal(uv_signal_t *handle, int signal)
{
    struct agent *agent = handle->data;
    if (agent->signals++ && agent->stopping)
        on_grace_over(&agent->ending);
    else if (agent->options->grace_s && signal == SIGTERM && !agent->finish_ns)
        finish(agent);
    else
        agent_stop(agent, 0, "got %s", strsignal(signal));
}

/* ---- children ---------------------------------------------------------------------------------- */

static struct slot *slot_of(struct agent *agent, pid_t pid)
{
    for (unsigned i = 0; i < agent->n_slots; i++)
        if (agent->slots[i].pid == pid && agent->slots[i].state != SLOT_GONE)
            return &agent->slots[i];
    return NULL;
}

/* What an executor leaves in the background while it lives is its own affair. */
static bool is_of_living(void *arg, pid_t pid)
{
    struct agent *agent = arg;
    if (slot_of(agent, pid))
        return true;
    if (agent->stopping)
        return false;
    char text[32];
    uint64_t token = process_variable(pid, "FLM_TOKEN", text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
    pid_t session = token ? 0 : getsid(pid), group = token ? 0 : getpgid(pid);
    for (unsigned i = 0; i < agent->n_slots; i++) {
        const struct slot *slot = &agent->slots[i];
        bool lives = slot->state != SLOT_EMPTY && slot->state != SLOT_GONE;
        if (lives && (token ? slot->token == token : slot->pid == session || slot->pid == group))
            return true;
    }
    return false;
}

void agent_kill_strays(struct agent *agent)
{
    process_kill_strays(is_of_living, agent);
}

static void on_child(uv_signal_t *handle, int signal)
{
    struct agent *agent = handle->data;
    siginfo_t info;
    bool any = false;
    (void)signal;
    for (;;) {
        info.si_pid = 0;
        /* While it is a zombie its number is its own: what is left of its group dies before it is reaped.
         */
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            break;
        struct slot *slot = slot_of(agent, info.si_pid);
        if (slot)
            kill(-info.si_pid, SIGKILL);
        int status;
        struct rusage usage;
        if (wait4(info.si_pid, &status, 0, &usage) < 0)
            break;
        if (slot)
            slot_exited(slot, status, &usage);
        any = true;
    }
    if (any)
        agent_kill_strays(agent);
}

/* ---- liveness ---------------------------------------------------------------------------------- */

static uint64_t ping_interval_ms(const struct agent *agent)
{
    unsigned third = agent->options->loss_ms / 3;
    return third < PING_MS ? third : PING_MS;
}

static void on_ping_time(uv_timer_t *timer)
{
    static int64_t last;
    struct agent *agent = timer->data;
    int64_t now = flm__now_ns(), interval = (int64_t)ping_interval_ms(agent) * 1000000;
    /* When it was us who stood still, nobody else is to blame. */
    bool stood_still = last && now - last > 2 * interval;
    last = now;
    flm__oom_lately(&agent->oom, now);
    if (agent->relay)
        relay_tick(agent->relay, now, stood_still);
    agent->ping++;
    for (unsigned i = 0; i < agent->n_slots; i++) {
        if (stood_still)
            agent->slots[i].heard_ns = now;
        slot_ping(&agent->slots[i], agent->ping, now, interval);
    }
}

/* ---- init, run, fini --------------------------------------------------------------------------- */

static void start_signal(struct agent *agent, uv_signal_t *handle, uv_signal_cb fn, int signal)
{
    uv_signal_init(&agent->loop, handle);
    handle->data = agent;
    uv_signal_start(handle, fn, signal);
}

/* Each executor takes some descriptors of ours, each large payload on its way one more. */
static void raise_limit(unsigned slots)
{
    struct rlimit files;
    rlim_t wanted = FILES + (rlim_t)slots * FILES_PER_SLOT;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= wanted)
        return;
    files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &files);
}

static int make_slots(struct agent *agent, flm_error *error)
{
    int rc = placement_compute(&agent->options->placement, &agent->placement, error);
    if (rc < 0)
        return rc;
    agent->slots = calloc(agent->placement.n, sizeof(*agent->slots));
    if (!agent->slots)
        return flm__error_set(error, FLM_ENOMEM, "no memory for %u slots", agent->placement.n);
    agent->n_slots = agent->placement.n;
    raise_limit(agent->n_slots);
    for (unsigned i = 0; i < agent->n_slots; i++)
        slot_init(&agent->slots[i], agent, i);
    return 0;
}

static int find_executor(struct agent *agent, flm_error *error)
{
    const char *given = agent->options->executor;
    if (given)
        return snprintf(agent->executor, sizeof(agent->executor), "%s", given) <
                       (int)sizeof(agent->executor)
                   ? 0
                   : flm__error_set(error, FLM_ETOOBIG, "--executor: the path is too long");
    int rc = flm__find_program("flm-executor", agent->executor, sizeof(agent->executor));
    return rc < 0 ? flm__error_set(error, rc,
                                   "the program flm-executor is not where it belongs, beside "
                                   "flm-node: is the installation complete?")
                  : 0;
}

int agent_init(struct agent *agent, const struct node_options *options, flm_error *error)
{
    *agent = (struct agent){.options = options};
    uv_loop_init(&agent->loop);
    uv_timer_init(&agent->loop, &agent->pings);
    uv_timer_init(&agent->loop, &agent->ending);
    uv_timer_init(&agent->loop, &agent->finishing);
    uv_timer_init(&agent->loop, &agent->rejoining);
    agent->pings.data = agent->ending.data = agent->finishing.data = agent->rejoining.data = agent;
    start_signal(agent, &agent->on_child, on_child, SIGCHLD);
    start_signal(agent, &agent->on_term, on_end_signal, SIGTERM);
    start_signal(agent, &agent->on_int, on_end_signal, SIGINT);
    start_signal(agent, &agent->on_hup, on_end_signal, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    process_adopt_orphans();
    flm__oom_open(&agent->oom, "/proc/self/cgroup", "/sys/fs/cgroup");
    int rc = find_executor(agent, error);
    if (rc == 0)
        rc = make_slots(agent, error);
    if (rc == 0)
        rc = attach_open(agent, error);
    if (rc == 0)
        rc = manager_connect(agent, error);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < agent->n_slots; i++)
        slot_start(&agent->slots[i]);
    uint64_t interval = ping_interval_ms(agent);
    uv_timer_start(&agent->pings, on_ping_time, interval, interval);
    return 0;
}

/* Polls the links until nothing has moved for a while. */
static void run_hot(struct agent *agent)
{
    int64_t now = flm__now_ns(), moved = now, looked = now;
    int64_t spin = relay_asks_kernel(agent->relay) ? SPIN_KERNEL_NS : SPIN_NS;
    while (!agent->stopped && !agent->lost_ns && now - moved < spin) {
        bool any = relay_turn(agent->relay);
        now = flm__now_ns();
        if (any)
            moved = now;
        else
            flm__relax();
        if (now - looked > LOOP_NS) {
            uv_run(&agent->loop, UV_RUN_NOWAIT);
            looked = flm__now_ns();
        }
    }
}

int agent_run(struct agent *agent)
{
    while (!agent->stopped) {
        if (agent->relay && !agent->lost_ns) {
            run_hot(agent);
            if (agent->stopped || agent->lost_ns || !relay_arm(agent->relay))
                continue;
            uv_run(&agent->loop, UV_RUN_ONCE);
            if (!agent->lost_ns)
                relay_disarm(agent->relay);
        } else {
            uv_run(&agent->loop, UV_RUN_ONCE);
        }
    }
    return agent->status;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void agent_fini(struct agent *agent)
{
    for (unsigned i = 0; i < agent->n_slots; i++)
        slot_fini(&agent->slots[i]);
    if (agent->manager)
        flm__conn_wait_sent(flm__watch_conn(agent->manager), flm__now_ns() + 1000000000);
    relay_close(agent->relay);
    flm__watch_close(agent->manager);
    attach_close(agent);
    uv_walk(&agent->loop, close_handle, NULL);
    uv_run(&agent->loop, UV_RUN_DEFAULT);
    uv_loop_close(&agent->loop);
    relay_free(agent->relay);
    free(agent->slots);
    placement_free(&agent->placement);
}
