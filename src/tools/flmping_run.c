/* The run of flmping: a tight loop that submits, a callback that checks.
 *
 * Per task the loop stamps one input buffer and calls flm_run_task; nothing is
 * allocated. Inputs that Flame may read until the callback (large ones) have a
 * buffer each, from a pool as large as the window. That a result comes exactly
 * once is seen by a bit per task. Round trips are measured of every task or of
 * one in 64, since two looks at the clock would cost more than the task. */
#include "tools/flmping.h"
#include "tools/flmping_pattern.h"
#include "tools/progress.h"

#include <flm/admin.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    COPIED_MAX = 4096,      /* inputs up to this size are sure to be copied at once */
    POOL_BYTES = 256 << 20, /* of inputs in flight */
    BURST = 256,            /* tasks submitted between two looks at clock and signals */
    POLL_MS = 100,          /* between two looks at the signals */
    SAMPLE = 64,
    ALL_SAMPLED = 20000, /* up to so many tasks all round trips are measured */
};

/* An input of its own, for large ones. */
struct buffer {
    struct ping *ping;
    struct buffer *next; /* free ones */
    char *data;
};

struct warm_up {
    bool done;
    int state, reason;
    char message[300];
};

struct ping {
    const struct flmping_options *o;
    struct flmping_outcome *out;
    const volatile sig_atomic_t *stop;
    flm_client *client;
    flm_session *session;
    uint64_t submitted, done; /* task numbers 1..tasks */
    uint64_t input_size, output_size, window;
    char *input;    /* template, stamped again and again */
    char *output;   /* template */
    uint64_t *seen; /* bit per number */
    uint64_t sample_mask;
    unsigned sample_shift;
    uint64_t *started_ns; /* per sampled task */
    struct buffer *buffers, *free_buffers;
    struct warm_up warm_up; /* here, since after Ctrl-C its callback comes with the end of the session */
    unsigned examples;
    struct progress progress;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- results -------------------------------------------------------------- */

static void keep_example(struct ping *p, const struct flm_result *r, const char *what)
{
    if (p->examples == FLMPING_EXAMPLES)
        return;
    snprintf(p->out->examples[p->examples++], sizeof(p->out->examples[0]),
             "task %" PRIu64 " (executor %u): %s%s%.*s", flmping_number(r->task), r->executor, what,
             *r->message ? ": " : "", 220, r->message);
}

static __attribute__((noinline)) void on_failure(struct ping *p, const struct flm_result *r)
{
    char what[80];
    if (r->state == FLM_TASK_CANCELLED) {
        p->out->cancelled++;
        return;
    }
    p->out->failed++;
    if (r->reason == FLM_REASON_SERVICE && r->code == FLMPING_FAIL_INPUT)
        p->out->wrong++;
    snprintf(what, sizeof(what), "%s (%d)", flm_reason_name(r->reason), r->code);
    keep_example(p, r, what);
}

static __attribute__((noinline)) void on_duplicate(struct ping *p, const struct flm_result *r)
{
    p->out->duplicated++;
    keep_example(p, r, "a result that was not due");
}

static void on_result(const struct flm_result *r, void *arg)
{
    struct ping *p = arg;
    uint64_t number = flmping_number(r->task), bit = 1ull << (number & 63);
    if (__builtin_expect(number - 1 >= p->submitted || (p->seen[number >> 6] & bit), 0)) {
        on_duplicate(p, r);
        return;
    }
    p->seen[number >> 6] |= bit;
    p->done++;
    if (!(number & p->sample_mask))
        histogram_add(&p->out->round_trip, now_ns() - p->started_ns[number >> p->sample_shift]);
    if (__builtin_expect(r->attempts != 0, 0))
        p->out->retried++;
    if (__builtin_expect(r->state != FLM_TASK_SUCCEED, 0)) {
        on_failure(p, r);
    } else if (__builtin_expect(r->size != p->output_size ||
                                    !flmping_check(r->output, r->size, p->output, number, FLMPING_OUTPUT),
                                0)) {
        p->out->wrong++;
        keep_example(p, r, "an output with wrong content");
    }
}

static void on_large_result(const struct flm_result *r, void *arg)
{
    struct buffer *b = arg;
    b->next = b->ping->free_buffers;
    b->ping->free_buffers = b;
    on_result(r, b->ping);
}

/* ---- tasks ---------------------------------------------------------------- */

static inline void note_start(struct ping *p, uint64_t number)
{
    if (!(number & p->sample_mask))
        p->started_ns[number >> p->sample_shift] = now_ns();
}

/* The id that the next task is going to have is known: see flm_run_task. */
static int check_id(uint64_t number, int64_t id, flm_error *error)
{
    if (id == (int64_t)number + 1)
        return 0;
    if (id >= 0) {
        snprintf(error->text, sizeof(error->text), "task %" PRIu64 " was given the id %" PRId64, number,
                 id);
        return error->code = FLM_EINTERNAL;
    }
    snprintf(error->text, sizeof(error->text), "cannot submit task %" PRIu64 ": %s", number,
             flm_strerror((int)id));
    return error->code = (int)id;
}

static int submit_small(struct ping *p, uint64_t n, flm_error *error)
{
    uint64_t last = p->submitted + n;
    while (p->submitted < last) {
        uint64_t number = p->submitted + 1;
        flmping_stamp_on(p->input, p->input_size, number, FLMPING_INPUT);
        note_start(p, number);
        p->submitted = number; /* its callback may run within the call */
        int64_t id = flm_run_task(p->session, p->input, p->input_size, on_result, p);
        if (__builtin_expect(id != (int64_t)number + 1, 0)) {
            p->submitted = number - 1;
            return check_id(number, id, error);
        }
    }
    return 0;
}

static int submit_large(struct ping *p, uint64_t n, flm_error *error)
{
    int rc = 0;
    while (n-- && p->free_buffers && !rc) {
        uint64_t number = p->submitted + 1;
        struct buffer *b = p->free_buffers;
        p->free_buffers = b->next;
        flmping_stamp_on(b->data, p->input_size, number, FLMPING_INPUT);
        note_start(p, number);
        p->submitted = number;
        rc = check_id(number, flm_run_task(p->session, b->data, p->input_size, on_large_result, b), error);
        if (rc)
            p->submitted = number - 1;
    }
    return rc;
}

static int receive(struct ping *p, flm_error *error)
{
    int rc = flm_poll(p->client, POLL_MS);
    if (rc >= 0)
        return 0;
    snprintf(error->text, sizeof(error->text), "%s", flm_strerror(rc));
    return error->code = rc;
}

/* Many tasks in flight. */
static int flood(struct ping *p, flm_error *error)
{
    int rc = 0;
    while (!rc && p->done < p->o->tasks && !*p->stop) {
        uint64_t flying = p->submitted - p->done;
        uint64_t room = flying < p->window ? p->window - flying : 0, left = p->o->tasks - p->submitted;
        uint64_t n = room < left ? room : left;
        if (n > BURST)
            n = BURST;
        if (!n)
            rc = receive(p, error);
        else if (p->buffers)
            rc = submit_large(p, n, error);
        else
            rc = submit_small(p, n, error);
        progress_show(&p->progress, p->done, p->out->failed);
    }
    return rc;
}

/* One at a time. */
static int one_by_one(struct ping *p, flm_error *error)
{
    int rc = 0;
    while (!rc && p->done < p->o->tasks && !*p->stop) {
        struct timespec pause = {(time_t)(p->o->pause_ns / 1000000000u),
                                 (long)(p->o->pause_ns % 1000000000u)};
        if (p->o->pause_ns)
            nanosleep(&pause, NULL);
        rc = p->buffers ? submit_large(p, 1, error) : submit_small(p, 1, error);
        while (!rc && p->done < p->submitted && !*p->stop)
            rc = receive(p, error);
        progress_show(&p->progress, p->done, p->out->failed);
    }
    return rc;
}

/* ---- preparation ---------------------------------------------------------- */

static int no_memory(flm_error *error, const char *what)
{
    snprintf(error->text, sizeof(error->text), "no memory for %s", what);
    return error->code = FLM_ENOMEM;
}

static int prepare_buffers(struct ping *p, flm_error *error)
{
    uint64_t most = POOL_BYTES / p->input_size;
    if (p->window > (most ? most : 1))
        p->window = most ? most : 1;
    if (p->window > p->o->tasks)
        p->window = p->o->tasks;
    p->buffers = calloc(p->window, sizeof(*p->buffers));
    for (uint64_t i = 0; p->buffers && i < p->window; i++) {
        struct buffer *b = &p->buffers[i];
        *b = (struct buffer){.ping = p, .next = p->free_buffers, .data = malloc(p->input_size)};
        if (!b->data)
            return no_memory(error, "the inputs in flight");
        memcpy(b->data, p->input, p->input_size);
        p->free_buffers = b;
    }
    return p->buffers ? 0 : no_memory(error, "the window");
}

static int prepare(struct ping *p, flm_error *error)
{
    const struct flmping_options *o = p->o;
    bool all = o->latency || o->tasks <= ALL_SAMPLED;
    p->sample_shift = all ? 0 : 6;
    p->sample_mask = (1u << p->sample_shift) - 1;
    p->out->sample = p->sample_mask + 1;
    p->input_size = o->input_size;
    p->output_size = o->output_size;
    p->window = o->latency ? 1 : o->window;
    p->input = malloc(o->input_size + 1);
    p->output = malloc(o->output_size + 1);
    p->seen = calloc(o->tasks / 64 + 1, sizeof(*p->seen));
    p->started_ns = calloc((o->tasks >> p->sample_shift) + 1, sizeof(*p->started_ns));
    if (!p->input || !p->output || !p->seen || !p->started_ns)
        return no_memory(error, "the book-keeping of so many tasks");
    flmping_template(p->input, o->input_size, FLMPING_INPUT);
    flmping_template(p->output, o->output_size, FLMPING_OUTPUT);
    int rc = o->input_size > COPIED_MAX ? prepare_buffers(p, error) : 0;
    p->out->window = p->window;
    return rc;
}

static void release(struct ping *p)
{
    for (uint64_t i = 0; p->buffers && i < p->window; i++)
        free(p->buffers[i].data);
    free(p->buffers);
    free(p->input);
    free(p->output);
    free(p->seen);
    free(p->started_ns);
}

/* The name tells one build of the service from another, for instances that
 * several of them share. */
static int register_service(struct ping *p, const char *service, char *name, size_t size, flm_error *error)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = service; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    snprintf(name, size, "flmping@%s-%08x", flm_version(), hash);
    const struct flm_application a = {
        .size = sizeof(a),
        .name = name,
        .shim = FLM_SHIM_SO,
        .command = (const char *const[]){service, NULL},
        .description = "round trip and throughput (flmping)",
        .temporary = 1,
    };
    return flm_register_application(p->client, &a, 1, error);
}

