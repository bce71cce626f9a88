#define _GNU_SOURCE
#include "world.h"

#include "words.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int world_words(const char *command, char **kept, unsigned ranks, const char *const *program,
                const char **argv, size_t n, flm_error *error)
{
    const char *mark = strstr(command, "{n}");
    size_t used = 0;
    char *rest = NULL;
    free(*kept);
    *kept = NULL;
    int rc = mark ? asprintf(kept, "%.*s%u%s", (int)(mark - command), command, ranks, mark + 3)
                  : asprintf(kept, "%s", command);
    if (rc < 0) {
        *kept = NULL;
        return plugin_fail(error, FLM_ENOMEM, "no memory for the command of a world");
    }
    for (char *word = strtok_r(*kept, " ", &rest); word && used < n; word = strtok_r(NULL, " ", &rest))
        argv[used++] = word;
    for (; *program && used < n; program++)
        argv[used++] = *program;
    if (used >= n)
        return plugin_fail(error, FLM_ETOOBIG, "the command for a world has more than %zu words", n - 1);
    argv[used] = NULL;
    return 0;
}

int world_program(char **command, const char *name, const char *arguments, flm_error *error)
{
    char folder[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
    folder[n > 0 ? n : 0] = 0;
    char *end = strrchr(folder, '/');
    if (end)
        *end = 0;
    if (asprintf(command, "%s/%s %s", end ? folder : FLM_LIBEXECDIR, name, arguments) >= 0)
        return 0;
    *command = NULL;
    return plugin_fail(error, FLM_ENOMEM, "no memory for the command of a world");
}
