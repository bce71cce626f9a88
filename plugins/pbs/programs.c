#define _GNU_SOURCE
#include "programs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_in(const char *folder, size_t n, const char *name, char *out, size_t size)
{
    return n && snprintf(out, size, "%.*s/%s", (int)n, folder, name) < (int)size && access(out, X_OK) == 0;
}

static bool is_in_path(const char *name, char *out, size_t size)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        if (is_in(path, n, name, out, size))
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

static bool is_configured(const char *name, char *out, size_t size)
{
    const char *file = getenv("PBS_CONF_FILE");
    char line[PATH_MAX], folder[PATH_MAX + 8] = "";
    FILE *f = fopen(file && *file ? file : "/etc/pbs.conf", "re");
    while (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, " \t\r\n")] = 0;
        if (strncmp(line, "PBS_EXEC=", 9) == 0)
            snprintf(folder, sizeof(folder), "%s/bin", line + 9);
    }
    if (f)
        fclose(f);
    return is_in(folder, strlen(folder), name, out, size);
}

static bool find(const char *name, char *out, size_t size)
{
    char folder[PATH_MAX];
    const char *home = getenv("PBS_EXEC");
    if (is_in_path(name, out, size))
        return true;
    if (home && *home && snprintf(folder, sizeof(folder), "%s/bin", home) < (int)sizeof(folder) &&
        is_in(folder, strlen(folder), name, out, size))
        return true;
    return is_configured(name, out, size) || is_in("/opt/pbs/bin", 12, name, out, size);
}

bool program_find(const char *name, char *out, size_t n)
{
    bool found = find(name, out, n);
    if (!found)
        snprintf(out, n, "%s", name);
    return found;
}
