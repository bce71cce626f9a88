#define _GNU_SOURCE
#include "executor/world_inside.h"

#include "base/error.h"
#include "base/paths.h"
#include "base/time.h"
#include "executor/executor.h"
#include "net/blob.h"
#include "net/handshake.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <flm/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the module ---- */

static const char *which_mpi(const struct flm__identity *id)
{
    if (id->mpi[0])
        return id->mpi;
    if (getenv("OMPI_COMM_WORLD_SIZE"))
        return "openmpi";
    return getenv("PMI_RANK") || getenv("PMI_SIZE") ? "mpich" : "openmpi";
}

static const struct flm__world_ops *load(const char *mpi, flm_error *error)
{
    char file[64], path[4096];
    snprintf(file, sizeof(file), "flm-mpi-%s.so", mpi);
    if (strchr(mpi, '/') || flm__find_module(file, path, sizeof(path)) < 0) {
        flm__error_set(error, FLM_ELOAD,
                       "worlds of MPI ranks need the module %s, which is not installed: build "
                       "Flame with this MPI",
                       file);
        return NULL;
    }
    /* Open MPI's own plugins look for its symbols among the global ones. */
    void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!handle) {
        flm__error_set(error, FLM_ELOAD, "cannot load %s: %s", path, dlerror());
        return NULL;
    }
    const struct flm__world_ops *ops = dlsym(handle, "flm__world_module");
    if (ops && ops->abi == FLM__WORLD_ABI)
        return ops;
    if (ops)
        flm__error_set(error, FLM_EABI,
                       "%s has ABI %u, this Flame has %u: install both from the same build", path, ops->abi,
                       FLM__WORLD_ABI);
    else
        flm__error_set(error, FLM_ELOAD, "%s is not a module for MPI", path);
    dlclose(handle);
    return NULL;
}

struct flm__world *flm__world_open(const struct flm__identity *id, flm_error *error)
{
    const struct flm__world_ops *ops = load(which_mpi(id), error);
    if (!ops)
        return NULL;
    struct flm__world *w = calloc(1, sizeof(*w));
    if (!w) {
        flm__error_set(error, FLM_ENOMEM, "no memory for a world");
        return NULL;
    }
    if (ops->init(error) < 0) {
        free(w);
        return NULL;
    }
    w->ops = ops;
    w->rank = (unsigned)ops->rank();
    w->size = (unsigned)ops->size();
    w->memory_fd = -1;
    if (w->size == id->world_ranks) {
        flm__identity_place_rank(id, (int)w->rank);
        return w;
    }
    /* Each rank says it: they may all be alone. */
    flm__error_set(
        error, FLM_EBIND,
        "this world has %u ranks, not %u: the launcher is not of %s, or set FLM_MPI to its MPI (flmrun(1))",
        w->size, id->world_ranks, ops->name);
    ops->finalize();
    free(w);
    return NULL;
}

int flm__world_rank(const struct flm__world *world)
{
    return (int)world->rank;
}

const char *flm__world_mpi(const struct flm__world *world)
{
    return world->ops->name;
}

void flm__world_info(const struct flm__world *world, struct flm_session_info *info)
{
    info->rank = (int)world->rank;
    info->ranks = (int)world->size;
    info->mpi_comm = world->ops->comm();
}

/* ---- what the ranks share ---- */

/* Rank 0, which has a status page by now, or has failed to attach (no page: nothing is shared). */
static void make_memory(struct flm__executor *e, struct flm__world_memory_at *at)
{
    struct flm__world *w = e->world;
    *at = (struct flm__world_memory_at){0};
    if (w->size > FLM__WORLD_RANKS || !e->status || e->status_fd < 0)
        return;
    w->memory = flm__world_memory_create(w->size, at);
    w->memory_fd = w->memory ? (int)at->fd : -1;
    at->page_fd = e->status_fd;
}

static struct flm__status_page *find_page(const struct flm__world_memory_at *at)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)at->pid, (int)at->page_fd);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    void *page =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, sizeof(struct flm__status_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return page == MAP_FAILED ? NULL : page;
}

/* All or none: whether every rank has it. */
static bool everybody(struct flm__world *w, bool mine)
{
    char text[2] = "";
    int rank;
    return w->ops->agree(!mine, text, sizeof(text), &rank) == 0;
}

static void drop_memory(struct flm__executor *e)
{
    struct flm__world *w = e->world;
    flm__world_memory_close(w->memory, w->size);
    w->memory = NULL;
    if (w->memory_fd >= 0)
        close(w->memory_fd);
    w->memory_fd = -1;
    if (w->page)
        munmap(w->page, sizeof(*w->page));
    w->page = NULL;
}

int flm__world_share(struct flm__executor *e, flm_error *error)
{
    struct flm__world *w = e->world;
    struct flm__world_memory_at at = {0};
    w->shared = true;
    if (w->rank == 0)
        make_memory(e, &at);
    if (w->ops->broadcast(&at, sizeof(at), w->rank > 0) < 0)
        return flm__error_set(error, FLM_EIO, "MPI failed");
    if (w->rank > 0 && at.token && w->size <= FLM__WORLD_RANKS) {
        w->memory = flm__world_memory_find(w->size, &at);
        w->page = w->memory ? find_page(&at) : NULL;
    }
    if (!everybody(w, w->memory && (w->rank == 0 || w->page)))
        drop_memory(e);
    if (!w->memory)
        return 0;
    e->task.cancels = e->cancels = &w->memory->cancels;
    return w->rank == 0 ? flm__world_span_init(e, error) : 0;
}

