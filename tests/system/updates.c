/* A client for the tests of common data that change: in each round it gives the session new ones, and
 * submits tasks that must see these or newer ones.
 *
 *     updates [-a FILE | -l SERVICE.so] [-r ROUNDS] [-n TASKS] [-s WORDS] [-c WORDS] [-I ID]
 *             [-D journal|sync] [-G] [-P] [-t TEXT]
 *
 * -c: the session begins with so many words; an executor does not enter it with wrong ones.
 * -P: patches of the first version, of which there are -c words and to which no other client has given new
 * ones. -G first runs a task that waits for the file UPDATES_GATE, which is made after the last round. -t
 * TEXT: the data are TEXT and the number of the round, the task's output is printed, one task a round.
 * Session ID goes on where an earlier client left it, and stays. Prints "half" before the middle round, and
 * "versions BEFORE..LAST tasks N wrong N maps MOST gated VERSION".
 */
#include "updates.h"

#include <flm/admin.h>
#include <flm/client.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *file, *library, *id, *text;
    uint64_t rounds, tasks;
    size_t words, first;
    int durability, gate, patch;
} o = {.rounds = 1, .tasks = 1, .words = 1000};

static uint64_t done, wrong, most_maps, gated;

static int fail(const char *why)
{
    fprintf(stderr, "updates: %s\n", why);
    return 1;
}

static void on_result(const struct flm_result *r, void *arg)
{
    const struct updates_output *out = r->output;
    uint64_t version = *(uint64_t *)arg;
    done++;
    if (o.text) {
        printf("%s [%.*s] %s\n", flm_task_state_name(r->state), (int)r->size, (const char *)r->output,
               r->message);
        return;
    }
    if (r->state != FLM_TASK_SUCCEED || r->size != sizeof(*out) || out->version < version) {
        wrong++;
        fprintf(stderr, "task %lu: %s %s\n", (unsigned long)r->task, flm_task_state_name(r->state),
                r->message);
        return;
    }
    if (arg == &gated)
        gated = out->version;
    if (out->maps > most_maps)
        most_maps = out->maps;
}

static int submit(flm_session *s, uint64_t *version, bool wait)
{
    struct updates_input in = {*version, wait, (uint64_t)o.patch};
    int64_t task = flm_run_task(s, &in, sizeof(in), on_result, version);
    return task < 0 ? fail(flm_strerror((int)task)) : 0;
}

/* Until all are done but the one that waits. */
static void wait_for_others(flm_client *c, flm_session *s)
{
    while (flm_outstanding(s) > (uint64_t)o.gate && flm_poll(c, 100) >= 0)
        ;
}

/* New data. *version: what they are called. */
static int update(flm_session *s, uint64_t *data, uint64_t round, uint64_t *version)
{
    flm_error e = {0};
    size_t words = o.words - round % 3 * (o.words / 4), size = words * sizeof(*data);
    uint64_t next = flm_common_version(s) + 1;
    if (o.text)
        size = (size_t)sprintf((char *)data, "%s %lu", o.text, (unsigned long)next);
    else
        updates_fill(data, words, next);
    if (flm_update_common_data(s, data, size, version, &e) < 0)
        return fail(e.text);
    memset(data, 0, size); /* they were copied */
    return *version == next && flm_common_version(s) == next ? 0 : fail("it has another version");
}

static int patch(flm_session *s, uint64_t *version)
{
    flm_error e = {0};
    uint64_t words[UPDATES_PATCH], next = flm_common_version(s) + 1;
    size_t at;
    updates_patch(words, o.first, next, &at);
    if (flm_patch_common_data(s, at * sizeof(*words), words, sizeof(words), version, &e) < 0)
        return fail(e.text);
    return *version == next && flm_common_version(s) == next ? 0 : fail("it has another version");
}

/* What cannot be: each is refused, and changes nothing. */
static int wrong_patches(flm_session *s)
{
    flm_error e = {0};
    size_t size = o.first * sizeof(uint64_t);
    uint64_t word = 0, version = flm_common_version(s);
    bool refused = flm_patch_common_data(s, size - 7, &word, 8, NULL, &e) == FLM_EINVAL &&
                   flm_patch_common_data(s, SIZE_MAX, &word, 8, NULL, &e) == FLM_EINVAL &&
                   flm_patch_common_data(s, 0, &word, 0, NULL, &e) == FLM_EINVAL &&
                   flm_patch_common_data(s, 0, NULL, 8, NULL, &e) == FLM_EINVAL &&
                   flm_patch_common_data(NULL, 0, &word, 8, NULL, &e) == FLM_EINVAL;
    return refused && flm_common_version(s) == version ? 0 : fail("a wrong patch was taken");
}

