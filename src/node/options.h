/* node/options.h - what flm-node was told on its command line. */
#ifndef FLM_NODE_OPTIONS_H
#define FLM_NODE_OPTIONS_H

#include "node/placement.h"

#include <stdbool.h>
#include <stdint.h>

struct node_options {
    const char *endpoint;    /* of flmd; a list is tried in order */
    const char *rejoin_file; /* says where it listens by now, better than endpoint; NULL: there is none */
    const char *name;        /* of this node */
    const char *block;       /* the job's id, "local" without one */
    uint64_t block_number;
    struct placement_options placement;
    const char *secret_file;
    const char *provider;  /* NULL: rings where the endpoint is a Unix socket */
    const char *interface; /* for libfabric on nodes that have several; NULL: any that flmd is reached by */
    bool relay;
    const char *directory;        /* NULL: one of our own in the runtime directory */
    const char *executor_wrapper; /* "gdb --args": put before the command of one executor */
    int wrap_executor;            /* slot; -1: every one */
    const char *world_command;    /* "{n}" stands for the ranks, the program follows */
    const char *executor;         /* the program flm-executor; NULL: found beside us */
    uint64_t object_bytes;        /* that a relay may keep of objects; 0: a part of the memory */
    unsigned loss_ms;
    unsigned grace_s;  /* after SIGTERM, for what runs to be finished */
    bool same_session; /* as process.h has it */
    bool log_to_stderr;
};

/* Fills *out from the command line, with the defaults; exits as argp does on --help and on a mistake. */
void node_options_parse(struct node_options *out, int argc, char **argv);

#endif
