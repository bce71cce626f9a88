/* flmrun - a session manager and executors for the time of one command.
 *
 *     start flmd, wait until it is ready -> start CMD, wait until it ends -> end flmd, see that nothing is
 *     left -> exit with CMD's status
 *
 * A signal, the end of flmd or --timeout shortens the middle part: CMD is told, has a grace time, and is
 * killed. All events come through one place (wait_event): signals by signalfd, so that none can come at a
 * bad moment. */
#define _GNU_SOURCE
#include "base/standard.h"
#include "tools/flmrun.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READY_MS = 60000,   /* for flmd to be ready; it says itself what it cannot do, much earlier */
    LEFTOVER_MS = 1000, /* for what CMD left behind */
    AT_ONCE_MS = 500,   /* for flmd to end after a second signal */
};

struct flmrun {
    struct flmrun_options options;
    struct instance instance;
    sigset_t mask; /* as it was when we were started */
    int signals, parent;
    struct ready_line ready;
    struct child manager, command;
    int first_signal; /* 0: none */
    bool at_once;     /* a second one came */
};

const char *const say_name = "flmrun";

/* ---- events ------------------------------------------------------------------------------------ */

/* What we act on; a signal that was ignored when we were started (nohup) stays so for all. */
static void take_signals(struct flmrun *run)
{
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
        struct sigaction old;
        if (sigaction(ours[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaddset(&set, ours[i]);
    }
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &set, &run->mask);
    sigdelset(&run->mask, SIGCHLD);
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void tell_command(const struct flmrun *run, int signal)
{
    if (run->command.pid > 0)
        kill(run->command.pid, signal);
}

static void on_signal(struct flmrun *run, const struct signalfd_siginfo *info)
{
    if (info->ssi_signo == SIGCHLD) {
        children_reap(&run->manager, &run->command);
        return;
    }
    if (run->first_signal)
        run->at_once = true;
    else
        run->first_signal = (int)info->ssi_signo;
    /* What the terminal sends, it sends to CMD as well. */
    if (info->ssi_code != SI_KERNEL)
        tell_command(run, (int)info->ssi_signo);
}

/* Waits for one thing to happen, until `until` (ms; -1: for ever). false: the time is over. */
static bool wait_event(struct flmrun *run, int64_t until)
{
    int64_t left = until < 0 ? -1 : until - now_ms();
    if (until >= 0 && left <= 0)
        return false;
    struct pollfd p[2] = {{run->signals, POLLIN, 0}, {run->ready.fd, POLLIN, 0}};
    int n = poll(p, 2, left < 0 ? -1 : left > 3600000 ? 3600000 : (int)left);
    struct signalfd_siginfo info;
    while (p[0].revents && read(run->signals, &info, sizeof(info)) == sizeof(info))
        on_signal(run, &info);
    if (p[1].revents)
        ready_read(&run->ready);
    return n != 0 || until < 0 || now_ms() < until;
}

/* ---- the session manager ----------------------------------------------------------------------- */

static void say_manager_end(const struct flmrun *run, const char *then)
{
    int status = run->manager.status;
    if (WIFSIGNALED(status))
        say("the session manager was killed by signal %d (%s)%s", WTERMSIG(status),
            strsignal(WTERMSIG(status)), then);
    else
        say("the session manager ended with status %d%s", WEXITSTATUS(status), then);
}

/* 0 when clients can connect; else the exit status. */
static int begin_manager(struct flmrun *run)
{
    pid_t pid = start_manager(&run->instance, &run->options, &run->ready.fd, &run->parent);
    if (pid < 0)
        return STATUS_OURS;
    run->manager.pid = pid;
    int64_t until = now_ms() + READY_MS;
    bool in_time = true;
    while (in_time && !run->ready.ended && !run->manager.ended && !run->first_signal)
        in_time = wait_event(run, until);
    if (run->first_signal)
        return 128 + run->first_signal;
    if (strncmp(run->ready.text, "unix:", 5) == 0 || strncmp(run->ready.text, "tcp:", 4) == 0)
        return 0;
    while (in_time && run->ready.ended && !run->manager.ended)
        in_time = wait_event(run, until);
    if (run->manager.ended)
        say_manager_end(run, run->options.keep_logs
                                 ? " before it was ready; it says why above, or in the log"
                                 : " before it was ready; it says why above");
    else
        say("the session manager was not ready after %d s", READY_MS / 1000);
    if (run->ready.size)
        say("it said: %.*s", (int)strcspn(run->ready.text, "\n"), run->ready.text);
    return STATUS_OURS;
}

static void end_manager(struct flmrun *run)
{
    if (run->parent >= 0)
        close(run->parent);
    run->parent = -1;
    if (run->manager.pid)
        kill(run->manager.pid, SIGTERM);
    bool was_at_once = run->at_once;
    int64_t until = now_ms() + (was_at_once ? AT_ONCE_MS : (int64_t)(run->options.grace_s * 1000));
    while (run->manager.pid && (was_at_once || !run->at_once) && wait_event(run, until))
        ;
    if (run->manager.pid) {
        if (!run->at_once)
            say("the session manager does not end; killing it");
        kill(run->manager.pid, SIGKILL);
        while (run->manager.pid)
            wait_event(run, -1);
    }
}

/* ---- the command ------------------------------------------------------------------------------- */

/* CMD is to end: waits for grace_s, then SIGTERM if it has had no signal, then SIGKILL. */
static void end_command(struct flmrun *run, bool told)
{
    for (int step = told ? 1 : 0; step < 2 && run->command.pid; step++) {
        int64_t until = now_ms() + (int64_t)(run->options.grace_s * 1000);
        while (run->command.pid && !run->at_once && wait_event(run, until))
            ;
        if (run->command.pid && step == 0)
            tell_command(run, SIGTERM);
    }
    if (!run->command.pid)
        return;
    tell_command(run, SIGKILL);
    while (run->command.pid)
        wait_event(run, -1);
}

static int status_of(const struct child *process)
{
    return WIFSIGNALED(process->status) ? 128 + WTERMSIG(process->status) : WEXITSTATUS(process->status);
}

static int cannot_start(const char *name, int errno_value)
{
    if (errno_value == ENOENT || errno_value == ENOTDIR) {
        say("%s: not found", name);
        return STATUS_NOT_FOUND;
    }
    say("%s: cannot be run: %s", name, strerror(errno_value));
    return STATUS_CANNOT;
}

/* CMD knows where its sessions can be durable; the instance may be inside another one, which has another
 * place. */
static void tell_state_dir(const struct flmrun_options *o)
{
    char *path = o->state_dir ? realpath(o->state_dir, NULL) : NULL;
    if (path)
        setenv("FLM_STATE_DIR", path, 1);
    else
        unsetenv("FLM_STATE_DIR");
    free(path);
}

static int run_command(struct flmrun *run)
{
    char *end = strpbrk(run->ready.text, " \n"), *more = end && *end == ' ' ? end + 1 : NULL;
    if (more)
        more[strcspn(more, " \n")] = 0;
    if (end)
        *end = 0;
    if (run->options.verbose)
        say("FLM_ENDPOINT=%s", run->ready.text);
    tell_state_dir(&run->options);
    pid_t pid = start_command(run->options.command, run->ready.text, more ? more : run->options.slots,
                              &run->instance, &run->mask);
    if (pid < 0)
        return cannot_start(run->options.command[0], -pid);
    run->command.pid = pid;
    if (run->first_signal)
        tell_command(run, run->first_signal);
    int64_t until = run->options.timeout_s > 0 ? now_ms() + (int64_t)(run->options.timeout_s * 1000) : -1;
    bool in_time = true;
    while (in_time && run->command.pid && !run->manager.ended && !run->first_signal)
        in_time = wait_event(run, until);
    if (!run->command.pid)
        return status_of(&run->command);
    if (run->manager.ended) {
        say_manager_end(run, "; ending the command");
        end_command(run, run->first_signal != 0);
        return STATUS_OURS;
    }
    if (!in_time) {
        say("%s has run for %g s: ending it", run->options.command[0], run->options.timeout_s);
        tell_command(run, SIGTERM);
    }
    end_command(run, true);
    return in_time ? status_of(&run->command) : STATUS_TIMEOUT;
}

/* ---- init, run, fini --------------------------------------------------------------------------- */

/* Whatever still names this instance. */
static void end_leftovers(const struct flmrun *run)
{
    const char *const directories[] = {run->instance.directory, NULL};
    unsigned left = run->instance.directory[0] ? processes_end(directories, LEFTOVER_MS) : 0;
    if (left)
        say("%u processes do not end", left);
}

int main(int argc, char **argv)
{
    struct flmrun run = {.signals = -1, .ready.fd = -1, .parent = -1};
    flm__standard_open();
    flmrun_parse(&run.options, argc, argv);
    take_signals(&run);
    int status = instance_open(&run.instance, &run.options) < 0 ? STATUS_OURS : 0;
    if (status == 0)
        status = begin_manager(&run);
    if (status == 0)
        status = run_command(&run);
    end_manager(&run);
    end_leftovers(&run);
    if (!instance_log_is_whole(&run.instance))
        say("what the executors wrote is not all in %s: %s", run.instance.log, strerror(errno));
    else if (run.instance.log[0])
        say("what the executors wrote is in %s", run.instance.log);
    instance_close(&run.instance);
    return status;
}
