#define _GNU_SOURCE 1
#include "executor/process.h"

#include "base/clean_child.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* 0, 1 and 2 first: the others are above them, and the source of one may be the
 * target of the common data. */
static int set_up_files(posix_spawn_file_actions_t *files, const struct flm__spawn *what)
{
    const int from[3] = {what->in, what->out, what->err};
    int rc = 0;
    for (int fd = 0; fd < 3 && !rc; fd++) {
        if (from[fd] >= 0)
            rc = posix_spawn_file_actions_adddup2(files, from[fd], fd);
    }
    if (!rc && what->common_fd >= 0)
        rc = posix_spawn_file_actions_adddup2(files, what->common_fd, FLM__COMMON_CHILD_FD);
    if (!rc && what->directory)
        rc = posix_spawn_file_actions_addchdir_np(files, what->directory);
    if (!rc)
        rc = posix_spawn_file_actions_addclosefrom_np(files, what->common_fd >= 0 ? FLM__COMMON_CHILD_FD + 1
                                                                                  : FLM__COMMON_CHILD_FD);
    return rc;
}

static int spawn_shell(pid_t *pid, const struct flm__spawn *what, const posix_spawn_file_actions_t *files,
                       const posix_spawnattr_t *attr)
{
    size_t n = 0;
    while (what->argv[n])
        n++;
    char **argv = malloc((n + 2) * sizeof(*argv));
    if (!argv)
        return ENOMEM;
    argv[0] = (char *)"sh";
    argv[1] = (char *)what->path;
    for (size_t i = 1; i <= n; i++)
        argv[i + 1] = what->argv[i];
    int rc = posix_spawn(pid, "/bin/sh", files, attr, argv, what->envp);
    free(argv);
    return rc;
}

static int spawn_with(pid_t *pid, const struct flm__spawn *what, posix_spawnattr_t *attr)
{
    posix_spawn_file_actions_t files;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc)
        return rc;
    rc = set_up_files(&files, what);
    if (!rc)
        rc = posix_spawn(pid, what->path, &files, attr, what->argv, what->envp);
    if (rc == ENOEXEC)
        rc = spawn_shell(pid, what, &files, attr);
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

int flm__process_start(struct flm__process *p, const struct flm__spawn *what)
{
    posix_spawnattr_t attr;
    pid_t pid = 0;
    int rc = posix_spawnattr_init(&attr);
    if (rc)
        return rc;
    rc = flm__clean_child(&attr, POSIX_SPAWN_SETPGROUP);
    if (!rc)
        rc = spawn_with(&pid, what, &attr);
    posix_spawnattr_destroy(&attr);
    if (rc)
        return rc;
    p->pid = pid;
    p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by nature */
    return 0;
}

void flm__process_signal(const struct flm__process *p, int signal)
{
    if (p->pid > 0)
        kill(-p->pid, signal);
}

bool flm__process_ended(const struct flm__process *p)
{
    siginfo_t info = {0};
    if (p->pid <= 0)
        return true;
    return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

static uint64_t microseconds(const struct timeval *t)
{
    return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

int flm__process_reap(struct flm__process *p)
{
    siginfo_t info;
    struct rusage used = {0};
    int status = 0;
    if (p->pid <= 0)
        return 0;
    /* As long as the child is a zombie its number, and so its group's, is not reused. */
    while (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    kill(-p->pid, SIGKILL);
    while (wait4(p->pid, &status, 0, &used) < 0 && errno == EINTR)
        ;
    p->usage = (struct flm__usage){.user_us = microseconds(&used.ru_utime),
                                   .system_us = microseconds(&used.ru_stime),
                                   .max_rss_kib = (uint64_t)used.ru_maxrss};
    if (p->pidfd >= 0)
        close(p->pidfd);
    p->pidfd = -1;
    p->pid = 0;
    return status;
}
