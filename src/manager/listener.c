#define _GNU_SOURCE
#include "manager/loop.h"
#include "manager/peer.h"

#include <errno.h>
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
    char endpoint[256];
};

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    (void)status;
    (void)events;
    for (;;) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0)
            return; /* also when descriptors are short: they wait in the backlog */
        peer_accept(l->manager, fd);
    }
}

int listener_open(struct manager *m, const char *endpoint, flm_error *error)
{
    struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return FLM_ENOMEM;
    l->manager = m;
    l->fd = flm__listen(endpoint, l->endpoint, sizeof(l->endpoint), error);
    if (l->fd < 0) {
        int rc = l->fd;
        free(l);
        return rc;
    }
    uv_poll_init(&m->uv, &l->poll, l->fd);
    l->poll.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_connection);
    DL_APPEND(m->listeners, l);
    size_t used = strlen(m->endpoints);
    snprintf(m->endpoints + used, sizeof(m->endpoints) - used, "%s%s", used ? "," : "", l->endpoint);
    return 0;
}

void listener_close_all(struct manager *m)
{
    struct listener *l;
    DL_FOREACH(m->listeners, l)
    {
        if (strncmp(l->endpoint, "unix:", 5) == 0)
            unlink(l->endpoint + 5);
        uv_poll_stop(&l->poll);
        close(l->fd);
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
