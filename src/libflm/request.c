/* A request to the manager and its reply. */
#include "libflm/handle.h"
#include "base/error.h"

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
    flm__message__free_unpacked(message, NULL); /* nobody waits for it any more */
}

static bool has_reply(struct flm__wait *wait)
{
    return ((struct flm__call *)wait->arg)->reply != NULL;
}

static int await_reply(flm_client *c, struct flm__call *call, enum flm__request_mode mode, int timeout_ms,
                       flm_error *error)
{
    struct flm__wait wait = {
        .what = mode == FLM__REQUEST_PROGRESS ? FLM__WAIT_DATA : FLM__WAIT_CONTROL,
        .done = has_reply,
        .arg = call,
        .deadline = mode == FLM__REQUEST_PROGRESS ? FLM__FOR_EVER : flm__client_deadline(timeout_ms),
    };
    LL_PREPEND(c->calls, call);
    int rc = flm__wait_until(c, &wait);
    LL_DELETE(c->calls, call);
    if (rc == FLM_EDISCONNECTED)
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
    request->id = call.id;
    if (c->lost)
        return flm__client_lost_error(c, error);
    if (c->inproc) {
        int rc = flm__inproc_request(c, request, &call.reply, error);
        return rc < 0 ? rc : take_reply(call.reply, reply, error);
    }
    FLM__MESSAGE(m, request, REQUEST, request);
    int rc = flm__control_say(c, &m, fds, n_fds, error);
    if (rc < 0 || mode == FLM__REQUEST_SEND)
        return rc;
    rc = await_reply(c, &call, mode, timeout_ms, error);
    if (rc < 0)
        return rc;
    return take_reply(call.reply, reply, error);
}
