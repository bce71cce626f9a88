#include "manager/options.h"

#include "base/argp_number.h"
#include "base/walltime.h"
#include "net/address.h"
#include "net/ring.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum key {
    KEY_ENDPOINT = 'e',
    KEY_SLOTS = 'n',
    KEY_VERBOSE = 'v',
    KEY_DIRECTORY = 256,
    KEY_STATE_DIR,
    KEY_SEGMENT_BYTES,
    KEY_REJOIN,
    KEY_RESULTS_LAG,
    KEY_OBJECTS,
    KEY_OBJECT_SPILL,
    KEY_SPILL_LIMIT,
    KEY_NODE_OBJECTS,
    KEY_KEEP_CLOSED,
    KEY_KEEP_SIZE,
    KEY_SECRET,
    KEY_AUTH,
    KEY_PROVIDER,
    KEY_INTERFACE,
    KEY_BACKEND,
    KEY_BACKEND_OPTION,
    KEY_NODES,
    KEY_SITE,
    KEY_MIN_BLOCKS,
    KEY_MAX_BLOCKS,
    KEY_BLOCK_NODES,
    KEY_BLOCK_TIME,
    KEY_BACKLOG,
    KEY_CORES,
    KEY_BIND,
    KEY_SPREAD,
    KEY_WRAPPER,
    KEY_WRAP_EXECUTOR,
    KEY_RING,
    KEY_SPIN,
    KEY_QUANTUM,
    KEY_LOSS,
    KEY_CLIENT_GRACE,
    KEY_READY_FD,
    KEY_PARENT_FD,
    KEY_PRIVATE,
};