static int create_session(struct ping *p, const char *service, flm_error *error)
{
    char name[FLM_MAX_NAME + 1];
    const struct flmping_options *o = p->o;
    struct flmping_common common = {
        .magic = FLMPING_MAGIC,
        .input_size = o->input_size,
        .output_size = o->output_size,
        .duration_ns = o->duration_ns,
        .mix_every = o->mix_tasks ? (o->tasks + o->mix_tasks - 1) / o->mix_tasks : 0,
        .mix_ns = o->mix_ns,
        .fail_every = o->fail_every,
        .flags = o->sleep ? FLMPING_SLEEP : 0,
    };
    int rc = register_service(p, service, name, sizeof(name), error);
    if (rc)
        return rc;
    p->session =
        flm_create_session(p->client,
                           &(struct flm_session_options){.size = sizeof(struct flm_session_options),
                                                         .application = name,
                                                         .id = o->session_id,
                                                         .durability = o->durability,
                                                         .results = o->results,
                                                         .ranks_per_task = o->ranks,
                                                         .common = &common,
                                                         .common_size = sizeof(common),
                                                         .deadline_ms = (unsigned)o->deadline_ms},
                           error);
    return p->session ? 0 : error->code;
}

static void on_warm_up(const struct flm_result *r, void *arg)
{
    struct warm_up *w = arg;
    w->done = true;
    w->state = r->state;
    w->reason = r->reason;
    snprintf(w->message, sizeof(w->message), "%s", r->message);
}

