#define _GNU_SOURCE
#include "node/options.h"

#include "base/argp_number.h"
#include "node/launcher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEY_BLOCK = 256,
    KEY_BLOCK_NUMBER,
    KEY_CORES,
    KEY_BIND,
    KEY_SPREAD,
    KEY_SECRET,
    KEY_PROVIDER,
    KEY_INTERFACE,
    KEY_CPUS,
    KEY_SAME_SESSION,
    KEY_RELAY,
    KEY_DIRECTORY,
    KEY_WRAPPER,
    KEY_WRAP_EXECUTOR,
    KEY_WORLD,
    KEY_EXECUTOR,
    KEY_LOSS,
    KEY_REJOIN_FILE,
    KEY_GRACE,
    KEY_OBJECTS,
    KEY_TOPOLOGY,
    KEY_LOG
};

static const struct argp_option table[] = {
    {"endpoint", 'e', "ENDPOINT", 0, "where flmd listens: unix:PATH or tcp:HOST:PORT, or a list of these",
     0},
    {"rejoin-file", KEY_REJOIN_FILE, "FILE", 0,
     "where flmd says in its state directory where it listens by now; before --endpoint", 0},
    {"name", 'N', "NAME", 0, "name of this node (default: what the batch system calls it, or the host's)",
     0},
    {"block", KEY_BLOCK, "ID", 0, "the allocation that this node belongs to (default: the job, or local)",
     0},
    {"block-number", KEY_BLOCK_NUMBER, "N", 0, "flmd's number of that allocation", 0},
    {"slots", 'n', "N", 0,
     "executors; 0 (default): one per cores that this process may use; 4(x2),2: 4 on the first two nodes "
     "of "
     "the step, then 2",
     0},
    {"cpus", KEY_CPUS, "N", 0, "as many CPUs are ours, should we see more; a list like that of --slots", 0},
    {"cores-per-slot", KEY_CORES, "C", 0, "cores of each executor (default 1)", 0},
    {"bind", KEY_BIND, "WHAT", 0, "bind executors to: core (default), l3, numa, none", 0},
    {"spread", KEY_SPREAD, NULL, 0, "place neighbours far apart instead of packed", 0},
    {"topology", KEY_TOPOLOGY, "FILE", OPTION_HIDDEN, "another machine's topology, for tests", 0},
    {"secret-file", KEY_SECRET, "FILE", 0, "secret for TCP endpoints", 0},
    {"provider", KEY_PROVIDER, "NAME", 0, "talk to flmd by this libfabric provider, also on one node", 0},
    {"interface", KEY_INTERFACE, "NAME", 0,
     "network interface for libfabric (default: where flmd is reached)", 0},
    {"relay", KEY_RELAY, NULL, 0, "move records between flmd and the executors, also on one node", 0},
    {"directory", KEY_DIRECTORY, "DIR", 0, "private directory for sockets (default: one of its own)", 0},
    {"executor-wrapper", KEY_WRAPPER, "CMD", 0, "start an executor under CMD, for example \"valgrind -q\"",
     0},
    {"wrap-executor", KEY_WRAP_EXECUTOR, "K", 0, "the slot whose executor is wrapped (default 0; -1: all)",
     0},
    {"world-command", KEY_WORLD, "CMD", 0, "starts {n} MPI ranks; empty: none (default: {mpirun} -n {n})",
     0},
    {"executor", KEY_EXECUTOR, "FILE", 0, "the program flm-executor (default: beside this one)", 0},
    {"loss-time", KEY_LOSS, "MS", 0, "an executor that is silent so long is killed (default 10000)", 0},
    {"grace", KEY_GRACE, "S", 0,
     "after SIGTERM: tell flmd, finish the tasks that run for at most so long, then end (default 0)", 0},
    {"object-memory", KEY_OBJECTS, "MIB", 0,
     "keep so much of objects for tasks that will ask for them (default: an eighth of the memory)", 0},
    {"same-session", KEY_SAME_SESSION, NULL, 0,
     "executors stay in our session, by which PBS knows what belongs to the job", 0},
    {"log-to-stderr", KEY_LOG, NULL, 0, "also print what services write", 0},
    {0},
};

/* This node's entry in a list. */
static unsigned of_this_node(struct argp_state *state, const char *name, const char *list)
{
    struct launcher launcher;
    unsigned value;
    launcher_read(&launcher);
    if (!launcher_count(list, launcher.index, &value) || value > PLACEMENT_MAX_SLOTS)
        argp_error(state, "--%s takes a number from 0 to %d, or a list like 4(x2),2, not '%s'", name,
                   PLACEMENT_MAX_SLOTS, list);
    return value;
}

