#define _GNU_SOURCE
#include "net/rejoin.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 256 << 10 }; /* some thousand nodes */

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

int flm__rejoin_read(const char *file, char **text, flm_error *error)
{
    static char content[FILE_MAX];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return flm__error_set(error, FLM_ECLOSED, "%s is no more", file);
    ssize_t n = fd < 0 ? -1 : read(fd, content, sizeof(content) - 1);
    int rc = n < 0 ? flm__error_errno(error, FLM_EIO, errno, "cannot read %s", file) : 0;
    if (fd >= 0)
        close(fd);
    content[n > 0 ? n : 0] = 0;
    *text = content;
    return rc;
}

int flm__rejoin_dial(const struct flm__rejoin *r, int64_t deadline_ns, flm_error *error)
{
    char endpoints[1024], *text;
    int rc = flm__rejoin_read(r->file, &text, error);
    if (rc < 0)
        return rc;
    if (!flm__rejoin_line(text, "endpoints", endpoints, sizeof(endpoints)))
        return flm__error_set(error, FLM_ECONNECT, "%s says of no session manager where it listens",
                              r->file);
    return flm__dial_any(endpoints, deadline_ns, error);
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
