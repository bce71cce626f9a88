#include "manager/output.h"

#include <stdlib.h>

bool output_claim(struct executor *e, const struct flm__blob_ref *ref, struct blob **blob)
{
    struct arrived_blob *a;
    *blob = e->claimed;
    e->claimed = NULL;
    if (*blob)
        return true;
    HASH_FIND(hh, e->blobs, &ref->id, sizeof(ref->id), a);
    if (!a)
        return false;
    HASH_DEL(e->blobs, a);
    flm_error error = {0};
    *blob = a->blob ? a->blob : blob_take(e->node->peer->manager, a->fd, ref->size, a->reused, &error);
    if (*blob && a->reused) {
        (*blob)->origin.executor = e->id;
        (*blob)->origin.birth = e->birth;
        (*blob)->origin.id = a->id;
    }
    free(a);
    if (!*blob)
        executor_lies(e, error.text);
    return true;
}

struct fetch {
    struct manager *manager;
    unsigned executor;
    uint64_t birth; /* of the process that has the output */
    uint64_t id;
    bool becomes_object;
};

/* Until its result is looked at again. */
static bool keep(struct executor *e, uint64_t id, struct blob *blob)
{
    const struct arrived_blob a = {.id = id, .size = blob->size, .fd = -1, .blob = blob};
    if (!arrived_blob_add(&e->blobs, &a))
        return false;
    blob_hold(blob);
    return true;
}

static void fetched(void *arg, struct blob *blob, int status)
{
    struct fetch *f = arg;
    struct manager *m = f->manager;
    struct executor *e = executor_of(m, f->executor, f->birth);
    if (!e) {
        /* nobody waits for it any more */
    } else if (blob && keep(e, f->id, blob)) {
        blob->origin.executor = f->executor;
        blob->origin.birth = f->birth;
        blob->origin.id = f->id;
        blob->origin.copied = true;
        if (!f->becomes_object)
            blob_leave_origin(blob);
    } else if (blob) {
        e->stalled = false; /* no memory to keep it: it is read again */
    } else {
        executor_lies(e, status == FLM_ENOMEM ? "there is no memory for a large output"
                                              : "a large output could not be read");
    }
    blob_release(blob);
    free(f);
}

bool output_fetch(struct executor *e, const struct flm__blob_ref *ref, bool becomes_object)
{
    struct fetch *f = malloc(sizeof(*f));
    if (!f)
        return false;
    *f = (struct fetch){e->node->peer->manager, e->id, e->birth, ref->id, becomes_object};
    int rc = blob_fetch(f->manager, e->node->peer->link, ref, fetched, f);
    if (rc == 0)
        return true;
    free(f);
    if (rc != FLM_ENOMEM)
        executor_lies(e, "a large output could not be read");
    return rc != FLM_ENOMEM;
}
