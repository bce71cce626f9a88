#include "wire/record.h"

#include <flm/client.h>
#include <string.h>

static bool blob_fits(bool blob, uint32_t size)
{
    return !blob || size == sizeof(struct flm__blob_ref);
}

bool flm__result_split(const struct flm__record *r, const void *payload, struct flm__result_parts *out)
{
    const char *p = payload;
    uint32_t left = r->size;

    memset(out, 0, sizeof(*out));
    out->outcome.state = FLM_TASK_SUCCEED;
    out->text = "";
    if (r->flags & FLM__RECORD_OUTCOME) {
        if (left < sizeof(out->outcome))
            return false;
        memcpy(&out->outcome, p, sizeof(out->outcome));
        p += sizeof(out->outcome);
        left -= sizeof(out->outcome);
        if (r->flags & FLM__RECORD_USAGE) {
            if (left < sizeof(out->usage))
                return false;
            memcpy(&out->usage, p, sizeof(out->usage));
            p += sizeof(out->usage);
            left -= sizeof(out->usage);
        }
        uint32_t text = flm__record_padded(out->outcome.text);
        if (out->outcome.text > FLM__MESSAGE_MAX || text > left)
            return false;
        out->text = p;
        p += text;
        left -= text;
    }
    out->output = p;
    out->size = left;
    out->blob = r->flags & FLM__RECORD_BLOB;
    return blob_fits(out->blob, left);
}

/* Whether n bytes begin with such a reference. */
static bool ref_is_sound(const struct flm__object_ref *ref, uint32_t n)
{
    if (n <= sizeof(*ref) || ref->bytes <= sizeof(*ref) || ref->bytes > n || ref->bytes % 8)
        return false;
    uint32_t room = ref->bytes - (uint32_t)sizeof(*ref);
    return ref->name[0] && strnlen(ref->name, room) < room && room <= FLM_MAX_NAME + 1;
}

/* Whether n bytes begin with such a list. */
static bool objects_are_sound(const struct flm__task_objects *o, uint32_t n)
{
    if (n < sizeof(*o) || o->bytes > n || o->bytes > FLM__OBJECTS_MAX || o->bytes % 8 || o->count == 0 ||
        o->count > FLM__OBJECTS)
        return false;
    uint32_t at = sizeof(*o), count = 0;
    while (at < o->bytes) {
        const struct flm__object_ref *ref = (const struct flm__object_ref *)((const char *)o + at);
        if (!ref_is_sound(ref, o->bytes - at))
            return false;
        at += ref->bytes;
        count++;
    }
    return count == o->count;
}

bool flm__task_split(const struct flm__record *r, const void *payload, struct flm__task_parts *out)
{
    const char *p = payload;
    uint32_t left = r->size;

    out->deadline_ms = 0;
    out->objects = NULL;
    out->becomes = NULL;
    if (r->flags & FLM__RECORD_DEADLINE) {
        if (left < sizeof(out->deadline_ms))
            return false;
        memcpy(&out->deadline_ms, p, sizeof(out->deadline_ms));
        p += sizeof(out->deadline_ms);
        left -= sizeof(out->deadline_ms);
    }
    if (r->flags & FLM__RECORD_OBJECTS) {
        out->objects = (const struct flm__task_objects *)p;
        if (!objects_are_sound(out->objects, left))
            return false;
        p += out->objects->bytes;
        left -= out->objects->bytes;
    }
    if (r->flags & FLM__RECORD_OUTPUT) {
        out->becomes = (const struct flm__object_ref *)p;
        if (!ref_is_sound(out->becomes, left))
            return false;
        p += out->becomes->bytes;
        left -= out->becomes->bytes;
    }
    out->input = p;
    out->size = left;
    out->blob = r->flags & FLM__RECORD_BLOB;
    return blob_fits(out->blob, left);
}
