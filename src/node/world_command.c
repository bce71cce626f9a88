#define _GNU_SOURCE
#include "node/world_command.h"

#include "base/error.h"
#include "executor/which_mpi.h"
#include "node/agent.h"

#include <flm/admin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

const char *world_mpi(const Flm__Bind *bind)
{
    const Flm__Application *app = bind->application;
    if (!bind->ranks || !app || !app->n_command || app->shim == FLM_SHIM_MPI)
        return NULL;
    struct texts environment = {0};
    for (char **e = environ; *e; e++)
        texts_add(&environment, *e);
    for (size_t i = 0; i < app->n_environment; i++)
        texts_put(&environment, app->environment[i]);
    const char *mpi = environment.failed || !environment.n
                          ? NULL
                          : flm__mpi_of_command(app->command[0], app->working_directory, environment.list);
    texts_free(&environment);
    return mpi ? mpi : flm__mpi_only();
}

/* The node of each rank: "n2,n1,n1". NULL: no memory. */
static char *list_nodes(const struct slot_kind *kind, const char *node)
{
    size_t each = strlen(node) + 1, n = kind->nodes ? strlen(kind->nodes) + 1 : kind->ranks * each;
    char *list = malloc(n);
    if (list && kind->nodes)
        memcpy(list, kind->nodes, n);
    for (uint32_t r = 0; list && !kind->nodes && r < kind->ranks; r++)
        snprintf(list + r * each, n - r * each, r + 1 < kind->ranks ? "%s," : "%s", node);
    return list;
}

int world_words(const struct slot *slot, const char *mpirun, const char *mpi, struct texts *command)
{
    struct texts words = {0};
    const struct slot_kind *kind = &slot->kind;
    const char *node = slot->agent->options->name;
    char *nodes = list_nodes(kind, node);
    int rc = nodes ? texts_add_words(&words, slot->agent->options->world_command) : FLM_ENOMEM;
    for (size_t i = 0; rc == 0 && i < words.n; i++) {
        const char *word = words.list[i], *mark;
        if ((mark = strstr(word, "{n}")))
            texts_addf(command, "%.*s%u%s", (int)(mark - word), word, kind->ranks, mark + strlen("{n}"));
        else if ((mark = strstr(word, "{nodes}")))
            texts_addf(command, "%.*s%s%s", (int)(mark - word), word, nodes, mark + strlen("{nodes}"));
        else if ((mark = strstr(word, "{node}")))
            texts_addf(command, "%.*s%s%s", (int)(mark - word), word, node, mark + strlen("{node}"));
        else
            texts_add(command, strcmp(word, FLM__MPIRUN) == 0     ? mpirun
                               : strcmp(word, FLM__MPI_MARK) == 0 ? mpi
                                                                  : word);
    }
    texts_free(&words);
    free(nodes);
    return rc;
}

int world_command(const struct slot *slot, struct texts *command, flm_error *error)
{
    struct texts words = {0};
    const char *mpi = slot->kind.mpi;
    int rc = world_words(slot, flm__mpi_launcher(mpi, environ), flm__mpi_name(mpi), &words);
    if (rc < 0)
        flm__error_set(error, FLM_EINVAL, "the command for worlds, '%s', is not a command line",
                       slot->agent->options->world_command);
    if (rc == 0)
        rc = flm__mpi_check(mpi, "the service", words.list, words.n, environ, error);
    for (size_t i = 0; rc == 0 && i < words.n; i++)
        texts_add(command, words.list[i]);
    texts_free(&words);
    return rc;
}
