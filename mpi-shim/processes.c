#define _GNU_SOURCE
#include "join.h"

#include "base/clean_child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { READY_FD = 3, PARENT_FD = 4 };

int join_fail(flm_error *error, int code, const char *format, ...)
{
    va_list args;
    if (!error)
        return code;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return code;
}

static bool is_ours_alone(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 077) == 0;
}

/* Held as long as the folder is ours: the kernel lets go of it when we die. -1: it cannot be had. */
static int lock_folder(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What lies in it is flat. */
static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    rmdir(folder);
}

/* Folders of jobs that were killed. */
static void sweep(const char *base)
{
    char path[JOIN_PATH];
    DIR *dir = opendir(base);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strncmp(e->d_name, "flame-mpi-", 10) != 0 ||
            snprintf(path, sizeof(path), "%s/%s", base, e->d_name) >= (int)sizeof(path) ||
            !is_ours_alone(path))
            continue;
        int lock = lock_folder(path);
        if (lock < 0)
            continue;
        remove_folder(path);
        close(lock);
    }
    if (dir)
        closedir(dir);
}

int join_make_folder(struct join_folder *folder, flm_error *error)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (!base || *base != '/' || strlen(base) > JOIN_PATH / 2 || !is_ours_alone(base))
        base = "/tmp";
    sweep(base);
    for (int tries = 0; tries < 10; tries++) {
        snprintf(folder->path, sizeof(folder->path), "%.48s/flame-mpi-XXXXXX", base);
        if (!mkdtemp(folder->path))
            break;
        folder->lock = lock_folder(folder->path);
        if (folder->lock >= 0) /* else somebody has just swept it away */
            return 0;
    }
    int e = errno;
    int rc = join_fail(error, FLM_EIO, "cannot make a directory %s: %s", folder->path, strerror(e));
    folder->path[0] = 0;
    return rc;
}

void join_remove_folder(struct join_folder *folder)
{
    if (!folder->path[0])
        return;
    remove_folder(folder->path);
    close(folder->lock);
    folder->path[0] = 0;
}

static bool is_there(char *path, size_t size, const char *folder, size_t n, const char *name)
{
    return snprintf(path, size, "%.*s/%s", (int)n, folder, name) < (int)size && access(path, X_OK) == 0;
}

int join_find_program(const char *name, const char *installed, char *path, size_t size, flm_error *error)
{
    if (is_there(path, size, installed, strlen(installed), name))
        return 0;
    for (const char *list = getenv("PATH"); list && *list;) {
        size_t n = strcspn(list, ":");
        if (n && is_there(path, size, list, n, name))
            return 0;
        list += n + (list[n] == ':');
    }
    return join_fail(error, FLM_ELOAD,
                     "the program %s is neither in %s nor in the PATH: install Flame on all nodes", name,
                     installed);
}

int join_spawn(struct join_child *child, const char *const *argv, int ready_fd, int parent_fd,
               flm_error *error)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    /* A Ctrl-C is for the program, which ends it in order. */
    flm__clean_child(&attributes, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    if (ready_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, ready_fd, READY_FD);
    if (parent_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, parent_fd, PARENT_FD);
    int rc =
        posix_spawn(&child->pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc == 0)
        return 0;
    child->pid = 0;
    return join_fail(error, FLM_ELOAD, "cannot start %s: %s", argv[0], strerror(rc));
}

int join_reap(struct join_child *child, int ms)
{
    int status = 0;
    pid_t pid = 0;
    for (int waited = 0; child->pid && (pid = waitpid(child->pid, &status, WNOHANG)) == 0; waited += 5) {
        if (waited == ms - ms % 5)
            kill(child->pid, SIGKILL);
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    /* A program that ignores SIGCHLD is not told how a child has ended (pid < 0). */
    bool good = !child->pid || pid < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
    child->pid = 0;
    return good ? 0 : FLM_ELOST;
}
