#define _GNU_SOURCE
#include "tools/flmrun.h"
#include "tools/flmrun_job.h"

#include <flm/error.h>

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEY_CORES = 256,
    KEY_BIND,
    KEY_SPREAD,
    KEY_PROVIDER,
    KEY_STATE_DIR,
    KEY_RESUME,
    KEY_TIMEOUT,
    KEY_NODES,
    KEY_BACKEND,
    KEY_INTERFACE,
    KEY_AUTH,
    KEY_MIN_NODES,
    KEY_MAX_NODES,
    KEY_SITE,
    KEY_BLOCK_TIME,
    KEY_WRAP,
    KEY_WRAP_EXECUTOR,
    KEY_KEEP_LOGS,
    KEY_OBJECTS,
    KEY_OBJECT_SPILL,
    KEY_SPILL_LIMIT,
    KEY_NODE_OBJECTS,
    KEY_GRACE
};

static const struct argp_option table[] = {
    {"slots", 'n', "N", 0,
     "executors, over all nodes (default: one per core that this process may use; in a job one per task, "
     "or "
     "per core of the job)",
     0},
    {"cores-per-slot", KEY_CORES, "C", 0, "cores of each executor (default 1)", 0},
    {"bind", KEY_BIND, "WHAT", 0, "bind executors to core (default), l3, numa or none", 0},
    {"spread", KEY_SPREAD, NULL, 0, "place neighbouring executors far apart", 0},
    {"provider", KEY_PROVIDER, "NAME", 0, "use this libfabric provider also on the node", 0},
    {"nodes", KEY_NODES, "K", 0,
     "use K nodes of the job (default: all); on one machine pretend that it is K nodes, for tests", 0},
    {"backend", KEY_BACKEND, "NAME", 0,
     "where nodes come from: local, this machine; slurm or pbs, the job that we are in (default: auto, the "
     "batch system whose job this is, else local)",
     0},
    {"max-nodes", KEY_MAX_NODES, "K", 0,
     "ask Slurm or PBS for jobs of one node each while there is work for them, up to K nodes with those of "
     "the "
     "job "
     "that we are in",
     0},
    {"min-nodes", KEY_MIN_NODES, "K", 0, "with --max-nodes: hold so many nodes also without work", 0},
    {"block-time", KEY_BLOCK_TIME, "TIME", 0,
     "time of each such job, as sbatch takes it, also for qsub (default: the site's)", 0},
    {"site-options", KEY_SITE, "WORDS", 0,
     "options for sbatch or qsub of such jobs, for example \"-A project\"", 0},
    {"interface", KEY_INTERFACE, "NAME", 0, "network interface between nodes, where they have several", 0},
    {"auth", KEY_AUTH, "auto|munge|secret", 0,
     "how node agents and clients on other nodes prove who they are (default: by munge, or a secret where "
     "they have "
     "no munge)",
     0},
    {"object-memory", KEY_OBJECTS, "MIB", 0,
     "memory that objects may have in the session manager (default: half of the machine's)", 0},
    {"object-spill", KEY_OBJECT_SPILL, "DIR", 0,
     "keep objects beyond that in files in DIR, which have no name (default: there are no more)", 0},
    {"object-spill-limit", KEY_SPILL_LIMIT, "MIB", 0, "what objects may have there (default: no limit)", 0},
    {"node-object-memory", KEY_NODE_OBJECTS, "MIB", 0,
     "memory in which each node keeps objects for tasks that will ask for them (default: an eighth of its "
     "own)",
     0},
    {"state-dir", KEY_STATE_DIR, "DIR", 0, "keep durable sessions there", 0},
    {"resume", KEY_RESUME, NULL, 0, "go on with what an earlier run left in --state-dir", 0},
    {"timeout", KEY_TIMEOUT, "S", 0, "end CMD after S seconds, with status 124", 0},
    {"grace", KEY_GRACE, "S", 0, "seconds between SIGTERM and SIGKILL at the end (default 5)", 0},
    {"wrap", KEY_WRAP, "CMD", 0, "start an executor under CMD, for example \"valgrind -q\"", 0},
    {"wrap-executor", KEY_WRAP_EXECUTOR, "K", 0, "the executor that is wrapped (default 0)", 0},
    {"keep-logs", KEY_KEEP_LOGS, NULL, 0, "keep what the executors write in ./flmrun-PID.log", 0},
    {"verbose", 'v', NULL, 0, "show what the executors write, and what happens", 0},
    {0},
};

