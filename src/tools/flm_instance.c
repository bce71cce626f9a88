/* flm-instance - a session manager and executors for the time of a batch job; spank_flame starts it.
 *
 *     start flmd, wait until it is ready -> register applications -> make the name under which clients wait
 *     for it -> wait until the script (--watch), flmd or the job ends -> end flmd, see that nothing is left
 *
 * What goes wrong is told on the job's standard error; the script goes on and finds no instance. */
#define _GNU_SOURCE
#include "base/standard.h"
#include "tools/flmrun.h"

#include "tools/program_folder.h"

#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    KEY_NAME = 256,
    KEY_WATCH,
    KEY_SLOTS,
    KEY_APP,
    KEY_OPTIONS,
    KEY_SET,
    KEY_LISTEN,
    READY_MS = 60000,
    END_MS = 5000,
    LEFTOVER_MS = 1000,
    LOOK_MS = 1000, /* at the script, where the kernel has no descriptors of processes */
    APPLICATIONS_MAX = 64,
    SHAPE_MAX = 16,
};

static const struct argp_option table[] = {
    {"name", KEY_NAME, "run-NAME", 0, "of the instance's directory, in the user's runtime directory", 0},
    {"watch", KEY_WATCH, "PID", 0, "end when this process ends (default: only at a signal)", 0},
    {"slots", KEY_SLOTS, "N", 0, "executors on each node (default: one per task of the job, or core)", 0},
    {"app", KEY_APP, "FILE,...", 0, "register these applications", 0},
    {"options", KEY_OPTIONS, "OPTIONS", 0, "more options for flmd, with blanks between them", 0},
    {"set", KEY_SET, "SLURM_X=VALUE", 0, "what the job has, where the environment is that of a step", 0},
    {"listen-fd", KEY_LISTEN, "FD", 0, "a TCP socket that listens, for clients on other nodes", 0},
    {0},
};

struct job {
    struct flmrun_options options;
    struct instance instance;
    char *manager_options[MANAGER_OPTIONS + 1];
    char *applications[APPLICATIONS_MAX + 1];
    char *shape[SHAPE_MAX];
    unsigned n_shape;
    pid_t script;               /* 0: none */
    int script_fd, script_proc; /* descriptor of the process; else of its directory in /proc */
    int signals, parent;
    struct ready_line ready;
    struct child manager, registrar;
    bool over; /* a signal, or the script has ended */
};

const char *const say_name = "flm-instance";

/* ---- the command line -------------------------------------------------------------------------- */

static void split(struct argp_state *state, char *text, const char *between, char **words, unsigned most)
{
    unsigned n = 0;
    char *save = NULL;
    for (char *word = strtok_r(text, between, &save); word; word = strtok_r(NULL, between, &save)) {
        if (n == most)
            argp_error(state, "more than %u words", most);
        words[n++] = word;
    }
    words[n] = NULL;
}

static long number(struct argp_state *state, const char *name, const char *text, long high)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 1 || value > high)
        argp_error(state, "%s takes a whole number from 1 to %ld, not '%s'", name, high, text);
    return value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct job *job = state->input;
    switch (key) {
    case KEY_NAME:
        if (strncmp(arg, "run-", 4) != 0 || strchr(arg, '/') || strlen(arg) > 40)
            argp_error(state, "--name takes run-NAME, without '/' and of at most 40 bytes, not '%s'", arg);
        job->options.name = arg;
        return 0;
    case KEY_WATCH:
        job->script = (pid_t)number(state, "--watch", arg, INT_MAX);
        return 0;
    case KEY_SLOTS:
        number(state, "--slots", arg, 4096);
        job->options.slots_per_node = arg;
        return 0;
    case KEY_APP:
        split(state, arg, ",", job->applications, APPLICATIONS_MAX);
        return 0;
    case KEY_OPTIONS:
        split(state, arg, " ", job->manager_options, MANAGER_OPTIONS);
        return 0;
    case KEY_SET:
        if (strncmp(arg, "SLURM_", 6) != 0 || !strchr(arg, '=') || job->n_shape == SHAPE_MAX)
            argp_error(state, "--set takes SLURM_X=VALUE, at most %d times, not '%s'", SHAPE_MAX, arg);
        job->shape[job->n_shape++] = arg;
        return 0;
    case KEY_LISTEN:
        job->options.listen_fd = (int)number(state, "--listen-fd", arg, INT_MAX);
        return 0;
    case ARGP_KEY_END:
        if (!job->options.name)
            argp_error(state, "--name is missing; sbatch --flame starts this program, see spank_flame(8)");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

/* ---- events ------------------------------------------------------------------------------------ */

/* Descriptors of whoever started us would keep others waiting for their end. */
static void close_inherited(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        int fd = atoi(e->d_name);
        if (fd > STDERR_FILENO && fd != dirfd(dir))
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    closedir(dir);
}

static void take_signals(struct job *job)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &set, NULL);
    job->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Another process that has got the number of one that has ended is not taken for it. */
