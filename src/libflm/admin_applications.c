/* Applications: to the wire and back. */
#include "libflm/admin.h"
#include "libflm/application_file.h"
#include "libflm/options.h"
#include "base/error.h"

#include <stdlib.h>

enum { WORDS_MAX = 65536 }; /* of a command or an environment; the size of a message bounds the bytes */

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n] && n < WORDS_MAX)
        n++;
    return n;
}

static int check(const struct flm_application *a, flm_error *error)
{
    if (!a->name || !flm__name_is_valid(a->name))
        return flm__error_set(error, FLM_EINVAL,
                              "'%.150s' is no name of an application: 1 to %d letters, digits and "
                              ". _ - : @ +",
                              a->name ? a->name : "", FLM_MAX_NAME);
    if (a->shim < FLM_SHIM_SO || a->shim > FLM_SHIM_MPI)
        return flm__error_set(error, FLM_EINVAL, "application %s: %d is no shim", a->name, a->shim);
    if (a->exec_mode < FLM_EXEC_STDIN || a->exec_mode > FLM_EXEC_CAPTURE)
        return flm__error_set(error, FLM_EINVAL, "application %s: %d is no exec_mode", a->name,
                              a->exec_mode);
    bool runs_files = a->shim == FLM_SHIM_EXEC || a->shim == FLM_SHIM_MPI;
    bool from_input = runs_files && a->exec_mode != FLM_EXEC_STDIN;
    if (!from_input && (!a->command || !a->command[0] || !a->command[0][0]))
        return flm__error_set(error, FLM_EINVAL, "application %s has no command", a->name);
    if (count(a->command) == WORDS_MAX || count(a->environment) == WORDS_MAX)
        return flm__error_set(error, FLM_ETOOBIG, "application %s: more than %d words or variables",
                              a->name, WORDS_MAX - 1);
    if (a->max_instances && a->min_instances > a->max_instances)
        return flm__error_set(error, FLM_EINVAL,
                              "application %s: min_instances %u is larger than max_instances %u", a->name,
                              a->min_instances, a->max_instances);
    return 0;
}

static void fill(Flm__Application *to, const struct flm_application *a)
{
    to->name = flm__admin_text(a->name);
    to->shim = a->shim;
    to->exec_mode = a->exec_mode;
    to->n_command = count(a->command);
    to->command = (char **)(uintptr_t)a->command;
    to->n_environment = count(a->environment);
    to->environment = (char **)(uintptr_t)a->environment;
    to->has_environment = a->environment != NULL;
    to->working_directory = flm__admin_text(a->working_directory);
    to->description = flm__admin_text(a->description);
    to->min_instances = a->min_instances;
    to->max_instances = a->max_instances;
    to->delay_release_ms = a->delay_release_ms;
    to->deadline_ms = a->deadline_ms;
    to->ranks_per_task = a->ranks_per_task;
    to->temporary = a->temporary != 0;
    to->output_type = flm__admin_text(a->output_type);
}

int flm_register_application(flm_client *c, const struct flm_application *application, int replace,
                             flm_error *error)
{
    struct flm_application a;
    Flm__Application wire = FLM__APPLICATION__INIT;
    Flm__Request q = FLM__REQUEST__INIT;
    if (!application || flm__options_copy(&a, sizeof(a), application) < 0)
        return flm__error_set(error, FLM_EINVAL, "the size of the application's description is not set");
    int rc = check(&a, error);
    if (rc < 0)
        return rc;
    fill(&wire, &a);
    q.verb_case = FLM__REQUEST__VERB_REGISTER_APPLICATION;
    q.register_application = &wire;
    q.replace = replace != 0;
    return flm__admin_request(c, &q, NULL, error);
}

/* A NULL-terminated array of borrowed texts. */
static const char *const *borrow(char **list, size_t n)
{
    const char **out = calloc(n + 1, sizeof(*out));
    for (size_t i = 0; out && i < n; i++)
        out[i] = list[i];
    return out;
}

static void free_borrowed(struct flm_application *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++) {
        free((void *)(uintptr_t)list[i].command);
        free((void *)(uintptr_t)list[i].environment);
    }
    free(list);
}

static bool unfill(struct flm_application *to, const Flm__Application *a)
{
    *to = (struct flm_application){
        .size = sizeof(*to),
        .name = a->name,
        .shim = a->shim,
        .exec_mode = a->exec_mode,
        .command = borrow(a->command, a->n_command),
        .environment = a->has_environment ? borrow(a->environment, a->n_environment) : NULL,
        .working_directory = a->working_directory,
        .description = a->description,
        .min_instances = a->min_instances,
        .max_instances = a->max_instances,
        .delay_release_ms = a->delay_release_ms,
        .deadline_ms = a->deadline_ms,
        .ranks_per_task = a->ranks_per_task,
        .temporary = a->temporary,
        .output_type = a->output_type,
    };
    return to->command && (to->environment || !a->has_environment);
}

int flm_list_applications(flm_client *c, struct flm_application **list, flm_error *error)
{
    Flm__Request q = FLM__REQUEST__INIT;
    Flm__Message *reply;
    q.verb_case = FLM__REQUEST__VERB_LIST_APPLICATIONS;
    q.list_applications = true;
    int rc = flm__admin_request(c, &q, &reply, error);
    if (rc < 0)
        return rc;
    const Flm__Reply *r = reply->reply;
    size_t n = r->n_applications;
    struct flm_application *borrowed = calloc(n + 1, sizeof(*borrowed));
    bool good = borrowed != NULL;
    for (size_t i = 0; good && i < n; i++)
        good = unfill(&borrowed[i], r->applications[i]);
    struct flm_application *copy = good ? flm__application_copy(borrowed, (int)n) : NULL;
    free_borrowed(borrowed, n);
    flm__message__free_unpacked(reply, NULL);
    if (!copy)
        return flm__admin_no_memory(error);
    *list = copy;
    return (int)n;
}
