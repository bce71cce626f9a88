/* flmrun_processes.c - the processes of an instance, whoever their parent is by now: all of them were
 * started with the variable FLM_INSTANCE_DIR, and /proc still shows the environment of the start. */
#define _GNU_SOURCE
#include "tools/flmrun.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 10, KILLED_MS = 3000 };

static bool is_listed(const char *directory, const char *const *directories)
{
    for (; *directories; directories++)
        if (strcmp(directory, *directories) == 0)
            return true;
    return false;
}

static bool belongs(int proc, const char *pid, const char *const *directories)
{
    char path[32];
    struct stat st;
    snprintf(path, sizeof(path), "%.15s/environ", pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    FILE *f = fstat(fd, &st) == 0 && st.st_uid == geteuid() ? fdopen(fd, "r") : NULL;
    if (!f) {
        close(fd);
        return false;
    }
    char *entry = NULL;
    size_t room = 0;
    bool found = false;
    while (!found && getdelim(&entry, &room, 0, f) > 0)
        found = strncmp(entry, INSTANCE_VARIABLE "=", sizeof(INSTANCE_VARIABLE)) == 0 &&
                is_listed(entry + sizeof(INSTANCE_VARIABLE), directories);
    free(entry);
    fclose(f);
    return found;
}

unsigned processes_signal(const char *const *directories, int signal)
{
    DIR *dir = opendir("/proc");
    unsigned n = 0;
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir));) {
        pid_t pid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)atoi(e->d_name) : 0;
        if (pid <= 1 || pid == getpid() || !belongs(dirfd(dir), e->d_name, directories))
            continue;
        n++;
        if (signal)
            kill(pid, signal);
    }
    closedir(dir);
    return n;
}

/* Until none is left, at most ms. */
static unsigned wait_gone(const char *const *directories, unsigned ms, int signal)
{
    unsigned left = processes_signal(directories, signal);
    for (unsigned waited = 0; left && waited < ms; waited += STEP_MS) {
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
        left = processes_signal(directories, signal == SIGKILL ? SIGKILL : 0);
    }
    return left;
}

unsigned processes_end(const char *const *directories, unsigned grace_ms)
{
    unsigned left = wait_gone(directories, grace_ms, SIGTERM);
    return left ? wait_gone(directories, KILLED_MS, SIGKILL) : 0;
}
