#define _GNU_SOURCE
#include "base/endpoint.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_NAME "flmd.sock"

enum ownership { OURS, MISSING, FOREIGN };

/* A directory, not a link to one, that belongs to us and that nobody else may enter. */
static enum ownership look_at(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? MISSING : FOREIGN;
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077) ? OURS : FOREIGN;
}

/* The directory that flmd uses, made or not. It must leave room for the socket's name. */
static int choose(char *out, size_t n)
{
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("/" SOCKET_NAME);
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int length = -1;

    if (n < most)
        most = n;
    if (runtime && runtime[0] == '/' && look_at(runtime) == OURS)
        length = snprintf(out, n, "%s/flame", runtime);
    if (length < 0 || (size_t)length >= most)
        length = snprintf(out, n, "/tmp/flame-%lu", (unsigned long)geteuid());
    return length >= 0 && (size_t)length < most ? 0 : FLM_ETOOBIG;
}

int flm__default_endpoint(char *out, size_t n)
{
    char directory[FLM__ENDPOINT_MAX];
    int rc = choose(directory, sizeof(directory));
    if (rc < 0)
        return rc;
    if (look_at(directory) == FOREIGN)
        return FLM_EPERM;
    int length = snprintf(out, n, "unix:%s/" SOCKET_NAME, directory);
    return length >= 0 && (size_t)length < n ? 0 : FLM_ETOOBIG;
}

int flm__runtime_directory(char *out, size_t n, flm_error *error)
{
    int rc = choose(out, n);
    if (rc < 0)
        return flm__error_set(error, rc, "the path of the runtime directory is too long");
    if (mkdir(out, 0700) < 0 && errno != EEXIST)
        return flm__error_errno(error, FLM_EIO, errno, "cannot make the directory %s", out);
    if (look_at(out) != OURS)
        return flm__error_set(
            error, FLM_EPERM,
            "the directory %s must be yours and closed to others (mode 0700); remove it, or "
            "choose another place with --endpoint unix:PATH",
            out);
    return 0;
}
