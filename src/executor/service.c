/* Shim self: the user's program is the executor. */
#include "executor/executor.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { IDENTITY_MAX = 32 << 10 };

/* Up to an empty text. */
static int read_identity(int fd, char *text, flm_error *error)
{
    for (size_t n = 0; n < IDENTITY_MAX;) {
        ssize_t got = read(fd, text + n, IDENTITY_MAX - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return flm__error_set(error, FLM_EDISCONNECTED, "the node agent has given up before it began");
        n += (size_t)got;
        if (n >= 2 && !text[n - 1] && !text[n - 2])
            return 0;
    }
    return flm__error_set(error, FLM_EPROTO, "what the node agent says of this process makes no sense");
}

int flm_service_attend(const struct flm_service *const *services, int fd, flm_error *error)
{
    static char text[IDENTITY_MAX];
    int rc = 0;
    for (const struct flm_service *const *s = services; rc == 0 && *s; s++)
        rc = flm__service_check(*s, (*s)->name ? (*s)->name : "a service without a name", error);
    if (rc == 0)
        rc = read_identity(fd, text, error);
    return rc < 0 ? rc : flm__executor_attend(services, text, fd, error);
}

int flm_service_run(const struct flm_service *service, int argc, char **argv)
{
    const char *program = argc > 0 && argv && argv[0] ? argv[0] : "service";
    flm_error error = {0};
    if (!service || flm__service_check(service, program, &error) < 0) {
        fprintf(stderr, "%s: %s\n", program, service ? error.text : "flm_service_run was given no service");
        return 2;
    }
    return flm__executor_serve(service, program);
}
