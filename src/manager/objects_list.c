/* Objects, for people. */
#include "manager/client.h"
#include "manager/executor.h"
#include "manager/objects_inside.h"
#include "manager/spread.h"
#include "manager/verbs.h"

#include <stdlib.h>

static size_t fill(Flm__ObjectInfo *to, struct object *o, char **names)
{
    size_t n = 0;
    flm__object_info__init(to);
    to->name = o->name;
    to->version = o->version;
    to->size = o->size;
    to->held = o->blob ? o->blob->refs - 1 : 0;
    to->spilled = spill_has(o);
    to->sent = o->blob ? spread_sent(o->blob) : 0;
    for (unsigned i = 0; i < o->n_nodes; i++)
        if (o->nodes[i].has)
            names[n++] = o->nodes[i].node->name;
    to->nodes = names;
    to->n_nodes = n;
    return n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(Flm__ObjectInfo *const *)a)->name, (*(Flm__ObjectInfo *const *)b)->name);
}

void objects_list(struct peer *p, uint64_t id)
{
    struct manager *m = p->manager;
    struct object *o, *next;
    size_t n = HASH_COUNT(m->objects), n_names = 0, i = 0;
    void **pointers;
    HASH_ITER(hh, m->objects, o, next)
    n_names += o->n_nodes;
    char **names = calloc(n_names + 1, sizeof(*names));
    Flm__ObjectInfo *views = names ? verbs_list(n, sizeof(*views), &pointers) : NULL;
    if (!views) {
        free(names);
        verbs_no_memory(p, id);
        return;
    }
    n_names = 0;
    HASH_ITER(hh, m->objects, o, next)
    n_names += fill(&views[i++], o, names + n_names);
    qsort(pointers, n, sizeof(*pointers), by_name);
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.n_objects = n;
    r.objects = (Flm__ObjectInfo **)pointers;
    client_send_reply(p, &r);
    free(views);
    free(names);
}
