#define _GNU_SOURCE 1
#include "flmexec_engine.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const int64_t ask_every_ns = 1000000000;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* An application of our own: its environment and folder are ours. */
static int register_application(struct flmexec_engine *e, flm_error *error)
{
    char folder[PATH_MAX];
    if (!getcwd(folder, sizeof(folder))) {
        error->code = FLM_EIO;
        snprintf(error->text, sizeof(error->text), "the working directory cannot be found: %s",
                 strerror(errno));
        return FLM_EIO;
    }
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    snprintf(e->application, sizeof(e->application), "flmexec-%d-%lx", (int)getpid(),
             (unsigned long)(t.tv_sec ^ t.tv_nsec));
    struct flm_application a = {.size = sizeof(a),
                                .name = e->application,
                                .shim = FLM_SHIM_EXEC,
                                .exec_mode = FLM_EXEC_CAPTURE,
                                .environment = (const char *const *)environ,
                                .working_directory = folder,
                                .description = "a run of flmexec",
                                .temporary = 1};
    int rc = flm_register_application(e->client, &a, 0, error);
    e->registered = rc == 0;
    return rc;
}

int flmexec_engine_open(struct flmexec_engine *e, unsigned jobs, flm_error *error)
{
    memset(e, 0, sizeof(*e));
    struct flm_connect_options connect = {.size = sizeof(connect), .name = "flmexec"};
    e->client = flm_connect(NULL, &connect, error);
    if (!e->client)
        return error->code;
    int rc = register_application(e, error);
    if (rc)
        return rc;
    struct flm_session_options options = {.size = sizeof(options),
                                          .application = e->application,
                                          .flags = FLM_NONBLOCK,
                                          .max_instances = jobs};
    e->session = flm_create_session(e->client, &options, error);
    return e->session ? 0 : error->code;
}

int64_t flmexec_engine_submit(struct flmexec_engine *e, const void *input, size_t size, uint64_t timeout_ms)
{
    struct flm_task task = {.size = sizeof(task),
                            .input = input,
                            .input_size = size,
                            .deadline_ms = timeout_ms > UINT_MAX ? UINT_MAX : (unsigned)timeout_ms};
    return flm_submit_task(e->session, &task);
}

/* The list of executors, not older than a second. */
static void ask_for_executors(struct flmexec_engine *e)
{
    struct flm_executor_view *list = NULL;
    int64_t now = now_ns();
    if (e->asked_ns && now - e->asked_ns < ask_every_ns)
        return;
    e->asked_ns = now;
    int n = flm_list_executors(e->client, &list, NULL);
    if (n < 0)
        return;
    flm_free_executors(e->executors, e->n_executors);
    e->executors = list;
    e->n_executors = n;
}

unsigned flmexec_engine_slots(struct flmexec_engine *e, unsigned jobs)
{
    ask_for_executors(e);
    unsigned n = e->n_executors > 1 ? (unsigned)e->n_executors : 1;
    return jobs && jobs < n ? jobs : n;
}

const char *flmexec_engine_node(struct flmexec_engine *e, unsigned executor)
{
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < e->n_executors; i++) {
            if (e->executors[i].id == executor)
                return e->executors[i].node;
        }
        if (!again)
            ask_for_executors(e);
    }
    return ":";
}

void flmexec_engine_close(struct flmexec_engine *e, bool cancel)
{
    if (e->executors)
        flm_free_executors(e->executors, e->n_executors);
    e->executors = NULL;
    e->n_executors = 0;
    if (e->session && cancel)
        flm_cancel_session(e->session, NULL);
    else if (e->session)
        flm_close_session(e->session, NULL);
    if (e->registered)
        flm_unregister_application(e->client, e->application, NULL);
    flm_disconnect(e->client);
    memset(e, 0, sizeof(*e));
}