static const struct argp_option table[] = {
    {"endpoint", KEY_ENDPOINT, "ENDPOINT", 0,
     "Listen at unix:PATH or tcp:HOST:PORT (tcp:*:0: at all addresses, any port); may be repeated "
     "(default: a socket in the runtime directory of this user)",
     0},
    {"slots", KEY_SLOTS, "N", 0, "Executors per node (default: one per core that may be used)", 0},
    {"cores-per-slot", KEY_CORES, "N", 0, "Cores of each executor (default: 1)", 0},
    {"bind", KEY_BIND, "core|l3|numa|none", 0, "Bind executors to what (default: core)", 0},
    {"spread", KEY_SPREAD, NULL, 0, "Place neighbouring executors far apart (default: packed)", 0},
    {"backend", KEY_BACKEND, "NAME", 0,
     "Where nodes come from: local (default), none (agents join by themselves), or a "
     "plugin",
     0},
    {"backend-option", KEY_BACKEND_OPTION, "NAME=VALUE", 0,
     "An option of the backend plugin; may be repeated", 0},
    {"nodes", KEY_NODES, "N", 0,
     "Nodes to use (default: all that the backend has; local: 1, more pretend that this machine is many)",
     0},
    {"max-blocks", KEY_MAX_BLOCKS, "N", 0,
     "Jobs to ask the batch system for, at most, while there is work for them (default: 0; 10 where flmd "
     "is "
     "in no job)",
     0},
    {"min-blocks", KEY_MIN_BLOCKS, "N", 0, "Jobs to hold also without work (default: 0)", 0},
    {"block-nodes", KEY_BLOCK_NODES, "N", 0, "Nodes of each such job (default: 1; small ones start sooner)",
     0},
    {"block-time", KEY_BLOCK_TIME, "TIME", 0,
     "Time of each such job, as Slurm writes it: MINUTES, H:MM:SS or D-HH (default: the site's)", 0},
    {"site-options", KEY_SITE, "WORDS", 0,
     "Options for the batch system, verbatim, for example \"-A project -p main\"; may be repeated", 0},
    {"backlog", KEY_BACKLOG, "S", 0,
     "More jobs are asked for while the work that waits would take longer than so many seconds on the "
     "nodes "
     "there are (default: 30)",
     0},
    {"provider", KEY_PROVIDER, "NAME", 0,
     "Use this libfabric provider for everybody, also on the node, for example "
     "\"tcp;ofi_rxm\" (default: rings in shared memory on the node)",
     0},
    {"interface", KEY_INTERFACE, "NAME", 0,
     "Network interface between nodes, where they have several (default: that of the host's name)", 0},
    {"auth", KEY_AUTH, "auto|munge|secret", 0,
     "How peers over TCP prove who they are (default: by munge, or the secret where they have no munge)",
     0},
    {"secret-file", KEY_SECRET, "FILE", 0,
     "Secret for connections over TCP; made if it does not exist (default: "
     "$FLM_SECRET_FILE, ~/.config/flame/secret, if it is needed)",
     0},
    {"directory", KEY_DIRECTORY, "DIR", 0,
     "Private directory for sockets (default: under the runtime directory)", 0},
    {"state-dir", KEY_STATE_DIR, "DIR", 0,
     "Keep durable sessions there, and go on with those that are there (default: there are none)", 0},
    {"rejoin-time", KEY_REJOIN, "S", 0,
     "With --state-dir: nodes and executors outlive this session manager for so long, and go on with the "
     "next one there (default: 30; 0: they end with it)",
     0},
    {"results-lag", KEY_RESULTS_LAG, "MIB", 0,
     "Of the journal, what files of results may be behind before tasks wait for them (default 4096)", 0},
    {"object-memory", KEY_OBJECTS, "MIB", 0,
     "Memory that objects may have in the session manager (default: half of the machine's)", 0},
    {"object-spill", KEY_OBJECT_SPILL, "DIR", 0,
     "Keep objects beyond that in files in DIR, which have no name (default: there are no more)", 0},
    {"object-spill-limit", KEY_SPILL_LIMIT, "MIB", 0, "What objects may have there (default: no limit)", 0},
    {"node-object-memory", KEY_NODE_OBJECTS, "MIB", 0,
     "Memory in which each node keeps objects for tasks that will ask for them (default: an eighth of its "
     "own)",
     0},
    {"keep-closed", KEY_KEEP_CLOSED, "TIME", 0,
     "Delete sessions so long after they were closed, also those with results that nobody has taken; as "
     "--block-time (default: never)",
     0},
    {"keep-size", KEY_KEEP_SIZE, "MIB", 0,
     "Delete the oldest closed sessions while all of them hold more than so much (default: no limit)", 0},
    {"segment-bytes", KEY_SEGMENT_BYTES, "BYTES", OPTION_HIDDEN, "Size of the journal's files", 0},
    {"executor-wrapper", KEY_WRAPPER, "COMMAND", 0,
     "Start executors under this command, for example valgrind", 0},
    {"wrap-executor", KEY_WRAP_EXECUTOR, "N", 0, "Wrap only the executor of slot N", 0},
    {"quantum", KEY_QUANTUM, "MS", 0,
     "How long an executor stays with a session while others wait (default: 100)", 0},
    {"loss-time", KEY_LOSS, "MS", 0,
     "A node or executor that is silent for so long is given up (default: 10000)", 0},
    {"client-grace", KEY_CLIENT_GRACE, "S", 0,
     "Cancel the sessions of a client that was lost only after so many seconds (default: 0, at once)", 0},
    {"spin", KEY_SPIN, "US", 0, "Look for work so long before sleeping (default: 20)", 0},
    {"ring-bytes", KEY_RING, "BYTES", 0, "Size of each ring, a power of two (default: 1048576)", 0},
    {"private", KEY_PRIVATE, NULL, 0, "End when no node can be had (flmrun uses this)", 0},
    {"ready-fd", KEY_READY_FD, "FD", 0, "Write the endpoint there when clients can connect", 0},
    {"parent-fd", KEY_PARENT_FD, "FD", 0, "End when this descriptor is closed at the other side", 0},
    {"verbose", KEY_VERBOSE, NULL, 0, "Tell more; services' output goes to standard error", 0},
    {0},
};

/* Passed on to flm-node as it is. */
static void pass_on(struct options *o, const char *name, const char *value)
{
    if (o->n_agent_options + 2 > sizeof(o->agent_options) / sizeof(o->agent_options[0]))
        return;
    o->agent_options[o->n_agent_options++] = name;
    if (value)
        o->agent_options[o->n_agent_options++] = value;
}

static bool power_of_two(unsigned long v)
{
    return v && !(v & (v - 1));
}

