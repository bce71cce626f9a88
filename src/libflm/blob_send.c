/* Large inputs and common data, on their way to the manager (doc/protocol.md, "Large payloads").
 *
 * Over a ring they are copied into a memfd (lent.c), or lie in one (buffers.c), whose descriptor goes ahead
 * on the control connection. Over fabric they stay where they are, readable by the manager, until it says
 * that it has read them or the task is over. In-process (inproc.c) the address itself is enough. */
#include "libflm/handle.h"
#include "base/error.h"
#include "net/blob.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An input that others may be reading. Its id names the slot of its task in the lower half. */
struct flm__exposed_blob {
    uint32_t slot; /* key of the hash */
    uint64_t id;
    struct flm__region *region;
    void *owned;
    UT_hash_handle hh;
};

static struct flm__exposed_blob *remember(flm_client *c, uint32_t slot, uint64_t id)
{
    struct flm__exposed_blob *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->slot = slot;
    e->id = id;
    HASH_ADD(hh, c->exposed, slot, sizeof(e->slot), e);
    if (flm__hash_added(&e->hh))
        return e;
    free(e);
    return NULL;
}

static void forget(flm_client *c, struct flm__exposed_blob *e)
{
    HASH_DEL(c->exposed, e);
    if (e->region) {
        c->fabric_ops->conceal(c->fabric, e->region);
        c->n_exposed--;
    }
    free(e->owned);
    free(e);
}

static int announce(flm_session *s, const void *input, const struct flm__blob_ref *ref)
{
    flm_client *c = s->client;
    /* One blob at a time waits in the connection: the manager does not read, so it has no room. */
    if (flm__conn_pending(c->conn) && flm__conn_flush(c->conn) == 0 && flm__conn_pending(c->conn))
        return FLM_EFULL;
    /* Where tasks go on without us our callbacks do not say when an input is read no more. */
    int fd = s->outlives ? -1 : flm__buffer_fd(c, input, (size_t)ref->size);
    return flm__input_announce(c, input, fd, ref);
}

static int expose(flm_client *c, uint32_t slot, const void *input, struct flm__blob_ref *ref, void **owned)
{
    struct flm__exposed_blob *e = remember(c, slot, ref->id);
    if (!e)
        return FLM_ENOMEM;
    ref->address = (uintptr_t)input;
    if (c->fabric && c->fabric_ops->expose(c->fabric, input, (size_t)ref->size, &e->region, &ref->address,
                                           &ref->key, NULL) < 0) {
        forget(c, e);
        return FLM_ENOMEM;
    }
    e->owned = *owned;
    *owned = NULL;
    c->n_exposed += e->region != NULL;
    return 0;
}

int flm__blob_send_task(flm_session *s, uint32_t slot, const void *input, size_t size,
                        const struct flm__task_head *head, void **owned)
{
    flm_client *c = s->client;
    uint32_t before = flm__head_bytes(head);
    uint32_t bytes = flm__record_bytes(before + (uint32_t)sizeof(struct flm__blob_ref));
    char *to = flm__link_reserve(c->link, bytes);
    if (!to)
        return FLM_EAGAIN;

    struct flm__blob_ref ref = {.id = ++c->next_blob << 32 | slot, .size = size};
    bool copied = flm__client_copies_large(c);
    int rc = copied ? announce(s, input, &ref) : expose(c, slot, input, &ref, owned);
    if (rc < 0)
        return rc;
    struct flm__record r = {
        .size = before + (uint32_t)sizeof(ref),
        .type = FLM__TASK,
        .flags = (uint8_t)(FLM__RECORD_BLOB | flm__head_flags(head)),
        .session = s->number,
        .cookie = slot,
        .task = c->slots[slot].id,
    };
    memcpy(to, &r, sizeof(r));
    memcpy(flm__head_write(to + sizeof(r), head), &ref, sizeof(ref));
    flm__link_commit(c->link, bytes);
    if (copied)
        free(*owned);
    return 0;
}

void flm__blob_conceal(flm_client *c, uint32_t slot)
{
    struct flm__exposed_blob *e;
    HASH_FIND(hh, c->exposed, &slot, sizeof(slot), e);
    if (e)
        forget(c, e);
    if (e && c->n_held)
        flm__blob_input_over(c, slot);
}

void flm__blob_conceal_all(flm_client *c)
{
    while (c->exposed)
        forget(c, c->exposed);
}

void flm__blob_done(flm_client *c, uint64_t id, bool in_use)
{
    if (flm__input_back(c, id, in_use))
        return;
    uint32_t slot = (uint32_t)id;
    struct flm__exposed_blob *e;
    HASH_FIND(hh, c->exposed, &slot, sizeof(slot), e);
    if (!e || e->id != id || !e->region)
        return;
    forget(c, e);
    if (c->n_held)
        flm__blob_input_over(c, slot);
}

bool flm__blob_is_exposed(const flm_client *c, uint32_t slot)
{
    const struct flm__exposed_blob *e;
    HASH_FIND(hh, c->exposed, &slot, sizeof(slot), e);
    return e && e->region;
}

int flm__blob_common(flm_client *c, const void *data, size_t size, Flm__BlobRef *ref,
                     struct flm__common *out, flm_error *error)
{
    *out = (struct flm__common){.fd = -1, .slot = FLM__NO_SLOT};
    ref->id = ++c->next_blob << 32;
    ref->size = size;
    if (c->inproc) {
        ref->address = (uintptr_t)data;
        return 0;
    }
    if (!c->fabric) {
        out->fd = flm__blob_copy(data, size, error);
        return out->fd < 0 ? out->fd : 0;
    }
    /* As the input of a task that nobody is told of: it is concealed even when the fabric goes meanwhile.
     */
    struct flm__blob_ref where = {.id = ref->id, .size = size};
    void *owned = NULL;
    out->slot = flm__slot_take(c);
    int rc = out->slot == FLM__NO_SLOT ? FLM_ENOMEM : expose(c, out->slot, data, &where, &owned);
    ref->address = where.address;
    ref->key = where.key;
    if (rc < 0)
        flm__blob_common_done(c, out);
    return rc < 0 ? flm__error_set(error, rc, "the common data cannot be shown to the session manager") : 0;
}

void flm__blob_common_done(flm_client *c, struct flm__common *common)
{
    if (common->fd >= 0)
        close(common->fd);
    if (common->slot == FLM__NO_SLOT)
        return;
    flm__blob_conceal(c, common->slot);
    flm__slot_free(c, common->slot);
    common->slot = FLM__NO_SLOT;
}
