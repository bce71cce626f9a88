/* launch.c - see launch.h */
#include "launch.h"
#include "fail.h"
#include <flm/admin.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef FLM_PKGLIBDIR
#define FLM_PKGLIBDIR "/usr/local/lib/flame"
#endif

char *launch_find_module(const char *module, flm_error *error)
{
    static const char *const place[] = {"", ".libs/", "../lib/flame/", "../lib/flame/.libs/"};
    char here[PATH_MAX], path[PATH_MAX + 300];
    ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 1);
    char *found = NULL;

    here[n > 0 ? n : 0] = '\0';
    if (strrchr(here, '/'))
        strrchr(here, '/')[1] = '\0';
    for (size_t i = 0; i < sizeof(place) / sizeof(place[0]) && !found; i++) {
        snprintf(path, sizeof(path), "%s%s%s", here, place[i], module);
        found = realpath(path, NULL);
    }
    snprintf(path, sizeof(path), "%s/%s", FLM_PKGLIBDIR, module);
    if (!found)
        found = realpath(path, NULL);
    if (!found)
        fail(error, FLM_ENOTFOUND,
             "the module %s is neither beside the program, nor in %s../lib/flame, nor in %s: say where it "
             "is with --service=FILE",
             module, here, FLM_PKGLIBDIR);
    return found;
}

static void application_name(const struct launch_options *options, char *name, size_t size)
{
    snprintf(name, size, "%s", options->module);
    if (strrchr(name, '.'))
        *strrchr(name, '.') = '\0';
}

static int register_application(struct launch *l, const struct launch_options *options, flm_error *error)
{
    char name[FLM_MAX_NAME + 1];
    char *module =
        options->service ? realpath(options->service, NULL) : launch_find_module(options->module, error);
    const char *command[] = {module, NULL};
    struct flm_application application = {.size = sizeof(application),
                                          .name = name,
                                          .shim = FLM_SHIM_SO,
                                          .command = command,
                                          .description = options->description};
    int rc;

    if (!module && options->service)
        return fail(error, FLM_ENOTFOUND, "--service=%s: %s", options->service, strerror(errno));
    if (!module)
        return FLM_ENOTFOUND;
    application_name(options, name, sizeof(name));
    rc = flm_register_application(l->client, &application, 1, error);
    free(module);
    return rc;
}

/* As many as there will be: not all of them need to have started. */
static unsigned count_executors(flm_client *client)
{
    struct flm_node_view *list = NULL;
    int n = flm_list_nodes(client, &list, NULL);
    unsigned slots = 0;

    for (int i = 0; i < n; i++)
        slots += strcmp(list[i].state, "Up") == 0 ? list[i].slots : 0;
    if (n >= 0)
        flm_free_nodes(list, n);
    return slots ? slots : 1;
}

int launch_connect(struct launch *l, const struct launch_options *options, flm_error *error)
{
    const char *endpoint = getenv("FLM_ENDPOINT");
    flm_error why = {0};
    int rc;

    *l = (struct launch){.executors = 1};
    l->client = flm_connect(options->inproc ? "inproc:" : NULL, NULL, &why);
    if (!l->client && why.code == FLM_ECONNECT && !(endpoint && endpoint[0]))
        return fail(error, FLM_ECONNECT,
                    "no session manager is running. Start one for the time of this command with\n"
                    "    flmrun -- %s ...\nor run the tasks inside this program with --inproc",
                    options->program);
    if (!l->client)
        return fail(error, why.code, "%s", why.text);
    rc = register_application(l, options, error);
    if (rc) {
        launch_end(l);
        return rc;
    }
    l->executors = options->inproc ? 1 : count_executors(l->client);
    return 0;
}

int launch_session(struct launch *l, const struct launch_options *options, const void *common,
                   size_t common_size, flm_error *error)
{
    char name[FLM_MAX_NAME + 1];
    struct flm_session_options session = {
        .size = sizeof(session), .application = name, .common = common, .common_size = common_size};
    flm_error why = {0};

    application_name(options, name, sizeof(name));
    l->session = flm_create_session(l->client, &session, &why);
    return l->session ? 0 : fail(error, why.code, "%s", why.text);
}

int launch_open(struct launch *l, const struct launch_options *options, const char *id, const void *common,
                size_t common_size, flm_task_fn *callback, void *arg, flm_error *error)
{
    char name[FLM_MAX_NAME + 1];
    struct flm_session_options session = {.size = sizeof(session),
                                          .application = name,
                                          .id = id,
                                          .common = common,
                                          .common_size = common_size,
                                          .flags = FLM_KEEP_RESULTS,
                                          .durability = FLM_DURABILITY_JOURNAL,
                                          .callback = callback,
                                          .arg = arg};
    flm_error why = {0};

    application_name(options, name, sizeof(name));
    l->session = flm_open_session(l->client, &session, &why);
    return l->session ? 0 : fail(error, why.code, "%s", why.text);
}

void launch_end(struct launch *l)
{
    if (l->session)
        flm_cancel_session(l->session, NULL);
    launch_leave(l);
}

void launch_leave(struct launch *l)
{
    flm_disconnect(l->client);
    *l = (struct launch){0};
}

void launch_explain(const struct flm_result *result, flm_error *error)
{
    fail(error, result->state == FLM_TASK_CANCELLED ? FLM_ECANCELLED : FLM_ESERVICE,
         "task %llu %s (%s, code %d)%s%s", (unsigned long long)result->task,
         result->state == FLM_TASK_CANCELLED ? "was cancelled" : "failed", flm_reason_name(result->reason),
         result->code, result->message[0] ? ": " : "", result->message);
}
