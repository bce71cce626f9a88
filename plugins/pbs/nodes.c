#define _GNU_SOURCE
#include "nodes.h"

#include "../parts/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256 };

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

void nodes_count_cpus(struct pbs_nodes *nodes, const char *exec_host)
{
    for (unsigned i = 0; i < nodes->n; i++)
        nodes->list[i].cpus = 0;
    for (const char *at = exec_host; at && *at;) {
        char name[NAME_SIZE];
        size_t all = strcspn(at, "+"), n = strcspn(at, "/+");
        const char *times = memchr(at, '*', all);
        unsigned long cpus = times ? strtoul(times + 1, NULL, 10) : 1;
        snprintf(name, sizeof(name), "%.*s", (int)(n < NAME_SIZE ? n : NAME_SIZE - 1), at);
        struct pbs_node *node = nodes_find(nodes, name);
        if (node && cpus < 1u << 20)
            node->cpus += (unsigned)cpus;
        at += all + (at[all] == '+');
    }
}
