#define _GNU_SOURCE
#include "tools/program_folder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool program_path(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size);
    if (n <= 0 || (size_t)n >= size)
        return false;
    path[n] = 0;
    return true;
}

/* folder/inner/name; an empty inner is left out. Makes it free of "..". */
static bool try_path(char *path, size_t size, const char *folder, const char *inner, const char *name)
{
    char joined[2 * PATH_MAX], real[PATH_MAX];
    snprintf(joined, sizeof(joined), "%s/%s%s%s", folder, inner, *inner ? "/" : "", name);
    bool found = realpath(joined, real) && access(real, R_OK) == 0;
    if (found || !*path)
        snprintf(path, size, "%s", found ? real : joined);
    return found;
}

static bool own_folder(char *folder, size_t size)
{
    if (!program_path(folder, size))
        return false;
    *strrchr(folder, '/') = 0;
    return true;
}

static bool try_search_path(char *path, size_t size, const char *name)
{
    const char *list = getenv("PATH");
    char folder[PATH_MAX];
    while (list && *list) {
        size_t n = strcspn(list, ":");
        if (n && n < sizeof(folder)) {
            memcpy(folder, list, n);
            folder[n] = 0;
            if (try_path(path, size, folder, "", name))
                return true;
        }
        list += n + (list[n] == ':');
    }
    return false;
}

bool program_find(char *path, size_t size, const char *name, const char *installed)
{
    char folder[PATH_MAX];
    *path = 0;
    return (own_folder(folder, sizeof(folder)) && try_path(path, size, folder, "", name)) ||
           try_path(path, size, installed, "", name) || try_search_path(path, size, name);
}

bool program_module(char *path, size_t size, const char *name, const char *installed)
{
    char folder[PATH_MAX];
    *path = 0;
    if (own_folder(folder, sizeof(folder)) && (try_path(path, size, folder, "../lib/flame", name) ||
                                               try_path(path, size, folder, "../lib/flame/.libs", name)))
        return true;
    return try_path(path, size, installed, "", name);
}
