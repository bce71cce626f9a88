/* A client for the tests of objects. Each argument is a step, whose words are separated by blanks:
 *
 *     put NAME TEXT          update NAME VERSION TEXT         patch NAME VERSION OFFSET TEXT
 *     get NAME NEWER_THAN    delete NAME VERSION              task NAME NEWER_THAN (a service gets it)
 *     fill NAME BYTES [LETTER] (put, of so many)              many NAME N (so many updates and gets)
 *     whole NAME             (get, and look at all of it)
 *     patches NAME OFFSET N  (so many patches of 4 bytes there: 0001, 0002, ...)
 *     share NAME TASKS [inputs]  (get it, or name it as input; prints how many copies of it there are and
 * by how many executors) input NAMES [WHAT]     (a task with these objects: "a,b=3"; see
 * services/objects.c; "large": its input is) submit NAMES WHAT      (the same, and goes on), wait N (until
 * N more of these are done; prints their results in the order in which they came), where N (the same,
 * prints who ran them) make FILE, await FILE, nonsense BYTES SIZE (a task with SIZE bytes of input, before
 * which stand BYTES that are no list of objects, or name this as the one that its output becomes; prints
 * what became of it) become NAME SIZE LETTER WHAT (a task whose output becomes this object, "a" or "a=3"),
 * becoming ... (the same, and goes on), asking NAME WHAT (as task, and goes on)
 *
 * Prints one line for each: "VERSION SIZE FIRST-BYTES", "ok VERSION" or the error's name and text.
 */
#define _GNU_SOURCE
#include "libflm/handle.h"

#include <flm/admin.h>
#include <flm/object.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static flm_client *client;
static flm_session *session;
static char words[5][200];

static uint64_t number(int i)
{
    return strtoull(words[i], NULL, 10);
}

static int print_object(int rc, struct flm_object *o, const flm_error *e)
{
    if (rc < 0)
        return printf("%s %s\n", flm_error_name(rc), e->text);
    printf("%lu %zu %.*s\n", (unsigned long)o->version, o->size,
           o->data ? (int)(o->size < 20 ? o->size : 20) : 1, o->data ? (const char *)o->data : "-");
    flm_release_object(o);
    return 0;
}

static void print_change(int rc, const uint64_t *version, const flm_error *e)
{
    if (rc < 0)
        printf("%s %s\n", flm_error_name(rc), e->text);
    else
        printf("ok %lu\n", (unsigned long)*version);
}

static void run_task(void)
{
    char text[420];
    struct flm_result r;
    snprintf(text, sizeof(text), "%s %s", words[1], words[2]);
    int rc = flm_invoke(session, text, strlen(text), -1, &r);
    if (rc < 0)
        printf("%s\n", flm_error_name(rc));
    else if (r.state != FLM_TASK_SUCCEED)
        printf("%s %s\n", flm_error_name(-r.code), r.message);
    else
        printf("%.*s\n", (int)r.size, (const char *)r.output);
}

static int fill(flm_error *e)
{
    size_t size = number(2);
    char *data = malloc(size + 1);
    int rc = FLM_ENOMEM;
    if (data) {
        memset(data, words[3][0] ? words[3][0] : 'f', size);
        rc = flm_put_object(client, words[1], data, size, e);
    }
    free(data);
    return rc;
}

static void whole(flm_error *e)
{
    struct flm_object o = {0};
    size_t n = 0;
    if (flm_get_object(client, words[1], 0, &o, e) < 0) {
        printf("%s %s\n", flm_error_name(e->code), e->text);
        return;
    }
    const char *data = o.data;
    while (n < o.size && data[n] == data[0])
        n++;
    printf("%lu %zu of %zu are %c\n", (unsigned long)o.version, n, o.size, data[0]);
    flm_release_object(&o);
}

/* Each update is seen, and each of the older versions stays what it was. */
static void many(flm_error *e)
{
    struct flm_object o[2] = {{0}};
    for (uint64_t i = 0; i < number(2); i++) {
        char text[40];
        uint64_t version = 0;
        snprintf(text, sizeof(text), "number %lu", (unsigned long)i);
        flm_release_object(&o[i % 2]);
        if (flm_update_object(client, words[1], 0, text, sizeof(text), &version, e) < 0 ||
            flm_get_object(client, words[1], version - 1, &o[i % 2], e) < 0) {
            printf("%s\n", e->text);
            return;
        }
        const struct flm_object *older = &o[(i + 1) % 2];
        if (o[i % 2].version != version || !o[i % 2].data || strcmp(o[i % 2].data, text) != 0 ||
            (older->data && strtoull((const char *)older->data + 7, NULL, 10) != i - 1))
            printf("wrong at %lu\n", (unsigned long)i);
    }
    flm_release_object(&o[0]);
    flm_release_object(&o[1]);
    printf("many\n");
}

