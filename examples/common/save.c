/* save.c - see save.h */
#include "save.h"
#include "fail.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static int explain(flm_error *error, const char *path)
{
    int full = errno == ENOSPC || errno == EDQUOT;

    return fail(error, FLM_EIO, "cannot write %s: %s%s", path, strerror(errno),
                full ? "; free some space or choose another place" : "");
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int save_direct(const char *path, const void *data, size_t size, flm_error *error)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int bad = fd < 0 || write_all(fd, data, size);
    int saved = errno;

    if (fd >= 0 && close(fd) && !bad) {
        bad = 1;
        saved = errno;
    }
    errno = saved;
    return bad ? explain(error, path) : 0;
}

static int save_beside(const char *path, const void *data, size_t size, flm_error *error)
{
    char part[PATH_MAX + 8];
    mode_t mask = umask(0);
    int fd, bad, saved;

    umask(mask);
    snprintf(part, sizeof(part), "%s.XXXXXX", path);
    fd = mkstemp(part);
    if (fd < 0)
        return explain(error, path);
    bad = write_all(fd, data, size) || fchmod(fd, 0666 & ~mask) || fsync(fd);
    saved = errno;
    if (close(fd) && !bad) {
        bad = 1;
        saved = errno;
    }
    if (!bad && rename(part, path)) {
        bad = 1;
        saved = errno;
    }
    if (bad)
        unlink(part);
    errno = saved;
    return bad ? explain(error, path) : 0;
}

int save_file(const char *path, const void *data, size_t size, flm_error *error)
{
    char target[PATH_MAX];
    struct stat st;

    if (strlen(path) >= PATH_MAX)
        return errno = ENAMETOOLONG, explain(error, path);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return save_direct(path, data, size, error);
    return save_beside(realpath(path, target) ? target : path, data, size, error);
}

int save_check(const char *path, flm_error *error)
{
    char folder[PATH_MAX];
    struct stat st;
    char *slash;

    if (!path[0] || strlen(path) >= PATH_MAX) {
        errno = path[0] ? ENAMETOOLONG : ENOENT;
        return explain(error, path);
    }
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return explain(error, path);
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return access(path, W_OK) ? explain(error, path) : 0;
    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    return access(slash ? folder : ".", W_OK | X_OK) ? explain(error, path) : 0;
}

int save_has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), s = strlen(suffix);

    return n > s && strcasecmp(path + n - s, suffix) == 0;
}
