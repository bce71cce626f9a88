/* Common data of the session, and their newer versions.
 *
 * The second thread maps a newer version as soon as it comes, puts it where the main thread will find it,
 * sets control.halt and answers. The main thread looks at halt after it has seen what is in the ring, so a
 * task that was sent after the answer finds the newer version. The pages of the older one are let go then.
 */
#define _GNU_SOURCE
#include "executor/executor.h"

#include "base/error.h"
#include "executor/world.h"
#include "net/blob.h"

#include <fcntl.h>
#include <flm/client.h>
#include <stdio.h>
#include <unistd.h>

int flm__common_open(struct flm__common_map *out, const Flm__BlobRef *ref, int fd, flm_error *error)
{
    *out = (struct flm__common_map){.fd = -1};
    if (!ref || ref->size == 0)
        return 0;
    if (fd < 0 || ref->size > FLM_MAX_PAYLOAD)
        return flm__error_set(error, FLM_EPROTO, "the common data of the session did not come along");
    out->map = flm__blob_map(fd, ref->size, error);
    if (!out->map)
        return FLM_EBIND;
    out->size = ref->size;
    out->version = ref->version;
    /* Children must not write to it: they get a descriptor that cannot, and could open it anew but for the
     * seal (Linux 5.1; who has mapped it for writing keeps that). */
    fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    return 0;
}

void flm__common_close(struct flm__common_map *common)
{
    flm__blob_unmap(common->map, common->size);
    if (common->fd >= 0)
        close(common->fd);
    *common = (struct flm__common_map){.fd = -1};
}

void flm__common_set(struct flm__session *s, const struct flm__common_map *common)
{
    struct flm__common_map old = s->common;
    s->common = *common;
    s->info.common = common->map;
    s->info.common_size = common->size;
    s->info.common_version = common->version;
    s->app.common_fd = common->fd;
    flm__common_close(&old);
}

static void take_next(struct flm__session *s, struct flm__common_map *next, uint32_t *session)
{
    pthread_mutex_lock(&s->lock);
    *next = s->next_common;
    *session = s->next_common_session;
    s->next_common = (struct flm__common_map){.fd = -1};
    s->next_common_session = 0;
    pthread_mutex_unlock(&s->lock);
}

void flm__common_drop(struct flm__session *s)
{
    struct flm__common_map next;
    uint32_t session;
    take_next(s, &next, &session);
    flm__common_close(&next);
}

/* ---- the second thread ---- */

static void put_next(struct flm__session *s, const struct flm__common_map *next, uint32_t session)
{
    pthread_mutex_lock(&s->lock);
    struct flm__common_map old = s->next_common;
    s->next_common = *next;
    s->next_common_session = session;
    pthread_mutex_unlock(&s->lock);
    flm__common_close(&old);
}

void flm__common_arrive(struct flm__executor *e, const Flm__Common *message, int fd)
{
    flm_error error = {0, ""};
    struct flm__common_map next;
    Flm__CommonTaken taken = FLM__COMMON_TAKEN__INIT;
    taken.lane = e->identity.lane;
    taken.life = e->identity.life;
    taken.session = message->session;
    taken.version = message->common ? message->common->version : 0;
    taken.code = flm__common_open(&next, message->common, fd, &error);
    taken.text = error.text;
    if (taken.code == 0) {
        put_next(&e->session, &next, message->session);
        flm__control_halt(e);
    }
    FLM__MESSAGE(m, common_taken, COMMON_TAKEN, &taken);
    int rc = flm__control_send(e, &m, NULL, 0);
    if (rc < 0 && rc != FLM_EDISCONNECTED) /* the end of the connection is seen when it is read */
        flm__end_now(e, FLM_REASON_NONE, "cannot answer the agent: %s", flm_strerror(rc));
}

/* ---- the main thread ---- */

void flm__common_take(struct flm__executor *e)
{
    struct flm__session *s = &e->session;
    struct flm__common_map next;
    uint32_t session;
    take_next(s, &next, &session);
    if (!next.map)
        return;
    if (!s->entered || s->number != session) {
        flm__common_close(&next);
        return;
    }
    if (e->world)
        flm__world_common(e, next.map, next.size, next.version);
    if (s->shim) /* its child has the older version, and reads what stands in app */
        flm__session_renew(e, &next);
    else
        flm__common_set(s, &next);
}