static void patches(flm_error *e)
{
    for (uint64_t i = 1; i <= number(3); i++) {
        char text[30];
        snprintf(text, sizeof(text), "%04lu", (unsigned long)i);
        if (flm_patch_object(client, words[1], 0, number(2), text, 4, NULL, e) < 0)
            printf("%s\n", e->text);
    }
    printf("patched\n");
}

static struct {
    char file[64];
    unsigned executor;
} shared[1000];
static unsigned n_shared;

static void note_share(const struct flm_result *r, void *arg)
{
    (void)arg;
    if (r->state != FLM_TASK_SUCCEED || n_shared == 1000)
        printf("%s\n", r->message);
    else
        snprintf(shared[n_shared].file, sizeof(shared[0].file), "%.*s", (int)r->size,
                 (const char *)r->output);
    shared[n_shared++].executor = r->executor;
}

static void share(void)
{
    char text[420];
    unsigned copies = 0, executors = 0;
    bool inputs = words[3][0];
    int n = snprintf(text, sizeof(text), "%s file", inputs ? "inputs meet" : words[1]);
    struct flm_object_ref ref = {.name = words[1]};
    struct flm_task t = {.size = sizeof(t),
                         .input = text,
                         .input_size = (size_t)n,
                         .callback = note_share,
                         .objects = inputs ? &ref : NULL,
                         .object_count = inputs};
    for (uint64_t i = 0; i < number(2); i++)
        flm_submit_task(session, &t);
    flm_wait(session, -1);
    for (unsigned i = 0; i < n_shared; i++) {
        bool file = true, executor = true;
        for (unsigned k = 0; k < i; k++) {
            file &= strcmp(shared[k].file, shared[i].file) != 0;
            executor &= shared[k].executor != shared[i].executor;
        }
        copies += file;
        executors += executor;
    }
    printf("%u copies %s\n", copies, executors > 1 ? "shared" : "not shared");
}

/* ---- tasks that name objects ---- */

static struct flm_object_ref refs[20];
static char names[200], large[100000];

static unsigned name_objects(void)
{
    unsigned n = 0;
    char *next = names;
    snprintf(names, sizeof(names), "%s", words[1]);
    for (char *name; n < 20 && (name = strsep(&next, ",")); n++) {
        char *version = strchr(name, '=');
        if (version)
            *version++ = 0;
        refs[n] = (struct flm_object_ref){name, version ? strtoull(version, NULL, 10) : 0};
    }
    return n;
}

static unsigned done, told;
static struct {
    char text[400];
    unsigned executor;
} results[2000];

static void on_input(const struct flm_result *r, void *arg)
{
    unsigned i = done % 2000;
    (void)arg;
    results[i].executor = r->executor;
    if (r->object_version)
        snprintf(results[i].text, sizeof(results[0].text), "ok %lu%s", (unsigned long)r->object_version,
                 r->output || r->size || r->state != FLM_TASK_SUCCEED ? ", and an output" : "");
    else if (r->state == FLM_TASK_SUCCEED)
        snprintf(results[i].text, sizeof(results[0].text), "%.*s", (int)r->size, (const char *)r->output);
    else
        snprintf(results[i].text, sizeof(results[0].text), "%s %s %.300s", flm_reason_name(r->reason),
                 flm_error_name(r->code), r->message);
    done++;
}

static int submit(void)
{
    char text[400];
    snprintf(text, sizeof(text), "inputs %s", words[2]);
    bool is_large = strstr(text, "large") != NULL;
    snprintf(large, sizeof(large), "%s", text);
    struct flm_task t = {.size = sizeof(t),
                         .input = is_large ? large : text,
                         .input_size = is_large ? sizeof(large) : strlen(text),
                         .deadline_ms = is_large ? 1000000 : 0,
                         .callback = on_input,
                         .objects = refs,
                         .object_count = name_objects()};
    int64_t rc = flm_submit_task(session, &t);
    if (rc < 0)
        printf("%s\n", flm_error_name((int)rc));
    return rc < 0;
}

static int become(void)
{
    char text[400];
    name_objects();
    snprintf(text, sizeof(text), "output %.100s %.100s %.100s", words[2], words[3], words[4]);
    struct flm_task t = {.size = sizeof(t),
                         .input = text,
                         .input_size = strlen(text),
                         .callback = on_input,
                         .output_object = refs};
    int64_t rc = flm_submit_task(session, &t);
    if (rc < 0)
        printf("%s\n", flm_error_name((int)rc));
    return rc < 0;
}

static void ask(void)
{
    char text[420];
    int n = snprintf(text, sizeof(text), "%s 0 %s", words[1], words[2]);
    flm_run_task(session, text, (size_t)n, on_input, NULL);
}

static void wait_inputs(unsigned n, bool executors)
{
    while (done < n)
        flm_poll(client, -1);
    for (; told < n; told++)
        if (executors)
            printf("%u ", results[told % 2000].executor);
        else
            printf("%s\n", results[told % 2000].text);
    if (executors)
        printf("\n");
}

