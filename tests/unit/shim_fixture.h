/* A session for one shim, without an executor: what the tests of shims share. */
#ifndef SHIM_FIXTURE_H
#define SHIM_FIXTURE_H

#include "executor/shim.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
    struct flm__shim *shim;
    struct flm__shim_app app;
    struct flm_session_info info;
    struct flm__shim_task task;
    char *output;
    size_t output_size;
    int outputs; /* how often room was asked for */
};

static inline void *fixture_output(struct flm__shim_task *t, size_t size)
{
    struct fixture *f = t->owner;
    f->outputs++;
    free(f->output);
    f->output = malloc(size + 1);
    if (!f->output)
        return NULL;
    f->output[size] = 0;
    f->output_size = size;
    return f->output;
}

static inline int fixture_try_enter(struct fixture *f, const struct flm__shim_ops *ops, int mode,
                                    const char *const *command, flm_error *error)
{
    f->shim = ops->create(error);
    assert_non_null(f->shim);
    f->app.name = "test";
    f->app.exec_mode = mode;
    f->app.command = command;
    if (!f->info.common_size)
        f->app.common_fd = -1;
    f->info.session = "s1";
    f->info.application = "test";
    f->info.executor = 7;
    f->info.ranks = 1;
    return ops->enter(f->shim, &f->app, &f->info, error);
}

static inline void fixture_enter(struct fixture *f, const struct flm__shim_ops *ops, int mode,
                                 const char *const *command)
{
    flm_error error = {0};
    if (fixture_try_enter(f, ops, mode, command, &error))
        fail_msg("enter: %s", error.text);
}

static inline void fixture_invoke(struct fixture *f, uint64_t id, const void *input, size_t size)
{
    uint64_t deadline = f->task.deadline_ms;
    f->task = (struct flm__shim_task){.task = id,
                                      .session = "s1",
                                      .input = input ? input : "",
                                      .input_size = size,
                                      .deadline_ms = deadline,
                                      .output = fixture_output,
                                      .owner = f};
    free(f->output);
    f->output = NULL;
    f->output_size = 0;
    f->outputs = 0;
    assert_int_equal(f->shim->ops->invoke(f->shim, &f->task), 0);
    assert_true(f->outputs <= 1);
}

static inline void fixture_end(struct fixture *f)
{
    const struct flm__shim_ops *ops = f->shim->ops;
    ops->leave(f->shim);
    ops->destroy(f->shim);
    free(f->output);
    f->output = NULL;
}

static inline int fixture_count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Cancels a task from another thread, when `ready` (a file) is there. */
struct canceller {
    struct fixture *f;
    uint64_t task;
    const char *ready;
    pthread_t thread;
};

static inline void *fixture_cancel_main(void *arg)
{
    struct canceller *c = arg;
    while (access(c->ready, F_OK) < 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    c->f->shim->ops->cancel(c->f->shim, c->task);
    return NULL;
}

static inline void fixture_cancel_when(struct canceller *c)
{
    unlink(c->ready);
    assert_int_equal(pthread_create(&c->thread, NULL, fixture_cancel_main, c), 0);
}

#define WITH_SIZES(do_size)                                                                                \
    do {                                                                                                   \
        static const size_t sizes_[] = {0,     1,     7,     4095,    4096,    4097,                       \
                                        65535, 65536, 65537, 1000000, 1 << 20, 8 * 1024 * 1024};           \
        for (size_t i_ = 0; i_ < sizeof(sizes_) / sizeof(sizes_[0]); i_++)                                 \
            do_size(sizes_[i_]);                                                                           \
    } while (0)

#endif
