#define _GNU_SOURCE 1
#include "flmexec_engine.h"

#include "flmexec_text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const int64_t ask_every_ns = 1000000000;

/* Outputs that wait for their turn are kept by the session manager; the job whose turn it is must be able
 * to start, however many they are. flmexec gives no more jobs when they become many. */
#define RESULT_BYTES (UINT64_C(1) << 40)

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* PBS sets it to all CPUs of a chunk, however many ranks that has: our commands have their executor's
 * cores. */
static bool is_threads_of_pbs(const char *assignment)
{
    static const char name[] = "OMP_NUM_THREADS=";
    const char *cpus = getenv("NCPUS");
    return getenv("PBS_JOBID") && cpus && strncmp(assignment, name, strlen(name)) == 0 &&
           strcmp(assignment + strlen(name), cpus) == 0;
}

/* Our environment. Without what belongs to this batch job where the run may go on in another one: there
 * its agents have their own. */
static const char **make_environment(bool durable)
{
    static const char *const of_job[] = {
        "SLURM", "PBS_", "TMPDIR=", "FLM_", "HOSTNAME=", "XDG_RUNTIME_DIR="};
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    const char **list = flmexec_alloc((n + 1) * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        bool left_out = is_threads_of_pbs(environ[i]);
        for (size_t j = 0; j < sizeof(of_job) / sizeof(*of_job); j++)
            left_out |= durable && strncmp(environ[i], of_job[j], strlen(of_job[j])) == 0;
        if (!left_out)
            list[k++] = environ[i];
    }
    list[k] = NULL;
    return list;
}

static void name_application(struct flmexec_engine *e, const char *session)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (session)
        snprintf(e->application, sizeof(e->application), "%s", session);
    else
        snprintf(e->application, sizeof(e->application), "flmexec-%d-%lx", (int)getpid(),
                 (unsigned long)(t.tv_sec ^ t.tv_nsec));
}

/* An application of our own: its environment and folder are ours. */
static int register_application(struct flmexec_engine *e, const char *session, flm_error *error)
{
    char folder[PATH_MAX];
    if (!getcwd(folder, sizeof(folder))) {
        error->code = FLM_EIO;
        snprintf(error->text, sizeof(error->text), "the working directory cannot be found: %s",
                 strerror(errno));
        return FLM_EIO;
    }
    const char **environment = make_environment(session != NULL);
    name_application(e, session);
    struct flm_application a = {.size = sizeof(a),
                                .name = e->application,
                                .shim = e->ranks ? FLM_SHIM_MPI : FLM_SHIM_EXEC,
                                .exec_mode = FLM_EXEC_CAPTURE,
                                .environment = environment,
                                .working_directory = folder,
                                .ranks_per_task = e->ranks,
                                .description = "a run of flmexec",
                                .temporary = 1};
    int rc = flm_register_application(e->client, &a, session != NULL, error);
    free(environment);
    e->registered = rc == 0;
    return rc;
}

int flmexec_engine_open(struct flmexec_engine *e, unsigned jobs, unsigned ranks, const char *name,
                        flm_error *error)
{
    memset(e, 0, sizeof(*e));
    e->ranks = ranks;
    struct flm_connect_options connect = {.size = sizeof(connect), .name = "flmexec"};
    e->client = flm_connect(NULL, &connect, error);
    if (!e->client)
        return error->code;
    int rc = register_application(e, name, error);
    if (rc)
        return rc;
    struct flm_session_options options = {.size = sizeof(options),
                                          .application = e->application,
                                          .flags = FLM_NONBLOCK,
                                          .max_instances = jobs};
    if (name) {
        options.id = name;
        options.flags |= FLM_KEEP_RESULTS; /* until their outputs are written */
        options.durability = FLM_DURABILITY_JOURNAL;
        options.result_bytes = RESULT_BYTES;
    }
    e->session = name ? flm_open_session(e->client, &options, error)
                      : flm_create_session(e->client, &options, error);
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
    unsigned n = (unsigned)e->n_executors / (e->ranks ? e->ranks : 1);
    n = n ? n : 1;
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

bool flmexec_engine_core_time(struct flmexec_engine *e, double *useful_s, double *wasted_s)
{
    struct flm_session_view *view = NULL;
    if (flm_get_session(e->client, flm_session_id(e->session), &view, NULL) < 0)
        return false;
    *useful_s = view->useful_s;
    *wasted_s = view->wasted_s;
    flm_free_sessions(view, 1);
    return true;
}

void flmexec_engine_close(struct flmexec_engine *e, enum flmexec_leave how)
{
    if (e->executors)
        flm_free_executors(e->executors, e->n_executors);
    e->executors = NULL;
    e->n_executors = 0;
    if (e->session && how == ENGINE_CANCEL)
        flm_cancel_session(e->session, NULL);
    else if (e->session && how == ENGINE_CLOSE)
        flm_close_session(e->session, NULL);
    if (e->registered && how != ENGINE_LEAVE)
        flm_unregister_application(e->client, e->application, NULL);
    flm_disconnect(e->client);
    memset(e, 0, sizeof(*e));
}
