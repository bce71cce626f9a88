/* What a session manager would answer, as far as it makes sense within one process. */
#define _GNU_SOURCE
#include "libflm/inproc.h"
#include "base/error.h"
#include "base/time.h"

#include <errno.h>
#include <flm/admin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

#define QUEUE_BYTES ((uint64_t)1 << 30)

/* ---- replies ------------------------------------------------------------- */

/* A copy of the reply on the heap, as if it had been received. */
static int reply_with(Flm__Reply *r, Flm__Message **out, flm_error *error)
{
    FLM__MESSAGE(m, reply, REPLY, r);
    size_t n = flm__message__get_packed_size(&m);
    uint8_t *bytes = malloc(n + 1);
    *out = NULL;
    if (bytes) {
        flm__message__pack(&m, bytes);
        *out = flm__message_read(bytes, n);
    }
    free(bytes);
    return *out ? 0 : flm__error_set(error, FLM_ENOMEM, "no memory for an answer");
}

/* ---- applications ----------------------------------------------------------- */

static Flm__Application **find_application(struct flm__inproc *p, const char *name)
{
    for (size_t i = 0; i < p->n_applications; i++)
        if (strcmp(p->applications[i]->name, name) == 0)
            return &p->applications[i];
    return NULL;
}

/* A copy; *bytes: its packed form, to compare. */
static Flm__Application *copy_application(const Flm__Application *from, uint8_t **bytes, size_t *n)
{
    *n = flm__application__get_packed_size(from);
    *bytes = malloc(*n + 1);
    if (!*bytes)
        return NULL;
    flm__application__pack(from, *bytes);
    return flm__application__unpack(NULL, *n, *bytes);
}

static bool same_application(const Flm__Application *a, const uint8_t *bytes, size_t n)
{
    uint8_t *packed = NULL;
    bool same = false;
    if (flm__application__get_packed_size(a) == n && (packed = malloc(n + 1))) {
        flm__application__pack(a, packed);
        same = memcmp(packed, bytes, n) == 0;
    }
    free(packed);
    return same;
}

static int add_application(struct flm__inproc *p, Flm__Application *app)
{
    Flm__Application **more = realloc(p->applications, (p->n_applications + 1) * sizeof(*more));
    if (!more)
        return FLM_ENOMEM;
    p->applications = more;
    more[p->n_applications++] = app;
    return 0;
}

static int register_application(struct flm__inproc *p, const Flm__Application *app, bool replace,
                                flm_error *error)
{
    uint8_t *bytes = NULL;
    size_t n;
    Flm__Application *copy = copy_application(app, &bytes, &n);
    Flm__Application **old = find_application(p, app->name);
    int rc = copy ? 0 : FLM_ENOMEM;
    if (rc == 0 && old && !replace && !same_application(*old, bytes, n))
        rc = flm__error_set(error, FLM_EEXIST, "another application %s is registered", app->name);
    else if (rc == 0 && old) {
        flm__application__free_unpacked(*old, NULL);
        *old = copy;
    } else if (rc == 0)
        rc = add_application(p, copy);
    if (rc < 0 && copy)
        flm__application__free_unpacked(copy, NULL);
    free(bytes);
    return rc == FLM_ENOMEM ? flm__error_set(error, rc, "no memory for an application") : rc;
}

static int unregister_application(struct flm__inproc *p, const char *name, flm_error *error)
{
    Flm__Application **at = find_application(p, name);
    struct flm__inproc_session *s;
    if (!at)
        return flm__error_set(error, FLM_ENOTFOUND, "no application %s is registered", name);
    DL_FOREACH2(p->sessions, s, next)
    if (strcmp(s->application, name) == 0)
        return flm__error_set(error, FLM_EBUSY, "session %s of application %s is open", s->id, name);
    flm__application__free_unpacked(*at, NULL);
    *at = p->applications[--p->n_applications];
    return 0;
}

