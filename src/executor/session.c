#define _GNU_SOURCE
#include "executor/executor.h"

#include "base/error.h"
#include "executor/world.h"

#include <flm/admin.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void flm__session_init(struct flm__session *s)
{
    memset(s, 0, sizeof(*s));
    s->old_directory = -1;
    s->common.fd = s->next_common.fd = -1;
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
    if (app->shim < FLM_SHIM_SO || app->shim > FLM_SHIM_MPI)
        return flm__error_set(error, FLM_ENOTSUP,
                              "application %s is of a shim (%d) that this Flame does not know", app->name,
                              app->shim);
    if (app->shim != FLM_SHIM_MPI && bind->ranks != (e->world ? e->identity.world_ranks : 0))
        return flm__error_set(error, FLM_ENOTSUP,
                              "application %s asks for %u MPI ranks, this executor has %u", app->name,
                              bind->ranks, e->world ? e->identity.world_ranks : 0);
    if (e->world && !is_called(app))
        return flm__error_set(
            error, FLM_ENOTSUP,
            "application %s asks for MPI ranks, which only the shims so, self and mpi can have", app->name);
    if (e->hosted && app->shim != FLM_SHIM_SO)
        return flm__error_set(error, FLM_ENOTSUP,
                              "application %s cannot run here: the ranks of an MPI program run their own "
                              "services only",
                              app->name);
    return flm__self_check(e->self, app->name, app->shim, error);
}

static const char *const mpi_names[] = {
    [FLM_MPI_NONE] = "", [FLM_MPI_OPEN_MPI] = "openmpi", [FLM_MPI_MPICH] = "mpich"};

/* What a service says that it needs. */
static int check_mpi(const struct flm__executor *e, const struct flm_service *service, flm_error *error)
{
    const char *name = service->name ? service->name : "";
    if (service->mpi == FLM_MPI_NONE)
        return 0;
    if (service->mpi >= sizeof(mpi_names) / sizeof(*mpi_names))
        return flm__error_set(error, FLM_ENOTSUP,
                              "service %.100s needs an MPI (number %u) that this Flame does not know", name,
                              service->mpi);
    if (!e->world)
        return flm__error_set(error, FLM_ENOTSUP,
                              "service %.100s needs an MPI communicator: give its application or session "
                              "ranks_per_task",
                              name);
    if (strcmp(mpi_names[service->mpi], flm__world_mpi(e->world)) != 0)
        return flm__error_set(
            error, FLM_ENOTSUP,
            "service %.100s is compiled with %s, and the ranks here run %s: compile it with "
            "that one, or have its own launcher on the nodes (doc/mpi.md)",
            name, mpi_names[service->mpi], flm__world_mpi(e->world));
    return 0;
}

/* A copy of texts that ends with NULL. */
static const char **with_end(char *const *texts, size_t n)
{
    const char **copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++)
        copy[i] = texts[i];
    return copy;
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

/* One of the services of this program, by the application's name. */
static int find_hosted(const struct flm__executor *e, const char *name, const struct flm_service **service,
                       flm_error *error)
{
    for (const struct flm_service *const *s = e->hosted; *s; s++)
        if ((*s)->name && strcmp((*s)->name, name) == 0) {
            *service = *s;
            return 0;
        }
    return flm__error_set(error, FLM_ELOAD,
                          "the ranks of this MPI program have no service %s: name it in the services of "
                          "flm_mpi_init in all ranks",
                          name);
}

/* Shims so and self. */
static int enter_called(struct flm__executor *e, const Flm__Application *app, flm_error *error)
{
    struct flm__session *s = &e->session;
    int rc = flm__surroundings_enter(s, app, error);
    if (rc < 0)
        return rc;
    if (e->hosted)
        rc = find_hosted(e, app->name, &s->service, error);
    else if (e->self)
        s->service = e->self;
    else if (app->n_command == 0)
        rc = flm__error_set(error, FLM_EINVAL, "application %s names no file to load", app->name);
    else
        rc = flm__so_load(&s->loaded, app->command[0], &s->service, error);
    if (rc == 0)
        rc = check_mpi(e, s->service, error);
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

/* Shims exec, mpi and stdio. */
static int enter_shim(struct flm__executor *e, const Flm__Application *app, flm_error *error)
{
    struct flm__session *s = &e->session;
    const struct flm__shim_ops *ops = app->shim == FLM_SHIM_STDIO ? &flm__shim_stdio : &flm__shim_exec;
    s->command = app->n_command ? with_end(app->command, app->n_command) : NULL;
    if (app->n_command && !s->command)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the command of %s", app->name);
    int rc = flm__surroundings_merge(app, &s->environment, error);
    if (rc < 0)
        return rc;
    bool directory = app->working_directory && *app->working_directory;
    s->app = (struct flm__shim_app){.name = app->name,
                                    .shim = app->shim,
                                    .launch = e->identity.launch,
                                    .exec_mode = app->exec_mode,
                                    .command = s->command,
                                    .environment = s->environment,
                                    .working_directory = directory ? app->working_directory : NULL,
                                    .common_fd = s->common.fd};
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
    flm__common_close(&s->common);
    flm__common_drop(s);
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
        struct flm__common_map common;
        rc = flm__common_open(&common, bind->common, fd, error);
        if (rc == 0) {
            flm__common_set(s, &common);
            rc = is_called(bind->application) ? enter_called(e, bind->application, error)
                                              : enter_shim(e, bind->application, error);
        }
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

void flm__session_renew(struct flm__executor *e, const struct flm__common_map *common)
{
    struct flm__session *s = &e->session;
    flm_error error = {0};
    s->spoilt = false;
    s->shim->ops->leave(s->shim);
    if (common)
        flm__common_set(s, common);
    if (s->shim->ops->enter(s->shim, &s->app, &s->info, &error) < 0 && !flm__end_wanted(e, INT_MAX))
        flm__end_now(e, FLM_REASON_NONE, "the service cannot be started again%s: %s",
                     common ? " with new common data" : "", error.text);
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
    flm__arrivals_forget(&e->arrivals);
    flm__outputs_forget(&e->outputs);
    flm__inputs_forget(e);
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