/* One task before the clock starts, so that starting the service does not
 * count. */
static int warm_up(struct ping *p, flm_error *error)
{
    struct warm_up *w = &p->warm_up;
    flmping_stamp_on(p->input, p->input_size, 0, FLMPING_INPUT);
    uint64_t begin = now_ns();
    int rc = check_id(0, flm_run_task(p->session, p->input, p->input_size, on_warm_up, w), error);
    while (!rc && !w->done && !*p->stop)
        rc = receive(p, error);
    if (w->done)
        p->out->start_seconds = (double)(now_ns() - begin) / 1e9;
    if (rc || !w->done || w->state == FLM_TASK_SUCCEED)
        return rc;
    snprintf(error->text, sizeof(error->text), "the first task failed (%s): %s", flm_reason_name(w->reason),
             *w->message ? w->message : "no reason given");
    return error->code = FLM_ESERVICE;
}

/* ---- the whole ------------------------------------------------------------ */

static void look_at_instance(struct ping *p)
{
    struct flm_executor_view *executors = NULL;
    struct flm_instance_view *instance = NULL;
    int n = flm_list_executors(p->client, &executors, NULL);
    for (int i = 0; i < n; i++)
        p->out->executors += strcmp(executors[i].state, "Released") && strcmp(executors[i].state, "Void");
    if (!flm_get_instance(p->client, &instance, NULL))
        snprintf(p->out->version, sizeof(p->out->version), "%s", instance->version);
    const char *wish = p->o->provider ? p->o->provider : getenv("FLM_PROVIDER");
    const char *provider = instance && *instance->provider ? instance->provider
                           : wish && *wish                 ? wish
                                                           : "ring";
    snprintf(p->out->provider, sizeof(p->out->provider), "%s", provider);
    if (n >= 0)
        flm_free_executors(executors, n);
    if (instance)
        flm_free_instance(instance);
}

