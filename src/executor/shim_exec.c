/* One process per task; of shim mpi a launcher with its ranks. The rate is that of posix_spawn, exec and
 * exit, so the rest is kept small: buffers, the environment and the command's path are kept from task to
 * task; small inputs lie in the pipe before the child starts, larger ones in a sealed memory file, so that
 * only outputs need polling. */
#define _GNU_SOURCE 1
#include "executor/shim_exec.h"

#include "base/error.h"
#include "base/time.h"
#include "executor/process.h"
#include "executor/shim_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READ_MIN = 64 * 1024,       /* room for one read */
    PIPE_INPUT_MAX = 4096,      /* such an input fits into any pipe */
    KEEP_MAX = 4 * 1024 * 1024, /* larger buffers are given back after the task */
    GRACE_MS = 100,             /* for who holds stdout when the command has ended */
    NO_PIDFD_MS = 5,            /* how often to look, on kernels without pidfd */
};

/* What a child writes to stdout or stderr. */
struct stream {
    int fd; /* read end; -1: ended */
    char *data;
    size_t size, capacity;
};

struct exec {
    struct flm__shim shim;
    struct flm__watch watch;
    struct flm__process process;
    struct stream out, err;
    int null_fd;
    const struct flm__shim_app *app;
    const struct flm_session_info *info;
    struct flm__environment environment;
    int common_fd, own_common_fd;
    size_t limit; /* of one output */
    struct flm__launch launch;
    char **argv;                     /* of the launcher, the command's arguments, then the task's */
    size_t argv_capacity, n_command; /* with the launcher's */
    bool failed_to_start;            /* the task's child never was */
    char name[PATH_MAX];             /* the command that `path` was found for */
    char path[PATH_MAX];
};

static struct flm__shim *exec_create(flm_error *error)
{
    struct exec *x = calloc(1, sizeof(*x));
    if (!x) {
        flm__error_set(error, FLM_ENOMEM, "no memory for the shim exec");
        return NULL;
    }
    x->shim.ops = &flm__shim_exec;
    x->process.pidfd = x->out.fd = x->err.fd = x->common_fd = x->own_common_fd = -1;
    x->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (x->null_fd >= 0 && x->null_fd <= 2) /* children need the first three to be there */
        x->null_fd = fcntl(x->null_fd, F_DUPFD_CLOEXEC, x->null_fd + 1);
    int rc = flm__watch_init(&x->watch);
    if (x->null_fd < 0 || rc) {
        flm__error_errno(error, FLM_EIO, rc ? rc : errno, "cannot open the descriptors of the shim exec");
        x->shim.ops->destroy(&x->shim);
        return NULL;
    }
    return &x->shim;
}

static void exec_destroy(struct flm__shim *shim)
{
    struct exec *x = (struct exec *)shim;
    if (!x)
        return;
    if (x->null_fd >= 0)
        close(x->null_fd);
    flm__watch_fini(&x->watch);
    free(x->out.data);
    free(x->err.data);
    free(x->argv);
    free(x);
}

static void exec_leave(struct flm__shim *shim)
{
    struct exec *x = (struct exec *)shim;
    if (x->own_common_fd >= 0)
        close(x->own_common_fd);
    x->own_common_fd = x->common_fd = -1;
    flm__launch_close(&x->launch);
    flm__environment_free(&x->environment);
    flm__watch_forget(&x->watch);
    x->name[0] = x->path[0] = 0;
}

static bool make_room_for_arguments(struct exec *x, size_t n)
{
    if (n < x->argv_capacity)
        return true;
    size_t capacity = n + 16;
    char **list = realloc(x->argv, capacity * sizeof(*list));
    if (!list)
        return false;
    x->argv = list;
    x->argv_capacity = capacity;
    return true;
}

static int bind_common(struct exec *x, flm_error *error)
{
    x->common_fd = x->info->common_size ? x->app->common_fd : -1;
    if (!x->info->common_size || x->common_fd >= 0)
        return 0;
    x->own_common_fd = flm__memory_file("flm-common", x->info->common, x->info->common_size);
    if (x->own_common_fd < 0)
        return flm__error_errno(error, FLM_ENOMEM, errno, "no memory for %zu bytes of common data",
                                x->info->common_size);
    x->common_fd = x->own_common_fd;
    return 0;
}

