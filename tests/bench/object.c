/* object - how fast an object is read by who gets it on a node that has it, beside the same memory of its
 * own.
 *
 *     object BYTES ROUNDS
 *
 * In each round the object at FLM_ENDPOINT gets new data, which this client and then a task get and read,
 * every word, and get and read again. Beside it: reading as much memory of one's own, and memcpy of the
 * object there. Client and service (shim self) are this one program. Prints one JSON object, with the
 * seconds of the best round of each.
 */
#define _GNU_SOURCE
#include "base/time.h"

#include <flm/admin.h>
#include <flm/object.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMES = 3 };

struct times {
    double first; /* a version that its node has, and nobody in this process has seen */
    double again, own, copy;
};

typedef int get_fn(void *from, struct flm_object *object);

static double seconds(void)
{
    return (double)flm__now_ns() * 1e-9;
}

static int fail(const char *why)
{
    fprintf(stderr, "object: %s\n", why);
    return 1;
}

static void keep_best(double *best, double took)
{
    if (*best == 0 || took < *best)
        *best = took;
}

/* All words. Four sums: one would wait for itself. */
static uint64_t read_all(const uint64_t *data, size_t size)
{
    uint64_t s[4] = {0};
    for (size_t i = 0; i + 4 <= size / sizeof(*data); i += 4)
        for (int k = 0; k < 4; k++)
            s[k] += data[i + (size_t)k];
    return s[0] + s[1] + s[2] + s[3];
}

/* What is to be the same for all. */
static uint64_t sum;

static int get_and_read(get_fn *get, void *from, double *best)
{
    struct flm_object o;
    double begin = seconds();
    if (get(from, &o) < 0)
        return -1;
    uint64_t found = read_all(o.data, o.size);
    keep_best(best, seconds() - begin);
    flm_release_object(&o);
    if (sum && sum != found)
        return -1;
    sum = found;
    return 0;
}

static int own_memory(get_fn *get, void *from, struct times *t)
{
    struct flm_object o;
    if (get(from, &o) < 0)
        return -1;
    char *own = malloc(o.size);
    for (int i = 0; own && i <= TIMES; i++) { /* the first one finds the pages */
        double begin = seconds();
        memcpy(own, o.data, o.size);
        double copied = seconds();
        bool same = read_all((const uint64_t *)(const void *)own, o.size) == sum;
        if (i && same) {
            keep_best(&t->copy, copied - begin);
            keep_best(&t->own, seconds() - copied);
        }
    }
    free(own);
    flm_release_object(&o);
    return t->own > 0 ? 0 : -1;
}

static int measure(get_fn *get, void *from, struct times *t)
{
    sum = 0;
    int rc = get_and_read(get, from, &t->first);
    for (int i = 0; rc == 0 && i < TIMES; i++)
        rc = get_and_read(get, from, &t->again);
    return rc < 0 ? rc : own_memory(get, from, t);
}

/* ---- service ----------------------------------------------------------------------------------- */

static int get_in_task(void *task, struct flm_object *o)
{
    return flm_task_object(task, "bench", 0, o, NULL);
}

static int invoke(struct flm_task_context *task, void *state)
{
    struct times t = {0};
    (void)state;
    if (measure(get_in_task, task, &t) < 0)
        return flm_task_fail(task, 1, "the object is not as it was");
    return flm_task_set_output(task, &t, sizeof(t));
}

static const struct flm_service service = {
    .abi = FLM_SERVICE_ABI, .name = "object", .on_task_invoke = invoke};

/* ---- client ------------------------------------------------------------------------------------ */

static int get_in_client(void *client, struct flm_object *o)
{
    return flm_get_object(client, "bench", 0, o, NULL);
}

static void keep_all(struct times *best, const struct times *t)
{
    keep_best(&best->first, t->first);
    keep_best(&best->again, t->again);
    keep_best(&best->own, t->own);
    keep_best(&best->copy, t->copy);
}

static void print_times(const char *who, const struct times *t, const char *end)
{
    printf("\"%s\": {\"first_s\": %.9f, \"again_s\": %.9f, \"own_s\": %.9f, \"memcpy_s\": %.9f}%s", who,
           t->first, t->again, t->own, t->copy, end);
}

static int rounds(flm_client *c, flm_session *s, size_t bytes, unsigned n)
{
    struct times client = {0}, task = {0}, t;
    struct flm_result r;
    flm_error e = {0};
    uint64_t *data = malloc(bytes), version;
    for (unsigned i = 0; data && i < n; i++) {
        memset(data, (int)i + 1, bytes);
        int rc = i ? flm_update_object(c, "bench", 0, data, bytes, &version, &e)
                   : flm_put_object(c, "bench", data, bytes, &e);
        if (rc < 0)
            return fail(e.text);
        t = (struct times){0};
        if (measure(get_in_client, c, &t) < 0)
            return fail("the client got something else");
        keep_all(&client, &t);
        if (flm_invoke(s, &i, sizeof(i), -1, &r) < 0 || r.state != FLM_TASK_SUCCEED || r.size != sizeof(t))
            return fail("the task failed");
        memcpy(&t, r.output, sizeof(t));
        keep_all(&task, &t);
    }
    free(data);
    printf("{\"bytes\": %zu, ", bytes);
    print_times("client", &client, ", ");
    print_times("task", &task, "}\n");
    return 0;
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    if (getenv("FLM_AGENT"))
        return flm_service_run(&service, argc, argv);
    if (argc != 3)
        return fail("give BYTES and ROUNDS");
    char *self = realpath("/proc/self/exe", NULL);
    const char *command[] = {self, NULL};
    struct flm_application app = {
        .size = sizeof(app), .name = "object", .shim = FLM_SHIM_SELF, .command = command};
    struct flm_session_options o = {.size = sizeof(o), .application = app.name};
    flm_client *c = flm_connect(NULL, NULL, &e);
    flm_session *s =
        c && flm_register_application(c, &app, 1, &e) == 0 ? flm_create_session(c, &o, &e) : NULL;
    int rc =
        s ? rounds(c, s, strtoull(argv[1], NULL, 10), (unsigned)strtoul(argv[2], NULL, 10)) : fail(e.text);
    if (s)
        flm_delete_object(c, "bench", 0, NULL);
    flm_disconnect(c);
    free(self);
    return rc;
}
