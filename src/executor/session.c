#define _GNU_SOURCE
#include "executor/executor.h"

#include "base/error.h"
#include "executor/world.h"
#include "net/blob.h"

#include <fcntl.h>
#include <flm/admin.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void flm__session_init(struct flm__session *s)
{
    memset(s, 0, sizeof(*s));
    s->old_directory = -1;
    s->common_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
}

void flm__session_fini(struct flm__session *s)
{
    flm__so_unload(&s->loaded);
    pthread_mutex_destroy(&s->lock);
}

/* The slot's, as the agent says; it may not have bound us to them. */
static unsigned our_cores(void)
{
    cpu_set_t set;
    const char *told = getenv("FLM_CORES");
    if (told && atoi(told) > 0)
        return (unsigned)atoi(told);
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static bool is_called(const Flm__Application *app)
{
    return app->shim == FLM_SHIM_SO || app->shim == FLM_SHIM_SELF;
}

/* What of a Bind can be refused without trying. */
static int check(struct flm__executor *e, const Flm__Bind *bind, flm_error *error)
{
    const Flm__Application *app = bind->application;
    if (!app)
        return flm__error_set(error, FLM_EPROTO, "a session without an application");
    if (e->session.entered)
        return flm__error_set(error, FLM_EPROTO, "session %s while another is entered", bind->session_id);
    if (app->shim < FLM_SHIM_SO || app->shim > FLM_SHIM_SELF)
        return flm__error_set(error, FLM_ENOTSUP,
                              "application %s is of a shim (%d) that this Flame does not know", app->name,
                              app->shim);
    if (bind->ranks != (e->world ? e->identity.world_ranks : 0))
        return flm__error_set(error, FLM_ENOTSUP,
                              "application %s asks for %u MPI ranks, this executor has %u", app->name,
                              bind->ranks, e->world ? e->identity.world_ranks : 0);
    if (e->world && !is_called(app))
        return flm__error_set(
            error, FLM_ENOTSUP,
            "application %s asks for MPI ranks, which only the shims so and self can have", app->name);
    return flm__self_check(e->self, app->name, app->shim, error);
}

/* A copy of texts that ends with NULL. */
static const char **with_end(char *const *texts, size_t n)
{
    const char **copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++)
        copy[i] = texts[i];
    return copy;
}

static int take_common(struct flm__session *s, const Flm__BlobRef *common, int fd, flm_error *error)
{
    if (!common || common->size == 0)
        return 0;
    if (fd < 0 || common->size > FLM_MAX_PAYLOAD)
        return flm__error_set(error, FLM_EPROTO, "the common data of the session did not come along");
    s->info.common = flm__blob_map(fd, common->size, error);
    if (!s->info.common)
        return FLM_EBIND;
    s->info.common_size = common->size;
    s->info.common_version = common->version;
    /* Children must not write to it: they get a descriptor that cannot, and could open it anew but for the
     * seal (Linux 5.1; who has mapped it for writing keeps that). */
    fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    s->common_fd = open(path, O_RDONLY | O_CLOEXEC);
    return 0;
}

static void fill(struct flm__executor *e, Flm__Message *message)
{
    struct flm__session *s = &e->session;
    Flm__Bind *bind = message->bind;
    s->message = message;
    s->number = bind->session;
    s->deadline_ms = bind->deadline_ms;
    s->timed = bind->timed;
    s->info = (struct flm_session_info){.session = bind->session_id,
                                        .application = bind->application->name,
                                        .executor = bind->executor,
                                        .cores = our_cores(),
                                        .ranks = 1};
    if (e->world)
        flm__world_info(e->world, &s->info);
}

/* Shims so and self. */
static int enter_called(struct flm__executor *e, const Flm__Application *app, flm_error *error)
{
    struct flm__session *s = &e->session;
    int rc = flm__surroundings_enter(s, app, error);
    if (rc < 0)
        return rc;
    if (e->self)
        s->service = e->self;
    else if (app->n_command == 0)
        rc = flm__error_set(error, FLM_EINVAL, "application %s names no file to load", app->name);
    else
        rc = flm__so_load(&s->loaded, app->command[0], &s->service, error);
    if (rc < 0)
        return rc;
    s->state = NULL;
    if (!s->service->on_session_enter)
        return 0;
    atomic_store_explicit(&e->status->busy, 1, memory_order_relaxed);
    int code = s->service->on_session_enter(&s->info, &s->state);
    atomic_store_explicit(&e->status->busy, 0, memory_order_relaxed);
    if (code)
        return flm__error_set(error, FLM_ESERVICE, "on_session_enter of %s returned %d",
                              app->n_command ? app->command[0] : app->name, code);
    return 0;
}

