#define _GNU_SOURCE
#include "nodes.h"

#include "../parts/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_host(const char *a, const char *b)
{
    size_t n = strcspn(a, "."), m = strcspn(b, ".");
    if (a[n] && b[m])
        return strcmp(a, b) == 0;
    return n == m && strncmp(a, b, n) == 0;
}

struct pbs_node *nodes_find(const struct pbs_nodes *nodes, const char *name)
{
    for (unsigned i = nodes->n; i-- > 0;) /* the file names them one after the other: mostly the last */
        if (same_host(nodes->list[i].name, name))
            return &nodes->list[i];
    return NULL;
}

static int add(struct pbs_nodes *nodes, const char *name, unsigned line)
{
    struct pbs_node *known = nodes_find(nodes, name);
    if (known) {
        known->lines++;
        return 0;
    }
    if ((nodes->n & (nodes->n + 1)) == 0) {
        void *more = realloc(nodes->list, (2 * nodes->n + 2) * sizeof(*nodes->list));
        if (!more)
            return FLM_ENOMEM;
        nodes->list = more;
    }
    struct pbs_node *node = &nodes->list[nodes->n];
    *node = (struct pbs_node){.name = strdup(name), .line = line, .lines = 1};
    if (!node->name)
        return FLM_ENOMEM;
    nodes->n++;
    return 0;
}

int nodes_read(const char *file, struct pbs_nodes *out, flm_error *error)
{
    char *line = NULL;
    size_t room = 0;
    int rc = 0;
    *out = (struct pbs_nodes){0};
    FILE *f = fopen(file, "re");
    if (!f)
        return plugin_fail(error, FLM_ENOTFOUND, "cannot read its node file %.200s: %s", file,
                           strerror(errno));
    for (unsigned i = 0; rc == 0 && getline(&line, &room, f) > 0;) {
        line[strcspn(line, " \t\r\n")] = 0;
        if (*line)
            rc = add(out, line, i++);
    }
    free(line);
    fclose(f);
    if (rc == 0 && !out->n)
        rc = plugin_fail(error, FLM_ENOTFOUND, "its node file %.200s is empty", file);
    else if (rc < 0)
        plugin_fail(error, rc, "no memory for the nodes of the job");
    if (rc < 0)
        nodes_free(out);
    return rc;
}

void nodes_free(struct pbs_nodes *nodes)
{
    for (unsigned i = 0; i < nodes->n; i++)
        free(nodes->list[i].name);
    free(nodes->list);
    *nodes = (struct pbs_nodes){0};
}

bool exec_host_next(const char **at, char *name, size_t size, unsigned *cpus)
{
    const char *part = *at;
    if (!part || !*part)
        return false;
    size_t all = strcspn(part, "+"), n = strcspn(part, "/+");
    const char *times = memchr(part, '*', all);
    unsigned long count = times ? strtoul(times + 1, NULL, 10) : 1;
    snprintf(name, size, "%.*s", (int)(n < size ? n : size - 1), part);
    *cpus = count < 1u << 20 ? (unsigned)count : 0;
    *at = part + all + (part[all] == '+');
    return true;
}

void nodes_count_cpus(struct pbs_nodes *nodes, const char *exec_host)
{
    char name[NODE_NAME_SIZE];
    unsigned cpus;
    for (unsigned i = 0; i < nodes->n; i++)
        nodes->list[i].cpus = 0;
    while (exec_host_next(&exec_host, name, sizeof(name), &cpus)) {
        struct pbs_node *node = nodes_find(nodes, name);
        if (node)
            node->cpus += cpus;
    }
}
