/* Directory and environment of an application, around its service. */
#define _GNU_SOURCE
#include "executor/session.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Also when the application does not name one: its service may go elsewhere, and the next session begins
 * where this one did. */
static int enter_directory(struct flm__session *s, const char *directory, flm_error *error)
{
    s->old_directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory && *directory && chdir(directory) < 0)
        return flm__error_errno(error, FLM_EBIND, errno, "cannot enter the working directory %s",
                                directory);
    return 0;
}

/* Remembers name and sets it. */
static int set_variable(struct flm__session *s, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return FLM_EINVAL;
    struct flm__old_variable *old = &s->old[s->n_old];
    old->name = strndup(text, (size_t)(equals - text));
    if (!old->name)
        return FLM_ENOMEM;
    const char *value = getenv(old->name);
    old->value = value ? strdup(value) : NULL;
    s->n_old++;
    return (value && !old->value) || setenv(old->name, equals + 1, 1) < 0 ? FLM_ENOMEM : 0;
}

int flm__surroundings_enter(struct flm__session *s, const Flm__Application *app, flm_error *error)
{
    int rc = enter_directory(s, app->working_directory, error);
    if (rc < 0 || app->n_environment == 0)
        return rc;
    s->old = calloc(app->n_environment, sizeof(*s->old));
    if (!s->old)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the environment");
    for (size_t i = 0; i < app->n_environment && rc == 0; i++) {
        rc = set_variable(s, app->environment[i]);
        if (rc < 0)
            flm__error_set(error, rc,
                           "the environment variable \"%.80s\" cannot be set: it must read NAME=VALUE",
                           app->environment[i]);
    }
    return rc;
}

void flm__surroundings_leave(struct flm__session *s)
{
    /* Backwards: a name may have been set twice. */
    while (s->n_old > 0) {
        struct flm__old_variable *old = &s->old[--s->n_old];
        if (old->value)
            setenv(old->name, old->value, 1);
        else
            unsetenv(old->name);
        free(old->name);
        free(old->value);
    }
    free(s->old);
    s->old = NULL;
    if (s->old_directory >= 0) {
        if (fchdir(s->old_directory) < 0)
            (void)0; /* it was removed: there is nowhere to go back to */
        close(s->old_directory);
        s->old_directory = -1;
    }
}

static bool is_set_by(const Flm__Application *app, const char *variable)
{
    size_t name = strcspn(variable, "=");
    for (size_t i = 0; i < app->n_environment; i++) {
        if (strncmp(app->environment[i], variable, name) == 0 && app->environment[i][name] == '=')
            return true;
    }
    return false;
}

int flm__surroundings_merge(const Flm__Application *app, const char ***environment, flm_error *error)
{
    size_t n = 0, ours = 0;
    *environment = NULL;
    if (app->n_environment == 0)
        return 0;
    while (environ[ours])
        ours++;
    const char **list = calloc(ours + app->n_environment + 1, sizeof(*list));
    if (!list)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the environment");
    for (size_t i = 0; i < ours; i++) {
        if (!is_set_by(app, environ[i]))
            list[n++] = environ[i];
    }
    for (size_t i = 0; i < app->n_environment; i++)
        list[n++] = app->environment[i];
    *environment = list;
    return 0;
}
