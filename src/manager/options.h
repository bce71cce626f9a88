/* manager/options.h - the command line of flmd. */
#ifndef MANAGER_OPTIONS_H
#define MANAGER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* How peers over TCP prove who they are. AUTO: by munge, or by the secret where they have none. */
enum auth { AUTH_AUTO, AUTH_MUNGE, AUTH_SECRET };

struct options {
    const char *endpoints[4]; /* to listen at */
    unsigned n_endpoints;
    const char *directory;     /* private, for sockets and logs; NULL: under the runtime directory */
    const char *state_dir;     /* NULL: there are no durable sessions */
    unsigned rejoin_s;         /* agents outlive us there for so long */
    unsigned segment_bytes;    /* of the journal there; 0: as it likes */
    unsigned object_mib;       /* that objects may have; 0: a part of the memory */
    const char *object_spill;  /* a directory for those beyond that; NULL: there are none */
    unsigned object_spill_mib; /* that they may have there; 0: any number */
    unsigned results_lag_mib, keep_closed_s, keep_size_mib;
    enum auth auth;
    const char *secret_file;
    const char *provider; /* forced for everybody; NULL: rings on the node */
    const char *interface;
    const char *backend; /* "local", "none", ... */
    const char *backend_options[16];
    unsigned n_backend_options;
    unsigned slots;                /* per node, 0: one per core */
    const char *agent_options[32]; /* passed on to flm-node */
    unsigned n_agent_options;
    unsigned nodes;               /* 0: all that the backend has */
    const char *site_options[32]; /* words for the batch system, when a job is asked for */
    unsigned n_site_options;
    bool max_blocks_given;
    unsigned min_blocks, max_blocks;    /* jobs of our own at once; max 0: none */
    unsigned block_nodes, block_time_s; /* of each; time 0: the site's default */
    unsigned backlog_s;                 /* more nodes when the work that waits would take longer */
    unsigned ring_bytes;
    unsigned spin_us;
    unsigned quantum_ms; /* an executor stays so long with a session when others wait */
    unsigned loss_ms;
    unsigned client_grace_s;
    int ready_fd, parent_fd;
    bool private_instance, verbose;
};

/* Ends the process on --help and on usage errors (status 2). */
void options_parse(struct options *options, int argc, char **argv);

#endif
