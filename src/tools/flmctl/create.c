/* flmctl create - a session that lives without a client; one attaches to it later
 * with flm_open_session. */
#include "tools/flmctl/flmctl.h"
#include "tools/quantity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct flm_session_options session = {.size = sizeof(session), .flags = FLM_DETACHED};
static const char *common_file;

enum {
    KEY_ID = 256,
    KEY_COMMON,
    KEY_DEADLINE,
    KEY_MIN,
    KEY_MAX,
    KEY_WEIGHT,
    KEY_DELAY,
    KEY_RETRY,
    KEY_QUEUE,
    KEY_RESULTS,
    KEY_DURABILITY,
    KEY_RANKS,
    KEY_SPREAD,
    KEY_FILE
};

static const struct argp_option options[] = {
    {"id", KEY_ID, "ID", 0, "Name of the session (default: made by the manager)", 0},
    {"common", KEY_COMMON, "FILE", 0, "Common data, given to the service when it enters the session", 0},
    {"deadline", KEY_DEADLINE, "TIME", 0, "Deadline of each task from its start (ms, or 10s, 2m)", 0},
    {"min-instances", KEY_MIN, "NUMBER", 0, "Executors kept as long as the session is open", 0},
    {"max-instances", KEY_MAX, "NUMBER", 0, "Most executors at once", 0},
    {"weight", KEY_WEIGHT, "NUMBER", 0, "Share among sessions, 1 to 1000", 0},
    {"delay-release", KEY_DELAY, "TIME", 0, "An executor without tasks stays bound so long (ms)", 0},
    {"retry-limit", KEY_RETRY, "NUMBER", 0, "Executors that a task may cost before it fails", 0},
    {"queue-bytes", KEY_QUEUE, "SIZE", 0, "Most bytes of queued tasks", 0},
    {"result-bytes", KEY_RESULTS, "SIZE", 0, "Most bytes of results that wait for the client", 0},
    {"durability", KEY_DURABILITY, "KIND", 0, "none, journal or sync", 0},
    {"results", KEY_FILE, "FILE.h5", 0, "A new HDF5 file that gets a row for each result, as they come", 0},
    {"ranks-per-task", KEY_RANKS, "NUMBER", 0, "MPI ranks of each task's world", 0},
    {"spread-ranks", KEY_SPREAD, 0, 0, "They are on as many nodes as can be", 0},
    {0}};

static unsigned number(struct argp_state *state, const char *option, const char *arg, uint64_t max)
{
    uint64_t n = 0;
    if (!quantity_count(arg, max, &n))
        argp_error(state, "%s is to be a number up to %llu, not '%s'", option, (unsigned long long)max,
                   arg);
    return (unsigned)n;
}

static unsigned milliseconds(struct argp_state *state, const char *option, const char *arg)
{
    uint64_t ns = 0;
    if (!quantity_duration(arg, 1000000, 2000000000ull * 1000000, &ns))
        argp_error(state, "%s is to be a time like 500ms or 10s, not '%s'", option, arg);
    return (unsigned)((ns + 999999) / 1000000);
}

static uint64_t bytes(struct argp_state *state, const char *option, const char *arg)
{
    uint64_t n = 0;
    if (!quantity_bytes(arg, 1ull << 50, &n))
        argp_error(state, "%s is to be a size like 64M, not '%s'", option, arg);
    return n;
}

static int durability(struct argp_state *state, const char *arg)
{
    static const char *const names[] = {"none", "journal", "sync"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(arg, names[i]))
            return i;
    argp_error(state, "--durability is none, journal or sync, not '%s'", arg);
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case KEY_ID:
        session.id = arg;
        return 0;
    case KEY_COMMON:
        common_file = arg;
        return 0;
    case KEY_DEADLINE:
        session.deadline_ms = milliseconds(state, "--deadline", arg);
        return 0;
    case KEY_MIN:
        session.min_instances = number(state, "--min-instances", arg, 1000000);
        return 0;
    case KEY_MAX:
        session.max_instances = number(state, "--max-instances", arg, 1000000);
        return 0;
    case KEY_WEIGHT:
        session.weight = number(state, "--weight", arg, 1000);
        if (!session.weight)
            argp_error(state, "--weight is to be a number from 1 to 1000, not '%s'", arg);
        return 0;
    case KEY_DELAY:
        session.delay_release_ms = milliseconds(state, "--delay-release", arg);
        return 0;
    case KEY_RETRY:
        session.retry_limit = number(state, "--retry-limit", arg, 1000000);
        return 0;
    case KEY_QUEUE:
        session.queue_bytes = bytes(state, "--queue-bytes", arg);
        return 0;
    case KEY_RESULTS:
        session.result_bytes = bytes(state, "--result-bytes", arg);
        return 0;
    case KEY_DURABILITY:
        session.durability = durability(state, arg);
        return 0;
    case KEY_RANKS:
        session.ranks_per_task = number(state, "--ranks-per-task", arg, 1000000);
        return 0;
    case KEY_SPREAD:
        session.spread_ranks = 1;
        return 0;
    case KEY_FILE:
        session.results = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Maps the file of common data; 0 or -1 after having said why not. */
static int map_common(void)
{
    struct stat st;
    int fd = open(common_file, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fstat(fd, &st);
    if (!rc && (size_t)st.st_size > FLM_MAX_PAYLOAD) {
        fprintf(stderr, "flmctl: %s has %lld bytes; common data may have %zu\n", common_file,
                (long long)st.st_size, FLM_MAX_PAYLOAD);
        close(fd);
        return -1;
    }
    if (!rc && !S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : ENODEV;
        rc = -1;
    }
    if (!rc && st.st_size) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        rc = map == MAP_FAILED ? -1 : 0;
        session.common = map;
        session.common_size = (size_t)st.st_size;
    }
    if (rc)
        fprintf(stderr, "flmctl: cannot read the common data in %s: %s\n", common_file, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

static int run(struct flmctl *ctl, int n, char **args)
{
    (void)n;
    session.application = args[0];
    if (common_file && map_common())
        return EXIT_FAILURE;
    flm_session *s = flm_create_session(ctl->client, &session, &ctl->error);
    if (!s)
        return flmctl_fail(ctl, NULL);
    puts(flm_session_id(s));
    return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

const struct command command_create = {
    "create", "APPLICATION", "Create a session that lives without a client", 1, 1, true, options, parse,
    run};
