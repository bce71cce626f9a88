/* host_process.c - processes of the plugin. Only those that it had started here are reaped: a library that
 * it uses may have children of its own.
 *
 * An agent that is killed takes its executors along, but nobody was left to end what those had started. It
 * becomes ours (we are a subreaper), and is killed: we know it by its session, since executors begin one
 * of their own, and neither an agent nor a library's helper does. */
#define _GNU_SOURCE
#include "backend/host.h"

#include "base/clean_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct host_child {
    struct host_child *next;
    pid_t pid;
    void (*fn)(void *arg, int pid, int status);
    void *arg;
};

/* by: NAME=VALUE, NAME or NAME*; n: length of the name of the assignment. */
static bool takes_away(const char *by, const char *assignment, size_t n)
{
    size_t same = 0;
    while (same < n && by[same] == assignment[same])
        same++;
    return by[same] == '*' || (same == n && (by[same] == '=' || !by[same]));
}

static bool is_replaced(const char *assignment, const char *const *by)
{
    size_t n = strcspn(assignment, "=");
    for (; by && *by; by++)
        if (takes_away(*by, assignment, n))
            return true;
    return false;
}

/* Ours, with what the plugin says put over it or taken away. The strings are borrowed. */
static const char **merge(const char *const *over)
{
    size_t n = 0, m = 0, used = 0;
    while (environ[n])
        n++;
    while (over && over[m])
        m++;
    const char **all = calloc(n + m + 1, sizeof(*all));
    for (size_t i = 0; all && i < n; i++)
        if (!is_replaced(environ[i], over))
            all[used++] = environ[i];
    for (size_t i = 0; all && i < m; i++)
        if (strchr(over[i], '='))
            all[used++] = over[i];
    return all;
}

static int start(const char *const *argv, const char **environment, const int output[2], pid_t *pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    flm__clean_child(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    for (int i = 0; output && i < 2; i++)
        if (output[i] >= 0)
            posix_spawn_file_actions_adddup2(&actions, output[i], i + 1);
    int rc = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv,
                          (char *const *)(uintptr_t)environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

int host_spawn(void *handle, const char *const *argv, const char *const *environment,
               void (*fn)(void *arg, int pid, int status), void *arg)
{
    return host_spawn_with_output(handle, argv, environment, NULL, fn, arg);
}

int host_spawn_with_output(void *handle, const char *const *argv, const char *const *environment,
                           const int output[2], void (*fn)(void *arg, int pid, int status), void *arg)
{
    struct host *host = handle;
    if (!argv || !argv[0])
        return FLM_EINVAL;
    struct host_child *c = calloc(1, sizeof(*c));
    const char **all = merge(environment);
    int rc = c && all ? start(argv, all, output, &c->pid) : ENOMEM;
    free(all);
    if (rc) {
        free(c);
        return rc == ENOENT ? FLM_ENOTFOUND : rc == EACCES ? FLM_EPERM : FLM_ENOMEM;
    }
    c->fn = fn;
    c->arg = arg;
    c->next = host->children;
    host->children = c;
    return c->pid;
}

/* The first child that has ended, taken out of the list. */
static struct host_child *take_ended(struct host *host, int *status)
{
    for (struct host_child **p = &host->children; *p; p = &(*p)->next) {
        struct host_child *c = *p;
        if (waitpid(c->pid, status, WNOHANG) == c->pid) {
            *p = c->next;
            return c;
        }
    }
    return NULL;
}

static bool is_known(const struct host *host, pid_t pid)
{
    for (const struct host_child *c = host->children; c; c = c->next)
        if (c->pid == pid)
            return true;
    return false;
}

void host_adopt_orphans(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* What they leave behind in turn becomes ours, too, and then we are called again by their SIGCHLD. */
static void end_strays(const struct host *host)
{
    char path[64];
    int pid, ours = getsid(0);
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    while (fscanf(f, "%d", &pid) == 1) {
        if (pid <= 1 || is_known(host, pid) || getsid(pid) == ours)
            continue;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, WNOHANG);
    }
    fclose(f);
}

void host_reap(struct host *host)
{
    int status;
    struct host_child *c;
    while ((c = take_ended(host, &status))) {
        if (c->fn)
            c->fn(c->arg, c->pid, status);
        free(c);
    }
    end_strays(host);
}

bool host_has_children(const struct host *host)
{
    return host->children != NULL;
}

void host_kill_children(struct host *host, int signal)
{
    for (struct host_child *c = host->children; c; c = c->next)
        kill(c->pid, signal);
}
