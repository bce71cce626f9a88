#define _GNU_SOURCE
#include "executor/identity.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From <linux/mempolicy.h>, which wants libnuma's headers on some systems. */
enum { PREFERRED = 1, NUMA_NODES = 1024 };

/* What an agent gave to another process, for this one: NAME=VALUE after NAME=VALUE, each with its zero.
 * NULL: it is in our environment. Main thread. */
static const char *given;

static const char *look_up(const char *name)
{
    size_t n = strlen(name);
    if (!given)
        return getenv(name);
    for (const char *line = given; *line; line += strlen(line) + 1)
        if (strncmp(line, name, n) == 0 && line[n] == '=')
            return line + n + 1;
    return NULL;
}

static int read_text(const char *name, char *out, size_t n, flm_error *error)
{
    const char *value = look_up(name);
    if (!value)
        value = "";
    if (strlen(value) >= n)
        return flm__error_set(error, FLM_EINVAL, "%s is longer than %zu bytes", name, n - 1);
    memcpy(out, value, strlen(value) + 1);
    return 0;
}

/* Not set: *out stays. */
static int read_number(const char *name, uint64_t max, uint64_t *out, flm_error *error)
{
    const char *value = look_up(name);
    if (!value || !*value)
        return 0;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (errno || *end || value[0] == '-' || number > max)
        return flm__error_set(error, FLM_EINVAL, "%s is \"%.40s\", not a number up to %llu", name, value,
                              (unsigned long long)max);
    *out = number;
    return 0;
}

static void forget(void)
{
    static const char *const names[] = {"FLM_AGENT",     "FLM_LANE",      "FLM_LIFE",  "FLM_TOKEN",
                                        "FLM_AGENT_PID", "FLM_CPUS",      "FLM_NUMA",  "FLM_WORLD_RANKS",
                                        "FLM_RANKS",     "FLM_SIGNALLED", "FLM_LAUNCH"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

int flm__identity_read(struct flm__identity *id, flm_error *error)
{
    uint64_t lane = 0, life = 0, agent = 0, numa = UINT64_MAX, ranks = 0, signalled = 0;
    memset(id, 0, sizeof(*id));
    if (!look_up("FLM_AGENT"))
        return flm__error_set(error, FLM_ENOTFOUND, "no node agent started this program");
    int rc = read_text("FLM_AGENT", id->agent, sizeof(id->agent), error);
    if (rc == 0)
        rc = read_text("FLM_CPUS", id->cpus, sizeof(id->cpus), error);
    if (rc == 0)
        rc = read_text("FLM_LAUNCH", id->launch, sizeof(id->launch), error);
    if (rc == 0)
        rc = read_text("FLM_MPI", id->mpi, sizeof(id->mpi), error);
    if (rc == 0)
        rc = read_number("FLM_LANE", 4095, &lane, error);
    if (rc == 0)
        rc = read_number("FLM_LIFE", UINT32_MAX, &life, error);
    if (rc == 0)
        rc = read_number("FLM_TOKEN", UINT64_MAX, &id->token, error);
    if (rc == 0)
        rc = read_number("FLM_AGENT_PID", INT32_MAX, &agent, error);
    if (rc == 0 && look_up("FLM_NUMA") && strcmp(look_up("FLM_NUMA"), "-1") != 0)
        rc = read_number("FLM_NUMA", NUMA_NODES - 1, &numa, error);
    if (rc == 0)
        rc = read_number("FLM_RANKS", 1 << 20, &ranks, error);
    if (rc == 0)
        rc = read_number("FLM_WORLD_RANKS", 1 << 20, &ranks, error);
    if (rc == 0)
        rc = read_number("FLM_SIGNALLED", 1, &signalled, error);
    if (rc < 0)
        return rc;
    id->lane = (uint32_t)lane;
    id->life = (uint32_t)life;
    id->agent_pid = (pid_t)agent;
    id->numa = numa == UINT64_MAX ? -1 : (int)numa;
    id->world_ranks = (unsigned)ranks;
    id->signalled = signalled;
    if (!given)
        forget();
    return 0;
}

int flm__identity_read_given(struct flm__identity *id, const char *text, flm_error *error)
{
    given = text;
    int rc = flm__identity_read(id, error);
    given = NULL;
    return rc;
}

/* "0-3,8" into a set. False: it is none. */
static bool parse_cpus(const char *text, cpu_set_t *set)
{
    CPU_ZERO(set);
    while (*text) {
        char *end;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (end == text)
            return false;
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
            if (end == text)
                return false;
        }
        if (last >= CPU_SETSIZE || first > last || (*end && *end != ','))
            return false;
        for (unsigned long cpu = first; cpu <= last; cpu++)
            CPU_SET(cpu, set);
        text = *end ? end + 1 : end;
    }
    return CPU_COUNT(set) > 0;
}

void flm__identity_place_rank(const struct flm__identity *id, int rank)
{
    const char *list = id->cpus;
    char mine[1024];
    cpu_set_t set;
    for (int r = 0; list && r < rank; r++)
        list = (list = strchr(list, ';')) ? list + 1 : NULL;
    if (!list)
        return;
    size_t n = strcspn(list, ";");
    if (n >= sizeof(mine))
        return;
    memcpy(mine, list, n);
    mine[n] = 0;
    if (parse_cpus(mine, &set))
        sched_setaffinity(0, sizeof(set), &set);
}

/* Best effort: a cpuset may have shrunk since the agent looked, and then anywhere is better than nowhere.
 */
static int bind_to_place(const struct flm__identity *id, flm_error *error)
{
    cpu_set_t set;
    if (id->cpus[0] && !parse_cpus(id->cpus, &set))
        return flm__error_set(error, FLM_EINVAL, "FLM_CPUS is \"%.80s\", not a list like 0-3,8", id->cpus);
    if (id->cpus[0])
        sched_setaffinity(0, sizeof(set), &set);
    if (id->numa >= 0) {
        unsigned long nodes[NUMA_NODES / (8 * sizeof(unsigned long))] = {0};
        nodes[(size_t)id->numa / (8 * sizeof(nodes[0]))] |= 1ul
                                                            << (size_t)id->numa % (8 * sizeof(nodes[0]));
        syscall(SYS_set_mempolicy, PREFERRED, nodes, NUMA_NODES);
    }
    return 0;
}

static void no_terminal(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    dup2(null, STDIN_FILENO);
    /* Who closed its stdout or stderr would have them become a socket of ours. */
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            dup2(null, fd);
    if (null > STDERR_FILENO)
        close(null);
}

int flm__identity_settle(const struct flm__identity *id, flm_error *error)
{
    /* A world's ranks are their launcher's children, which ends them, too; their places they find by their
     * numbers, once they know these. */
    if (!id->world_ranks) {
        int rc = bind_to_place(id, error);
        if (rc < 0)
            return rc;
        if (id->agent_pid && id->agent_pid == getppid()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
            if (getppid() != id->agent_pid)
                return flm__error_set(error, FLM_EDISCONNECTED, "the agent is gone");
        }
        setsid();
        no_terminal();
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    /* Each large payload that waits is a descriptor for a moment. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 4096) {
        files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return 0;
}
