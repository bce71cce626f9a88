/* A patch makes a new version out of a copy of the newest, since others may have that, on another thread;
 * if the object has changed meanwhile it is done again. */
#include "manager/objects_inside.h"

#include "base/error.h"
#include "manager/blob_patch.h"
#include "manager/client.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct object_patch {
    struct object_patch *next; /* in peer->patches */
    struct manager *manager;
    struct peer *peer; /* NULL: gone */
    uint64_t request;
    char name[FLM_MAX_NAME + 1];
    uint64_t condition, offset;
    uint64_t version; /* that is copied */
    struct blob *patch;
    struct object_wait wait; /* for it to be read back first */
    flm_error error;
};

static void finish(struct object_patch *c, const struct object *o)
{
    if (c->peer)
        LL_DELETE(c->peer->patches, c);
    if (c->peer && o)
        object_reply(c->peer, c->request, o, NULL);
    else if (c->peer)
        client_reply(c->peer, c->request, c->error.code, c->error.text);
    blob_release(c->patch);
    free(c);
}

static void begin(struct object_patch *c);

static void copied(void *arg, struct blob *whole, const flm_error *error)
{
    struct object_patch *c = arg;
    struct manager *m = c->manager;
    c->error = *error;
    struct object *o = object_find(m, c->name, c->condition, &c->error);
    if (whole && o && o->version == c->version) {
        object_set(m, o, whole);
        finish(c, o);
        return;
    }
    blob_release(whole);
    if (!whole || !o) {
        finish(c, NULL);
        return;
    }
    begin(c);
}

static void was_read(struct object_wait *w, const flm_error *error)
{
    struct object_patch *c = (struct object_patch *)((char *)w - offsetof(struct object_patch, wait));
    if (error) {
        c->error = *error;
        finish(c, NULL);
        return;
    }
    begin(c);
}

static void begin(struct object_patch *c)
{
    struct object *o = object_find(c->manager, c->name, c->condition, &c->error);
    if (o && (c->offset > o->size || c->patch->size > o->size - c->offset)) {
        flm__error_set(&c->error, FLM_EINVAL, "object %s has %llu bytes: %llu from %llu on do not fit",
                       o->name, (unsigned long long)o->size, (unsigned long long)c->patch->size,
                       (unsigned long long)c->offset);
    } else if (o && spill_has(o)) {
        c->wait.go = was_read;
        spill_read(c->manager, o, &c->wait);
        return;
    } else if (o && blob_patch(o->blob, c->patch, c->offset, copied, c, &c->error) == 0) {
        c->version = o->version;
        return;
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
    p->patches = c;
    begin(c);
}

void objects_gone(struct peer *p)
{
    for (struct object_patch *c = p->patches; c; c = c->next)
        c->peer = NULL;
    p->patches = NULL;
    object_waits_gone(p);
}