static error_t parse_sizes(struct options *o, int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case KEY_RING:
        o->ring_bytes = (unsigned)flm__argp_number(state, "--ring-bytes", arg, 131072, 1u << 30);
        if (!power_of_two(o->ring_bytes))
            argp_error(state, "--ring-bytes must be a power of two");
        return 0;
    case KEY_SPIN:
        o->spin_us = (unsigned)flm__argp_number(state, "--spin", arg, 0, 1000000);
        return 0;
    case KEY_QUANTUM:
        o->quantum_ms = (unsigned)flm__argp_number(state, "--quantum", arg, 1, 3600000);
        return 0;
    case KEY_LOSS:
        o->loss_ms = (unsigned)flm__argp_number(state, "--loss-time", arg, 100, 3600000);
        return 0;
    case KEY_CLIENT_GRACE:
        o->client_grace_s = (unsigned)flm__argp_number(state, "--client-grace", arg, 0, 1000000);
        return 0;
    case KEY_READY_FD:
        o->ready_fd = (int)flm__argp_number(state, "--ready-fd", arg, 0, 1 << 20);
        return 0;
    case KEY_PARENT_FD:
        o->parent_fd = (int)flm__argp_number(state, "--parent-fd", arg, 0, 1 << 20);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* "-A project -p main": split in place at blanks. */
static void add_site_options(struct options *o, char *words, struct argp_state *state)
{
    char *rest = NULL;
    for (char *word = strtok_r(words, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        if (o->n_site_options == sizeof(o->site_options) / sizeof(o->site_options[0]))
            argp_error(state, "--site-options: too many words");
        o->site_options[o->n_site_options++] = word;
    }
}

static error_t parse_blocks(struct options *o, int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case KEY_MAX_BLOCKS:
        o->max_blocks = (unsigned)flm__argp_number(state, "--max-blocks", arg, 0, 10000);
        o->max_blocks_given = true;
        return 0;
    case KEY_MIN_BLOCKS:
        o->min_blocks = (unsigned)flm__argp_number(state, "--min-blocks", arg, 0, 10000);
        return 0;
    case KEY_BLOCK_NODES:
        o->block_nodes = (unsigned)flm__argp_number(state, "--block-nodes", arg, 1, 1024);
        return 0;
    case KEY_BLOCK_TIME:
        if (!flm__walltime(arg, &o->block_time_s))
            argp_error(state, "--block-time reads MINUTES, MM:SS, H:MM:SS or D-HH:MM:SS, not '%s'", arg);
        return 0;
    case KEY_BACKLOG:
        o->backlog_s = (unsigned)flm__argp_number(state, "--backlog", arg, 1, 1000000);
        return 0;
    case KEY_SITE:
        add_site_options(o, arg, state);
        return 0;
    default:
        return parse_sizes(o, key, arg, state);
    }
}

static error_t parse_agent(struct options *o, int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case KEY_SLOTS:
        o->slots = (unsigned)flm__argp_number(state, "--slots", arg, 1, 4096);
        return 0;
    case KEY_CORES:
        flm__argp_number(state, "--cores-per-slot", arg, 1, 4096);
        pass_on(o, "--cores-per-slot", arg);
        return 0;
    case KEY_BIND:
        if (strcmp(arg, "core") && strcmp(arg, "l3") && strcmp(arg, "numa") && strcmp(arg, "none"))
            argp_error(state, "--bind is one of core, l3, numa, none, not '%s'", arg);
        pass_on(o, "--bind", arg);
        return 0;
    case KEY_SPREAD:
        pass_on(o, "--spread", NULL);
        return 0;
    case KEY_WRAPPER:
        pass_on(o, "--executor-wrapper", arg);
        return 0;
    case KEY_WRAP_EXECUTOR:
        flm__argp_number(state, "--wrap-executor", arg, 0, 4095);
        pass_on(o, "--wrap-executor", arg);
        return 0;
    case KEY_NODE_OBJECTS:
        flm__argp_number(state, "--node-object-memory", arg, 1, 1 << 30);
        pass_on(o, "--object-memory", arg);
        return 0;
    case KEY_NODES:
        o->nodes = (unsigned)flm__argp_number(state, "--nodes", arg, 1, 1024);
        return 0;
    default:
        return parse_blocks(o, key, arg, state);
    }
}