static const char *number(struct argp_state *state, const char *name, const char *text, long low, long high)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        argp_error(state, "%s takes a whole number from %ld to %ld, not '%s'", name, low, high, text);
    return text;
}

static double seconds(struct argp_state *state, const char *name, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value <= 1e9))
        argp_error(state, "%s takes seconds, more than 0, not '%s'", name, text);
    return value;
}

static const char *auth_name(struct argp_state *state, const char *text)
{
    if (strcmp(text, "auto") != 0 && strcmp(text, "munge") != 0 && strcmp(text, "secret") != 0)
        argp_error(state, "--auth takes auto, munge or secret, not '%s'", text);
    return text;
}

static const char *bind_name(struct argp_state *state, const char *text)
{
    if (strcmp(text, "core") != 0 && strcmp(text, "l3") != 0 && strcmp(text, "numa") != 0 &&
        strcmp(text, "none") != 0)
        argp_error(state, "--bind takes core, l3, numa or none, not '%s'", text);
    return text;
}

/* Nobody should ask for jobs without saying so, and wait for them. */
static void check_job(struct argp_state *state, const struct flmrun_options *o, const char *backend)
{
    bool pbs = strcmp(backend, "pbs") == 0;
    const char *job = pbs ? "PBS_JOBID" : "SLURM_JOB_ID";
    if (strcmp(backend, "local") == 0)
        return;
    if (pbs && o->max_nodes)
        job_forget_stale();
    if (!o->max_nodes && !getenv(job))
        argp_error(
            state,
            "--backend %s is for a job of %s, and this is none (%s is not set): say --max-nodes to get "
            "jobs of its own",
            backend, pbs ? "PBS" : "Slurm", job);
}

/* In a job all that it has; the plugin makes sure that there is such a job. */
static const char *backend_name(struct argp_state *state, const struct flmrun_options *o)
{
    const char *text = o->backend;
    if (text && strcmp(text, "auto") != 0) {
        if (strcmp(text, "local") != 0 && strcmp(text, "slurm") != 0 && strcmp(text, "pbs") != 0)
            argp_error(state, "--backend takes auto, local, slurm or pbs, not '%s'", text);
        check_job(state, o, text);
        return text;
    }
    text = job_backend();
    if (!text && !o->max_nodes)
        return "local";
    if (!text)
        text = job_submitter();
#ifndef FLM_WITH_SLURM
    if (strcmp(text, "slurm") == 0) {
        say("this is a Slurm job, but Flame was built without Slurm (libslurm-dev was missing): only this "
            "node "
            "is used");
        return "local";
    }
#endif
#ifndef FLM_WITH_PBS
    if (strcmp(text, "pbs") == 0) {
        say("this is a PBS job, but Flame was built --without-pbs: only this node is used");
        return "local";
    }
#endif
    return text;
}

/* What an earlier run left is neither mixed with this one's nor lost. */
static void check_state_dir(struct argp_state *state, const struct flmrun_options *o)
{
    char path[PATH_MAX];
    if (o->resume && !o->state_dir)
        argp_error(state, "--resume needs --state-dir");
    if (!o->state_dir || o->resume)
        return;
    if ((size_t)snprintf(path, sizeof(path), "%s/journal", o->state_dir) >= sizeof(path))
        argp_error(state, "the path of --state-dir is too long");
    if (access(path, F_OK) == 0)
        argp_error(state,
                   "%s holds sessions of an earlier run: --resume goes on with them; for a new beginning "
                   "choose another --state-dir, or remove that one",
                   o->state_dir);
}