/* What no client of ours sends. */
static void nonsense(void)
{
    static union {
        struct flm__task_objects list;
        struct flm__object_ref becomes;
        char bytes[FLM__INLINE_MAX];
    } all;
    bool becomes = words[3][0];
    if (becomes)
        all.becomes = (struct flm__object_ref){.bytes = (uint32_t)number(1)};
    else
        all.list = (struct flm__task_objects){.bytes = (uint32_t)number(1), .count = 1};
    strcpy(all.becomes.name, words[3]);
    struct flm__submission t = {.input = large,
                                .size = number(2),
                                .head = {.names = &all,
                                         .name_bytes = (uint32_t)number(1),
                                         .name_flags = becomes ? FLM__RECORD_OUTPUT : FLM__RECORD_OBJECTS},
                                .callback = on_input};
    flm__task_submit(session, &t);
    wait_inputs(told + 1, false);
}

static void files(bool await)
{
    if (await)
        while (access(words[1], F_OK) < 0)
            flm_poll(client, 10);
    else
        fclose(fopen(words[1], "w"));
}

static bool step_inputs(void)
{
    const char *verb = words[0];
    if (strcmp(verb, "input") == 0 && submit() == 0)
        wait_inputs(told + 1, false);
    else if (strcmp(verb, "submit") == 0)
        submit();
    else if (strcmp(verb, "wait") == 0 || strcmp(verb, "where") == 0)
        wait_inputs(told + (unsigned)number(1), strcmp(verb, "where") == 0);
    else if (strcmp(verb, "become") == 0 && become() == 0)
        wait_inputs(told + 1, false);
    else if (strcmp(verb, "becoming") == 0)
        become();
    else if (strcmp(verb, "asking") == 0)
        ask();
    else if (strcmp(verb, "nonsense") == 0)
        nonsense();
    else if (strcmp(verb, "make") == 0 || strcmp(verb, "await") == 0)
        files(strcmp(verb, "await") == 0);
    else
        return strcmp(verb, "input") == 0 || strcmp(verb, "become") == 0;
    return true;
}

static void step(void)
{
    struct flm_object o = {0};
    uint64_t version = 0;
    flm_error e = {0};
    const char *verb = words[0], *name = words[1];
    if (strcmp(verb, "put") == 0)
        print_change(flm_put_object(client, name, words[2], strlen(words[2]), &e), &version, &e);
    else if (strcmp(verb, "fill") == 0)
        print_change(fill(&e), &version, &e);
    else if (strcmp(verb, "update") == 0)
        print_change(flm_update_object(client, name, number(2), words[3], strlen(words[3]), &version, &e),
                     &version, &e);
    else if (strcmp(verb, "patch") == 0)
        print_change(
            flm_patch_object(client, name, number(2), number(3), words[4], strlen(words[4]), &version, &e),
            &version, &e);
    else if (strcmp(verb, "delete") == 0)
        print_change(flm_delete_object(client, name, number(2), &e), &version, &e);
    else if (strcmp(verb, "get") == 0)
        print_object(flm_get_object(client, name, number(2), &o, &e), &o, &e);
    else if (strcmp(verb, "whole") == 0)
        whole(&e);
    else if (strcmp(verb, "many") == 0)
        many(&e);
    else if (strcmp(verb, "patches") == 0)
        patches(&e);
    else if (strcmp(verb, "share") == 0)
        share();
    else if (!step_inputs())
        run_task();
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    const char *command[] = {argc > 1 ? argv[1] : "", NULL};
    struct flm_application app = {
        .size = sizeof(app), .name = "objects", .shim = FLM_SHIM_SO, .command = command};
    if (getenv("OBJECTS_SHIM"))
        app.shim = atoi(getenv("OBJECTS_SHIM"));
    struct flm_session_options so = {.size = sizeof(so), .application = app.name};
    if (getenv("OBJECTS_DURABLE"))
        so.durability = FLM_DURABILITY_JOURNAL;
    if (getenv("OBJECTS_EXECUTORS"))
        so.min_instances = (unsigned)atoi(getenv("OBJECTS_EXECUTORS"));
    if (getenv("OBJECTS_RANKS"))
        so.ranks_per_task = (unsigned)atoi(getenv("OBJECTS_RANKS"));
    setvbuf(stdout, NULL, _IOLBF, 0);
    client = flm_connect(NULL, NULL, &e);
    if (!client || flm_register_application(client, &app, 1, &e) < 0 ||
        !(session = flm_create_session(client, &so, &e))) {
        fprintf(stderr, "objects: %s\n", e.text);
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        memset(words, 0, sizeof(words));
        sscanf(argv[i], "%199s %199s %199s %199s %199s", words[0], words[1], words[2], words[3], words[4]);
        step();
    }
    int rc = flm_close_session(session, &e);
    flm_disconnect(client);
    return rc < 0;
}
