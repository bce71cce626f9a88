#include "manager/blob_patch.h"

#include "base/error.h"
#include "net/blob.h"

#include <stdlib.h>
#include <unistd.h>

struct blob_patch {
    uv_work_t work;
    struct blob *base, *patch; /* mapped */
    uint64_t offset;
    int fd;
    flm_error error;
    blob_patched_fn *done;
    void *arg;
};

/* On another thread. */
static void copy(uv_work_t *work)
{
    struct blob_patch *c = work->data;
    c->fd = flm__blob_copy(c->base->map, c->base->size, &c->error);
    if (c->fd >= 0 && flm__blob_write(c->fd, c->patch->map, c->patch->size, c->offset, &c->error) < 0) {
        close(c->fd);
        c->fd = -1;
    }
}

static void copied(uv_work_t *work, int status)
{
    struct blob_patch *c = work->data;
    struct blob *whole = NULL;
    if (status < 0)
        flm__error_set(&c->error, FLM_ECANCELLED, "the session manager is ending");
    else if (c->fd >= 0)
        whole = blob_take(c->base->manager, c->fd, c->base->size, false, &c->error);
    if (whole) {
        whole->patched.base = c->base->id;
        whole->patched.offset = c->offset;
        whole->patched.size = c->patch->size;
    }
    c->done(c->arg, whole, &c->error);
    blob_release(c->base);
    blob_release(c->patch);
    free(c);
}

int blob_patch(struct blob *base, struct blob *patch, uint64_t offset, blob_patched_fn *done, void *arg,
               flm_error *error)
{
    struct blob_patch *c = calloc(1, sizeof(*c));
    if (!c)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a patch");
    if (!blob_map(base, error) || !blob_map(patch, error)) {
        free(c);
        return FLM_ENOMEM;
    }
    *c = (struct blob_patch){
        .base = base, .patch = patch, .offset = offset, .fd = -1, .done = done, .arg = arg};
    c->work.data = c;
    if (uv_queue_work(&base->manager->uv, &c->work, copy, copied) < 0) {
        free(c);
        return flm__error_set(error, FLM_EINTERNAL, "the session manager cannot start a thread");
    }
    blob_hold(base);
    blob_hold(patch);
    return 0;
}
