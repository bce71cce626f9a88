/* flmping - round trips and throughput of a session manager and its executors. */
#include "base/standard.h"
#include "tools/connection.h"
#include "tools/flmping.h"
#include "tools/program_folder.h"
#include "tools/quantity.h"

#include <flm/admin.h>

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static const char doc[] =
    "Sends tasks to a service that checks them and answers, checks every answer, and says how many "
    "went through per second and how long one takes.\n"
    "\v"
    "NUMBER may end in k, M, G or be written 1e6; SIZE in k, M, G (powers of 1024); TIME in ns, us, ms, "
    "s.\n"
    "Without $FLM_ENDPOINT, --endpoint and a session manager of this user, flmping runs itself under "
    "flmrun, which starts a private one. Exit status: 0 if all tasks succeeded with the right content, "
    "1 if not, 2 for bad usage, 130 after Ctrl-C.";

enum {
    KEY_LATENCY = 256,
    KEY_PAUSE,
    KEY_SLEEP,
    KEY_MIX,
    KEY_FAIL_EVERY,
    KEY_DEADLINE,
    KEY_JSON,
    KEY_ENDPOINT,
    KEY_PROVIDER,
    KEY_SESSION_ID,
    KEY_DURABILITY,
    KEY_STATE_DIR,
    KEY_RESULTS,
    KEY_RANKS,
};

static const struct argp_option options[] = {
    {"tasks", 't', "NUMBER", 0, "Tasks to run (default 100000, with --latency 10000)", 0},
    {"input", 's', "SIZE", 0, "Bytes of each input (default 64)", 0},
    {"output", 'o', "SIZE", 0, "Bytes of each output (default 8)", 0},
    {"duration", 'd', "TIME", 0, "How long each task takes, in us if there is no unit (default 0)", 0},
    {"sleep", KEY_SLEEP, NULL, 0, "Tasks sleep for that time instead of computing", 0},
    {"mix", KEY_MIX, "N:TIME", 0, "N of the tasks, evenly spread, take TIME instead", 0},
    {"window", 'w', "NUMBER", 0, "Most tasks in flight (default 4096)", 0},
    {"latency", KEY_LATENCY, NULL, 0, "One task at a time, the round trip of each measured", 0},
    {"pause", KEY_PAUSE, "TIME", 0, "With --latency: idle so long before each task (us)", 0},
    {"ranks-per-task", KEY_RANKS, "NUMBER", 0, "Each task is run by so many ranks of an MPI world", 0},
    {"deadline", KEY_DEADLINE, "TIME", 0, "Deadline of each task from its start (ms)", 0},
    {"fail-every", KEY_FAIL_EVERY, "NUMBER", 0, "Every so manieth task fails", 0},
    {"json", KEY_JSON, NULL, 0, "Print one JSON object", 0},
    {"quiet", 'q', NULL, 0, "No progress bar", 0},
    {"endpoint", KEY_ENDPOINT, "ENDPOINT", 0, "Session manager: unix:PATH or tcp:HOST:PORT", 0},
    {"provider", KEY_PROVIDER, "NAME", 0, "Use this libfabric provider, also on the node", 0},
    {"session-id", KEY_SESSION_ID, "ID", 0, "Name of the session", 0},
    {"durability", KEY_DURABILITY, "KIND", 0, "none (default), journal or sync", 0},
    {"results", KEY_RESULTS, "FILE.h5", 0, "A new HDF5 file that gets a row for each result", 0},
    {"state-dir", KEY_STATE_DIR, "DIR", 0, "Where a private instance keeps durable sessions", 0},
    {"executors", 'n', "NUMBER", 0, "Executors of a private instance (default: one per core)", 0},
    {0}};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    stop = number;
}

/* ---- command line ----------------------------------------------------------- */

static void need(struct argp_state *state, bool good, const char *option, const char *arg,
                 const char *range)
{
    if (!good)
        argp_error(state, "%s is to be %s, not '%s'", option, range, arg);
}

