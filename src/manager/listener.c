#define _GNU_SOURCE
#include "manager/loop.h"
#include "manager/peer.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

struct listener {
    struct listener *prev, *next;
    struct manager *manager;
    uv_poll_t poll;
    int fd;
    int spare; /* a descriptor to give up when there are no others; -1: given up */
    char endpoint[256];
};

/* No descriptors are left: whoever waits is told so, in place of waiting for ever. */
static void turn_away(struct listener *l)
{
    static const char text[] = "the session manager has no descriptors left for another connection: try "
                               "again later, or start it with a higher limit (ulimit -n)";
    close(l->spare);
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        flm__conn_last_words(fd, FLM_EFULL, text);
        close(fd);
    }
    l->manager->refused++;
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    (void)status;
    (void)events;
    for (;;) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && l->spare >= 0)
            turn_away(l);
        if (fd < 0)
            return;
        peer_accept(l->manager, fd);
    }
}

static void drop_socket(struct listener *l)
{
    if (strncmp(l->endpoint, "unix:", 5) == 0)
        unlink(l->endpoint + 5);
    close(l->fd);
    if (l->spare >= 0)
        close(l->spare);
}

/* What others are told: where it listens at all addresses, one of them. The fabric will need that too, as
 * soon as there is a peer on another node. */
static void announce(struct manager *m, const char *endpoint)
{
    static const char any[] = "tcp:*:";
    size_t used = strlen(m->endpoints), room = sizeof(m->endpoints) - used;
    const char *comma = used ? "," : "";
    bool known = strncmp(endpoint, "tcp:", 4) == 0 && manager_own_address(m);
    if (known && strncmp(endpoint, any, strlen(any)) == 0)
        snprintf(m->endpoints + used, room, strchr(m->own_address, ':') ? "%stcp:[%s]:%s" : "%stcp:%s:%s",
                 comma, m->own_address, endpoint + strlen(any));
    else
        snprintf(m->endpoints + used, room, "%s%s", comma, endpoint);
}

int listener_open(struct manager *m, const char *endpoint, flm_error *error)
{
    struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return flm__error_set(error, FLM_ENOMEM, "no memory to listen at %s", endpoint);
    l->manager = m;
    l->fd = flm__listen(endpoint, l->endpoint, sizeof(l->endpoint), error);
    if (l->fd < 0) {
        int code = l->fd;
        free(l);
        return code;
    }
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int rc = uv_poll_init(&m->uv, &l->poll, l->fd);
    if (rc < 0) {
        drop_socket(l);
        free(l);
        return flm__error_set(error, FLM_EIO, "cannot watch %s: %s", endpoint, uv_strerror(rc));
    }
    l->poll.data = l;
    DL_APPEND(m->listeners, l); /* from here on listener_close_all sees to it */
    rc = uv_poll_start(&l->poll, UV_READABLE, on_connection);
    if (rc < 0)
        return flm__error_set(error, FLM_EIO, "cannot watch %s: %s", endpoint, uv_strerror(rc));
    announce(m, l->endpoint);
    return 0;
}

void listener_close_all(struct manager *m)
{
    struct listener *l;
    DL_FOREACH(m->listeners, l)
    {
        uv_poll_stop(&l->poll);
        drop_socket(l);
    }
}

void listener_free_all(struct manager *m)
{
    struct listener *l, *next;
    DL_FOREACH_SAFE(m->listeners, l, next)
    {
        DL_DELETE(m->listeners, l);
        free(l);
    }
}
