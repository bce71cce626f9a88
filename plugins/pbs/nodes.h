/* pbs/nodes.h - the nodes of the job that we are in, from its node file: a line for each rank that the job
 * was asked for (mpiprocs), else for each chunk. */
#ifndef PLUGIN_PBS_NODES_H
#define PLUGIN_PBS_NODES_H

#include <flm/error.h>

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
/* Counts the CPUs in what qstat calls exec_host: "n1/0*2+n2/1". */
void nodes_count_cpus(struct pbs_nodes *nodes, const char *exec_host);

#endif