static error_t parse_place(int key, char *arg, struct argp_state *state)
{
    struct node_options *o = state->input;
    switch (key) {
    case 'n':
        o->placement.slots = of_this_node(state, "slots", arg);
        return 0;
    case KEY_CPUS:
        o->placement.cpus = of_this_node(state, "cpus", arg);
        return 0;
    case KEY_CORES:
        o->placement.cores_per_slot =
            (unsigned)flm__argp_number(state, "--cores-per-slot", arg, 1, 1 << 16);
        return 0;
    case KEY_BIND:
        if (placement_parse_bind(arg, &o->placement.bind) < 0)
            argp_error(state, "--bind takes core, l3, numa or none, not '%s'", arg);
        return 0;
    case KEY_SPREAD:
        o->placement.spread = true;
        return 0;
    case KEY_TOPOLOGY:
        o->placement.topology = arg;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse_executor(int key, char *arg, struct argp_state *state)
{
    struct node_options *o = state->input;
    switch (key) {
    case KEY_WRAPPER:
        o->executor_wrapper = *arg ? arg : NULL;
        return 0;
    case KEY_WRAP_EXECUTOR:
        o->wrap_executor = (int)flm__argp_number(state, "--wrap-executor", arg, -1, PLACEMENT_MAX_SLOTS);
        return 0;
    case KEY_WORLD:
        o->world_command = arg;
        return 0;
    case KEY_EXECUTOR:
        o->executor = arg;
        return 0;
    case KEY_REJOIN_FILE:
        o->rejoin_file = arg;
        return 0;
    case KEY_OBJECTS:
        o->object_bytes = (uint64_t)flm__argp_number(state, "--object-memory", arg, 1, 1 << 30) << 20;
        return 0;
    case KEY_LOSS:
        o->loss_ms = (unsigned)flm__argp_number(state, "--loss-time", arg, 100, 86400000);
        return 0;
    case KEY_GRACE:
        o->grace_s = (unsigned)flm__argp_number(state, "--grace", arg, 0, 86400);
        return 0;
    case KEY_SAME_SESSION:
        o->same_session = true;
        return 0;
    case KEY_LOG:
        o->log_to_stderr = true;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct node_options *o = state->input;
    switch (key) {
    case 'e':
        o->endpoint = arg;
        return 0;
    case 'N':
        o->name = arg;
        return 0;
    case KEY_BLOCK:
        o->block = arg;
        return 0;
    case KEY_BLOCK_NUMBER:
        o->block_number = (uint64_t)flm__argp_number(state, "--block-number", arg, 0, INT32_MAX);
        return 0;
    case KEY_SECRET:
        o->secret_file = arg;
        return 0;
    case KEY_PROVIDER:
        o->provider = *arg ? arg : NULL;
        return 0;
    case KEY_INTERFACE:
        o->interface = *arg ? arg : NULL;
        return 0;
    case KEY_RELAY:
        o->relay = true;
        return 0;
    case KEY_DIRECTORY:
        o->directory = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->endpoint || !*o->endpoint)
            argp_error(state, "--endpoint is missing: where does flmd listen?");
        return 0;
    }
    error_t rc = parse_place(key, arg, state);
    return rc == ARGP_ERR_UNKNOWN ? parse_executor(key, arg, state) : rc;
}

void node_options_parse(struct node_options *out, int argc, char **argv)
{
    static char host[256];
    struct launcher launcher;
    launcher_read(&launcher);
    *out = (struct node_options){.name = launcher.node,
                                 .block = launcher.job ? launcher.job : "local",
                                 .world_command = "{mpirun} -n {n}",
                                 .loss_ms = 10000};
    out->placement.cores_per_slot = 1;
    out->placement.bind = PLACEMENT_CORE;
    const struct argp argp = {
        table,
        parse,
        NULL,
        "Node agent of Flame: starts, binds, watches and replaces the executors of one "
        "node. flmd has it started; there is seldom a reason to start it by hand.",
        NULL,
        NULL,
        NULL};
    /* Assigned, not defined here: symbols are hidden, and the C library would not see a definition. */
    argp_program_version = "flm-node (Flame) " FLM_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, out);
    if (!out->name) {
        if (gethostname(host, sizeof(host) - 1) < 0 || !host[0])
            snprintf(host, sizeof(host), "localhost");
        out->name = host;
    }
}
