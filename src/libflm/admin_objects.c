/* Objects, as the session manager lists them. */
#include "libflm/admin.h"
#include "base/error.h"

/* Names, ended by NULL, one array behind the other from *room on. */
static const char *const *copy_names(char **names, size_t n, const char ***room)
{
    const char **list = *room;
    for (size_t i = 0; i < n; i++)
        list[i] = names[i];
    list[n] = NULL;
    *room += n + 1;
    return list;
}

int flm_list_objects(flm_client *c, struct flm_object_view **list, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__Message *reply;
    q.verb_case = FLM__REQUEST__VERB_LIST_OBJECTS;
    q.list_objects = true;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__Reply *r = reply->reply;
    size_t n = r->n_objects, names = 0;
    void *more;
    for (size_t i = 0; i < n; i++)
        names += r->objects[i]->n_nodes + 1;
    *list = flm__views_make_room_take(reply, n, sizeof(**list), names * sizeof(char *), &more);
    if (!*list)
        return flm__admin_no_memory(error);
    const char **room = more;
    for (size_t i = 0; i < n; i++) {
        const Flm__ObjectInfo *v = r->objects[i];
        (*list)[i] = (struct flm_object_view){
            .name = v->name,
            .version = v->version,
            .size = v->size,
            .held = v->held,
            .sent = v->sent,
            .spilled = v->spilled,
            .nodes = copy_names(v->nodes, v->n_nodes, &room),
        };
    }
    return (int)n;
}
