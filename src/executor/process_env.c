#define _GNU_SOURCE 1
#include "executor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

/* Ours; what base has of these is left out. */
static const char *const own_names[] = {"FLM_TASK_ID", "FLM_SESSION_ID",  "FLM_EXECUTOR",
                                        "FLM_COMMON",  "FLM_COMMON_SIZE", "FLM_COMMON_VERSION"};
enum { OWN_MAX = 6, NUMBER_MAX = 48 /* name, '=' and 20 digits */ };

static bool is_named(const char *variable, const char *name)
{
    size_t n = strlen(name);
    return strncmp(variable, name, n) == 0 && variable[n] == '=';
}

static bool is_ours(const char *variable)
{
    for (int i = 0; i < OWN_MAX; i++) {
        if (is_named(variable, own_names[i]))
            return true;
    }
    return false;
}

int flm__environment_make(struct flm__environment *e, const char *const *base,
                          const struct flm_session_info *info)
{
    size_t n = 0, out = 0, session = strlen(info->session) + NUMBER_MAX;
    if (!base)
        base = (const char *const *)environ;
    while (base && base[n])
        n++;
    e->list = malloc((n + OWN_MAX + 1) * sizeof(*e->list));
    e->own = malloc(session + 5 * (size_t)NUMBER_MAX);
    if (!e->list || !e->own) {
        flm__environment_free(e);
        return FLM_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_ours(base[i]))
            e->list[out++] = (char *)base[i];
    }
    char *text = e->own;
    e->task_id = e->list[out++] = text;
    flm__environment_task(e, 0);
    text += NUMBER_MAX;
    e->list[out++] = text;
    text += snprintf(text, NUMBER_MAX, "FLM_EXECUTOR=%u", info->executor) + 1;
    if (info->common_size) {
        e->list[out++] = text;
        text += snprintf(text, NUMBER_MAX, "FLM_COMMON=/dev/fd/%d", FLM__COMMON_CHILD_FD) + 1;
        e->list[out++] = text;
        text += snprintf(text, NUMBER_MAX, "FLM_COMMON_SIZE=%zu", info->common_size) + 1;
        e->list[out++] = text;
        text += snprintf(text, NUMBER_MAX, "FLM_COMMON_VERSION=%" PRIu64, info->common_version) + 1;
    }
    e->list[out++] = text;
    snprintf(text, session, "FLM_SESSION_ID=%s", info->session);
    e->list[out] = NULL;
    return 0;
}

void flm__environment_task(struct flm__environment *e, uint64_t task)
{
    snprintf(e->task_id, NUMBER_MAX, "FLM_TASK_ID=%" PRIu64, task);
}

void flm__environment_drop_task(struct flm__environment *e)
{
    char **to = e->list;
    for (char **from = e->list; *from; from++) {
        if (*from != e->task_id)
            *to++ = *from;
    }
    *to = NULL;
}

void flm__environment_free(struct flm__environment *e)
{
    free(e->list);
    free(e->own);
    memset(e, 0, sizeof(*e));
}

const char *flm__environment_get(char *const *list, const char *name)
{
    for (; list && *list; list++) {
        if (is_named(*list, name))
            return *list + strlen(name) + 1;
    }
    return NULL;
}

/* 0 when there is a file at path, seen from directory, that may be executed. */
static int try_path(const char *path, const char *directory)
{
    char full[2 * PATH_MAX];
    struct stat st;
    if (directory && path[0] != '/') {
        if ((size_t)snprintf(full, sizeof(full), "%s/%s", directory, path) >= sizeof(full))
            return ENAMETOOLONG;
        path = full;
    }
    if (stat(path, &st) < 0)
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    return access(path, X_OK) < 0 ? errno : 0;
}

int flm__command_find(const char *command, const char *directory, char *const *environment, char *path,
                      size_t size)
{
    if (strchr(command, '/')) {
        if ((size_t)snprintf(path, size, "%s", command) >= size)
            return ENAMETOOLONG;
        return try_path(path, directory);
    }
    const char *list = flm__environment_get(environment, "PATH");
    int found = ENOENT;
    if (!command[0])
        return ENOENT;
    for (const char *next, *dir = list ? list : "/bin:/usr/bin"; dir; dir = next) {
        size_t length = strcspn(dir, ":");
        next = dir[length] ? dir + length + 1 : NULL;
        int n = length ? snprintf(path, size, "%.*s/%s", (int)length, dir, command)
                       : snprintf(path, size, "./%s", command);
        if ((size_t)n >= size)
            continue;
        int rc = try_path(path, directory);
        if (rc == 0)
            return 0;
        if (rc == EACCES)
            found = EACCES; /* there is one, but it may not be run: better to know */
    }
    return found;
}

int flm__memory_file(const char *name, const void *data, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int saved = n < 0 ? errno : EIO;
            close(fd);
            errno = saved;
            return -1;
        }
        done += (size_t)n;
    }
    lseek(fd, 0, SEEK_SET);
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    return fd;
}
