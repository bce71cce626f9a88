/* Ending children in time, and the outcome of a task from the end of its child.
 *
 * cancel only leaves a note and wakes the main thread, which does all the
 * signalling: it alone knows which child is alive, so no signal can reach a
 * process that took over the number of an old one. */
#define _GNU_SOURCE 1
#include "executor/process.h"

#include "base/time.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t kill_after_ns = 2000000000; /* from SIGTERM to SIGKILL */

int flm__watch_init(struct flm__watch *w)
{
    memset(w, 0, sizeof(*w));
    flm__oom_open(&w->oom, "/proc/self/cgroup", "/sys/fs/cgroup");
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w->wake_fd < 0 ? errno : 0;
}

void flm__watch_fini(struct flm__watch *w)
{
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    w->wake_fd = -1;
}

void flm__watch_cancel(struct flm__watch *w, uint64_t task)
{
    uint64_t one = 1;
    if (task)
        atomic_store(&w->cancelled, task);
    else
        atomic_store(&w->cancelled_all, true);
    if (write(w->wake_fd, &one, sizeof(one)) < 0)
        return; /* only when it is full, and then it wakes as well */
}

void flm__watch_begin(struct flm__watch *w, uint64_t task, uint64_t deadline_ms)
{
    int64_t now = flm__now_ns();
    flm__oom_forget(&w->oom, now);
    w->task = task;
    w->deadline_ns = 0;
    if (deadline_ms)
        w->deadline_ns = now + (int64_t)(deadline_ms < INT_MAX ? deadline_ms : INT_MAX) * 1000000;
    w->kill_ns = 0;
    w->why = FLM__WATCH_NONE;
}

void flm__watch_forget(struct flm__watch *w)
{
    flm__watch_drain(w);
    atomic_store(&w->cancelled, 0);
    atomic_store(&w->cancelled_all, false);
}

bool flm__watch_cancelled(const struct flm__watch *w)
{
    return atomic_load(&w->cancelled_all) || (w->task && atomic_load(&w->cancelled) == w->task);
}

void flm__watch_end(struct flm__watch *w, const struct flm__process *p, int why)
{
    if (w->why == FLM__WATCH_NONE)
        w->why = why;
    if (!w->kill_ns) {
        w->kill_ns = flm__now_ns() + kill_after_ns;
        flm__process_signal(p, SIGTERM);
    }
}

static int milliseconds_until(int64_t then, int64_t now)
{
    int64_t ms = (then - now + 999999) / 1000000;
    return ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
}

int flm__watch_step(struct flm__watch *w, const struct flm__process *p, int most)
{
    if (w->why == FLM__WATCH_NONE && flm__watch_cancelled(w))
        flm__watch_end(w, p, FLM__WATCH_CANCEL);
    if (!w->deadline_ns && !w->kill_ns)
        return most;
    int64_t now = flm__now_ns();
    if (w->why == FLM__WATCH_NONE && w->deadline_ns && now >= w->deadline_ns)
        flm__watch_end(w, p, FLM__WATCH_DEADLINE);
    if (w->kill_ns && now >= w->kill_ns) {
        flm__process_signal(p, SIGKILL);
        w->kill_ns = now + kill_after_ns; /* once more, should it be held in the kernel */
    }
    int64_t next = w->kill_ns ? w->kill_ns : w->deadline_ns;
    int ms = milliseconds_until(next, now);
    return most >= 0 && most < ms ? most : ms;
}

void flm__watch_drain(struct flm__watch *w)
{
    uint64_t count;
    if (read(w->wake_fd, &count, sizeof(count)) < 0)
        return; /* empty */
}

void flm__watch_wait(struct flm__watch *w, const struct flm__process *p)
{
    while (!flm__process_ended(p)) {
        struct pollfd fds[2] = {{w->wake_fd, POLLIN, 0}, {p->pidfd, POLLIN, 0}};
        poll(fds, 2, flm__watch_step(w, p, p->pidfd < 0 ? 5 : -1));
        if (fds[0].revents)
            flm__watch_drain(w);
    }
}

void flm__outcome_fail(struct flm__shim_task *t, int reason, int code, const char *format, ...)
{
    va_list ap;
    t->state = reason == FLM_REASON_CANCELLED ? FLM_TASK_CANCELLED : FLM_TASK_FAILED;
    t->reason = reason;
    t->code = code;
    va_start(ap, format);
    vsnprintf(t->message, sizeof(t->message), format, ap);
    va_end(ap);
}

static void outcome_of_signal(struct flm__shim_task *t, int sig, struct flm__oom *oom, const char *file)
{
    if (sig == SIGKILL && flm__oom_grown(oom)) {
        flm__outcome_fail(
            t, FLM_REASON_OUT_OF_MEMORY, sig,
            "'%.200s' was killed for lack of memory: ask for more memory or run fewer at once", file);
        return;
    }
    const char *name = sigabbrev_np(sig);
    flm__outcome_fail(t, FLM_REASON_SIGNAL, sig, "'%.200s' was ended by signal %d (SIG%s)", file, sig,
                      name ? name : "?");
}

void flm__outcome_of_child(struct flm__shim_task *t, int status, int why, struct flm__oom *oom,
                           const char *file)
{
    if (why == FLM__WATCH_CANCEL)
        flm__outcome_fail(t, FLM_REASON_CANCELLED, FLM_ECANCELLED, "cancelled while it ran");
    else if (why == FLM__WATCH_DEADLINE)
        flm__outcome_fail(t, FLM_REASON_DEADLINE, FLM_EDEADLINE,
                          "'%.200s' was ended after %llu ms, its deadline", file,
                          (unsigned long long)t->deadline_ms);
    else if (WIFSIGNALED(status))
        outcome_of_signal(t, WTERMSIG(status), oom, file);
    else if (WEXITSTATUS(status))
        flm__outcome_fail(t, FLM_REASON_EXIT, WEXITSTATUS(status), "'%.200s' ended with status %d", file,
                          WEXITSTATUS(status));
    else {
        t->state = FLM_TASK_SUCCEED;
        t->reason = FLM_REASON_NONE;
        t->code = 0;
        t->message[0] = 0;
    }
}
