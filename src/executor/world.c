#define _GNU_SOURCE
#include "executor/world.h"

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

/* What rank 0 has been asked to cancel, for all ranks of its node to see without a message: its second
 * thread writes it while all are in the service. */
struct shared {
    uint64_t token;
    struct flm__cancels cancels;
};

struct flm__world {
    const struct flm__world_ops *ops;
    int rank, size;
    struct shared *shared; /* NULL: not possible here */
    int shared_fd;
};

/* What rank 0 tells the others; then `size` bytes, then `common` bytes. */
enum command_kind { COMMAND_ENTER = 1, COMMAND_TASK, COMMAND_LEAVE, COMMAND_END };
struct command {
    uint64_t kind;
    uint64_t size;   /* ENTER: the packed Bind; TASK: the input */
    uint64_t common; /* ENTER: common data */
    uint64_t task, number;
    uint64_t deadline_ms;
};

/* Where the others find `shared`: a descriptor of rank 0. token 0: there is none. */
struct shared_at {
    uint64_t token;
    int64_t pid, fd;
};

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
    w->rank = ops->rank();
    w->size = ops->size();
    w->shared_fd = -1;
    if ((unsigned)w->size == id->world_ranks)
        return w;
    /* Each rank says it: they may all be alone. */
    flm__error_set(
        error, FLM_EBIND,
        "this world has %d ranks, not %u: the launcher does not fit the module for %s (set FLM_MPI to "
        "the MPI of your launcher)",
        w->size, id->world_ranks, ops->name);
    ops->finalize();
    free(w);
    return NULL;
}

int flm__world_rank(const struct flm__world *world)
{
    return world->rank;
}

void flm__world_info(const struct flm__world *world, struct flm_session_info *info)
{
    info->rank = world->rank;
    info->ranks = world->size;
    info->mpi_comm = world->ops->comm();
}

static void tell(struct flm__world *w, struct command *command)
{
    w->ops->broadcast(command, sizeof(*command), false);
}

/* ---- what is cancelled ---- */

static void *map_shared(int fd, int protection)
{
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct shared), protection, MAP_SHARED, fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

static void make_shared(struct flm__world *w, struct shared_at *at)
{
    w->shared_fd = memfd_create("flm-world", MFD_CLOEXEC);
    if (w->shared_fd >= 0 && ftruncate(w->shared_fd, sizeof(struct shared)) == 0)
        w->shared = map_shared(w->shared_fd, PROT_READ | PROT_WRITE);
    if (!w->shared || flm__random(&at->token, sizeof(at->token)) < 0)
        return;
    w->shared->token = at->token;
    at->pid = getpid();
    at->fd = w->shared_fd;
}

/* On another node, or in another container, that number means nothing, or something else. */
static void find_shared(struct flm__world *w, const struct shared_at *at)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)at->pid, (int)at->fd);
    int fd = at->token ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == sizeof(struct shared))
        w->shared = map_shared(fd, PROT_READ);
    if (w->shared && w->shared->token != at->token) {
        munmap(w->shared, sizeof(*w->shared));
        w->shared = NULL;
    }
    if (fd >= 0)
        close(fd);
}

void flm__world_share(struct flm__executor *e)
{
    struct flm__world *w = e->world;
    struct shared_at at = {0};
    if (w->rank == 0)
        make_shared(w, &at);
    if (w->ops->broadcast(&at, sizeof(at), false) == 0 && w->rank > 0)
        find_shared(w, &at);
    if (w->shared)
        e->task.cancels = e->cancels = &w->shared->cancels;
}

void flm__world_close(struct flm__executor *e)
{
    struct flm__world *w = e->world;
    if (!w)
        return;
    if (w->rank == 0)
        tell(w, &(struct command){.kind = COMMAND_END});
    w->ops->finalize();
    e->task.cancels = e->cancels = &e->own_cancels;
    if (w->shared)
        munmap(w->shared, sizeof(*w->shared));
    if (w->shared_fd >= 0)
        close(w->shared_fd);
    free(w);
    e->world = NULL;
}

/* ---- all ranks ---- */

/* Whether all have entered; else those that have leave again. */
static int agree_on_enter(struct flm__executor *e, int rc, flm_error *error)
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