static int bind_command(struct exec *x, flm_error *error)
{
    const struct flm__shim_app *app = x->app;
    struct stat st;
    if (app->working_directory && stat(app->working_directory, &st) < 0)
        return flm__error_errno(error, FLM_EBIND, errno,
                                "working directory '%.300s' of application '%.60s'", app->working_directory,
                                app->name);
    size_t first = x->launch.n, n = 0;
    while (app->command && app->command[n])
        n++;
    x->n_command = first + n;
    if (!make_room_for_arguments(x, x->n_command + 1))
        return flm__error_set(error, FLM_ENOMEM, "no memory for the arguments of '%s'", app->name);
    if (n && flm__launch_choose(&x->launch, app->command[0], app->working_directory, x->environment.list,
                                error) < 0)
        return error->code;
    for (size_t i = 0; i < x->n_command; i++)
        x->argv[i] = i < first ? x->launch.words[i] : (char *)app->command[i - first];
    if (n == 0) {
        if (app->exec_mode != FLM_EXEC_STDIN)
            return 0;
        return flm__error_set(error, FLM_EBIND, "application '%.100s' has no command: register it with one",
                              app->name);
    }
    int rc = flm__command_find(app->command[0], app->working_directory, x->environment.list, x->path,
                               sizeof(x->path));
    if (rc)
        return flm__error_errno(error, FLM_EBIND, rc,
                                "cannot run '%.200s', the command of application '%.100s'", app->command[0],
                                app->name);
    return 0;
}

static int exec_enter(struct flm__shim *shim, const struct flm__shim_app *app,
                      const struct flm_session_info *info, flm_error *error)
{
    struct exec *x = (struct exec *)shim;
    x->app = app;
    x->info = info;
    x->limit = FLM_MAX_PAYLOAD;
    if (app->output_limit && app->output_limit < FLM_MAX_PAYLOAD)
        x->limit = app->output_limit;
    int rc = flm__environment_make(&x->environment, app->environment, info);
    if (rc)
        flm__error_set(error, rc, "no memory for the environment of '%s'", app->name);
    if (!rc)
        rc = flm__launch_open(&x->launch, app, x->environment.list, error);
    if (!rc)
        rc = bind_command(x, error);
    if (!rc)
        rc = bind_common(x, error);
    if (rc)
        exec_leave(shim);
    return rc;
}

/* --- the arguments of a task --- */

/* Appends the arguments in the input: texts that each end with a zero byte. */
static int take_arguments(struct exec *x, const struct flm__shim_task *t)
{
    const char *text = t->input, *end = text + t->input_size;
    size_t n = x->n_command;
    if (t->input_size && end[-1] != 0)
        return FLM_EPROTO;
    while (text < end) {
        if (!make_room_for_arguments(x, n + 1))
            return FLM_ENOMEM;
        x->argv[n++] = (char *)text;
        text += strlen(text) + 1;
    }
    x->argv[n] = NULL;
    return n == x->launch.n ? FLM_EINVAL : 0;
}

/* The file that the command or the task names. */
static const char *program(const struct exec *x)
{
    return x->argv[x->launch.n];
}

/* For the program that the task names. False: the outcome is filled. */
static bool choose_launcher(struct exec *x, struct flm__shim_task *t)
{
    flm_error error = {0, ""};
    if (flm__launch_choose(&x->launch, program(x), x->app->working_directory, x->environment.list, &error) <
        0) {
        flm__outcome_fail(t, FLM_REASON_EXIT, 126, "%.380s", error.text);
        x->failed_to_start = true;
        return false;
    }
    for (size_t i = 0; i < x->launch.n; i++)
        x->argv[i] = x->launch.words[i];
    return true;
}

/* Fills argv and path. Returns false when the outcome is filled: no child. */
static bool prepare_command(struct exec *x, struct flm__shim_task *t)
{
    int rc = 0;
    x->argv[x->n_command] = NULL;
    if (x->app->exec_mode != FLM_EXEC_STDIN)
        rc = take_arguments(x, t);
    if (rc) {
        flm__outcome_fail(t, FLM_REASON_SERVICE, rc, "%s",
                          rc == FLM_ENOMEM   ? "no memory for the arguments"
                          : rc == FLM_EINVAL ? "the input is empty: it must begin with a command"
                                             : "the input is not arguments that each end with a zero byte");
        return false;
    }
    if (x->n_command > x->launch.n || (x->name[0] && strcmp(x->name, program(x)) == 0))
        return true;
    x->name[0] = 0;
    rc = flm__command_find(program(x), x->app->working_directory, x->environment.list, x->path,
                           sizeof(x->path));
    if (rc) {
        flm__outcome_fail(t, FLM_REASON_EXIT, rc == ENOENT || rc == ENOTDIR ? 127 : 126,
                          "cannot run '%.200s': %s", program(x), strerror(rc));
        x->failed_to_start = true;
        return false;
    }
    if (!choose_launcher(x, t))
        return false;
    if (strlen(program(x)) < sizeof(x->name))
        memcpy(x->name, program(x), strlen(program(x)) + 1);
    return true;
}