void flm__inproc_free_applications(struct flm__inproc *p)
{
    for (size_t i = 0; i < p->n_applications; i++)
        flm__application__free_unpacked(p->applications[i], NULL);
    free(p->applications);
}

/* ---- sessions ------------------------------------------------------------------ */

struct flm__inproc_session *flm__inproc_session(const struct flm__inproc *p, uint32_t number)
{
    struct flm__inproc_session *s;
    DL_FOREACH2(p->sessions, s, next)
    if (s->number == number)
        return s;
    return NULL;
}

bool flm__inproc_is_cancelled(const struct flm__inproc_session *s, uint64_t task)
{
    if (s->cancelled)
        return true;
    for (size_t i = 0; i < s->n_cancelled_tasks; i++)
        if (s->cancelled_tasks[i] == task)
            return true;
    return false;
}

/* Common data: pages that the service cannot write to. patch_at: only what is there changes; NULL: all. */
static int copy_common(struct flm__inproc_session *s, const Flm__BlobRef *ref, const uint64_t *patch_at,
                       flm_error *error)
{
    size_t size = patch_at ? s->common_size : (size_t)ref->size, at = patch_at ? (size_t)*patch_at : 0;
    if (at > size || ref->size > size - at)
        return flm__error_set(error, FLM_EINVAL,
                              "the common data have %zu bytes: %zu from %zu on do not fit", size,
                              (size_t)ref->size, at);
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return flm__error_set(error, FLM_ENOMEM, "no memory for %zu bytes of common data", size);
    if (patch_at)
        memcpy(map, s->common, size);
    memcpy(map + at, (const void *)(uintptr_t)ref->address, (size_t)ref->size);
    mprotect(map, size, PROT_READ);
    if (s->common)
        munmap(s->common, s->common_size);
    s->info.common = s->common = map;
    s->info.common_size = s->common_size = size;
    s->info.common_version = ref->version ? ref->version : 1;
    return 0;
}

static int update_common(struct flm__inproc *p, const Flm__UpdateCommon *update, Flm__Reply *reply,
                         flm_error *error)
{
    struct flm__inproc_session *s = flm__inproc_session(p, update->session);
    if (!s)
        return flm__error_set(error, FLM_ENOTFOUND, "there is no such session");
    int rc = copy_common(s, update->common, update->patch ? &update->offset : NULL, error);
    reply->common_version = s->info.common_version;
    return rc;
}

/* The service's file: relative to the application's directory, as in an executor. */
static int load(struct flm__inproc_session *s, const Flm__Application *app, flm_error *error)
{
    char path[4096];
    const char *file = app->n_command ? app->command[0] : "";
    if (app->shim != FLM_SHIM_SO)
        return flm__error_set(error, FLM_ENOTSUP,
                              "application %s has shim %s; the endpoint inproc: runs services of "
                              "shim so only",
                              app->name, flm_shim_name(app->shim));
    if (!*file)
        return flm__error_set(error, FLM_EINVAL, "application %s has no command", app->name);
    if (app->working_directory[0] && file[0] != '/') {
        int n = snprintf(path, sizeof(path), "%s/%s", app->working_directory, file);
        if (n > 0 && (size_t)n < sizeof(path) && access(path, F_OK) == 0)
            file = path;
    }
    return flm__so_load(&s->loaded, file, &s->service, error);
}

static int enter(struct flm__inproc_session *s, flm_error *error)
{
    s->info.session = s->id;
    s->info.application = s->application;
    s->info.cores = 1;
    s->info.ranks = 1;
    if (s->service->mpi)
        return flm__error_set(error, FLM_ENOTSUP,
                              "application %s needs an MPI communicator, which there is in no process that "
                              "is its own session manager (inproc): use flmrun",
                              s->application);
    if (!s->service->on_session_enter)
        return 0;
    int rc = s->service->on_session_enter(&s->info, &s->state);
    if (rc != 0)
        return flm__error_set(error, FLM_EBIND, "on_session_enter of application %s returned %d",
                              s->application, rc);
    return 0;
}

