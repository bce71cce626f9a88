#define _GNU_SOURCE
#include "executor/executor.h"

#include "base/time.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Who signals a whole job is done with it after so long, however busy the machine. */
enum { SIGNALLED_MS = 500, SIGNALLED_LOOK_MS = 10 };

/* The children of one thread, as the kernel lists them. */
static void end_children_of(const char *thread)
{
    char path[300];
    snprintf(path, sizeof(path), "/proc/self/task/%s/children", thread);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    int pid;
    while (fscanf(f, "%d", &pid) == 1) {
        if (pid > 1 && getpgid(pid) == pid)
            kill(-pid, SIGKILL);
        if (pid > 1)
            kill(pid, SIGKILL);
    }
    fclose(f);
}

void flm__end_children(void)
{
    DIR *threads = opendir("/proc/self/task");
    struct dirent *entry;
    if (!threads)
        return;
    while ((entry = readdir(threads)))
        if (entry->d_name[0] != '.')
            end_children_of(entry->d_name);
    closedir(threads);
}

void flm__end_now(struct flm__executor *e, int reason, const char *format, ...)
{
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    flm__outbox_rescue(e);
    if (reason && e->status)
        atomic_store(&e->status->reason, reason);
    dprintf(STDERR_FILENO, "flm-executor: %s\n", text);
    flm__end_children();
    _exit(1);
}

bool flm__end_wanted(struct flm__executor *e, int64_t ms)
{
    int64_t end = flm__now_ns() + (ms < SIGNALLED_MS ? ms : SIGNALLED_MS) * 1000000;
    while (e->identity.signalled && !atomic_load(&e->control.stopping) && flm__now_ns() < end)
        poll(NULL, 0, SIGNALLED_LOOK_MS);
    return atomic_load(&e->control.stopping);
}

void flm__end_closed(struct flm__executor *e)
{
    flm__end_now(e, FLM_REASON_NONE,
                 "the service closed descriptors that are not its own: it may close those that it opened");
}
