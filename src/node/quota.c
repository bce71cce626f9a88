/* A batch system or a container may grant a process many CPUs to run on but only
 * a share of their time: cpu.max (control groups version 2) or
 * cpu.cfs_quota_us / cpu.cfs_period_us (version 1), of the process's group or of
 * any above it. /proc/self/cgroup names the group, /proc/self/mountinfo where the
 * tree is mounted and which part of it; inside a container the two may not fit,
 * and then the top of the mount is the best there is.
 *
 * What cannot be read grants everything: a wrong guess would only waste cores.
 */
#include "node/quota.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 4096 };

/* One mounted tree: version, which part of the tree, and where. */
struct mount {
    int version;
    char root[PATH_MAX], point[PATH_MAX];
};

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ',') && (!p[n] || p[n] == ',' || p[n] == '\n' || p[n] == ' '))
            return true;
    return false;
}

/* The first line of a file; false when there is none. */
static bool read_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fgets(line, (int)size, f);
    fclose(f);
    return ok;
}

/* "36 35 98:0 /root /point options - type source superoptions" */
static bool parse_mount(const char *line, struct mount *m)
{
    char type[32], super[LINE];
    const char *dash = strstr(line, " - ");
    if (!dash || sscanf(line, "%*s %*s %*s %4095s %4095s", m->root, m->point) != 2 ||
        sscanf(dash, " - %31s %*s %4095s", type, super) != 2)
        return false;
    if (strcmp(type, "cgroup2") == 0)
        m->version = 2;
    else if (strcmp(type, "cgroup") == 0 && has_word(super, "cpu"))
        m->version = 1;
    else
        return false;
    return true;
}

/* The group of this process in the tree of that version. */
static bool find_group(const char *root, int version, char *group, size_t size)
{
    char path[PATH_MAX], line[LINE];
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool found = false;
    while (!found && fgets(line, sizeof(line), f)) {
        char *controllers = strchr(line, ':'), *name = controllers ? strchr(++controllers, ':') : NULL;
        if (!name)
            continue;
        *name++ = '\0';
        name[strcspn(name, "\n")] = '\0';
        found = version == 2 ? !*controllers : has_word(controllers, "cpu");
        if (found)
            snprintf(group, size, "%s", name);
    }
    fclose(f);
    return found;
}

/* CPUs that the group in folder `path` has itself, 0: no limit. */
static double group_quota(const char *path, int version)
{
    char file[PATH_MAX + 32], line[128];
    double quota = 0, period = 100000; /* the kernel's default period, microseconds */
    if (version == 2) {
        snprintf(file, sizeof(file), "%s/cpu.max", path);
        if (!read_line(file, line, sizeof(line)) || sscanf(line, "%lf %lf", &quota, &period) < 1)
            return 0;
    } else {
        snprintf(file, sizeof(file), "%s/cpu.cfs_quota_us", path);
        if (!read_line(file, line, sizeof(line)) || sscanf(line, "%lf", &quota) < 1)
            return 0;
        snprintf(file, sizeof(file), "%s/cpu.cfs_period_us", path);
        if (read_line(file, line, sizeof(line)))
            sscanf(line, "%lf", &period);
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* The smallest of the group and those above it, up to the top of the mount. */
static double tree_quota(const char *root, const struct mount *m, const char *group)
{
    char path[PATH_MAX];
    size_t part = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);
    bool inside = strncmp(group, m->root, part) == 0 && !strstr(group, "/..");
    size_t top = strlen(root) + strlen(m->point);
    int n = snprintf(path, sizeof(path), "%s%s%s", root, m->point, inside ? group + part : "");
    if (n < 0 || (size_t)n >= sizeof(path))
        return 0;
    double least = 0;
    for (;;) {
        double quota = group_quota(path, m->version);
        if (quota > 0 && (least == 0 || quota < least))
            least = quota;
        char *slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < top)
            return least;
        *slash = '\0';
    }
}

double quota_cpus(const char *root)
{
    char path[PATH_MAX], line[LINE], group[LINE];
    snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    double least = 0;
    struct mount *m = malloc(sizeof(*m));
    while (m && fgets(line, sizeof(line), f)) {
        if (!parse_mount(line, m) || !find_group(root, m->version, group, sizeof(group)))
            continue;
        double quota = tree_quota(root, m, group);
        if (quota > 0 && (least == 0 || quota < least))
            least = quota;
    }
    free(m);
    fclose(f);
    return least;
}
