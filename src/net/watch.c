/* The uv handle outlives the connection by one turn of the loop (uv_close), so a watch that is closed
 * has conn == NULL until libuv lets it go. `depth` counts our own frames on the stack: what is closed
 * inside a callback stays readable until the callback has returned, since libuv frees later still. */
#include "net/watch.h"

#include <stdlib.h>

struct flm__watch {
    uv_poll_t poll; /* first: uv_close gives it back */
    struct flm__conn *conn;
    flm__watch_message_fn *on_message;
    flm__watch_end_fn *on_end;
    void *arg;
    int events; /* that the loop waits for; -1: none */
    int failed; /* to be reported from the loop */
    bool ended, reading;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void listen_for(struct flm__watch *w)
{
    int events = UV_READABLE | (flm__conn_pending(w->conn) || w->failed ? UV_WRITABLE : 0);
    if (w->ended || events == w->events)
        return;
    w->events = events;
    uv_poll_start(&w->poll, events, on_poll);
}

static void end(struct flm__watch *w, int code)
{
    if (w->ended)
        return;
    w->ended = true;
    uv_poll_stop(&w->poll);
    w->on_end(w->arg, code);
}

/* Hands one message over. */
static void deliver(struct flm__watch *w, Flm__Message *message, int *fds, unsigned n_fds)
{
    w->on_message(w->arg, message, fds, n_fds);
    for (unsigned i = 0; i < n_fds; i++)
        if (fds[i] >= 0)
            flm__close_fds(&fds[i], 1);
    flm__message__free_unpacked(message, NULL);
}

void flm__watch_read(struct flm__watch *w)
{
    if (!w || !w->conn || w->ended || w->reading)
        return;
    w->reading = true;
    int rc = 1, lost = 0;
    while (w->conn && !w->ended && lost == 0 && rc >= 0) {
        lost = flm__conn_fill(w->conn);
        Flm__Message *message;
        int fds[FLM__FRAME_FDS];
        unsigned n_fds;
        unsigned taken = 0;
        while (w->conn && !w->ended && (rc = flm__conn_take(w->conn, &message, fds, &n_fds)) > 0) {
            deliver(w, message, fds, n_fds);
            taken++;
        }
        if (taken == 0)
            break;
    }
    w->reading = false;
    if (!w->conn || w->ended)
        return;
    if (rc < 0 || lost < 0)
        end(w, rc < 0 ? rc : lost);
    else
        listen_for(w);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct flm__watch *w = (struct flm__watch *)poll;
    int rc = w->failed;
    if (rc == 0 && status == 0 && (events & UV_WRITABLE))
        rc = flm__conn_flush(w->conn);
    /* What was read before a failure still counts; reading also tells the end. */
    if (status < 0 || (events & UV_READABLE) || rc < 0)
        flm__watch_read(w);
    if (!w->conn || w->ended)
        return;
    if (rc < 0 || status < 0)
        end(w, rc < 0 ? rc : FLM_EDISCONNECTED);
    else
        listen_for(w);
}

struct flm__watch *flm__watch_new_take(uv_loop_t *loop, struct flm__conn *conn,
                                       flm__watch_message_fn *on_message, flm__watch_end_fn *on_end,
                                       void *arg)
{
    struct flm__watch *w = calloc(1, sizeof(*w));
    if (!w || uv_poll_init(loop, &w->poll, flm__conn_fd(conn)) < 0) {
        free(w);
        flm__conn_free(conn);
        return NULL;
    }
    w->conn = conn;
    w->on_message = on_message;
    w->on_end = on_end;
    w->arg = arg;
    w->events = -1;
    listen_for(w);
    return w;
}

void flm__watch_retarget(struct flm__watch *w, flm__watch_message_fn *on_message, flm__watch_end_fn *on_end,
                         void *arg)
{
    w->on_message = on_message;
    w->on_end = on_end;
    w->arg = arg;
}

int flm__watch_send(struct flm__watch *w, const Flm__Message *message, const int *fds, unsigned n_fds)
{
    if (!w || !w->conn)
        return FLM_EDISCONNECTED;
    if (w->failed)
        return w->failed;
    /* After the end a peer that only stopped sending can still hear last words. */
    int rc = flm__conn_send(w->conn, message, fds, n_fds);
    if (rc < 0 && rc != FLM_ETOOBIG && rc != FLM_ENOTSUP) /* those two cost the message alone */
        w->failed = rc;
    listen_for(w);
    return rc;
}

struct flm__conn *flm__watch_conn(struct flm__watch *w)
{
    return w->conn;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void flm__watch_close(struct flm__watch *w)
{
    if (!w || !w->conn)
        return;
    uv_close((uv_handle_t *)&w->poll, on_closed); /* before the descriptor goes */
    flm__conn_free(w->conn);
    w->conn = NULL;
}