/* --- starting --- */

/* A descriptor with the input, for the child's stdin; null_fd for none. */
static int open_input(struct exec *x, const struct flm__shim_task *t)
{
    int fds[2];
    if (x->app->exec_mode != FLM_EXEC_STDIN || t->input_size == 0)
        return x->null_fd;
    if (t->input_size > PIPE_INPUT_MAX)
        return flm__memory_file("flm-input", t->input, t->input_size);
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    ssize_t n = write(fds[1], t->input, t->input_size);
    close(fds[1]);
    if (n == (ssize_t)t->input_size)
        return fds[0];
    close(fds[0]);
    return -1;
}

/* Returns the write end, -1 on failure. */
static int open_stream(struct stream *s)
{
    int fds[2];
    s->size = 0;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    s->fd = fds[0];
    return fds[1];
}

static void close_stream(struct stream *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void close_child_ends(const struct exec *x, int in, int out, int err)
{
    if (in >= 0 && in != x->null_fd)
        close(in);
    if (out >= 0)
        close(out);
    if (err >= 0)
        close(err);
}

static void fail_to_start(struct exec *x, struct flm__shim_task *t, int errnum)
{
    const char *file = program(x);
    x->failed_to_start = true;
    x->name[0] = 0; /* look again next time */
    if (errnum == E2BIG)
        flm__outcome_fail(t, FLM_REASON_EXIT, 126,
                          "cannot run '%.200s': its arguments are %zu bytes, too many for "
                          "this system",
                          file, t->input_size);
    else if (errnum == ENOENT)
        flm__outcome_fail(
            t, FLM_REASON_EXIT, 127,
            "cannot run '%.200s': it, the interpreter in its first line or the working directory "
            "does not exist",
            file);
    else
        flm__outcome_fail(t, FLM_REASON_EXIT, 126, "cannot run '%.200s': %s", file, strerror(errnum));
}

/* 0, or the outcome is filled. */
static int start(struct exec *x, struct flm__shim_task *t)
{
    bool capture = x->app->exec_mode == FLM_EXEC_CAPTURE;
    int in = open_input(x, t), out = open_stream(&x->out), err = capture ? open_stream(&x->err) : -1;
    int rc = in < 0 || out < 0 || (capture && err < 0) ? errno : 0;
    if (rc) {
        flm__outcome_fail(t, FLM_REASON_SERVICE, FLM_EIO, "cannot make pipes for '%.200s': %s", program(x),
                          strerror(rc));
    } else {
        rc = flm__process_start(&x->process,
                                &(struct flm__spawn){.path = x->launch.n ? x->launch.path : x->path,
                                                     .argv = x->argv,
                                                     .envp = x->environment.list,
                                                     .directory = x->app->working_directory,
                                                     .in = in,
                                                     .out = out,
                                                     .err = err,
                                                     .common_fd = x->common_fd});
        if (rc)
            fail_to_start(x, t, rc);
    }
    close_child_ends(x, in, out, err);
    if (rc) {
        close_stream(&x->out);
        close_stream(&x->err);
    }
    return rc;
}

/* --- collecting --- */

/* Reads what is there. FLM_ETOOBIG when both streams together pass the limit,
 * FLM_ENOMEM. */
static int collect(struct stream *s, size_t others, size_t limit)
{
    while (s->fd >= 0) {
        if (s->capacity - s->size < READ_MIN) {
            size_t capacity = s->capacity < READ_MIN ? 2 * READ_MIN : 2 * s->capacity;
            char *data = realloc(s->data, capacity);
            if (!data)
                return FLM_ENOMEM;
            s->data = data;
            s->capacity = capacity;
        }
        ssize_t n = read(s->fd, s->data + s->size, s->capacity - s->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n <= 0) {
            close_stream(s);
            return 0;
        }
        s->size += (size_t)n;
        if (s->size + others > limit)
            return FLM_ETOOBIG;
    }
    return 0;
}

static int collect_both(struct exec *x, size_t limit)
{
    int rc = collect(&x->out, x->err.size, limit);
    return rc ? rc : collect(&x->err, x->out.size, limit);
}

/* Waits for the end of the child while its outputs are collected. 0, or why
 * collecting failed; the child has ended in any case, and is not reaped. */
static int follow(struct exec *x, size_t limit)
{
    int failed = 0;
    int64_t grace_ns = 0; /* until when to wait for whoever holds the streams; 0: child lives */
    for (;;) {
        struct pollfd fds[4] = {{x->watch.wake_fd, POLLIN, 0},
                                {grace_ns ? -1 : x->process.pidfd, POLLIN, 0},
                                {x->out.fd, POLLIN, 0},
                                {x->err.fd, POLLIN, 0}};
        int most = grace_ns ? GRACE_MS : x->process.pidfd < 0 ? NO_PIDFD_MS : -1;
        int timeout = flm__watch_step(&x->watch, &x->process, most);
        if (poll(fds, 4, timeout) < 0 && errno != EINTR)
            failed = failed ? failed : FLM_EIO;
        if (fds[0].revents)
            flm__watch_drain(&x->watch);
        if (!grace_ns && (x->process.pidfd >= 0 ? fds[1].revents != 0 : flm__process_ended(&x->process)))
            grace_ns = flm__now_ns() + GRACE_MS * (int64_t)1000000;
        if (!failed)
            failed = collect_both(x, limit);
        if (failed) {
            flm__watch_end(&x->watch, &x->process, FLM__WATCH_LIMIT);
            close_stream(&x->out);
            close_stream(&x->err);
        }
        if (grace_ns && ((x->out.fd < 0 && x->err.fd < 0) || x->watch.why || flm__now_ns() >= grace_ns))
            return failed;
    }
}

/* --- the outcome --- */

static void deliver(struct exec *x, struct flm__shim_task *t, int status, int64_t run_ns)
{
    bool capture = x->app->exec_mode == FLM_EXEC_CAPTURE;
    struct flm_exec_output head = {
        .status = (uint32_t)status, .stdout_size = x->out.size, .run_ns = (uint64_t)run_ns};
    size_t prefix = capture ? sizeof(head) : 0, size = prefix + x->out.size + (capture ? x->err.size : 0);
    if (size == 0)
        return;
    char *to = t->output(t, size);
    if (!to) {
        flm__outcome_fail(t, FLM_REASON_SERVICE, FLM_ENOMEM, "no memory for %zu bytes of output", size);
        return;
    }
    memcpy(to, &head, prefix);
    if (x->out.size)
        memcpy(to + prefix, x->out.data, x->out.size);
    if (capture && x->err.size)
        memcpy(to + prefix + x->out.size, x->err.data, x->err.size);
}

static void recycle(struct stream *s)
{
    s->size = 0;
    if (s->capacity > KEEP_MAX) {
        free(s->data);
        s->data = NULL;
        s->capacity = 0;
    }
}

static void run(struct exec *x, struct flm__shim_task *t)
{
    size_t limit = x->limit - (x->app->exec_mode == FLM_EXEC_CAPTURE ? sizeof(struct flm_exec_output) : 0);
    int64_t begin = flm__now_ns();
    if (start(x, t))
        return;
    int failed = follow(x, limit);
    close_stream(&x->out);
    close_stream(&x->err);
    int status = flm__process_reap(&x->process);
    t->usage = x->process.usage;
    flm__outcome_of_child(t, status, x->watch.why, &x->watch.oom, program(x));
    flm__launch_ended(&x->launch, t, status, program(x));
    if (failed && x->watch.why == FLM__WATCH_LIMIT)
        flm__outcome_fail(t, FLM_REASON_SERVICE, failed,
                          failed == FLM_ETOOBIG
                              ? "'%.200s' was ended: more output than the limit of %zu bytes"
                              : "'%.200s' was ended: no memory for its output",
                          program(x), x->limit);
    else
        deliver(x, t, status, flm__now_ns() - begin);
    recycle(&x->out);
    recycle(&x->err);
}

static int exec_invoke(struct flm__shim *shim, struct flm__shim_task *t)
{
    struct exec *x = (struct exec *)shim;
    x->failed_to_start = false;
    x->out.size = x->err.size = 0;
    flm__watch_begin(&x->watch, t->task, t->deadline_ms);
    flm__environment_task(&x->environment, t->task);
    if (flm__watch_cancelled(&x->watch))
        flm__outcome_fail(t, FLM_REASON_CANCELLED, FLM_ECANCELLED, "cancelled before it began");
    else if (prepare_command(x, t))
        run(x, t);
    if (x->failed_to_start && x->app->exec_mode == FLM_EXEC_CAPTURE)
        deliver(x, t, t->code << 8, 0);
    x->watch.task = 0;
    return 0;
}

static void exec_cancel(struct flm__shim *shim, uint64_t task)
{
    flm__watch_cancel(&((struct exec *)shim)->watch, task);
}

const struct flm__shim_ops flm__shim_exec = {
    .name = "exec",
    .create = exec_create,
    .destroy = exec_destroy,
    .enter = exec_enter,
    .invoke = exec_invoke,
    .leave = exec_leave,
    .cancel = exec_cancel,
};
