/* A request to the manager and its reply. */
#include "libflm/handle.h"
#include "libflm/reconnect.h"
#include "libflm/retained.h"
#include "base/error.h"
#include "base/time.h"

#include <poll.h>

#include <utlist.h>

void flm__request_reply_take(flm_client *c, Flm__Message *message)
{
    struct flm__call *call;
    LL_FOREACH(c->calls, call)
    {
        if (call->id == message->reply->id && !call->reply) {
            call->reply = message;
            return;
        }
    }
    for (flm_session *s = c->n_acknowledging ? c->sessions : NULL; s; s = s->next)
        if (s->asked && s->asked == message->reply->id) {
            s->asked = 0;
            if (message->reply->code == 0)
                flm__retained_recorded(s, message->reply->task);
        }
    if (message->reply->object && message->reply->object->data)
        flm__blob_unwanted(c, message->reply->object->data->id);
    flm__message__free_unpacked(message, NULL); /* nobody waits for it any more */
}

struct awaited {
    flm_client *client;
    struct flm__call *call;
};

/* It is there, or never comes: another connection knows nothing of it. */
static bool is_answered(const flm_client *c, const struct flm__call *call)
{
    return call->reply || call->connection != c->connections;
}

static bool has_reply(struct flm__wait *wait)
{
    const struct awaited *a = wait->arg;
    return is_answered(a->client, a->call);
}

/* Without giving up the lock, and without any other progress. */
static int await_alone(flm_client *c, const struct flm__call *call, int timeout_ms)
{
    int64_t deadline = flm__client_deadline(timeout_ms);
    while (flm__control_read(c) == 0 && !call->reply) {
        struct pollfd p = {.fd = flm__conn_fd(c->conn),
                           .events = (short)(POLLIN | (flm__conn_pending(c->conn) ? POLLOUT : 0))};
        int64_t left = deadline == FLM__FOR_EVER ? 1000000000 : deadline - flm__now_ns();
        if (left <= 0)
            return FLM_ETIMEDOUT;
        flm__progress_fabric(c);
        poll(&p, 1, c->fabric ? 1 : (int)(left / 1000000) + 1);
    }
    return call->reply ? 0 : FLM_EDISCONNECTED;
}

static int await_reply(flm_client *c, struct flm__call *call, enum flm__request_mode mode, int timeout_ms,
                       flm_error *error)
{
    struct flm__wait wait = {
        .what = mode == FLM__REQUEST_PROGRESS ? FLM__WAIT_DATA : FLM__WAIT_CONTROL,
        .done = has_reply,
        .arg = &(struct awaited){c, call},
        .deadline = mode == FLM__REQUEST_PROGRESS ? FLM__FOR_EVER : flm__client_deadline(timeout_ms),
    };
    LL_PREPEND(c->calls, call);
    int rc = mode == FLM__REQUEST_ALONE ? await_alone(c, call, timeout_ms) : flm__wait_until(c, &wait);
    LL_DELETE(c->calls, call);
    if (rc == 0 && call->reply && call->connection != c->connections) {
        /* Numbers in it mean nothing to whom we are connected to now. */
        flm__message__free_unpacked(call->reply, NULL);
        call->reply = NULL;
    }
    if (rc == FLM_EDISCONNECTED || (rc == 0 && !call->reply))
        return flm__client_lost_error(c, error);
    if (rc == FLM_ETIMEDOUT)
        return flm__error_set(error, rc, "the session manager did not answer within %d ms", timeout_ms);
    return rc;
}

/* Hands the reply on, or says what the manager said. */
static int take_reply(Flm__Message *message, Flm__Message **reply, flm_error *error)
{
    const Flm__Reply *r = message->reply;
    int rc = r->code;
    if (rc < 0)
        flm__error_set(error, rc, "%s", r->text[0] ? r->text : flm_strerror(rc));
    if (rc >= 0 && reply)
        *reply = message;
    else
        flm__message__free_unpacked(message, NULL);
    return rc < 0 ? rc : 0;
}

int flm__request(flm_client *c, Flm__Request *request, const int *fds, unsigned n_fds,
                 enum flm__request_mode mode, int timeout_ms, Flm__Message **reply, flm_error *error)
{
    struct flm__call call = {.id = ++c->next_request};
    int rc = flm__reconnect_await(c, mode, timeout_ms, error);
    request->id = call.id;
    if (rc < 0)
        return rc;
    call.connection = c->connections;
    if (c->inproc) {
        rc = flm__inproc_request(c, request, &call.reply, error);
        return rc < 0 ? rc : take_reply(call.reply, reply, error);
    }
    FLM__MESSAGE(m, request, REQUEST, request);
    rc = flm__control_say(c, &m, fds, n_fds, error);
    if (rc < 0 || mode == FLM__REQUEST_SEND)
        return rc;
    rc = await_reply(c, &call, mode, timeout_ms, error);
    if (rc < 0)
        return rc;
    return take_reply(call.reply, reply, error);
}
