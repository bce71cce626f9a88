/* The control connection: what comes besides results. */
#include "libflm/handle.h"
#include "base/error.h"

/* Takes the message and its descriptors. */
static void handle_take(flm_client *c, Flm__Message *m, int *fds, unsigned n_fds)
{
    switch (m->body_case) {
    case FLM__MESSAGE__BODY_REPLY:
        flm__request_reply_take(c, m);
        m = NULL;
        break;
    case FLM__MESSAGE__BODY_BLOB:
        flm__blob_arrived(c, m->blob, n_fds ? fds[0] : -1);
        if (n_fds) {
            fds++;
            n_fds--;
        }
        break;
    case FLM__MESSAGE__BODY_BLOB_DONE:
        flm__blob_done(c, m->blob_done->id, m->blob_done->in_use);
        break;
    case FLM__MESSAGE__BODY_FABRIC_PEER:
        if (c->fabric)
            flm__sources_told(&c->sources, m->fabric_peer);
        break;
    case FLM__MESSAGE__BODY_PING: {
        Flm__Pong pong = FLM__PONG__INIT;
        pong.number = m->ping->number;
        FLM__MESSAGE(answer, pong, PONG, &pong);
        flm__conn_send(c->conn, &answer, NULL, 0);
        break;
    }
    case FLM__MESSAGE__BODY_REFUSED:
        flm__client_lost(c, FLM_EDISCONNECTED, "the session manager ended the connection: %s",
                         m->refused->text);
        c->recoverable &= m->refused->code == FLM_EDISCONNECTED; /* else it would only refuse us again */
        break;
    case FLM__MESSAGE__BODY_SHUTDOWN:
        flm__client_lost(c, FLM_EDISCONNECTED, "the session manager ended: %s", m->shutdown->text);
        break;
    case FLM__MESSAGE__BODY_SESSION_LOST: {
        flm_session *s = flm__session_by_number(c, m->session_lost->session);
        if (s)
            flm__session_lost(s, m->session_lost->code, m->session_lost->text);
        break;
    }
    default: /* of a newer version: not for us */
        break;
    }
    flm__close_fds(fds, n_fds);
    if (m)
        flm__message__free_unpacked(m, NULL);
    if (c->shared)
        flm__wait_notify(c); /* another thread may wait for just this */
}

int flm__control_read(flm_client *c)
{
    if (!c->conn)
        return 0;
    int lost = c->lost ? FLM_EDISCONNECTED : flm__conn_fill(c->conn);
    for (;;) {
        Flm__Message *m;
        int fds[FLM__FRAME_FDS];
        unsigned n_fds;
        int rc = flm__conn_take(c->conn, &m, fds, &n_fds);
        if (rc == 0)
            break;
        if (rc < 0 && lost == FLM_EFULL)
            break; /* it is one, but not all of it could be had */
        if (rc < 0)
            return flm__client_lost(c, FLM_EPROTO, "what the session manager sent is no control message");
        handle_take(c, m, fds, n_fds);
    }
    if (lost == FLM_EFULL)
        return flm__client_lost(c, FLM_EFULL,
                                "this process has too many files open to receive large outputs: allow it "
                                "more (ulimit -n)");
    if (lost < 0)
        return flm__client_lost(c, FLM_EDISCONNECTED, "the session manager closed the connection");
    if (flm__conn_pending(c->conn) && flm__conn_flush(c->conn) < 0)
        return flm__client_lost(c, FLM_EDISCONNECTED, "the session manager closed the connection");
    return 0;
}

int flm__control_say(flm_client *c, const Flm__Message *message, const int *fds, unsigned n_fds,
                     flm_error *error)
{
    if (c->lost || !c->conn)
        return flm__client_lost_error(c, error);
    int rc = flm__conn_send(c->conn, message, fds, n_fds);
    if (rc == FLM_EDISCONNECTED) {
        flm__control_read(c); /* it may have said why before it went */
        flm__client_lost(c, rc, "the session manager closed the connection");
        return flm__client_lost_error(c, error);
    }
    if (rc == FLM_ETOOBIG)
        return flm__error_set(error, rc, "the request is larger than %d bytes", FLM__FRAME_MAX);
    if (rc < 0)
        return flm__error_set(error, rc, "the session manager does not take a request: %s",
                              flm_strerror(rc));
    return 0;
}
