/* flmrun_start.c - how flmd and CMD are started.
 *
 * flmd is in a session of its own, so that a Ctrl-C on our terminal reaches CMD and us, and the executors
 * go on until CMD has had its say. CMD stays in our process group, the foreground job of the terminal. */
#define _GNU_SOURCE
#include "tools/flmrun.h"

#include "base/clean_child.h"
#include "tools/flmrun_job.h"
#include "tools/program_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <flm/error.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

enum { READY_FD = 3, PARENT_FD = 4, LISTEN_FD = 5, ARGUMENTS_MAX = 72 + MANAGER_OPTIONS };

/* Jobs of one node each, beside the nodes of the job that we are in. */
static size_t add_jobs(const char **argv, size_t n, const struct flmrun_options *o)
{
    static char most[16], least[16];
    unsigned here = job_nodes(o->backend);
    snprintf(most, sizeof(most), "%u", o->max_nodes > here ? o->max_nodes - here : 0);
    snprintf(least, sizeof(least), "%u", o->min_nodes > here ? o->min_nodes - here : 0);
    argv[n++] = "--max-blocks";
    argv[n++] = most;
    argv[n++] = "--min-blocks";
    argv[n++] = least;
    return n;
}

/* In a job executors are counted over all its nodes, which reach flmd over TCP. */
static size_t add_batch(const char **argv, size_t n, const struct flmrun_options *o)
{
    static char executors[40];
    argv[n++] = "--endpoint";
    argv[n++] = "tcp:*:0";
    if (o->slots) {
        snprintf(executors, sizeof(executors), "executors=%s", o->slots);
        argv[n++] = "--backend-option";
        argv[n++] = executors;
    }
    return o->max_nodes ? add_jobs(argv, n, o) : n;
}

static void build_arguments(const char **argv, const char *program, const char *endpoint,
                            const struct instance *instance, const struct flmrun_options *o)
{
    size_t n = 0;
    bool slurm = strcmp(o->backend, "slurm") == 0, batch = strcmp(o->backend, "local") != 0;
    const char *cpus_per_task = slurm ? getenv("SLURM_CPUS_PER_TASK") : NULL;
    const struct {
        const char *name, *value;
    } pairs[] = {
        {"--endpoint", endpoint},
        {"--endpoint", o->listen_fd ? "fd:5" : NULL},
        {"--directory", instance->directory},
        {"--backend", o->backend},
        {"--ready-fd", "3"},
        {"--parent-fd", "4"},
        {"--slots", batch ? o->slots_per_node : o->slots},
        {"--state-dir", o->state_dir},
        {"--bind", o->bind},
        {"--cores-per-slot", o->cores_per_slot ? o->cores_per_slot : cpus_per_task},
        {"--provider", o->provider},
        {"--interface", o->interface},
        {"--auth", o->auth},
        {"--site-options", o->site_options},
        {"--block-time", o->block_time},
        {"--nodes", o->nodes},
        {"--object-memory", o->object_memory},
        {"--object-spill", o->object_spill},
        {"--object-spill-limit", o->object_spill_limit},
        {"--node-object-memory", o->node_object_memory},
        {"--executor-wrapper", o->wrap},
        {"--wrap-executor", o->wrap ? o->wrap_executor : NULL},
    };
    argv[n++] = program;
    argv[n++] = "--private";
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        if (!pairs[i].value)
            continue;
        argv[n++] = pairs[i].name;
        argv[n++] = pairs[i].value;
    }
    if (batch)
        n = add_batch(argv, n, o);
    if (o->spread)
        argv[n++] = "--spread";
    if (o->verbose || o->keep_logs)
        argv[n++] = "--verbose";
    for (char *const *word = o->manager_options; word && *word; word++)
        argv[n++] = *word;
    argv[n] = NULL;
}

static int spawn_manager(const char **argv, const struct instance *instance, int ready, int parent,
                         int listens, pid_t *pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    flm__clean_child(&attributes, POSIX_SPAWN_SETSID);
    int log = instance->log_fd >= 0 ? instance->log_fd : STDERR_FILENO;
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, log, STDOUT_FILENO); /* stdout is CMD's */
    posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ready, READY_FD);
    posix_spawn_file_actions_adddup2(&actions, parent, PARENT_FD);
    if (listens)
        posix_spawn_file_actions_adddup2(&actions, listens, LISTEN_FD);
    int rc = posix_spawn(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* A pipe whose ends are both above those that are given to flmd. */
static int high_pipe(int ends[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
        close(low[i]);
    }
    return ends[0] < 0 || ends[1] < 0 ? -1 : 0;
}

pid_t start_manager(const struct instance *instance, const struct flmrun_options *options, int *ready,
                    int *parent)
{
    char program[PATH_MAX], endpoint[SOCKET_PATH_MAX + 32];
    const char *argv[ARGUMENTS_MAX];
    int ready_ends[2], parent_ends[2];
    pid_t pid = -1;
    if (!program_find(program, sizeof(program), "flmd", FLM_BINDIR)) {
        say("the program flmd is not beside flmrun (%s): is the installation complete?", program);
        return -1;
    }
    if (high_pipe(ready_ends) < 0 || high_pipe(parent_ends) < 0) {
        say("cannot make a pipe: %s", strerror(errno));
        return -1;
    }
    snprintf(endpoint, sizeof(endpoint), "unix:%s/flmd.sock", instance->directory);
    build_arguments(argv, program, endpoint, instance, options);
    setenv(INSTANCE_VARIABLE, instance->directory, 1);
    int rc = spawn_manager(argv, instance, ready_ends[1], parent_ends[0], options->listen_fd, &pid);
    close(ready_ends[1]);
    close(parent_ends[0]);
    *ready = ready_ends[0];
    *parent = parent_ends[1];
    if (rc == 0)
        return pid;
    say("cannot start %s: %s", program, strerror(rc));
    return -1;
}

/* In the child: never returns. */
static void become(char **command, const sigset_t *mask, int report, pid_t parent)
{
    /* If we are killed, CMD should not go on against a session manager that is gone. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent) {
        sigprocmask(SIG_SETMASK, mask, NULL);
        execvp(command[0], command);
    }
    int e = errno;
    ssize_t n = write(report, &e, sizeof(e));
    (void)n;
    _exit(STATUS_NOT_FOUND);
}

pid_t start_command(char **command, const char *endpoint, const char *slots,
                    const struct instance *instance, const sigset_t *mask)
{
    int report[2], e = 0;
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    setenv("FLM_ENDPOINT", endpoint, 1);
    setenv(INSTANCE_VARIABLE, instance->directory, 1);
    if (slots)
        setenv("FLM_SLOTS", slots, 1);
    else
        unsetenv("FLM_SLOTS");
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(command, mask, report[1], parent);
    close(report[1]);
    if (pid > 0 && read(report[0], &e, sizeof(e)) == sizeof(e))
        pid = -e; /* it has exited; reaped with the others */
    else if (pid < 0)
        pid = -errno;
    close(report[0]);
    return pid;
}