static bool script_lives(const struct job *job)
{
    if (job->script_fd >= 0) {
        struct pollfd p = {job->script_fd, POLLIN, 0};
        return poll(&p, 1, 0) == 0;
    }
    return job->script_proc >= 0 && faccessat(job->script_proc, "stat", F_OK, 0) == 0;
}

static void watch_script(struct job *job)
{
    char path[32];
    if (!job->script)
        return;
    job->script_fd = (int)syscall(SYS_pidfd_open, job->script, 0);
    snprintf(path, sizeof(path), "/proc/%d", (int)job->script);
    if (job->script_fd < 0)
        job->script_proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    job->over = !script_lives(job);
}

/* Waits for something to happen, until `until` (ms; -1: for ever). false: the time is over. */
static bool wait_event(struct job *job, int64_t until)
{
    int64_t left = until < 0 ? -1 : until - now_ms();
    bool looks = job->script_proc >= 0;
    if (until >= 0 && left <= 0)
        return false;
    if (looks && (left < 0 || left > LOOK_MS))
        left = LOOK_MS;
    struct pollfd p[3] = {{job->signals, POLLIN, 0},
                          {job->ready.fd, POLLIN, 0},
                          {job->over ? -1 : job->script_fd, POLLIN, 0}};
    poll(p, 3, (int)left);
    struct signalfd_siginfo info;
    while (p[0].revents && read(job->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGCHLD)
            job->over = true;
    }
    children_reap(&job->manager, &job->registrar);
    if (p[1].revents)
        ready_read(&job->ready);
    if (p[2].revents || (looks && !script_lives(job)))
        job->over = true;
    return true;
}

/* ---- the instance ------------------------------------------------------------------------------ */

/* In a step of one task, ours, these say how that is shaped; srun takes the second for all nodes of the
 * job. */
static void restore_shape(const struct job *job)
{
    static const char *const of_step[] = {"SLURM_NTASKS", "SLURM_JOB_NODELIST", "SLURM_CPUS_PER_TASK"};
    for (unsigned i = 0; !job->script && i < sizeof(of_step) / sizeof(*of_step); i++)
        unsetenv(of_step[i]);
    for (unsigned i = 0; i < job->n_shape; i++)
        putenv(job->shape[i]);
}

static int begin_manager(struct job *job)
{
    pid_t pid = start_manager(&job->instance, &job->options, &job->ready.fd, &job->parent);
    if (job->options.listen_fd) /* when flmd ends who waits there is told */
        close(job->options.listen_fd);
    if (pid < 0)
        return -1;
    job->manager.pid = pid;
    int64_t until = now_ms() + READY_MS;
    bool in_time = true;
    while (in_time && job->ready.fd >= 0 && !job->over)
        in_time = wait_event(job, until);
    if (job->over || strncmp(job->ready.text, "unix:", 5) == 0)
        return job->over ? -1 : 0;
    if (in_time)
        say("the session manager did not start; it says why above; the job goes on without it");
    else
        say("the session manager was not ready after %d s", READY_MS / 1000);
    return -1;
}

