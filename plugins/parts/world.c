#define _GNU_SOURCE
#include "world.h"

#include "words.h"

#include <stdlib.h>
#include <string.h>

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
