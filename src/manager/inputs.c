#include "manager/inputs.h"

#include "base/error.h"
#include "manager/objects_inside.h"

static bool split(struct task_ref ref, struct flm__task_parts *parts)
{
    return flm__task_split(queue_record(ref), queue_payload(ref), parts) && parts->objects;
}

/* Bytes by node, as node_bit counts them. */
struct held {
    uint64_t bytes[64];
};

static void add_up(struct held *held, const struct object *o)
{
    uint64_t set = object_nodes_set(o);
    for (; set; set &= set - 1)
        held->bytes[__builtin_ctzll(set)] += o->size;
}

/* Those that hold the most. */
static void choose(const struct held *held, uint64_t all, struct inputs *in)
{
    in->nodes = 0;
    in->bytes = 0;
    for (unsigned i = 0; i < 64; i++) {
        if (held->bytes[i] > in->bytes) {
            in->bytes = held->bytes[i];
            in->nodes = 0;
        }
        if (held->bytes[i] && held->bytes[i] == in->bytes)
            in->nodes |= 1ull << i;
    }
    if (!in->nodes)
        in->bytes = all;
}

bool inputs_find(const struct session *s, struct task_ref ref, struct inputs *in)
{
    struct flm__task_parts parts;
    struct held held = {{0}};
    const struct flm__object_ref *at = NULL;
    uint64_t all = 0;
    in->n = 0;
    in->failed = 0;
    in->error.code = 0;
    if (!split(ref, &parts)) {
        flm__error_set(&in->error, FLM_EPROTO, "the input is malformed");
        return false;
    }
    while ((at = flm__task_object(parts.objects, at))) {
        struct object *o = object_find(s->manager, at->name, at->version, &in->error);
        if (!o)
            return false;
        in->at[in->n] = (uint32_t)((const char *)at - (const char *)queue_payload(ref));
        in->objects[in->n++] = o;
        in->failed |= object_nodes_failed(o);
        all += o->size;
        add_up(&held, o);
    }
    choose(&held, all, in);
    return true;
}

void inputs_unstamp(struct executor *e, struct task_ref ref)
{
    struct manager *m = e->session->manager;
    struct flm__task_parts parts;
    const struct flm__object_ref *at = NULL;
    if (!(queue_record(ref)->flags & FLM__RECORD_OBJECTS) || !split(ref, &parts))
        return;
    while ((at = flm__task_object(parts.objects, at))) {
        struct object *o = object_find(m, at->name, 0, NULL);
        if (o)
            object_node_unless(m, o, e->node);
    }
}

void inputs_stamp(struct executor *e, const struct inputs *in, struct flm__record *to)
{
    for (unsigned i = 0; i < in->n; i++) {
        struct flm__object_ref *out = (struct flm__object_ref *)((char *)(to + 1) + in->at[i]);
        out->least = in->objects[i]->version;
        object_node_add(e->session->manager, in->objects[i], e->node, false);
        spill_touch(e->session->manager, in->objects[i]);
    }
}
