#define _GNU_SOURCE
#include "node/process.h"

#include "base/clean_child.h"
#include "base/error.h"
#include "node/placement.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MASK_BYTES = 8192 / 8 }; /* CPUs of the largest Linux kernels */

/* The child inherits our own binding, so we take its for the moment of the start: that binds it before
 * its first instruction, whatever program it is. */
struct binding {
    bool changed;
    union {
        cpu_set_t set;
        unsigned char bytes[MASK_BYTES];
    } mask;
    int size;
};

static void binding_take(struct binding *b, const char *cpus, int numa)
{
    b->changed = false;
    if (!cpus || !*cpus)
        return;
    b->size = (int)syscall(SYS_sched_getaffinity, 0, sizeof(b->mask), &b->mask);
    if (b->size <= 0)
        return;
    b->changed = true;
    placement_apply(cpus, numa); /* best effort: a cpuset may have shrunk meanwhile */
}

static void binding_return(const struct binding *b)
{
    if (!b->changed)
        return;
    syscall(SYS_sched_setaffinity, 0, (size_t)b->size, &b->mask);
    syscall(SYS_set_mempolicy, 0 /* MPOL_DEFAULT */, NULL, 0);
}

/* Finds the program of a command in a PATH. */
static int find_program(const char *program, const char *path, char *out, size_t n)
{
    if (strchr(program, '/'))
        return snprintf(out, n, "%s", program) < (int)n ? 0 : ENAMETOOLONG;
    int rc = ENOENT;
    if (!path)
        path = "/usr/local/bin:/usr/bin:/bin";
    while (*path) {
        size_t length = strcspn(path, ":");
        int written = snprintf(out, n, "%.*s/%s", (int)length, path, program);
        if (length && written < (int)n && access(out, X_OK) == 0)
            return 0;
        if (length && written < (int)n && access(out, F_OK) == 0)
            rc = EACCES;
        path += length + (path[length] == ':');
    }
    return rc;
}

static int start_failed(const char *program, int errno_value, flm_error *error)
{
    int code = errno_value == ENOENT || errno_value == ENOTDIR   ? FLM_ENOTFOUND
               : errno_value == EACCES || errno_value == ENOEXEC ? FLM_EPERM
                                                                 : FLM_ENOMEM;
    return flm__error_errno(error, code, errno_value, "cannot start %s", program);
}

static int prepare(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions,
                   const struct process_spec *spec)
{
    int rc = flm__clean_child(attributes, spec->same_session ? POSIX_SPAWN_SETPGROUP : POSIX_SPAWN_SETSID);
    if (rc == 0 && spec->directory && *spec->directory)
        rc = posix_spawn_file_actions_addchdir_np(actions, spec->directory);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, spec->out, 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, spec->err, 2);
    return rc;
}

int process_start(const struct process_spec *spec, pid_t *pid, flm_error *error)
{
    if (spec->command->failed || spec->environment->failed || !spec->command->n)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a command line");
    const char *program = spec->command->list[0];
    char file[PATH_MAX];
    int rc = find_program(program, texts_get(spec->environment, "PATH"), file, sizeof(file));
    if (rc)
        return start_failed(program, rc, error);
    if (spec->directory && *spec->directory && access(spec->directory, X_OK) < 0)
        return flm__error_errno(error, FLM_ENOTFOUND, errno, "cannot start %s in the directory %s", program,
                                spec->directory);
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    rc = prepare(&attributes, &actions, spec);
    if (rc == 0) {
        struct binding ours;
        binding_take(&ours, spec->cpus, spec->numa);
        rc = posix_spawn(pid, file, &actions, &attributes, spec->command->list, spec->environment->list);
        binding_return(&ours);
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc ? start_failed(program, rc, error) : 0;
}

void process_adopt_orphans(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

void process_signal(pid_t pid, int signal)
{
    /* Once: mpirun takes a second signal as an order to leave everything lying about. */
    if (pid > 1 && kill(-pid, signal) < 0)
        kill(pid, signal);
}

unsigned process_kill_strays(process_keep_fn *keep, void *arg)
{
    /* We start processes from one thread only, and orphans are given to the first one. */
    char path[64], line[1 << 16];
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, line, sizeof(line) - 1);
    close(fd);
    while (n > 0 && line[n - 1] != ' ')
        n--; /* of more than we take here the last number is cut, and another process's */
    line[n > 0 ? n : 0] = 0;
    unsigned killed = 0;
    char *end;
    for (char *p = line; *p; p = end) {
        long pid = strtol(p, &end, 10);
        if (end == p || pid <= 1)
            break;
        while (*end == ' ')
            end++;
        if (!keep(arg, (pid_t)pid)) {
            kill((pid_t)pid, SIGKILL);
            killed++;
        }
    }
    return killed;
}

bool process_variable(pid_t pid, const char *name, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    char *entry = NULL;
    size_t room = 0, n = strlen(name);
    bool found = false;
    while (!found && getdelim(&entry, &room, 0, f) > 0)
        found = strncmp(entry, name, n) == 0 && entry[n] == '=';
    if (found)
        snprintf(out, size, "%s", entry + n + 1);
    free(entry);
    fclose(f);
    return found;
}

long process_peak_kib(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    long kib = 0;
    while (f && fgets(line, sizeof(line), f) && sscanf(line, "VmHWM: %ld", &kib) != 1)
        ;
    if (f)
        fclose(f);
    return kib;
}

uint64_t process_us(const struct timeval *t)
{
    return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

void process_describe(int status, const struct rusage *usage, long ours_kib, char *text, size_t size)
{
    double cpu = (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
                 (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1e-6;
    char how[80];
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "ended by signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? " with a core dump" : "");
    else
        snprintf(how, sizeof(how), "exited with status %d", WEXITSTATUS(status));
    int n = snprintf(text, size, "%s after %.2f s of CPU time", how, cpu);
    if (n > 0 && (size_t)n < size && usage->ru_maxrss > ours_kib)
        snprintf(text + n, size - (size_t)n, " and at most %ld MiB of memory", usage->ru_maxrss >> 10);
}
