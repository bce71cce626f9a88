/* flmctl doctor: asking another program. */
#define _GNU_SOURCE
#include "tools/flmctl/doctor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { RUN_MS = 10000 };

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int start(const char *const *argv, int output, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_adddup2(&actions, output, 2);
    /* A group of its own, so that all of it can be killed. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int rc = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc ? -1 : 0;
}

/* Reads until the end or the time; what does not fit is thrown away. */
static bool collect(int fd, char *text, size_t size)
{
    char rest[512];
    size_t at = 0;
    int64_t end = now_ms() + RUN_MS, left;
    while ((left = end - now_ms()) > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        size_t room = size - 1 - at;
        ssize_t n = read(fd, room ? text + at : rest, room ? room : sizeof(rest));
        if (n <= 0)
            break;
        at += room ? (size_t)n : 0;
    }
    text[at] = 0;
    return left > 0;
}

int doctor_run(const char *const *argv, char *text, size_t size)
{
    int ends[2], status = -1;
    pid_t pid;
    text[0] = 0;
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    int rc = start(argv, ends[1], &pid);
    close(ends[1]);
    if (!rc) {
        if (!collect(ends[0], text, size))
            kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0)
            ;
        status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    close(ends[0]);
    return rc ? -1 : status;
}
