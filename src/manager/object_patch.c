/* A patch makes a new version out of a copy of the newest, since others may have that. Copying may take a
 * second, so another thread does it; if the object has changed meanwhile it is done again. */
#include "manager/objects_inside.h"

#include "base/error.h"
#include "manager/client.h"
#include "net/blob.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct object_patch {
    uv_work_t work;
    struct object_patch *next; /* in peer->patches */
    struct manager *manager;
    struct peer *peer; /* NULL: gone */
    uint64_t request;
    char name[FLM_MAX_NAME + 1];
    uint64_t condition, offset;
    struct blob *base, *patch; /* mapped */
    int fd;
    flm_error error;
};

/* On another thread. */
static void copy(uv_work_t *work)
{
    struct object_patch *c = work->data;
    c->fd = flm__blob_copy(c->base->map, c->base->size, &c->error);
    if (c->fd >= 0 && flm__blob_write(c->fd, c->patch->map, c->patch->size, c->offset, &c->error) < 0) {
        close(c->fd);
        c->fd = -1;
    }
}

static void finish(struct object_patch *c, const struct object *o)
{
    for (struct object_patch **at = c->peer ? &c->peer->patches : NULL; at && *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    if (c->peer && o)
        object_reply(c->peer, c->request, o, NULL);
    else if (c->peer)
        client_reply(c->peer, c->request, c->error.code, c->error.text);
    blob_release(c->base);
    blob_release(c->patch);
    free(c);
}

static void begin(struct object_patch *c);

static void copied(uv_work_t *work, int status)
{
    struct object_patch *c = work->data;
    struct manager *m = c->manager;
    struct object *o = object_find(m, c->name, c->condition, &c->error);
    struct blob *whole = NULL;
    if (status < 0)
        flm__error_set(&c->error, FLM_ECANCELLED, "the session manager is ending");
    if (c->fd >= 0 && o && o->blob == c->base)
        whole = blob_take(m, c->fd, c->base->size, false, &c->error);
    else if (c->fd >= 0)
        close(c->fd);
    if (c->fd >= 0 && o && o->blob != c->base) {
        blob_release(c->base);
        c->base = NULL;
        begin(c);
        return;
    }
    if (whole)
        object_set(m, o, whole);
    finish(c, whole ? o : NULL);
}

static void begin(struct object_patch *c)
{
    struct object *o = object_find(c->manager, c->name, c->condition, &c->error);
    c->fd = -1;
    if (o && (c->offset > o->blob->size || c->patch->size > o->blob->size - c->offset)) {
        flm__error_set(&c->error, FLM_EINVAL, "object %s has %llu bytes: %llu from %llu on do not fit",
                       o->name, (unsigned long long)o->blob->size, (unsigned long long)c->patch->size,
                       (unsigned long long)c->offset);
    } else if (o && blob_map(o->blob, &c->error) && blob_map(c->patch, &c->error)) {
        c->base = blob_hold(o->blob);
        if (uv_queue_work(&c->manager->uv, &c->work, copy, copied) == 0)
            return;
        flm__error_set(&c->error, FLM_EINTERNAL, "the session manager cannot start a thread");
    }
    finish(c, NULL);
}

void object_patch(struct peer *p, const Flm__Request *r, struct blob *data)
{
    struct object_patch *c = calloc(1, sizeof(*c));
    if (!c) {
        blob_release(data);
        client_reply(p, r->id, FLM_ENOMEM, NULL);
        return;
    }
    *c = (struct object_patch){.next = p->patches,
                               .manager = p->manager,
                               .peer = p,
                               .request = r->id,
                               .condition = r->object->version,
                               .offset = r->object->offset,
                               .patch = data};
    memcpy(c->name, r->object->name, strlen(r->object->name) + 1);
    c->work.data = c;
    p->patches = c;
    begin(c);
}

void objects_gone(struct peer *p)
{
    for (struct object_patch *c = p->patches; c; c = c->next)
        c->peer = NULL;
    p->patches = NULL;
}