/* Shims exec and stdio. */
static int enter_shim(struct flm__session *s, const Flm__Application *app, flm_error *error)
{
    const struct flm__shim_ops *ops = app->shim == FLM_SHIM_EXEC ? &flm__shim_exec : &flm__shim_stdio;
    s->command = app->n_command ? with_end(app->command, app->n_command) : NULL;
    if (app->n_command && !s->command)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the command of %s", app->name);
    int rc = flm__surroundings_merge(app, &s->environment, error);
    if (rc < 0)
        return rc;
    bool directory = app->working_directory && *app->working_directory;
    s->app = (struct flm__shim_app){.name = app->name,
                                    .shim = app->shim,
                                    .exec_mode = app->exec_mode,
                                    .command = s->command,
                                    .environment = s->environment,
                                    .working_directory = directory ? app->working_directory : NULL,
                                    .common_fd = s->common_fd};
    struct flm__shim *shim = ops->create(error);
    if (!shim)
        return FLM_ENOMEM;
    pthread_mutex_lock(&s->lock);
    s->shim = shim;
    pthread_mutex_unlock(&s->lock);
    rc = shim->ops->enter(shim, &s->app, &s->info, error);
    if (rc == 0)
        return 0;
    pthread_mutex_lock(&s->lock);
    s->shim = NULL;
    pthread_mutex_unlock(&s->lock);
    shim->ops->destroy(shim);
    return rc;
}

/* All but the user's own leave. */
static void clear(struct flm__session *s)
{
    flm__surroundings_leave(s);
    flm__blob_unmap(s->info.common, s->info.common_size);
    if (s->common_fd >= 0)
        close(s->common_fd);
    s->common_fd = -1;
    free(s->command);
    free(s->environment);
    s->command = s->environment = NULL;
    flm__message__free_unpacked(s->message, NULL);
    s->message = NULL;
    s->service = NULL;
    s->spoilt = false;
    memset(&s->info, 0, sizeof(s->info));
}

int flm__session_enter_take(struct flm__executor *e, Flm__Message *message, int fd, flm_error *error)
{
    struct flm__session *s = &e->session;
    const Flm__Bind *bind = message->bind;
    int rc = check(e, bind, error);
    if (rc < 0) {
        flm__message__free_unpacked(message, NULL);
    } else {
        fill(e, message);
        rc = take_common(s, bind->common, fd, error);
        if (rc == 0)
            rc = is_called(bind->application) ? enter_called(e, bind->application, error)
                                              : enter_shim(s, bind->application, error);
        if (rc < 0)
            clear(s);
    }
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        return rc;
    s->entered = true;
    e->service = s->service;
    e->state = s->state;
    /* Only what needs nothing but the call itself takes the short way through run.c. */
    bool direct = s->service && !s->deadline_ms && !s->timed && !e->world;
    e->direct_session = direct ? s->number : FLM__DIRECT_NONE;
    return 0;
}

int flm__session_renew(struct flm__executor *e, flm_error *error)
{
    struct flm__session *s = &e->session;
    s->spoilt = false;
    s->shim->ops->leave(s->shim);
    return s->shim->ops->enter(s->shim, &s->app, &s->info, error);
}

void flm__session_leave(struct flm__executor *e)
{
    struct flm__session *s = &e->session;
    if (!s->entered)
        return;
    e->direct_session = FLM__DIRECT_NONE;
    if (s->service && s->service->on_session_leave) {
        atomic_store_explicit(&e->status->busy, 1, memory_order_relaxed);
        s->service->on_session_leave(s->state);
        atomic_store_explicit(&e->status->busy, 0, memory_order_relaxed);
    }
    if (s->shim) {
        struct flm__shim *shim = s->shim;
        shim->ops->leave(shim);
        pthread_mutex_lock(&s->lock);
        s->shim = NULL;
        pthread_mutex_unlock(&s->lock);
        shim->ops->destroy(shim);
    }
    s->entered = false;
    clear(s);
}

void flm__session_cancel(struct flm__executor *e, uint64_t number)
{
    struct flm__session *s = &e->session;
    pthread_mutex_lock(&s->lock);
    if (s->shim && number == 0)
        s->shim->ops->cancel(s->shim, 0);
    else if (s->shim && number == s->running)
        s->shim->ops->cancel(s->shim, s->running_id);
    pthread_mutex_unlock(&s->lock);
}