static int all_rounds(flm_client *c, flm_session *s)
{
    uint64_t *data = calloc(o.words + 100, sizeof(*data)),
             *versions = calloc(o.rounds + 1, sizeof(*versions));
    int failed = !data || !versions;
    for (uint64_t i = 0; i < o.rounds && !failed; i++) {
        if (i == o.rounds / 2 && i)
            puts("half");
        failed = o.patch ? patch(s, &versions[i]) : update(s, data, i, &versions[i]);
        for (uint64_t j = 0; j < o.tasks && !failed; j++)
            failed = submit(s, &versions[i], false);
        if (i % 4 == 3 || o.text) /* others come while tasks of the last ones wait */
            wait_for_others(c, s);
    }
    wait_for_others(c, s);
    if (o.gate)
        close(open(getenv("UPDATES_GATE"), O_CREAT | O_WRONLY, 0600));
    if (flm_wait(s, -1) < 0)
        failed = fail("waiting");
    free(data);
    free(versions);
    return failed;
}

/* The first task runs before the first round begins. */
static int begin_gated(flm_client *c, flm_session *s)
{
    char begun[4096];
    gated = 1;
    if (submit(s, &gated, true))
        return 1;
    snprintf(begun, sizeof(begun), "%s.begun", getenv("UPDATES_GATE"));
    while (access(begun, F_OK) < 0)
        flm_poll(c, 10);
    return 0;
}

static flm_session *open_session(flm_client *c, flm_error *e)
{
    const char *command[] = {o.library, NULL};
    struct flm_application so = {
        .size = sizeof(so), .name = "updates", .shim = FLM_SHIM_SO, .command = command};
    struct flm_application *a = o.file ? flm_read_application(o.file, e) : &so;
    if (!a || flm_register_application(c, a, 1, e) < 0)
        return NULL;
    uint64_t *first = calloc(o.first + 1, sizeof(*first));
    if (!first)
        return NULL;
    updates_fill(first, o.first, 1);
    struct flm_session_options options = {.size = sizeof(options),
                                          .application = a->name,
                                          .id = o.id,
                                          .common = o.first ? first : NULL,
                                          .common_size = o.first * sizeof(*first),
                                          .durability = o.durability};
    flm_session *s = o.id ? flm_open_session(c, &options, e) : flm_create_session(c, &options, e);
    free(first);
    if (o.file)
        flm_free_applications(a, 1);
    return s;
}

static void parse(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "a:l:r:n:s:c:I:D:GPt:")) != -1) {
        switch (option) {
        case 'a':
            o.file = optarg;
            break;
        case 'l':
            o.library = optarg;
            break;
        case 'r':
            o.rounds = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            o.tasks = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o.words = strtoull(optarg, NULL, 10);
            break;
        case 'c':
            o.first = strtoull(optarg, NULL, 10);
            break;
        case 'I':
            o.id = optarg;
            break;
        case 'D':
            o.durability = strcmp(optarg, "sync") == 0 ? FLM_DURABILITY_SYNC : FLM_DURABILITY_JOURNAL;
            break;
        case 'G':
            o.gate = 1;
            o.first = 100;
            break;
        case 'P':
            o.patch = 1;
            break;
        case 't':
            o.text = optarg;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    parse(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    flm_client *c = flm_connect(NULL, NULL, &e);
    flm_session *s = c ? open_session(c, &e) : NULL;
    if (!s)
        return fail(e.text);
    uint64_t before = flm_common_version(s);
    int failed = (o.gate && begin_gated(c, s)) || all_rounds(c, s) || (o.patch && wrong_patches(s));
    if (!o.text)
        printf("versions %lu..%lu tasks %lu wrong %lu maps %lu gated %lu\n", (unsigned long)before,
               (unsigned long)flm_common_version(s), (unsigned long)done, (unsigned long)wrong,
               (unsigned long)most_maps, (unsigned long)gated);
    if (!o.id && flm_close_session(s, &e) < 0)
        failed = fail(e.text);
    flm_disconnect(c);
    return failed || wrong;
}
