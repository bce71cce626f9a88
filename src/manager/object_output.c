/* Outputs of tasks that become objects. A large one is the object as it is: its memory is taken from
 * whoever made it. */
#include "base/error.h"
#include "manager/executor.h"
#include "manager/objects_inside.h"
#include "net/blob.h"

int object_output_begin(struct executor *e, const struct flm__object_ref *becomes, const void *data,
                        uint32_t size, struct blob *blob, struct object_output *out, flm_error *error)
{
    struct manager *m = e->session->manager;
    uint64_t bytes = blob ? blob->size : size;
    struct object *o = NULL;
    HASH_FIND_STR(m->objects, becomes->name, o);
    *out = (struct object_output){.is_new = !o};
    if (!bytes)
        return flm__error_set(error, FLM_EINVAL, "the output is empty, and object %s would be",
                              becomes->name);
    if (becomes->version && !object_find(m, becomes->name, becomes->version, error))
        return error->code;
    int rc = spill_output_room(e, o, bytes, error);
    if (rc < 0)
        return rc;
    out->blob = blob ? blob : blob_make(m, data, size, error);
    if (!out->blob)
        return error->code;
    out->object = o ? o : object_new(m, becomes->name, error);
    if (!out->object) {
        if (!blob)
            blob_release(out->blob);
        return error->code;
    }
    out->version = out->object->version + 1;
    return 0;
}

void object_output_keep(struct executor *e, struct object_output *out)
{
    struct manager *m = out->blob->manager;
    flm__blob_trim(out->blob->fd, out->blob->size); /* a task may have made room for much more */
    object_set(m, out->object, out->blob);
    if (blob_adopt(out->blob, out->object->name, out->version))
        object_node_add(m, out->object, e->node, true);
}

void object_output_undo(struct manager *m, struct object_output *out, const struct blob *blob)
{
    if (out->blob != blob)
        blob_release(out->blob);
    if (out->is_new)
        object_drop(m, out->object);
}
