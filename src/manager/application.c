#include "manager/application.h"

#include "base/error.h"
#include "base/output_type.h"
#include "manager/durable.h"
#include "manager/peer.h"

#include <ctype.h>
#include <flm/admin.h>
#include <stdlib.h>
#include <string.h>

bool application_name_is_sound(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > FLM_MAX_NAME)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-:@+", name[i]))
            return false;
    return true;
}

static int check(const Flm__Application *d, flm_error *error)
{
    if (!application_name_is_sound(d->name))
        return flm__error_set(error, FLM_EINVAL,
                              "'%.140s' is no name for an application: use 1 to %d letters, digits "
                              "and . _ - : @ +",
                              d->name, FLM_MAX_NAME);
    if (d->shim < FLM_SHIM_SO || d->shim > FLM_SHIM_MPI)
        return flm__error_set(error, FLM_EINVAL,
                              "application %s: its shim is none of so, exec, stdio, self, mpi", d->name);
    bool runs_files = d->shim == FLM_SHIM_EXEC || d->shim == FLM_SHIM_MPI;
    bool free_command = runs_files && d->exec_mode != FLM_EXEC_STDIN;
    if (d->n_command == 0 && !free_command)
        return flm__error_set(error, FLM_EINVAL, "application %s: it has no command", d->name);
    struct flm__output_type type;
    if (flm__output_type_parse(d->output_type, &type, error) < 0)
        return error->code;
    if (d->max_instances && d->min_instances > d->max_instances)
        return flm__error_set(error, FLM_EINVAL, "application %s: min_instances is above max_instances",
                              d->name);
    return 0;
}

static bool same(const Flm__Application *a, const Flm__Application *b)
{
    size_t na = flm__application__get_packed_size(a), nb = flm__application__get_packed_size(b);
    if (na != nb)
        return false;
    uint8_t *pa = malloc(na + 1), *pb = malloc(nb + 1);
    bool equal = false;
    if (pa && pb) {
        flm__application__pack(a, pa);
        flm__application__pack(b, pb);
        equal = memcmp(pa, pb, na) == 0;
    }
    free(pa);
    free(pb);
    return equal;
}

/* Notes that p needs it, if it is temporary. */
static int keep(struct application *a, const struct peer *p, flm_error *error)
{
    if (!a->description->temporary)
        return 0;
    for (const struct application_keeper *k = a->keepers; k; k = k->next)
        if (k->peer == p)
            return 0;
    struct application_keeper *k = malloc(sizeof(*k));
    if (!k)
        return flm__error_set(error, FLM_ENOMEM, "no memory for application %s", a->name);
    *k = (struct application_keeper){a->keepers, p};
    a->keepers = k;
    return 0;
}

static void drop_keeper(struct application *a, const struct peer *p)
{
    struct application_keeper **at = &a->keepers, *k;
    while ((k = *at) && p && k->peer != p)
        at = &k->next;
    if (!k)
        return;
    *at = k->next;
    free(k);
}

static void unregister(struct manager *m, struct application *a)
{
    durable_application(m, a, false);
    HASH_DEL(m->applications, a);
    a->registered = false;
    application_release(a);
}

void application_forget_peer(struct manager *m, const struct peer *p)
{
    struct application *a, *next;
    HASH_ITER(hh, m->applications, a, next)
    {
        drop_keeper(a, p);
        if (a->description->temporary && !a->keepers)
            unregister(m, a);
    }
}

int application_register(struct peer *p, Flm__Message *owner, Flm__Application *d, bool replace,
                         flm_error *error)
{
    struct manager *m = p->manager;
    int rc = check(d, error);
    if (rc < 0)
        return rc;
    struct application *old = application_find(m, d->name);
    if (old && same(old->description, d)) {
        rc = keep(old, p, error);
        if (rc == 0)
            flm__message__free_unpacked(owner, NULL);
        return rc;
    }
    if (old && !replace)
        return flm__error_set(error, FLM_EEXIST,
                              "there is already another application %s: unregister it, or replace "
                              "it",
                              d->name);
    struct application *a = calloc(1, sizeof(*a));
    if (!a)
        return flm__error_set(error, FLM_ENOMEM, "no memory for application %s", d->name);
    a->owner = owner;
    a->description = d;
    a->name = d->name;
    a->refs = 1;
    a->registered = true;
    rc = keep(a, p, error);
    if (rc < 0) {
        free(a);
        return rc;
    }
    if (old)
        unregister(m, old);
    HASH_ADD_KEYPTR(hh, m->applications, a->name, strlen(a->name), a);
    if (flm__hash_added(&a->hh)) {
        durable_application(m, a, true);
        return 0;
    }
    drop_keeper(a, p);
    free(a);
    return flm__error_set(error, FLM_ENOMEM, "no memory for application %s", d->name);
}

/* A copy of d that lives as if a request had brought it. */
static struct application *copy(Flm__Application *d)
{
    Flm__Request request = FLM__REQUEST__INIT;
    FLM__MESSAGE(m, request, REQUEST, &request);
    request.verb_case = FLM__REQUEST__VERB_REGISTER_APPLICATION;
    request.register_application = d;
    size_t size = flm__message__get_packed_size(&m);
    uint8_t *packed = malloc(size);
    struct application *a = calloc(1, sizeof(*a));
    if (packed && a) {
        flm__message__pack(&m, packed);
        a->owner = flm__message__unpack(NULL, size, packed);
    }
    free(packed);
    if (!a || !a->owner) {
        free(a);
        return NULL;
    }
    a->description = a->owner->request->register_application;
    a->name = a->description->name;
    a->refs = 1;
    return a;
}

struct application *application_restore(struct manager *m, Flm__Application *d, bool registered)
{
    struct application *a = application_find(m, d->name);
    if (a && same(a->description, d))
        return application_hold(a);
    if (a && registered)
        unregister(m, a);
    a = copy(d);
    if (!a || !registered)
        return a;
    a->registered = true;
    HASH_ADD_KEYPTR(hh, m->applications, a->name, strlen(a->name), a);
    if (flm__hash_added(&a->hh))
        return application_hold(a);
    application_release(a);
    return NULL;
}

void application_forget(struct manager *m, const char *name)
{
    struct application *a = application_find(m, name);
    if (a)
        unregister(m, a);
}

int application_unregister(struct manager *m, const char *name, flm_error *error)
{
    struct application *a = application_find(m, name);
    if (!a)
        return flm__error_set(error, FLM_ENOTFOUND, "there is no application %.140s", name);
    if (a->open_sessions)
        return flm__error_set(error, FLM_EBUSY, "application %s has %u open sessions: close them first",
                              name, a->open_sessions);
    unregister(m, a);
    return 0;
}

struct application *application_find(struct manager *m, const char *name)
{
    struct application *a;
    HASH_FIND_STR(m->applications, name, a);
    return a;
}

struct application *application_hold(struct application *a)
{
    a->refs++;
    return a;
}

void application_release(struct application *a)
{
    if (!a || --a->refs)
        return;
    while (a->keepers)
        drop_keeper(a, NULL);
    flm__message__free_unpacked(a->owner, NULL);
    free(a);
}

void application_free_all(struct manager *m)
{
    struct application *a, *next;
    HASH_ITER(hh, m->applications, a, next)
    {
        HASH_DEL(m->applications, a);
        application_release(a);
    }
}