void flm__world_close(struct flm__executor *e)
{
    struct flm__world *w = e->world;
    flm_error error = {0, ""};
    if (!w)
        return;
    if (w->rank == 0 && !w->shared) /* the others wait for that */
        flm__world_share(e, &error);
    if (w->rank == 0)
        flm__world_tell(w, &(struct command){.kind = COMMAND_END}, NULL);
    w->ops->finalize();
    e->task.cancels = e->cancels = &e->own_cancels;
    drop_memory(e);
    if (w->outputs)
        pthread_mutex_destroy(&w->lock);
    free(w->outputs);
    free(w);
    e->world = NULL;
}

/* ---- all ranks ---- */

/* Whether all have entered; else those that have leave again. */
int flm__world_agree_on_enter(struct flm__executor *e, int rc, flm_error *error)
{
    int rank = 0;
    int all = e->world->ops->agree(rc, error->text, sizeof(error->text), &rank);
    if (all && rc == 0)
        flm__session_leave(e);
    if (all)
        error->code = all;
    if (all && rank > 0) {
        char text[sizeof(error->text)];
        snprintf(text, sizeof(text), "rank %d: %.480s", rank, error->text);
        memcpy(error->text, text, sizeof(text));
    }
    return all;
}

int flm__world_invoke_and_agree(struct flm__executor *e)
{
    struct flm_task_context *t = &e->task;
    int rank = 0;
    int code = flm__run_invoke(e);
    t->message[t->message_size] = 0;
    code = e->world->ops->agree(code, t->message, sizeof(t->message), &rank);
    t->message_size = (uint32_t)strnlen(t->message, FLM__MESSAGE_MAX);
    return code;
}

/* ---- rank 0 ---- */

/* An entry of the memory: the command, and behind it an input that is not too large. */
static bool lies_behind(const struct command *command)
{
    return command->kind == COMMAND_TASK && command->size <= FLM__INLINE_MAX;
}

static void post(struct flm__world *w, const struct command *command, const void *data)
{
    size_t n = sizeof(*command) + (lies_behind(command) ? command->size : 0);
    char *entry = flm__world_reserve(w->memory, &w->used, n);
    if (!entry) { /* all of it can be used again once all have done it */
        flm__world_wait_done(w->memory, w->size, atomic_load(&w->memory->posted));
        w->used = 0;
        entry = flm__world_reserve(w->memory, &w->used, n);
    }
    memcpy(entry, command, sizeof(*command));
    if (n > sizeof(*command))
        memcpy(entry + sizeof(*command), data, command->size);
    flm__world_post(w->memory, entry);
}

void flm__world_tell(struct flm__world *w, const struct command *command, const void *data)
{
    struct command copy = *command;
    if (w->memory)
        post(w, command, data);
    else
        w->ops->broadcast(&copy, sizeof(copy), false);
    if (command->size && !(w->memory && lies_behind(command)))
        w->ops->broadcast((void *)(uintptr_t)data, command->size, false);
}

int flm__world_enter_take(struct flm__executor *e, struct Flm__Message *message, int fd, flm_error *error)
{
    struct flm__world *w = e->world;
    const Flm__Bind *bind = message->bind;
    size_t size = flm__message__get_packed_size(message);
    void *packed = malloc(size);
    size_t common = bind->common ? bind->common->size : 0;
    const void *map =
        common && fd >= 0 && common <= FLM_MAX_PAYLOAD ? flm__blob_map(fd, common, error) : NULL;
    if (!packed || (common && !map)) {
        flm__blob_unmap(map, common);
        free(packed);
        flm__message__free_unpacked(message, NULL);
        if (fd >= 0)
            close(fd);
        return flm__error_set(error, FLM_EBIND,
                              "the session cannot be passed on to the ranks of the world");
    }
    flm__message__pack(message, packed);
    flm__world_tell(w, &(struct command){.kind = COMMAND_ENTER, .size = size, .common = common}, packed);
    if (common)
        w->ops->broadcast((void *)(uintptr_t)map, common, false);
    flm__blob_unmap(map, common);
    free(packed);
    return flm__world_agree_on_enter(e, flm__session_enter_take(e, message, fd, error), error);
}

void flm__world_common(struct flm__executor *e, const void *data, size_t size, uint64_t version)
{
    flm__world_tell(e->world, &(struct command){.kind = COMMAND_COMMON, .common = size, .number = version},
                    NULL);
    e->world->ops->broadcast((void *)(uintptr_t)data, size, false);
}

void flm__world_leave(struct flm__executor *e)
{
    if (!e->session.entered)
        return;
    flm__world_tell(e->world, &(struct command){.kind = COMMAND_LEAVE}, NULL);
    flm__session_leave(e);
}