static int invoke_and_agree(struct flm__executor *e)
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
    tell(w, &(struct command){.kind = COMMAND_ENTER, .size = size, .common = common});
    w->ops->broadcast(packed, size, false);
    if (common)
        w->ops->broadcast((void *)(uintptr_t)map, common, false);
    flm__blob_unmap(map, common);
    free(packed);
    return agree_on_enter(e, flm__session_enter_take(e, message, fd, error), error);
}

void flm__world_leave(struct flm__executor *e)
{
    if (!e->session.entered)
        return;
    tell(e->world, &(struct command){.kind = COMMAND_LEAVE});
    flm__session_leave(e);
}

int flm__world_invoke(struct flm__executor *e, uint64_t deadline_ms)
{
    struct flm_task_context *t = &e->task;
    tell(e->world, &(struct command){.kind = COMMAND_TASK,
                                     .size = t->input_size,
                                     .task = t->id,
                                     .number = t->number,
                                     .deadline_ms = deadline_ms});
    if (t->input_size)
        e->world->ops->broadcast((void *)(uintptr_t)t->input, t->input_size, false);
    return invoke_and_agree(e);
}

/* ---- the other ranks ---- */

/* Their outputs go nowhere, but they may have some. */
static void *follower_room(struct flm_task_context *task, size_t size)
{
    struct flm__executor *e = task->owner;
    free(e->scratch);
    e->scratch = malloc(size ? size : 1);
    return e->scratch;
}

static int follow_enter(struct flm__executor *e, const struct command *c, flm_error *error)
{
    void *packed = malloc(c->size ? c->size : 1);
    void *common = NULL;
    int fd = c->common ? flm__blob_create(c->common, &common, error) : -1;
    if (!packed || (c->common && fd < 0)) {
        free(packed);
        return flm__error_set(error, FLM_ENOMEM, "no memory for the session's data");
    }
    int rc = e->world->ops->broadcast(packed, c->size, false);
    if (rc == 0 && c->common)
        rc = e->world->ops->broadcast(common, c->common, false);
    if (common)
        munmap(common, c->common);
    Flm__Message *message = rc == 0 ? flm__message_read(packed, c->size) : NULL;
    free(packed);
    if (!message || message->body_case != FLM__MESSAGE__BODY_BIND) {
        if (message)
            flm__message__free_unpacked(message, NULL);
        if (fd >= 0)
            close(fd);
        return flm__error_set(error, FLM_EPROTO, "rank 0 sent something that is not a session");
    }
    agree_on_enter(e, flm__session_enter_take(e, message, fd, error), error);
    return 0;
}

static int follow_task(struct flm__executor *e, const struct command *c, flm_error *error)
{
    void *input = malloc(c->size ? c->size : 8);
    if (!input)
        return flm__error_set(error, FLM_ENOMEM, "no memory for an input of %llu bytes",
                              (unsigned long long)c->size);
    int rc = c->size ? e->world->ops->broadcast(input, c->size, false) : 0;
    if (rc == 0) {
        e->number = c->number;
        flm__task_start(&e->task, c->task, c->number, input, c->size);
        if (c->deadline_ms)
            e->task.deadline_ns = flm__now_ns() + (int64_t)c->deadline_ms * 1000000;
        invoke_and_agree(e);
    }
    free(input);
    return rc < 0 ? flm__error_set(error, rc, "MPI failed") : 0;
}

int flm__world_follow(struct flm__executor *e, flm_error *error)
{
    struct command c;
    int rc = 0;
    e->task.room = follower_room;
    e->task.owner = e;
    while (rc == 0) {
        if (e->world->ops->broadcast(&c, sizeof(c), true) < 0)
            return flm__error_set(error, FLM_EIO, "MPI failed");
        switch (c.kind) {
        case COMMAND_ENTER:
            rc = follow_enter(e, &c, error);
            break;
        case COMMAND_TASK:
            rc = follow_task(e, &c, error);
            break;
        case COMMAND_LEAVE:
            flm__session_leave(e);
            break;
        default:
            flm__session_leave(e);
            return 0;
        }
    }
    return rc;
}
