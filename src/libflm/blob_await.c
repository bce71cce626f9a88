/* Data of objects that a client has asked for: who asked waits for them. What takes too long goes on
 * without it, and is given back when it is there. */
#define _GNU_SOURCE
#include "libflm/handle.h"
#include "net/blob.h"

#include <stdlib.h>
#include <sys/mman.h>

struct flm__awaited_read {
    struct flm__awaited_read *prev, *next; /* in client->orphans: nobody waits for it any more */
    uint64_t id;
    bool done;
    int status;
    void *map;
    size_t size;
};

static void free_awaited(struct flm__awaited_read *a)
{
    flm__blob_unmap(a->map, a->size);
    free(a);
}

static void awaited_is_over(void *arg, int status)
{
    struct flm__awaited_read *a = arg;
    a->done = true;
    a->status = status;
}

static bool is_read(struct flm__wait *wait)
{
    return ((const struct flm__awaited_read *)wait->arg)->done;
}

static int await_read(flm_client *c, const struct flm__blob_ref *ref, struct flm__result_blob *out)
{
    struct flm__awaited_read *a = calloc(1, sizeof(*a));
    struct flm__wait wait = {FLM__WAIT_CONTROL, is_read, a, flm__client_deadline(c->timeout_ms)};
    if (!a) {
        flm__blob_say_done(c, ref->id);
        return FLM_ENOMEM;
    }
    a->id = ref->id;
    a->size = (size_t)ref->size;
    a->map = mmap(NULL, a->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int rc = a->map == MAP_FAILED ? FLM_ENOMEM
                                  : c->fabric_ops->read(c->link, a->map, a->size, ref->address, ref->key,
                                                        awaited_is_over, a);
    if (a->map == MAP_FAILED)
        a->map = NULL;
    if (rc < 0) {
        free_awaited(a);
        flm__blob_say_done(c, ref->id);
        return rc;
    }
    rc = flm__wait_until(c, &wait);
    if (!a->done) { /* the provider may write to it still, and then it is given back */
        DL_APPEND(c->orphans, a);
        return rc;
    }
    rc = a->status;
    flm__blob_say_done(c, ref->id);
    if (rc == 0) {
        *out = (struct flm__result_blob){.map = a->map, .size = a->size};
        a->map = NULL;
    }
    free_awaited(a);
    return rc;
}

int flm__blob_await(flm_client *c, const struct flm__blob_ref *ref, struct flm__result_blob *out)
{
    int rc;
    if (ref->size == 0 || ref->size > FLM_MAX_PAYLOAD)
        return FLM_EPROTO;
    if (c->fabric)
        return await_read(c, ref, out);
    rc = flm__blob_wait_for(c, ref->id, out);
    if (rc == 0 && !out->map)
        return FLM_ENOMEM;
    if (rc == 0 && out->size != ref->size) {
        flm__blob_unmap(out->map, out->size);
        return FLM_EPROTO;
    }
    return rc;
}

void flm__blob_unwanted(flm_client *c, uint64_t id)
{
    struct flm__result_blob blob;
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = id;
    FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
    if (c->fabric)
        flm__conn_send(c->conn, &m, NULL, 0);
    else if (flm__blob_take_arrived(c, id, &blob))
        flm__maps_put(&c->maps, blob.map, blob.size);
}

void flm__blob_free_orphans(flm_client *c, bool all)
{
    struct flm__awaited_read *a, *next;
    DL_FOREACH_SAFE(c->orphans, a, next)
    {
        if (!a->done && !all)
            continue;
        DL_DELETE(c->orphans, a);
        if (!all)
            flm__blob_say_done(c, a->id);
        free_awaited(a);
    }
}
