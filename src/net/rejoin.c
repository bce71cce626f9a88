#define _GNU_SOURCE
#include "net/rejoin.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 10 };

void flm__rejoin_learn(struct flm__rejoin *r, const Flm__Ready *ready)
{
    const Flm__Rejoin *told = ready->rejoin;
    *r = (struct flm__rejoin){0};
    if (!told || !told->rejoin_ms || strlen(told->file) >= sizeof(r->file))
        return;
    r->state = told->state;
    r->ms = told->rejoin_ms;
    snprintf(r->file, sizeof(r->file), "%s", told->file);
    snprintf(r->instance, sizeof(r->instance), "%s", ready->instance);
}

bool flm__rejoin_line(const char *text, const char *name, char *value, size_t size)
{
    size_t n = strlen(name);
    while (text && *text) {
        if (strncmp(text, name, n) == 0 && text[n] == ' ') {
            text += n + 1;
            n = strcspn(text, "\n");
            snprintf(value, size, "%.*s", (int)n, text);
            return n < size;
        }
        text = strchr(text, '\n');
        text += text != NULL;
    }
    return false;
}

static int read_endpoints(const struct flm__rejoin *r, char *endpoints, size_t size, flm_error *error)
{
    static char text[FILE_MAX];
    int fd = open(r->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return flm__error_set(error, FLM_ECLOSED, "%s is no more", r->file);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n < 0)
        flm__error_errno(error, FLM_EIO, errno, "cannot read %s", r->file);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return FLM_EIO;
    text[n] = 0;
    if (!flm__rejoin_line(text, "endpoints", endpoints, size))
        return flm__error_set(error, FLM_ECONNECT, "%s says of no session manager where it listens",
                              r->file);
    return 0;
}

int flm__rejoin_dial(const struct flm__rejoin *r, int64_t deadline_ns, flm_error *error)
{
    char endpoints[1024], *rest = NULL;
    int rc = read_endpoints(r, endpoints, sizeof(endpoints), error);
    if (rc < 0)
        return rc;
    int fd = flm__error_set(error, FLM_ECONNECT, "%s names no endpoint", r->file);
    for (char *one = strtok_r(endpoints, ",", &rest); one && fd < 0; one = strtok_r(NULL, ",", &rest))
        fd = flm__dial(one, deadline_ns, error);
    return fd;
}

void flm__rejoin_introduce(const struct flm__rejoin *r, Flm__Came *came)
{
    came->state = r->state;
    came->instance = (char *)(uintptr_t)r->instance;
}

int flm__rejoin_check(const struct flm__rejoin *r, const Flm__Ready *ready, flm_error *error)
{
    if (ready->rejoin && ready->rejoin->state == r->state)
        return 0;
    return flm__error_set(error, FLM_EAUTH,
                          "the session manager that answers is of another state directory");
}