static int run_tasks(struct ping *p, flm_error *error)
{
    enum progress_mode mode = p->o->quiet ? PROGRESS_OFF : PROGRESS_AUTO;
    progress_begin(&p->progress, mode, "flmping", p->o->tasks);
    uint64_t begin = now_ns();
    int rc = p->o->latency ? one_by_one(p, error) : flood(p, error);
    p->out->seconds = (double)(now_ns() - begin) / 1e9;
    progress_end(&p->progress);
    return rc;
}

int flmping_run(const struct flmping_options *o, flm_client *client, const char *service,
                const volatile sig_atomic_t *stop, struct flmping_outcome *out, flm_error *error)
{
    struct ping p = {.o = o, .out = out, .stop = stop, .client = client};
    int rc = prepare(&p, error);
    if (!rc)
        rc = create_session(&p, service, error);
    if (!rc)
        rc = warm_up(&p, error);
    if (!rc && !*stop)
        rc = run_tasks(&p, error);
    if (!rc)
        look_at_instance(&p);
    out->interrupted = *stop;
    if (p.session && (rc || *stop))
        flm_cancel_session(p.session, NULL);
    else if (p.session)
        rc = flm_close_session(p.session, error);
    out->submitted = p.submitted;
    out->done = p.done;
    out->succeeded = p.done - out->failed - out->cancelled;
    release(&p);
    return rc;
}

bool flmping_good(const struct flmping_options *o, const struct flmping_outcome *out)
{
    return out->succeeded == o->tasks && !out->wrong && !out->duplicated;
}