static enum auth parse_auth(const char *arg, struct argp_state *state)
{
    static const char *const names[] = {"auto", "munge", "secret"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(arg, names[i]) == 0)
            return (enum auth)i;
    argp_error(state, "--auth is one of auto, munge, secret, not '%s'", arg);
    return AUTH_AUTO;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case KEY_ENDPOINT:
        if (o->n_endpoints == sizeof(o->endpoints) / sizeof(o->endpoints[0]))
            argp_error(state, "too many endpoints");
        o->endpoints[o->n_endpoints++] = arg;
        return 0;
    case KEY_DIRECTORY:
        o->directory = arg;
        return 0;
    case KEY_STATE_DIR:
        o->state_dir = arg;
        return 0;
    case KEY_REJOIN:
        o->rejoin_s = (unsigned)flm__argp_number(state, "--rejoin-time", arg, 0, 86400);
        return 0;
    case KEY_SEGMENT_BYTES:
        o->segment_bytes = (unsigned)flm__argp_number(state, "--segment-bytes", arg, 4096, 1 << 30);
        return 0;
    case KEY_RESULTS_LAG:
        o->results_lag_mib = (unsigned)flm__argp_number(state, "--results-lag", arg, 0, 1 << 30);
        return 0;
    case KEY_OBJECTS:
        o->object_mib = (unsigned)flm__argp_number(state, "--object-memory", arg, 1, 1 << 30);
        return 0;
    case KEY_OBJECT_SPILL:
        if (!*arg)
            argp_error(state, "--object-spill names no directory");
        o->object_spill = arg;
        return 0;
    case KEY_SPILL_LIMIT:
        o->object_spill_mib = (unsigned)flm__argp_number(state, "--object-spill-limit", arg, 1, 1 << 30);
        return 0;
    case KEY_KEEP_CLOSED:
        if (!flm__walltime(arg, &o->keep_closed_s))
            argp_error(state, "--keep-closed reads MINUTES, MM:SS, H:MM:SS or D-HH:MM:SS, not '%s'", arg);
        return 0;
    case KEY_KEEP_SIZE:
        o->keep_size_mib = (unsigned)flm__argp_number(state, "--keep-size", arg, 1, 1 << 30);
        return 0;
    case KEY_SECRET:
        o->secret_file = arg;
        return 0;
    case KEY_AUTH:
        o->auth = parse_auth(arg, state);
        return 0;
    case KEY_PROVIDER:
        o->provider = arg;
        return 0;
    case KEY_INTERFACE:
        if (!flm__interface_is_here(arg))
            argp_error(state,
                       "--interface: there is no network interface '%s' here ('ip -br address' lists them)",
                       arg);
        o->interface = arg;
        pass_on(o, "--interface", arg);
        return 0;
    case KEY_BACKEND:
        o->backend = arg;
        return 0;
    case KEY_BACKEND_OPTION:
        if (o->n_backend_options == sizeof(o->backend_options) / sizeof(o->backend_options[0]) ||
            !strchr(arg, '='))
            argp_error(state, "--backend-option reads NAME=VALUE, not '%s'", arg);
        o->backend_options[o->n_backend_options++] = arg;
        return 0;
    case KEY_PRIVATE:
        o->private_instance = true;
        return 0;
    case KEY_VERBOSE:
        o->verbose = true;
        pass_on(o, "--log-to-stderr", NULL);
        return 0;
    case ARGP_KEY_END:
        if (o->auth == AUTH_MUNGE && o->secret_file)
            argp_error(state, "--auth=munge has no use for --secret-file: leave one of them out");
        if (o->object_spill_mib && !o->object_spill)
            argp_error(state, "--object-spill-limit limits --object-spill, which is missing");
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", arg);
        return 0;
    default:
        return parse_agent(o, key, arg, state);
    }
}

void options_parse(struct options *o, int argc, char **argv)
{
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "The session manager of Flame: clients open sessions at its endpoint and submit tasks, "
               "which flow through "
               "long-lived executors.\vWith flmrun no session manager has to be started by hand. Signals: "
               "SIGTERM and "
               "SIGINT end it in order. See flmd(1).",
    };
    memset(o, 0, sizeof(*o));
    o->backend = "local";
    o->block_nodes = 1;
    o->backlog_s = 30;
    o->results_lag_mib = 4096;
    o->ring_bytes = FLM__RING_BYTES;
    o->spin_us = 20;
    o->quantum_ms = 100;
    o->loss_ms = 10000;
    o->rejoin_s = 30;
    o->ready_fd = o->parent_fd = -1;
    argp_err_exit_status = 2;
    /* Assigned, not defined here: symbols are hidden, and the C library would not see a definition. */
    argp_program_version = "flmd (Flame) " FLM_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, o);
}
