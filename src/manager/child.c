#define _GNU_SOURCE
#include "manager/child.h"

#include "base/error.h"
#include "base/paths.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
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

/* Killed, and not yet reaped. */
static struct {
    int *pid;
    unsigned n, room;
} dying;

void child_reap(void)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < dying.n; i++)
        if (waitpid(dying.pid[i], NULL, WNOHANG) == 0)
            dying.pid[kept++] = dying.pid[i];
    dying.n = kept;
    if (kept)
        return;
    free(dying.pid);
    dying.pid = NULL;
    dying.room = 0;
}

void child_kill(int pid)
{
    kill(pid, SIGKILL);
    if (dying.n == dying.room) {
        int *more = realloc(dying.pid, (dying.room + 16) * sizeof(*more));
        if (!more)
            return; /* it stays a zombie */
        dying.pid = more;
        dying.room += 16;
    }
    dying.pid[dying.n++] = pid;
    child_reap();
}

void child_wait(int pid, int64_t deadline_ns)
{
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (flm__now_ns() > deadline_ns) {
            child_kill(pid);
            return;
        }
        usleep(1000);
    }
}

int child_start(const char *name, char **argv, int *pid, flm_error *error)
{
    char program[PATH_MAX];
    int pair[2];
    child_reap();
    if (flm__find_program(name, program, sizeof(program)) < 0)
        return flm__error_set(error, FLM_ENOTFOUND,
                              "the program %s is not found beside flmd: is Flame installed as a whole?",
                              name);
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