/* By flmctl, which has its words for what is wrong with a file. */
static void register_applications(struct job *job)
{
    char program[PATH_MAX], endpoint[SOCKET_PATH_MAX + 32];
    char *argv[APPLICATIONS_MAX + 6];
    unsigned n = 0;
    if (!job->applications[0])
        return;
    if (!program_find(program, sizeof(program), "flmctl", FLM_BINDIR)) {
        say("the program flmctl is not installed (%s): no application is registered", program);
        return;
    }
    snprintf(endpoint, sizeof(endpoint), "unix:%s/flmd.sock", job->instance.directory);
    argv[n++] = program;
    argv[n++] = (char *)(uintptr_t) "--endpoint";
    argv[n++] = endpoint;
    argv[n++] = (char *)(uintptr_t) "register";
    for (char **file = job->applications; *file; file++)
        argv[n++] = *file;
    argv[n] = NULL;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    int e = posix_spawn(&job->registrar.pid, program, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (e) {
        job->registrar.pid = 0;
        say("cannot start %s: %s", program, strerror(e));
        return;
    }
    while (job->registrar.pid && job->manager.pid && !job->over)
        wait_event(job, -1);
    if (!job->registrar.pid && job->registrar.status)
        say("not all applications of --flame-app are registered, see above");
}

/* Clients wait for this name, so that none comes before the applications, and none waits for an instance
 * that will not be: nothing listens at a file that is no socket. */
static void publish(const struct job *job, bool lives)
{
    char path[SOCKET_PATH_MAX + 32], made[SOCKET_PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/job.sock", job->instance.directory);
    snprintf(made, sizeof(made), "%s/job.new", job->instance.directory);
    if (symlink(lives ? "flmd.sock" : "/dev/null", made) < 0 || rename(made, path) < 0)
        say("cannot make %s: %s", path, strerror(errno));
}

static void end_manager(struct job *job)
{
    if (job->parent >= 0)
        close(job->parent);
    if (job->manager.pid)
        kill(job->manager.pid, SIGTERM);
    int64_t until = now_ms() + END_MS;
    while (job->manager.pid && wait_event(job, until))
        ;
    if (job->manager.pid)
        kill(job->manager.pid, SIGKILL);
    while (job->manager.pid)
        wait_event(job, -1);
}

static void end_leftovers(const struct job *job)
{
    const char *const directories[] = {job->instance.directory, NULL};
    unsigned left = job->instance.directory[0] ? processes_end(directories, LEFTOVER_MS) : 0;
    if (left)
        say("%u processes do not end", left);
}

static int run(struct job *job)
{
    if (begin_manager(job) == 0) {
        register_applications(job);
        if (job->manager.pid && !job->over)
            publish(job, true);
        while (!job->over && job->manager.pid)
            wait_event(job, -1);
        if (!job->over)
            say("the session manager has ended before the job, which goes on without Flame");
    }
    if (job->over)
        return 0;
    publish(job, false);
    while (!job->over)
        wait_event(job, -1);
    return STATUS_OURS;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        table,
        parse,
        NULL,
        "Runs a session manager and executors on all nodes of a Slurm job, beside its script. sbatch "
        "--flame "
        "starts it; by hand, flmrun is what you look for.\vSee flm-instance(1) and spank_flame(8).",
        NULL,
        NULL,
        NULL};
    struct job job = {.signals = -1, .ready.fd = -1, .parent = -1, .script_fd = -1, .script_proc = -1};
    flm__standard_open();
    job.options.backend = "slurm";
    argp_err_exit_status = STATUS_USAGE;
    argp_program_version = "flm-instance (Flame) " FLM_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, &job);
    job.options.manager_options = job.manager_options;
    close_inherited();
    take_signals(&job);
    watch_script(&job);
    restore_shape(&job);
    int status = instance_open(&job.instance, &job.options) < 0 ? STATUS_OURS : 0;
    if (status == 0 && !job.over)
        status = run(&job);
    end_manager(&job);
    end_leftovers(&job);
    instance_close(&job.instance);
    return status;
}