static void free_session(struct flm__inproc_session *s)
{
    flm__so_unload(&s->loaded);
    if (s->common)
        munmap(s->common, s->common_size);
    free(s->cancelled_tasks);
    free(s);
}

/* What is not here is refused where its absence would lose something; durability has nobody to outlive. */
static int check_spec(const Flm__SessionSpec *spec, const Flm__Application *app, flm_error *error)
{
    unsigned ranks = spec->ranks_per_task ? spec->ranks_per_task : app->ranks_per_task;
    if (spec->results && spec->results[0])
        return flm__error_set(error, FLM_ENOTSUP,
                              "the endpoint inproc: has no session manager that could write results to %s",
                              spec->results);
    if (ranks > 1)
        return flm__error_set(error, FLM_ENOTSUP,
                              "the endpoint inproc: runs each task in the calling thread, not on %u ranks",
                              ranks);
    return 0;
}

static int create_session(struct flm__inproc *p, const Flm__SessionSpec *spec, Flm__Message **reply,
                          flm_error *error)
{
    struct flm__inproc_session *s;
    Flm__Application **app = find_application(p, spec->application);
    if (!app)
        return flm__error_set(error, FLM_ENOTFOUND, "no application %s is registered", spec->application);
    if (check_spec(spec, *app, error) < 0)
        return FLM_ENOTSUP;
    DL_FOREACH2(p->sessions, s, next)
    if (strcmp(s->id, spec->id) == 0)
        return flm__error_set(error, FLM_EEXIST, "there is already a session %s", spec->id);
    s = calloc(1, sizeof(*s));
    if (!s)
        return flm__error_set(error, FLM_ENOMEM, "no memory for a session");
    s->number = ++p->last_session;
    s->deadline_ms = spec->deadline_ms ? spec->deadline_ms : (*app)->deadline_ms;
    s->created_ns = flm__wall_ns();
    if (spec->id[0])
        snprintf(s->id, sizeof(s->id), "%s", spec->id);
    else
        snprintf(s->id, sizeof(s->id), "inproc-%u", s->number);
    snprintf(s->application, sizeof(s->application), "%s", spec->application);
    int rc = load(s, *app, error);
    if (rc == 0 && spec->common)
        rc = copy_common(s, spec->common, NULL, error);
    if (rc == 0)
        rc = enter(s, error);
    if (rc < 0) {
        free_session(s);
        return rc;
    }
    DL_APPEND2(p->sessions, s, previous, next);
    Flm__Reply r = FLM__REPLY__INIT;
    r.session = s->number;
    r.session_id = s->id;
    r.common_version = s->info.common_version;
    r.credit = spec->queue_bytes ? spec->queue_bytes : QUEUE_BYTES;
    return reply_with(&r, reply, error);
}

void flm__inproc_leave(flm_client *c, uint32_t number)
{
    struct flm__inproc_session *s = flm__inproc_session(c->inproc, number);
    if (!s)
        return;
    if (s->service->on_session_leave)
        s->service->on_session_leave(s->state);
    DL_DELETE2(c->inproc->sessions, s, previous, next);
    free_session(s);
}

static int cancel(struct flm__inproc *p, uint32_t session, uint64_t task, flm_error *error)
{
    struct flm__inproc_session *s = flm__inproc_session(p, session);
    if (!s)
        return flm__error_set(error, FLM_ENOTFOUND, "there is no such session");
    if (!task) {
        s->cancelled = true;
        return 0;
    }
    uint64_t *more = realloc(s->cancelled_tasks, (s->n_cancelled_tasks + 1) * sizeof(*more));
    if (!more)
        return flm__error_set(error, FLM_ENOMEM, "no memory to cancel a task");
    s->cancelled_tasks = more;
    more[s->n_cancelled_tasks++] = task;
    return 0;
}

/* ---- views -------------------------------------------------------------------------- */

