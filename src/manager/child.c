#define _GNU_SOURCE
#include "manager/child.h"

#include "base/error.h"
#include "base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

enum { THEIR_FD = 3, BEYOND_THEIRS = 10 };

static int spawn(char **argv, int theirs, int *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0); /* the terminal's Ctrl-C is not for it */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_adddup2(&actions, theirs, THEIR_FD);
    int why = posix_spawn(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return why;
}

int child_start(const char *name, char **argv, int *pid, flm_error *error)
{
    char program[PATH_MAX];
    int pair[2];
    if (flm__find_program(name, program, sizeof(program)) < 0)
        return flm__error_set(error, FLM_ENOTFOUND, "the program %s is not found beside flmd", name);
    argv[0] = program;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return flm__error_errno(error, FLM_EIO, errno, "cannot start %s", name);
    /* adddup2 onto itself would keep close-on-exec: make sure that it is not 3 here. */
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, BEYOND_THEIRS);
    int why = theirs < 0 ? errno : spawn(argv, theirs, pid);
    argv[0] = NULL;
    close(pair[1]);
    if (theirs >= 0)
        close(theirs);
    if (!why)
        return pair[0];
    close(pair[0]);
    return flm__error_errno(error, FLM_EIO, why, "cannot start %s", name);
}
