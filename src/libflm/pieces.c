/* What struct flm_task says of where its input comes from, in pieces and objects, and where its output
 * goes.
 */
#include "libflm/handle.h"
#include "libflm/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- input in pieces --------------------------------------------------------------------------- */

/* 0 or FLM_EINVAL, FLM_ETOOBIG. */
static int add_up(const struct flm_iov *iov, size_t n, size_t *total)
{
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        size_t count = iov[i].count ? iov[i].count : 1;
        if (!iov[i].base && iov[i].size)
            return FLM_EINVAL;
        if (iov[i].size && count > (FLM_MAX_PAYLOAD - *total) / iov[i].size)
            return FLM_ETOOBIG;
        *total += iov[i].size * count;
    }
    return 0;
}

static char *append(char *to, const struct flm_iov *piece)
{
    size_t count = piece->count ? piece->count : 1;
    if (!piece->size)
        return to;
    if (!piece->stride || piece->stride == (ptrdiff_t)piece->size) {
        memcpy(to, piece->base, piece->size * count);
        return to + piece->size * count;
    }
    const char *from = piece->base;
    for (size_t i = 0; i < count; i++, to += piece->size)
        memcpy(to, from + (ptrdiff_t)i * piece->stride, piece->size);
    return to;
}

int flm__pieces_gather(const struct flm_iov *iov, size_t n, struct flm__submission *task)
{
    size_t total;
    if (!iov || task->input || task->size)
        return FLM_EINVAL;
    int rc = add_up(iov, n, &total);
    if (rc < 0)
        return rc;
    char *to = malloc(total ? total : 1);
    if (!to)
        return FLM_ENOMEM;
    task->input = task->owned = to;
    task->size = total;
    for (size_t i = 0; i < n; i++)
        to = append(to, &iov[i]);
    return 0;
}

/* ---- objects ------------------------------------------------------------------------------------ */

static uint32_t ref_bytes(const struct flm_object_ref *ref)
{
    return (uint32_t)((sizeof(struct flm__object_ref) + strlen(ref->name) + 1 + 7) & ~(size_t)7);
}

static bool is_named(const struct flm_object_ref *ref)
{
    return ref->name && flm__name_is_valid(ref->name);
}

/* Returns where the next one goes. */
static void *write_ref(void *at, const struct flm_object_ref *ref)
{
    struct flm__object_ref *to = at;
    *to = (struct flm__object_ref){.version = ref->version, .bytes = ref_bytes(ref)};
    memcpy(to->name, ref->name, strlen(ref->name));
    return (char *)at + to->bytes;
}

/* Bytes of the list of those that the input names; 0: it is malformed. */
static uint32_t list_bytes(const struct flm_object_ref *refs, size_t n)
{
    uint32_t bytes = sizeof(struct flm__task_objects);
    if (!refs || n > FLM__OBJECTS)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_named(&refs[i]))
            return 0;
        bytes += ref_bytes(&refs[i]);
    }
    return bytes;
}

int flm__objects_name(const flm_session *s, const struct flm_task *task, struct flm__task_head *head)
{
    const struct flm_object_ref *becomes = task->output_object;
    size_t n = task->object_count;
    uint32_t list = n ? list_bytes(task->objects, n) : 0;
    if ((n && !list) || (becomes && (!is_named(becomes) || task->output)))
        return FLM_EINVAL;
    if (s->client->inproc || (becomes && s->is_durable))
        return FLM_ENOTSUP;
    head->name_bytes = list + (becomes ? ref_bytes(becomes) : 0);
    void *at = calloc(1, head->name_bytes);
    if (!at)
        return FLM_ENOMEM;
    head->names = at;
    if (n) {
        head->name_flags |= FLM__RECORD_OBJECTS;
        *(struct flm__task_objects *)at = (struct flm__task_objects){.bytes = list, .count = (uint32_t)n};
        at = (struct flm__task_objects *)at + 1;
        for (size_t i = 0; i < n; i++)
            at = write_ref(at, &task->objects[i]);
    }
    if (becomes) {
        head->name_flags |= FLM__RECORD_OUTPUT;
        write_ref(at, becomes);
    }
    return 0;
}

/* ---- output into the caller's memory ----------------------------------------------------------- */

struct flm__output_room {
    uint32_t slot; /* of its task: key of the hash */
    void *memory;
    size_t size;
    UT_hash_handle hh;
};

int flm__output_expect(flm_client *c, uint32_t slot, void *memory, size_t size)
{
    struct flm__output_room *o = calloc(1, sizeof(*o));
    if (!o)
        return FLM_ENOMEM;
    o->slot = slot;
    o->memory = memory;
    o->size = size;
    HASH_ADD(hh, c->output_rooms, slot, sizeof(o->slot), o);
    if (flm__hash_added(&o->hh))
        return 0;
    free(o);
    return FLM_ENOMEM;
}

static struct flm__output_room *take(flm_client *c, uint32_t slot)
{
    struct flm__output_room *o;
    HASH_FIND(hh, c->output_rooms, &slot, sizeof(slot), o);
    if (o)
        HASH_DEL(c->output_rooms, o);
    return o;
}

void flm__output_forget(flm_client *c, uint32_t slot)
{
    free(take(c, slot));
}

static void put(flm_client *c, const struct flm__output_room *o, struct flm_result *r)
{
    if (r->size <= o->size) {
        if (r->size)
            r->output = memcpy(o->memory, r->output, r->size);
        return;
    }
    if (r->state == FLM_TASK_SUCCEED) {
        snprintf(c->message, sizeof(c->message),
                 "the output of %zu bytes is larger than the %zu bytes that were given for it", r->size,
                 o->size);
        r->state = FLM_TASK_FAILED;
        r->reason = FLM_REASON_OUT_OF_MEMORY;
        r->code = FLM_ETOOBIG;
        r->message = c->message;
    }
    r->output = NULL;
    r->size = 0;
}

bool flm__output_put(flm_client *c, uint32_t slot, struct flm_result *result)
{
    struct flm__output_room *o = take(c, slot);
    if (!o)
        return false;
    put(c, o, result);
    free(o);
    return true;
}
