#define _GNU_SOURCE
#include "manager/blob_store.h"

#include "base/error.h"
#include "manager/peer.h"
#include "net/blob.h"
#include "net/ring.h"

#include <flm/client.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct blob *blob_new(struct manager *m, int fd, uint64_t size)
{
    struct blob *b = calloc(1, sizeof(*b));
    if (!b) {
        close(fd);
        return NULL;
    }
    *b = (struct blob){.id = ++m->next_blob, .size = size, .fd = fd, .refs = 1, .manager = m};
    return b;
}

struct blob *blob_take(struct manager *m, int fd, uint64_t size, flm_error *error)
{
    int rc = size && size <= FLM_MAX_PAYLOAD
                 ? flm__blob_check(fd, size, error)
                 : flm__error_set(error, FLM_ETOOBIG, "a payload of %lu bytes is beyond the limit",
                                  (unsigned long)size);
    if (rc < 0) {
        close(fd);
        return NULL;
    }
    struct blob *b = blob_new(m, fd, size);
    if (!b)
        flm__error_set(error, FLM_ENOMEM, "no memory");
    return b;
}

struct blob *blob_make(struct manager *m, const void *data, uint64_t size, flm_error *error)
{
    int fd = flm__blob_copy(data, size, error);
    if (fd < 0)
        return NULL;
    struct blob *b = blob_new(m, fd, size);
    if (!b)
        flm__error_set(error, FLM_ENOMEM, "no memory");
    return b;
}

bool blob_map(struct blob *b, flm_error *error)
{
    if (!b->map)
        b->map = flm__blob_map(b->fd, b->size, error);
    return b->map != NULL;
}

struct blob *blob_hold(struct blob *b)
{
    b->refs++;
    return b;
}

void blob_release(struct blob *b)
{
    if (!b || --b->refs)
        return;
    if (b->region)
        b->manager->fabric_ops->conceal(b->manager->fabric, b->region);
    flm__blob_unmap(b->map, b->size);
    close(b->fd);
    free(b);
}

int blob_expose(struct blob *b, flm_error *error)
{
    if (b->region)
        return 0;
    if (!manager_fabric(b->manager, error))
        return FLM_ENOTSUP;
    if (!blob_map(b, error))
        return FLM_ENOMEM;
    return b->manager->fabric_ops->expose(b->manager->fabric, b->map, b->size, &b->region, &b->address,
                                          &b->key, error);
}

struct blob_read {
    struct blob *blob;
    void *map;
    blob_fetched_fn *done;
    void *arg;
};

static void read_done(void *arg, int status)
{
    struct blob_read *r = arg;
    munmap(r->map, r->blob->size);
    if (status < 0) {
        blob_release(r->blob);
        r->blob = NULL;
    }
    r->done(r->arg, r->blob, status);
    free(r);
}

int blob_fetch(struct manager *m, struct flm__link *link, const struct flm__blob_ref *ref,
               blob_fetched_fn *done, void *arg)
{
    if (ref->size == 0 || ref->size > FLM_MAX_PAYLOAD)
        return FLM_ETOOBIG;
    struct blob_read *r = calloc(1, sizeof(*r));
    if (!r)
        return FLM_ENOMEM;
    int fd = flm__blob_create(ref->size, &r->map, NULL);
    if (fd < 0) {
        free(r);
        return fd;
    }
    r->done = done;
    r->arg = arg;
    r->blob = blob_new(m, fd, ref->size);
    int rc = r->blob ? m->fabric_ops->read(link, r->map, ref->size, ref->address, ref->key, read_done, r)
                     : FLM_ENOMEM;
    if (rc < 0) {
        munmap(r->map, ref->size);
        blob_release(r->blob);
        free(r);
    }
    return rc;
}

int blob_offer(struct blob *b, struct peer *to, uint32_t lane, uint32_t life, struct flm__blob_ref *ref)
{
    *ref = (struct flm__blob_ref){.id = b->id, .size = b->size};
    if (to->link && !flm__ring_is(to->link)) {
        int rc = blob_expose(b, NULL);
        ref->address = b->address;
        ref->key = b->key;
        return rc;
    }
    Flm__Blob announce = FLM__BLOB__INIT;
    announce.lane = lane;
    announce.life = life;
    announce.id = b->id;
    announce.size = b->size;
    FLM__MESSAGE(m, blob, BLOB, &announce);
    return peer_try_send(to, &m, &b->fd, 1);
}

int blob_show(struct blob *b, struct peer *agent, bool relay, Flm__BlobRef *ref)
{
    ref->id = b->id;
    ref->size = b->size;
    if (!relay)
        return b->fd;
    if (agent && blob_expose(b, NULL) == 0) {
        ref->address = b->address;
        ref->key = b->key;
        peer_keep_blob(agent, blob_hold(b));
    }
    return -1;
}
