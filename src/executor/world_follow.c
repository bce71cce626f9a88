/* The ranks of a world but 0: they do what rank 0 says. */
#include "executor/world_inside.h"

#include "base/error.h"
#include "base/time.h"
#include "executor/executor.h"
#include "net/blob.h"

#include <flm/client.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Their outputs go nowhere, but they may have some. */
static void *follower_room(struct flm_task_context *task, size_t size)
{
    struct flm__executor *e = task->owner;
    if (size <= FLM__INLINE_MAX && e->scratch_size >= FLM__INLINE_MAX)
        return e->scratch;
    free(e->scratch);
    e->scratch_size = size > FLM__INLINE_MAX ? size : FLM__INLINE_MAX;
    e->scratch = malloc(e->scratch_size);
    if (!e->scratch)
        e->scratch_size = 0;
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
    flm__world_agree_on_enter(e, flm__session_enter_take(e, message, fd, error), error);
    return 0;
}

static int follow_common(struct flm__executor *e, const struct command *c, flm_error *error)
{
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    struct flm__common_map common;
    void *data = NULL;
    int fd = flm__blob_create(c->common, &data, error);
    if (fd < 0)
        return fd;
    int rc = e->world->ops->broadcast(data, c->common, false);
    munmap(data, c->common);
    ref.size = c->common;
    ref.version = c->number;
    if (rc < 0)
        flm__error_set(error, rc, "MPI failed");
    else if ((rc = flm__common_open(&common, &ref, fd, error)) == 0)
        flm__common_set(&e->session, &common);
    close(fd);
    return rc;
}

/* In the memory each rank goes on by itself; else all agree on what became of the task. */
static void run(struct flm__executor *e, const struct command *c)
{
    struct flm__world *w = e->world;
    if (!w->memory) {
        flm__world_invoke_and_agree(e);
        return;
    }
    _Atomic uint64_t *unfinished = &w->page->ranks[w->rank - 1].unfinished;
    atomic_store(unfinished, c->number);
    int code = flm__run_invoke(e);
    if (code)
        flm__world_failed(w->memory, w->size, w->rank, w->entry, code, &e->task);
    atomic_store(unfinished, c->number + 1);
}

static int follow_task(struct flm__executor *e, const struct command *c, const void *behind,
                       flm_error *error)
{
    bool here = e->world->memory && c->size <= FLM__INLINE_MAX;
    void *own = here ? NULL : malloc(c->size ? c->size : 8);
    if (!here && !own)
        return flm__error_set(error, FLM_ENOMEM, "no memory for an input of %llu bytes",
                              (unsigned long long)c->size);
    int rc = !here && c->size ? e->world->ops->broadcast(own, c->size, false) : 0;
    if (rc == 0) {
        e->number = c->number;
        flm__task_start(&e->task, c->task, c->number, here ? behind : own, c->size);
        if (c->deadline_ms)
            e->task.deadline_ns = flm__now_ns() + (int64_t)c->deadline_ms * 1000000;
        run(e, c);
    }
    free(own);
    return rc < 0 ? flm__error_set(error, rc, "MPI failed") : 0;
}

/* The next command, and what lies behind it. */
static int next_command(struct flm__world *w, struct command *c, const void **behind)
{
    *behind = NULL;
    if (!w->memory)
        return w->ops->broadcast(c, sizeof(*c), true);
    const char *entry = flm__world_await(w->memory, ++w->entry);
    memcpy(c, entry, sizeof(*c));
    *behind = entry + sizeof(*c);
    return 0;
}

int flm__world_follow(struct flm__executor *e, flm_error *error)
{
    struct flm__world *w = e->world;
    struct command c;
    const void *behind;
    int rc = flm__world_share(e, error);
    e->task.room = follower_room;
    e->task.object = NULL; /* it has no connection */
    e->task.owner = e;
    while (rc == 0) {
        if (next_command(w, &c, &behind) < 0)
            return flm__error_set(error, FLM_EIO, "MPI failed");
        switch (c.kind) {
        case COMMAND_ENTER:
            rc = follow_enter(e, &c, error);
            break;
        case COMMAND_TASK:
            rc = follow_task(e, &c, behind, error);
            break;
        case COMMAND_COMMON:
            rc = follow_common(e, &c, error);
            break;
        case COMMAND_LEAVE:
            flm__session_leave(e);
            break;
        default:
            flm__session_leave(e);
            return 0;
        }
        if (w->memory)
            flm__world_did(w->memory, w->rank, w->entry);
    }
    return rc;
}
