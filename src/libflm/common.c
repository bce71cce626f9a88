/* New versions of a session's common data (doc/protocol.md, "Common data"). */
#include "libflm/handle.h"
#include "base/error.h"
#include "base/time.h"

static int check(const flm_session *s, const void *data, size_t size, flm_error *error)
{
    if (!data || size == 0)
        return flm__error_set(error, FLM_EINVAL, "new common data of session %s: %s", s->id,
                              data ? "there are 0 bytes of them" : "data is NULL");
    if (size > FLM_MAX_PAYLOAD)
        return flm__error_set(error, FLM_ETOOBIG, "common data of %zu bytes: at most %zu are possible",
                              size, FLM_MAX_PAYLOAD);
    if (s->special & FLM__SPECIAL_CLOSED)
        return flm__error_set(error, FLM_ECLOSED, "session %s is being closed", s->id);
    return flm__client_check_outside(s->client, error);
}

/* What is asked for. */
struct update {
    const void *data;
    size_t size;
    bool patch;
    size_t offset; /* of a patch */
    uint64_t version;
};

/* One try. What is shown to the manager belongs to the present connection, so each has its own. */
static int update_once(flm_session *s, const struct update *u, flm_error *error)
{
    flm_client *c = s->client;
    Flm__Request request = FLM__REQUEST__INIT;
    Flm__UpdateCommon update = FLM__UPDATE_COMMON__INIT;
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    Flm__Message *reply;
    struct flm__common common;
    int rc = flm__blob_common(c, u->data, u->size, &ref, &common, error);
    if (rc < 0)
        return rc;
    request.verb_case = FLM__REQUEST__VERB_UPDATE_COMMON;
    request.update_common = &update;
    update.common = &ref;
    update.patch = u->patch;
    update.offset = u->offset;
    ref.version = u->version;
    rc = flm__session_ask(s, &request, &common.fd, common.fd >= 0, FLM__REQUEST_PLAIN, c->timeout_ms,
                          &reply, error);
    flm__blob_common_done(c, &common);
    if (rc < 0)
        return rc;
    if (s->common_version < reply->reply->common_version) /* other threads update it, too */
        s->common_version = reply->reply->common_version;
    flm__message__free_unpacked(reply, NULL);
    return 0;
}

static bool is_connected(struct flm__wait *wait)
{
    const flm_session *s = wait->arg;
    return flm__session_is_lost(s) || (!s->client->lost && !s->client->away);
}

/* The manager went, and may come again: before that, what it had sent is delivered. */
static int await_connection(flm_session *s, int64_t deadline, flm_error *error)
{
    struct flm__wait wait = {FLM__WAIT_DATA, is_connected, s, deadline};
    int rc = is_connected(&wait) ? 0 : flm__wait_until(s->client, &wait);
    if (rc == FLM_EDISCONNECTED || flm__session_is_lost(s))
        return flm__session_lost_error(s, error);
    return rc < 0 ? flm__error_set(error, rc, "there is no session manager for session %s", s->id) : 0;
}

static bool never(struct flm__wait *wait)
{
    return flm__session_is_lost(wait->arg);
}

/* The journal has no room: it may have in a moment. False: no time is left. */
static bool wait_a_moment(flm_session *s, int64_t deadline)
{
    enum { MOMENT_MS = 20 };
    struct flm__wait wait = {FLM__WAIT_CONTROL, never, s, flm__client_deadline(MOMENT_MS)};
    if (deadline != FLM__FOR_EVER && flm__now_ns() >= deadline)
        return false;
    flm__wait_until(s->client, &wait);
    return !flm__session_is_lost(s);
}

static bool is_free(struct flm__wait *wait)
{
    const flm_session *s = wait->arg;
    return !s->common_busy;
}

/* One thread after the other, so that a patch is one of the version before it. */
static int take_turn(flm_session *s, int64_t deadline, flm_error *error)
{
    struct flm__wait wait = {FLM__WAIT_CONTROL, is_free, s, deadline};
    int rc = s->common_busy ? flm__wait_until(s->client, &wait) : 0;
    if (rc == FLM_EDISCONNECTED)
        return flm__session_lost_error(s, error);
    if (rc < 0)
        return flm__error_set(error, rc, "another thread still gives session %s new common data", s->id);
    s->common_busy = true;
    return 0;
}

static void end_turn(flm_session *s)
{
    s->common_busy = false;
    flm__wait_notify(s->client);
}

static int update_in_turn(flm_session *s, struct update *u, int64_t deadline, flm_error *error)
{
    int rc;
    if (u->patch && !s->common_version)
        return flm__error_set(error, FLM_EINVAL, "session %s has no common data that could be patched",
                              s->id);
    /* None that was tried before, and may be there or not, is taken for this one. */
    u->version = (s->common_tried > s->common_version ? s->common_tried : s->common_version) + 1;
    s->common_tried = u->version;
    do {
        rc = await_connection(s, deadline, error);
        if (rc == 0)
            rc = update_once(s, u, error);
    } while ((rc == FLM_EAGAIN && wait_a_moment(s, deadline)) ||
             (rc == FLM_EDISCONNECTED && !flm__session_is_lost(s)));
    return rc;
}

static int update(flm_session *s, struct update *u, uint64_t *version, flm_error *error)
{
    int64_t deadline = flm__client_deadline(s->client->timeout_ms);
    int rc = check(s, u->data, u->size, error);
    if (rc == 0)
        rc = take_turn(s, deadline, error);
    if (rc < 0)
        return rc;
    rc = update_in_turn(s, u, deadline, error);
    end_turn(s);
    if (rc == 0 && version)
        *version = u->version;
    return rc;
}

int flm_update_common_data(flm_session *s, const void *data, size_t size, uint64_t *version,
                           flm_error *error)
{
    if (!s)
        return flm__error_set(error, FLM_EINVAL, "no session");
    struct update u = {.data = data, .size = size};
    flm__client_lock(s->client);
    int rc = update(s, &u, version, error);
    flm__client_unlock(s->client);
    return rc;
}

int flm_patch_common_data(flm_session *s, size_t offset, const void *data, size_t size, uint64_t *version,
                          flm_error *error)
{
    if (!s)
        return flm__error_set(error, FLM_EINVAL, "no session");
    struct update u = {.data = data, .size = size, .patch = true, .offset = offset};
    flm__client_lock(s->client);
    int rc = update(s, &u, version, error);
    flm__client_unlock(s->client);
    return rc;
}

uint64_t flm_common_version(const flm_session *s)
{
    if (!s)
        return 0;
    flm__client_lock(s->client);
    uint64_t version = s->common_version;
    flm__client_unlock(s->client);
    return version;
}