static int list_sessions(struct flm__inproc *p, const char *only, Flm__Message **reply, flm_error *error)
{
    Flm__Reply r = FLM__REPLY__INIT;
    struct flm__inproc_session *s;
    size_t n = 0, i = 0;
    DL_FOREACH2(p->sessions, s, next)
    n++;
    Flm__SessionView *views = calloc(n + 1, sizeof(*views));
    Flm__SessionView **list = calloc(n + 1, sizeof(*list));
    DL_FOREACH2(p->sessions, s, next)
    {
        if (!views || !list || (only && strcmp(only, s->id) != 0))
            continue;
        flm__session_view__init(&views[i]);
        views[i].id = s->id;
        views[i].application = s->application;
        views[i].client = program_invocation_short_name;
        views[i].state = (char *)(uintptr_t) "Open";
        views[i].slots = 1;
        views[i].succeed = s->succeed;
        views[i].failed = s->failed;
        views[i].cancelled = s->cancels;
        views[i].created_ns = s->created_ns;
        list[i] = &views[i];
        i++;
    }
    r.n_sessions = i;
    r.sessions = list;
    int rc = only && i == 0 ? flm__error_set(error, FLM_ENOTFOUND, "there is no session %s", only)
                            : reply_with(&r, reply, error);
    free(views);
    free(list);
    return rc;
}

static int list_applications(struct flm__inproc *p, Flm__Message **reply, flm_error *error)
{
    Flm__Reply r = FLM__REPLY__INIT;
    r.n_applications = p->n_applications;
    r.applications = p->applications;
    return reply_with(&r, reply, error);
}

static int describe(Flm__Message **reply, flm_error *error)
{
    Flm__Reply r = FLM__REPLY__INIT;
    Flm__InstanceView view = FLM__INSTANCE_VIEW__INIT;
    view.id = view.endpoint = (char *)(uintptr_t) "inproc:";
    view.version = (char *)(uintptr_t)flm_version();
    view.provider = (char *)(uintptr_t) "inproc";
    view.pid = getpid();
    r.instance = &view;
    return reply_with(&r, reply, error);
}

/* ---- all of them ----------------------------------------------------------------------- */

int flm__inproc_request(flm_client *c, const Flm__Request *q, Flm__Message **reply, flm_error *error)
{
    struct flm__inproc *p = c->inproc;
    Flm__Reply ok = FLM__REPLY__INIT;
    int rc = 0;
    switch (q->verb_case) {
    case FLM__REQUEST__VERB_REGISTER_APPLICATION:
        rc = register_application(p, q->register_application, q->replace, error);
        break;
    case FLM__REQUEST__VERB_UNREGISTER_APPLICATION:
        rc = unregister_application(p, q->unregister_application, error);
        break;
    case FLM__REQUEST__VERB_LIST_APPLICATIONS:
        return list_applications(p, reply, error);
    case FLM__REQUEST__VERB_CREATE_SESSION:
        return create_session(p, q->create_session, reply, error);
    case FLM__REQUEST__VERB_CANCEL_SESSION:
        rc = cancel(p, q->cancel_session, 0, error);
        break;
    case FLM__REQUEST__VERB_CANCEL_TASK:
        rc = cancel(p, q->cancel_task->session, q->cancel_task->task, error);
        break;
    case FLM__REQUEST__VERB_CLOSE_SESSION:
        break;
    case FLM__REQUEST__VERB_UPDATE_COMMON:
        rc = update_common(p, q->update_common, &ok, error);
        break;
    case FLM__REQUEST__VERB_SYNC_SESSION:
        ok.task = q->submitted;
        break;
    case FLM__REQUEST__VERB_LIST_SESSIONS:
        return list_sessions(p, NULL, reply, error);
    case FLM__REQUEST__VERB_GET_SESSION:
        return list_sessions(p, q->get_session, reply, error);
    case FLM__REQUEST__VERB_GET_INSTANCE:
        return describe(reply, error);
    default:
        rc = flm__error_set(error, FLM_ENOTSUP,
                            "the endpoint inproc: has no session manager that could answer this");
    }
    return rc < 0 ? rc : reply_with(&ok, reply, error);
}
