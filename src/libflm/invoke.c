/* flm_invoke: one task, waiting for it. The result is copied to memory that lives until the same thread
 * invokes again on this client. */
#include "libflm/handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last result of one thread. */
struct flm__invoke_copy {
    struct flm__invoke_copy *next;
    pthread_t thread;
    char *output;
    size_t room;
    struct flm__result_blob blob; /* a large output */
    char message[FLM__MESSAGE_MAX + 1];
};

/* One task that is waited for; freed by who comes last of waiter and result. */
struct invocation {
    flm_client *client;
    struct flm_result *result;
    struct flm__invoke_copy *copy;
    bool done, abandoned;
    int rc;
};

void flm__invoke_free(flm_client *c)
{
    struct flm__invoke_copy *next;
    for (struct flm__invoke_copy *i = c->invoke_copies; i; i = next) {
        next = i->next;
        flm__result_blob_free(c, &i->blob);
        free(i->output);
        free(i);
    }
    c->invoke_copies = NULL;
}

static struct flm__invoke_copy *copy_of_thread(flm_client *c)
{
    for (struct flm__invoke_copy *i = c->invoke_copies; i; i = i->next)
        if (pthread_equal(i->thread, pthread_self()))
            return i;
    struct flm__invoke_copy *i = calloc(1, sizeof(*i));
    if (!i)
        return NULL;
    i->thread = pthread_self();
    i->next = c->invoke_copies;
    c->invoke_copies = i;
    return i;
}

static int keep_output(struct flm__invoke_copy *copy, const struct flm_result *result,
                       struct flm__result_blob *blob)
{
    if (blob && blob->map) {
        copy->blob = *blob;
        blob->map = NULL;
        return 0;
    }
    if (result->size > copy->room) {
        free(copy->output);
        copy->room = 0;
        copy->output = malloc(result->size);
        if (!copy->output)
            return FLM_ENOMEM;
        copy->room = result->size;
    }
    if (result->size)
        memcpy(copy->output, result->output, result->size);
    return 0;
}

static void on_result(const struct flm_result *result, void *arg)
{
    struct invocation *i = arg;
    if (i->abandoned) {
        free(i);
        return;
    }
    i->done = true;
    i->rc = keep_output(i->copy, result, i->client->result_blob);
    if (i->rc < 0)
        return;
    snprintf(i->copy->message, sizeof(i->copy->message), "%s", result->message);
    *i->result = *result;
    i->result->message = i->copy->message;
    if (result->size)
        i->result->output = i->copy->blob.map ? i->copy->blob.map : i->copy->output;
}

void flm__invoke_forget(flm_task_fn *callback, void *arg)
{
    if (callback == on_result)
        free(arg);
}

static bool is_done(struct flm__wait *wait)
{
    return ((struct invocation *)wait->arg)->done;
}

static int invoke(flm_session *s, struct flm__submission *task, int timeout_ms, struct flm_result *result)
{
    flm_client *c = s->client;
    struct flm__invoke_copy *copy = copy_of_thread(c);
    struct invocation *i = copy ? malloc(sizeof(*i)) : NULL;
    if (!i) {
        free(task->owned);
        return FLM_ENOMEM;
    }
    flm__result_blob_free(c, &copy->blob);
    *i = (struct invocation){.client = c, .result = result, .copy = copy};
    task->callback = on_result;
    task->arg = i;

    struct flm__wait wait = {FLM__WAIT_DATA, is_done, i, flm__client_deadline(timeout_ms)};
    task->invoked = true;
    task->send_by = wait.deadline;
    int64_t id = flm__task_submit(s, task);
    if (id < 0) {
        free(i);
        return (int)id;
    }
    int rc = flm__wait_until(c, &wait);
    if (!i->done) {
        i->abandoned = true; /* on_result frees it, or flm__invoke_forget */
        return rc;
    }
    rc = i->rc;
    free(i);
    if (rc == 0 && result->reason == FLM_REASON_DISCONNECTED && flm__session_is_lost(s))
        return FLM_EDISCONNECTED;
    return rc;
}

int flm_invoke(flm_session *s, const void *input, size_t size, int timeout_ms, struct flm_result *result)
{
    struct flm__submission task = {.input = input, .size = size};
    if (!s || !result || (!input && size) || size > FLM_MAX_PAYLOAD)
        return size > FLM_MAX_PAYLOAD ? FLM_ETOOBIG : FLM_EINVAL;
    flm_client *c = s->client;
    flm__client_lock(c);
    int rc = flm__client_check_outside(c, NULL);
    /* When the time is over the task goes on, and the user's input may be gone. */
    if (rc == 0 && size > FLM__INLINE_MAX &&
        (!flm__client_copies_large(c) || s->resume ||
         (timeout_ms >= 0 && flm__buffer_fd(c, input, size) >= 0))) {
        task.owned = malloc(size);
        rc = task.owned ? 0 : FLM_ENOMEM;
        if (task.owned)
            task.input = memcpy(task.owned, input, size);
    }
    if (rc == 0)
        rc = invoke(s, &task, timeout_ms, result);
    flm__client_unlock(c);
    return rc;
}
