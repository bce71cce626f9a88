/* pbs/nodes.h - the nodes of the job that we are in, from its node file: a line for each rank that the job
 * was asked for (mpiprocs), else for each chunk. */
#ifndef PLUGIN_PBS_NODES_H
#define PLUGIN_PBS_NODES_H

#include <flm/error.h>

#include <stdbool.h>
#include <stddef.h>

enum { NODE_NAME_SIZE = 256 };

struct pbs_node {
    char *name;
    unsigned line;  /* its first in the file, from 0: what pbsdsh -n takes */
    unsigned lines; /* ranks, or chunks */
    unsigned cpus;  /* 0: not known */
};

struct pbs_nodes {
    struct pbs_node *list;
    unsigned n;
};

/* FLM_ENOTFOUND: there is no such file, or nothing in it, and error says so. */
int nodes_read(const char *file, struct pbs_nodes *out, flm_error *error);
void nodes_free(struct pbs_nodes *nodes);
/* By its name, which may be given without or with a domain; NULL: none. */
struct pbs_node *nodes_find(const struct pbs_nodes *nodes, const char *name);
/* The next chunk of what qstat calls exec_host, its node and CPUs: "n1/0*2+n2/1". false: no more. */
bool exec_host_next(const char **at, char *name, size_t size, unsigned *cpus);
/* Counts the CPUs in what qstat calls exec_host. */
void nodes_count_cpus(struct pbs_nodes *nodes, const char *exec_host);

#endif