static void parse_mix(struct argp_state *state, const char *arg, struct flmping_options *o)
{
    char count[32];
    const char *colon = strchr(arg, ':');
    size_t n = colon ? (size_t)(colon - arg) : 0;
    if (n && n < sizeof(count)) {
        memcpy(count, arg, n);
        count[n] = 0;
        if (quantity_count(count, UINT32_MAX, &o->mix_tasks) && o->mix_tasks &&
            quantity_duration(colon + 1, 1000, 86400000000000u, &o->mix_ns))
            return;
    }
    argp_error(state, "--mix is to be NUMBER:TIME, for example 100:1s, not '%s'", arg);
}

static int parse_durability(struct argp_state *state, const char *arg)
{
    static const char *const names[] = {"none", "journal", "sync"};
    for (int i = FLM_DURABILITY_NONE; i <= FLM_DURABILITY_SYNC; i++)
        if (strcmp(arg, names[i]) == 0)
            return i;
    argp_error(state, "--durability is to be none, journal or sync, not '%s'", arg);
    return FLM_DURABILITY_NONE;
}

static void check_options(struct argp_state *state, struct flmping_options *o)
{
    if (!o->tasks)
        o->tasks = o->latency ? 10000 : 100000;
    if (o->pause_ns && !o->latency)
        argp_error(state, "--pause needs --latency");
    if (o->mix_tasks > o->tasks)
        argp_error(state, "--mix asks for more tasks than there are");
}

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    struct flmping_options *o = state->input;
    const uint64_t day = 86400000000000u;
    uint64_t n = 0;
    switch (key) {
    case 't':
        need(state, quantity_count(arg, 1ull << FLMPING_TASKS_LOG2_MAX, &o->tasks) && o->tasks, "--tasks",
             arg, "a number from 1 to 2^36");
        break;
    case 's':
        need(state, quantity_bytes(arg, FLM_MAX_PAYLOAD, &o->input_size), "--input", arg,
             "a size up to 1G");
        break;
    case 'o':
        need(state, quantity_bytes(arg, FLM_MAX_PAYLOAD, &o->output_size), "--output", arg,
             "a size up to 1G");
        break;
    case 'd':
        need(state, quantity_duration(arg, 1000, day, &o->duration_ns), "--duration", arg,
             "a time up to 24h");
        break;
    case 'w':
        need(state, quantity_count(arg, 1ull << FLMPING_TASKS_LOG2_MAX, &o->window) && o->window,
             "--window", arg, "a number from 1 to 2^36");
        break;
    case 'n':
        need(state, quantity_count(arg, 65535, &n) && n, "--executors", arg, "a number from 1 to 65535");
        o->executors = (unsigned)n;
        break;
    case KEY_RANKS:
        need(state, quantity_count(arg, 65535, &n) && n, "--ranks-per-task", arg,
             "a number from 1 to 65535");
        o->ranks = (unsigned)n;
        break;
    case 'q':
        o->quiet = true;
        break;
    case KEY_LATENCY:
        o->latency = true;
        break;
    case KEY_PAUSE:
        need(state, quantity_duration(arg, 1000, day, &o->pause_ns), "--pause", arg, "a time up to 24h");
        break;
    case KEY_SLEEP:
        o->sleep = true;
        break;
    case KEY_MIX:
        parse_mix(state, arg, o);
        break;
    case KEY_FAIL_EVERY:
        need(state, quantity_count(arg, 1ull << 62, &o->fail_every) && o->fail_every, "--fail-every", arg,
             "a number from 1 on");
        break;
    case KEY_DEADLINE:
        need(state, quantity_duration(arg, 1000000, day, &n) && n >= 1000000, "--deadline", arg,
             "a time from 1ms to 24h");
        o->deadline_ms = n / 1000000;
        break;
    case KEY_JSON:
        o->json = true;
        break;
    case KEY_ENDPOINT:
        o->endpoint = arg;
        break;
    case KEY_PROVIDER:
        o->provider = arg;
        break;
    case KEY_SESSION_ID:
        o->session_id = arg;
        break;
    case KEY_DURABILITY:
        o->durability = parse_durability(state, arg);
        break;
    case KEY_RESULTS:
        o->results = arg;
        break;
    case KEY_STATE_DIR:
        o->state_dir = arg;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is one argument too many", arg);
        break;
    case ARGP_KEY_END:
        check_options(state, o);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* ---- connecting ------------------------------------------------------------- */

static void say(const char *text)
{
    fprintf(stderr, "flmping: %s\n", text);
}

/* Becomes `flmrun ... -- flmping ...`, which sets FLM_ENDPOINT. */
static int run_private(const struct flmping_options *o, char **argv)
{
    char program[PATH_MAX], flmrun[PATH_MAX], executors[24];
    size_t n = 0;
    while (argv[n])
        n++;
    const char **list = calloc(n + 13, sizeof(*list));
    if (!list || !program_path(program, sizeof(program)) ||
        !program_find(flmrun, sizeof(flmrun), "flmrun", FLM_BINDIR)) {
        say("there is no session manager, and flmrun to start one is not beside flmping: start one with "
            "flmd");
        free(list);
        return EXIT_FAILURE;
    }
    size_t at = 0;
    list[at++] = flmrun;
    if (o->executors) {
        snprintf(executors, sizeof(executors), "%u", o->executors);
        list[at++] = "-n";
        list[at++] = executors;
    }
    if (o->provider) {
        list[at++] = "--provider";
        list[at++] = o->provider;
    }
    if (o->state_dir) {
        list[at++] = "--resume";
        list[at++] = "--state-dir";
        list[at++] = o->state_dir;
    }
    list[at++] = "--";
    list[at++] = program;
    memcpy(&list[at], argv + 1, n * sizeof(*argv)); /* with the NULL */
    execv(flmrun, (char *const *)(uintptr_t)list);
    fprintf(stderr, "flmping: cannot run %s: %s\n", flmrun, strerror(errno));
    free(list);
    return EXIT_FAILURE;
}

static flm_client *connect_to_manager(const struct flmping_options *o, flm_error *error)
{
    return flm_connect(o->endpoint,
                       &(struct flm_connect_options){.size = sizeof(struct flm_connect_options),
                                                     .name = "flmping",
                                                     .provider = o->provider,
                                                     .on_connection = connection_tell,
                                                     .on_connection_arg = (char *)(uintptr_t) "flmping"},
                       error);
}

static int run(const struct flmping_options *o, flm_client *client)
{
    static struct flmping_outcome out; /* large: the histogram */
    flm_error error = {0};
    char service[PATH_MAX];
    if (!program_module(service, sizeof(service), "flmping.so", FLM_PKGLIBDIR)) {
        say("its service flmping.so is not installed beside it: reinstall Flame");
        return EXIT_FAILURE;
    }
    int rc = flmping_run(o, client, service, &stop, &out, &error);
    if (rc)
        say(error.text);
    if (rc && !out.submitted && !o->json)
        return EXIT_FAILURE;
    if (flmping_print(o, &out, rc ? &error : NULL)) {
        say("cannot write the result to standard output");
        return EXIT_FAILURE;
    }
    if (stop)
        return 128 + stop;
    return !rc && flmping_good(o, &out) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct flmping_options o = {.input_size = 64, .output_size = 8, .window = 4096};
    const struct argp argp = {options, on_option, NULL, doc, NULL, NULL, NULL};
    flm__standard_open();
    argp_program_version = "flmping " FLM_VERSION;
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    const char *endpoint = getenv("FLM_ENDPOINT");
    bool known = o.endpoint || (endpoint && *endpoint);
    if (!known && o.executors)
        return run_private(&o, argv);
    /* Once: a second Ctrl-C ends it at once. */
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
    flm_error error = {0};
    flm_client *client = connect_to_manager(&o, &error);
    if (!client && error.code == FLM_ECONNECT && !known) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        return run_private(&o, argv);
    }
    if (!client) {
        say(error.text);
        return EXIT_FAILURE;
    }
    int status = run(&o, client);
    flm_disconnect(client);
    return status;
}
