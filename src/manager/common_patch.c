/* Patches of common data: a new version is made out of a copy of the newest. What the same client asks for
 * meanwhile waits, so that a patch is one of the version before it. */
#include "manager/blob_patch.h"
#include "manager/client.h"
#include "manager/common.h"
#include "manager/durable.h"

#include "base/error.h"

#include <stdlib.h>
#include <utlist.h>

enum { WAITING_MAX = 16 }; /* requests of a client */

struct common_patch {
    struct common_patch *next; /* in peer->common_patches */
    struct peer *peer;         /* NULL: gone */
    uint64_t request, version, offset;
    uint32_t session;
    bool whole, runs;
    struct blob *data;
};

static void drop(struct common_patch *c)
{
    if (c->peer)
        LL_DELETE(c->peer->common_patches, c);
    blob_release(c->data);
    free(c);
}

static void go_on(struct peer *p);

static void patched(void *arg, struct blob *blob, const flm_error *error)
{
    struct common_patch *c = arg;
    struct peer *p = c->peer;
    if (!p)
        blob_release(blob);
    else if (blob)
        common_set(p, c->request, c->session, c->version, blob);
    else
        client_reply(p, c->request, error->code, error->text);
    drop(c);
    if (p)
        go_on(p);
}

/* 0: patched is called later; 1: it is there already; or an error. */
static int begin(struct common_patch *c, const struct session *s, flm_error *error)
{
    uint64_t newest, size = c->data->size;
    struct blob *base = common_newest(s, &newest);
    if (c->version <= newest)
        return 1;
    if (!base)
        return flm__error_set(error, FLM_EINVAL, "session %s has no common data that could be patched",
                              s->id);
    if (c->offset > base->size || size > base->size - c->offset)
        return flm__error_set(
            error, FLM_EINVAL, "the common data have %llu bytes: %llu from %llu on do not fit",
            (unsigned long long)base->size, (unsigned long long)size, (unsigned long long)c->offset);
    if (s->durability && !durable_room(s->manager->durable, base->size)) /* before the copy, not after it */
        return flm__error_set(error, FLM_EAGAIN, "the journal has no room for the new common data");
    return blob_patch(base, c->data, c->offset, patched, c, error);
}

static void set_data(struct common_patch *c)
{
    struct blob *data = c->data;
    c->data = NULL;
    common_set(c->peer, c->request, c->session, c->version, data);
}

static void go_on(struct peer *p)
{
    struct common_patch *c;
    while ((c = p->common_patches)) {
        flm_error error = {0};
        struct session *s = client_attached(p, c->session, c->request);
        int rc = !s ? 0 : c->whole ? 1 : begin(c, s, &error);
        if (s && rc == 0) {
            c->runs = true;
            return;
        }
        if (rc > 0)
            set_data(c); /* of a patch: that is older than what is there, and comes to nothing */
        else if (rc < 0)
            client_reply(p, c->request, error.code, error.text);
        drop(c);
    }
}

void common_patch(struct peer *p, const Flm__Request *r, struct blob *data)
{
    const Flm__UpdateCommon *u = r->update_common;
    struct common_patch *c = calloc(1, sizeof(*c)), **at = &p->common_patches;
    unsigned waiting = 0;
    for (; *at; at = &(*at)->next)
        waiting++;
    if (!c || waiting >= WAITING_MAX) {
        free(c);
        blob_release(data);
        client_reply(p, r->id, c ? FLM_EAGAIN : FLM_ENOMEM, "too many new common data at once");
        return;
    }
    *c = (struct common_patch){.peer = p,
                               .request = r->id,
                               .session = u->session,
                               .version = u->common->version,
                               .offset = u->offset,
                               .whole = !u->patch,
                               .data = data};
    *at = c;
    if (!waiting)
        go_on(p);
}

void common_patches_gone(struct peer *p)
{
    struct common_patch *c;
    while ((c = p->common_patches)) {
        p->common_patches = c->next;
        c->peer = NULL;
        if (!c->runs)
            drop(c);
    }
}