static error_t parse_how(int key, char *arg, struct argp_state *state)
{
    struct flmrun_options *o = state->input;
    switch (key) {
    case KEY_STATE_DIR:
        o->state_dir = arg;
        return 0;
    case KEY_RESUME:
        o->resume = true;
        return 0;
    case KEY_TIMEOUT:
        o->timeout_s = seconds(state, "--timeout", arg);
        return 0;
    case KEY_GRACE:
        o->grace_s = seconds(state, "--grace", arg);
        return 0;
    case KEY_WRAP:
        o->wrap = arg;
        return 0;
    case KEY_WRAP_EXECUTOR:
        o->wrap_executor = number(state, "--wrap-executor", arg, 0, 4095);
        return 0;
    case KEY_OBJECTS:
        o->object_memory = number(state, "--object-memory", arg, 1, 1 << 30);
        return 0;
    case KEY_NODE_OBJECTS:
        o->node_object_memory = number(state, "--node-object-memory", arg, 1, 1 << 30);
        return 0;
    case KEY_OBJECT_SPILL:
        if (!*arg)
            argp_error(state, "--object-spill names no directory");
        o->object_spill = arg;
        return 0;
    case KEY_SPILL_LIMIT:
        o->object_spill_limit = number(state, "--object-spill-limit", arg, 1, 1 << 30);
        return 0;
    case KEY_KEEP_LOGS:
        o->keep_logs = true;
        return 0;
    case 'v':
        o->verbose = true;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct flmrun_options *o = state->input;
    switch (key) {
    case 'n':
        o->slots = number(state, "-n", arg, 1, 4096);
        return 0;
    case KEY_CORES:
        o->cores_per_slot = number(state, "--cores-per-slot", arg, 1, 4096);
        return 0;
    case KEY_BIND:
        o->bind = bind_name(state, arg);
        return 0;
    case KEY_SPREAD:
        o->spread = true;
        return 0;
    case KEY_PROVIDER:
        o->provider = arg;
        return 0;
    case KEY_NODES:
        o->nodes = number(state, "--nodes", arg, 1, 1024);
        return 0;
    case KEY_BACKEND:
        o->backend = arg;
        return 0;
    case KEY_MIN_NODES:
        o->min_nodes = (unsigned)atoi(number(state, "--min-nodes", arg, 0, 10000));
        return 0;
    case KEY_MAX_NODES:
        o->max_nodes = (unsigned)atoi(number(state, "--max-nodes", arg, 1, 10000));
        return 0;
    case KEY_SITE:
        o->site_options = arg;
        return 0;
    case KEY_BLOCK_TIME:
        o->block_time = arg;
        return 0;
    case KEY_INTERFACE:
        o->interface = arg;
        return 0;
    case KEY_AUTH:
        o->auth = auth_name(state, arg);
        return 0;
    case ARGP_KEY_ARG: /* the rest is CMD's */
        o->command = state->argv + state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_END:
        if (!o->command)
            argp_error(state, "which command? For example: flmrun -n 2 -- ./my-client");
        if (o->min_nodes > o->max_nodes)
            argp_error(state, "--min-nodes is above --max-nodes");
        if (o->object_spill_limit && !o->object_spill)
            argp_error(state, "--object-spill-limit limits --object-spill, which is missing");
        check_state_dir(state, o);
        o->backend = backend_name(state, o);
        return 0;
    }
    return parse_how(key, arg, state);
}

void flmrun_parse(struct flmrun_options *options, int argc, char **argv)
{
    static const struct argp argp = {
        table,
        parse,
        "[--] CMD [ARG...]",
        "Starts a session manager and executors of its own on this machine, or on all nodes of the Slurm "
        "or PBS "
        "job "
        "that it is in, runs CMD with FLM_ENDPOINT set "
        "so that "
        "clients of Flame in it find them, and ends everything when CMD ends.\vThe exit status is that of "
        "CMD; "
        "128+N when signal N killed it; 127 when it is not found, 126 when it cannot be run; 124 after "
        "--timeout; "
        "125 when Flame itself failed; 2 for a mistake on the command line. See flmrun(1).",
        NULL,
        NULL,
        NULL};
    *options = (struct flmrun_options){.grace_s = 5, .wrap_executor = "0"};
    argp_err_exit_status = STATUS_USAGE;
    /* Assigned, not defined here: symbols are hidden, and the C library would not see a definition. */
    argp_program_version = "flmrun (Flame) " FLM_VERSION;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, options);
}
