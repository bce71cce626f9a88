/* The counter covers the whole group, so what it tells is that *some* process of the job was killed; with
 * a SIGKILL that nobody here sent, at that time, that is as sure as it gets. The kernel
 * counts before it kills, and may kill several at once, so each that dies then is held to be one of them.
 */
#define _GNU_SOURCE
#include "base/oom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_kills(const char *file, uint64_t *kills)
{
    FILE *f = *file ? fopen(file, "re") : NULL;
    if (!f)
        return false;
    char line[256];
    bool found = false;
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "oom_kill ", 9) == 0) {
            *kills = strtoull(line + 9, NULL, 10);
            found = true;
        }
    }
    fclose(f);
    return found;
}

/* A line of /proc/self/cgroup: "0::/path" or "4:memory:/path". */
static void try_line(struct flm__oom *oom, char *line, const char *mount)
{
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return;
    *path++ = 0;
    controllers++;
    char file[PATH_MAX];
    uint64_t kills;
    int n;
    if (!*controllers)
        n = snprintf(file, sizeof(file), "%s%s/memory.events", mount, path);
    else if (strcmp(controllers, "memory") == 0)
        n = snprintf(file, sizeof(file), "%s/memory%s/memory.oom_control", mount, path);
    else
        return;
    bool found = n < (int)sizeof(file) && read_kills(file, &kills);
    if (!found) { /* inside a container the path may be the host's: then the top is our own group */
        n = snprintf(file, sizeof(file), "%s/%s", mount,
                     *controllers ? "memory/memory.oom_control" : "memory.events");
        found = n < (int)sizeof(file) && read_kills(file, &kills);
    }
    if (found) {
        memcpy(oom->file, file, (size_t)n + 1);
        oom->kills = kills;
    }
}

void flm__oom_open(struct flm__oom *oom, const char *cgroup, const char *mount)
{
    *oom = (struct flm__oom){0};
    FILE *f = fopen(cgroup, "re");
    if (!f)
        return;
    char line[PATH_MAX];
    while (!*oom->file && fgets(line, sizeof(line), f))
        try_line(oom, line, mount);
    fclose(f);
}

bool flm__oom_grown(struct flm__oom *oom)
{
    uint64_t kills;
    if (!read_kills(oom->file, &kills) || kills <= oom->kills)
        return false;
    oom->kills = kills;
    return true;
}

void flm__oom_forget(struct flm__oom *oom, int64_t now_ns)
{
    if (oom->looked_ns && now_ns - oom->looked_ns < FLM__OOM_LOOK_NS)
        return;
    oom->looked_ns = now_ns;
    flm__oom_grown(oom);
}

bool flm__oom_lately(struct flm__oom *oom, int64_t now_ns)
{
    if (flm__oom_grown(oom))
        oom->grown_ns = now_ns;
    return oom->grown_ns && now_ns - oom->grown_ns < FLM__OOM_LATELY_NS;
}
