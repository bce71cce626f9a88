/* See shim_stdio.h for the protocol, stdio_service.h for the process. Outputs are read straight into the
 * room of the task's result. */
#define _GNU_SOURCE 1
#include "executor/shim_stdio.h"

#include "base/error.h"
#include "executor/stdio_service.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct flm__shim *stdio_create(flm_error *error)
{
    struct flm__stdio *x = calloc(1, sizeof(*x));
    if (!x) {
        flm__error_set(error, FLM_ENOMEM, "no memory for the shim stdio");
        return NULL;
    }
    x->shim.ops = &flm__shim_stdio;
    x->process.pidfd = x->in = x->out = x->common_fd = x->own_common_fd = -1;
    int rc = flm__watch_init(&x->watch);
    if (rc) {
        flm__error_errno(error, FLM_EIO, rc, "cannot open the descriptors of the shim stdio");
        free(x);
        return NULL;
    }
    /* A service that has died is met by EPIPE. Children get the default back. */
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
    return &x->shim;
}

static void stdio_destroy(struct flm__shim *shim)
{
    struct flm__stdio *x = (struct flm__stdio *)shim;
    if (!x)
        return;
    flm__watch_fini(&x->watch);
    free(x);
}

/* --- the table --- */

static void forget_session(struct flm__stdio *x)
{
    if (x->own_common_fd >= 0)
        close(x->own_common_fd);
    x->own_common_fd = x->common_fd = -1;
    flm__environment_free(&x->environment);
    flm__watch_forget(&x->watch);
}

static int prepare(struct flm__stdio *x, flm_error *error)
{
    const struct flm__shim_app *app = x->app;
    if (!app->command || !app->command[0])
        return flm__error_set(error, FLM_EBIND, "application '%.100s' has no command: register it with one",
                              app->name);
    if (flm__environment_make(&x->environment, app->environment, x->info))
        return flm__error_set(error, FLM_ENOMEM, "no memory for the environment of '%s'", app->name);
    flm__environment_drop_task(&x->environment);
    int rc = flm__command_find(app->command[0], app->working_directory, x->environment.list, x->path,
                               sizeof(x->path));
    if (rc)
        return flm__error_errno(error, FLM_EBIND, rc,
                                "cannot run '%.200s', the command of application '%.100s'", app->command[0],
                                app->name);
    x->common_fd = x->info->common_size ? app->common_fd : -1;
    if (!x->info->common_size || x->common_fd >= 0)
        return 0;
    x->common_fd = x->own_common_fd = flm__memory_file("flm-common", x->info->common, x->info->common_size);
    if (x->common_fd < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "no memory for %zu bytes of common data",
                                x->info->common_size);
    return 0;
}

static int stdio_enter(struct flm__shim *shim, const struct flm__shim_app *app,
                       const struct flm_session_info *info, flm_error *error)
{
    struct flm__stdio *x = (struct flm__stdio *)shim;
    x->app = app;
    x->info = info;
    x->limit = FLM_MAX_PAYLOAD;
    if (app->output_limit && app->output_limit < FLM_MAX_PAYLOAD)
        x->limit = app->output_limit;
    int rc = prepare(x, error);
    if (!rc) {
        flm__watch_begin(&x->watch, 0, FLM__STDIO_START_MS);
        rc = flm__stdio_start(x, error);
    }
    if (rc)
        forget_session(x);
    return rc;
}

static void stdio_leave(struct flm__shim *shim)
{
    struct flm__stdio *x = (struct flm__stdio *)shim;
    if (x->process.pid) {
        flm__stdio_close_pipes(x); /* end of file: it shall end */
        flm__watch_begin(&x->watch, 0, FLM__STDIO_LEAVE_MS);
        flm__watch_wait(&x->watch, &x->process);
        flm__process_reap(&x->process);
    }
    forget_session(x);
}

/* The service broke the protocol or cannot go on. */
static void give_up(struct flm__stdio *x, struct flm__shim_task *t, int code, const char *format)
{
    flm__stdio_stop(x, FLM__WATCH_LIMIT);
    flm__outcome_fail(t, FLM_REASON_SERVICE, code, format, x->app->command[0]);
}

/* The service died in this task, or is being ended because of it. */
static void bury(struct flm__stdio *x, struct flm__shim_task *t)
{
    int why = x->watch.why;
    int status = flm__stdio_stop_ending(x);
    t->usage = x->process.usage;
    flm__outcome_of_child(t, status, why, &x->watch.oom, x->app->command[0]);
    if (t->state == FLM_TASK_SUCCEED)
        flm__outcome_fail(t, FLM_REASON_EXIT, 0, "'%.200s' ended (status 0) before it had answered",
                          x->app->command[0]);
}

/* The body of a reply to the task's request. */
static int take_body(struct flm__stdio *x, struct flm__shim_task *t, struct flm__stdio_sending *s,
                     const struct flm__stdio_reply *r)
{
    void *to = NULL;
    int how;
    if (r->code) {
        flm__outcome_fail(t, FLM_REASON_SERVICE, r->code, "%s", "");
        how = flm__stdio_read_text(x, s, r->size, t->message, sizeof(t->message));
    } else {
        if (r->size && !(to = t->output(t, r->size))) {
            give_up(x, t, FLM_ENOMEM, "no memory for an output of '%.200s'");
            return FLM__STDIO_DONE;
        }
        how = flm__stdio_exchange(x, s, to, r->size);
    }
    if (how == FLM__STDIO_DONE)
        how = flm__stdio_exchange(x, s, NULL, 0);
    return how;
}

static void converse(struct flm__stdio *x, struct flm__shim_task *t)
{
    unsigned char head[FLM__STDIO_REQUEST];
    uint32_t rest = (uint32_t)(8 + t->input_size);
    memcpy(head, &rest, sizeof(rest));
    memcpy(head + 4, &t->task, sizeof(t->task));
    struct flm__stdio_sending s = {.part = {{head, sizeof(head)}, {(void *)t->input, t->input_size}},
                                   .n = 2};
    struct flm__stdio_reply r;
    t->state = FLM_TASK_SUCCEED;
    t->reason = FLM_REASON_NONE;
    t->code = 0;
    t->message[0] = 0;
    int how = flm__stdio_ask(x, &s, &r);
    if (how == FLM__STDIO_DONE &&
        (r.task != t->task || r.size == UINT32_MAX || (r.code && r.size > FLM__STDIO_TEXT_MAX)))
        give_up(x, t, FLM_EPROTO,
                "what '%.200s' answered is not the protocol (stdio-shim): does it print something else on "
                "stdout?");
    else if (how == FLM__STDIO_DONE && !r.code && r.size > x->limit)
        give_up(x, t, FLM_ETOOBIG, "the output of '%.200s' is larger than the limit");
    else if (how == FLM__STDIO_DONE)
        how = take_body(x, t, &s, &r);
    if (how != FLM__STDIO_DONE)
        bury(x, t);
    else if (x->watch.why && x->process.pid) /* it answered after SIGTERM: that counts, the process goes */
        flm__stdio_stop(x, FLM__WATCH_LIMIT);
}

static int stdio_invoke(struct flm__shim *shim, struct flm__shim_task *t)
{
    struct flm__stdio *x = (struct flm__stdio *)shim;
    flm_error error = {0};
    int rc = 0;
    if (x->process.pid && flm__process_ended(&x->process)) {
        flm__watch_begin(&x->watch, 0, 0);
        flm__stdio_stop(x, FLM__WATCH_LIMIT); /* it ended between two tasks: nobody's fault */
    }
    flm__watch_begin(&x->watch, t->task, t->deadline_ms);
    if (flm__watch_cancelled(&x->watch)) {
        flm__outcome_fail(t, FLM_REASON_CANCELLED, FLM_ECANCELLED, "cancelled before it began");
    } else {
        if (!x->process.pid)
            rc = flm__stdio_start(x, &error);
        if (!rc)
            converse(x, t);
        else if (x->watch.why == FLM__WATCH_DEADLINE)
            flm__outcome_fail(t, FLM_REASON_DEADLINE, FLM_EDEADLINE,
                              "the deadline passed while '%.200s' was started", x->app->command[0]);
        else
            flm__outcome_fail(t, rc == FLM_ECANCELLED ? FLM_REASON_CANCELLED : FLM_REASON_SERVICE, rc, "%s",
                              error.text);
    }
    x->watch.task = 0;
    return 0;
}

static void stdio_cancel(struct flm__shim *shim, uint64_t task)
{
    flm__watch_cancel(&((struct flm__stdio *)shim)->watch, task);
}

const struct flm__shim_ops flm__shim_stdio = {
    .name = "stdio",
    .create = stdio_create,
    .destroy = stdio_destroy,
    .enter = stdio_enter,
    .invoke = stdio_invoke,
    .leave = stdio_leave,
    .cancel = stdio_cancel,
};
