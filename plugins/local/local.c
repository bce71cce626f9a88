/* The backend `local`: nodes are agents on this machine.
 *
 * A block is one agent, or several that are told that they are several nodes (for tests: they then use the
 * fabric). It is granted once its agents run, and ends when the last of them has ended; flmd decides what
 * comes then.
 *
 *   nodes=N       agents of a block, when flmd leaves their number to us (default 1)
 *   world=CMD     starts MPI ranks, "{n}" stands for how many (default: {mpirun} -n {n},
 *                 the launcher of the MPI that a service is compiled with)
 */
#define _GNU_SOURCE
#include "../parts/words.h"
#include "../parts/world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    NODES_MAX = 64,
    GRACE_MS = 5000, /* between SIGTERM and SIGKILL of an agent, which ends its executors meanwhile */
    ARGUMENTS_MAX = 256,
};

struct block;

struct agent {
    struct agent *next;
    struct block *block;
    int pid;
    int index; /* of its name */
};

struct block {
    struct block *next;
    struct local *local;
    uint64_t number;
    unsigned running;
    int kill_timer; /* 0: none */
    int released;
    int code;
    char reason[200];
};

struct local {
    const struct flm_backend_host *host;
    unsigned nodes;
    char host_name[128];
    char *world;
    char *world_words; /* of the last answer */
    struct block *blocks;
    struct agent *agents;
    int ending; /* fini has been called: freed with the last block */
};

/* Frees it if it has ended and nothing of it is left. */
static void settle(struct local *local)
{
    if (!local->ending || local->blocks)
        return;
    free(local->world);
    free(local->world_words);
    free(local);
}

static int set(struct local *local, const char *option, flm_error *error)
{
    if (strncmp(option, "nodes=", 6) == 0) {
        char *end;
        errno = 0;
        unsigned long n = strtoul(option + 6, &end, 10);
        if (errno || *end || n < 1 || n > NODES_MAX)
            return plugin_fail(error, FLM_EINVAL, "backend local: %s: nodes is a number from 1 to %d",
                               option, NODES_MAX);
        local->nodes = (unsigned)n;
        return 0;
    }
    if (strncmp(option, "world=", 6) == 0) {
        return plugin_text(&local->world, option + 6, error);
    }
    return plugin_fail(error, FLM_EINVAL, "backend local has no option '%.100s': it knows nodes and world",
                       option);
}

static int local_init(const struct flm_backend_host *host, const char *const *configuration, void **state,
                      flm_error *error)
{
    struct local *local = calloc(1, sizeof(*local));
    if (!local)
        return plugin_fail(error, FLM_ENOMEM, "backend local: no memory");
    local->host = host;
    local->nodes = 1;
    if (gethostname(local->host_name, sizeof(local->host_name) - 1) < 0 || !local->host_name[0])
        snprintf(local->host_name, sizeof(local->host_name), "localhost");
    int rc = plugin_text(&local->world, "{mpirun} -n {n}", error);
    for (; rc == 0 && *configuration; configuration++)
        rc = set(local, *configuration, error);
    if (rc < 0) {
        local->ending = 1;
        settle(local);
        return rc;
    }
    *state = local;
    return 0;
}

/* ---- blocks ------------------------------------------------------------------------------------ */

static void free_block(struct block *block)
{
    for (struct block **p = &block->local->blocks; *p; p = &(*p)->next) {
        if (*p == block) {
            *p = block->next;
            break;
        }
    }
    if (block->kill_timer)
        block->local->host->cancel_timer(block->local->host->handle, block->kill_timer);
    settle(block->local);
    free(block);
}

static void describe(char *text, size_t size, const struct agent *agent, int status)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "the node agent (process %d) was ended by signal %d (%s)", agent->pid,
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "the node agent (process %d) exited with status %d", agent->pid,
                 WEXITSTATUS(status));
}

static void on_agent_end(void *arg, int pid, int status)
{
    struct agent *agent = arg;
    struct block *block = agent->block;
    struct local *local = block->local;
    (void)pid;
    if (status || !block->reason[0]) {
        describe(block->reason, sizeof(block->reason), agent, status);
        block->code = status ? FLM_ELOST : 0;
    }
    if (block->running > 1)
        local->host->log(local->host->handle, block->reason);
    for (struct agent **p = &local->agents; *p; p = &(*p)->next) {
        if (*p == agent) {
            *p = agent->next;
            break;
        }
    }
    free(agent);
    if (--block->running)
        return;
    local->host->ended(local->host->handle, block->number, block->released ? 0 : block->code,
                       block->released ? "released" : block->reason);
    free_block(block);
}

static int lowest_free_index(const struct local *local)
{
    for (int index = 0;; index++) {
        const struct agent *a = local->agents;
        while (a && a->index != index)
            a = a->next;
        if (!a)
            return index;
    }
}

/* Of a node whose agent was lost, from its name HOST.INDEX. */
static int index_of(const struct local *local, const char *node)
{
    size_t n = strlen(local->host_name);
    return strncmp(node, local->host_name, n) == 0 && node[n] == '.' ? atoi(node + n + 1) : 0;
}

static int start_agent(struct local *local, struct block *block, const struct flm_block_request *request,
                       int several, flm_error *error)
{
    const char *argv[ARGUMENTS_MAX];
    char name[160];
    size_t n = 0;
    struct agent *agent = calloc(1, sizeof(*agent));
    if (!agent)
        return plugin_fail(error, FLM_ENOMEM, "backend local: no memory");
    agent->index = request->node ? index_of(local, request->node) : lowest_free_index(local);
    agent->block = block;
    if (request->node)
        snprintf(name, sizeof(name), "%s", request->node);
    else if (agent->index || several)
        snprintf(name, sizeof(name), "%s.%d", local->host_name, agent->index);
    else
        snprintf(name, sizeof(name), "%s", local->host_name);
    while (request->agent_command[n] && n < ARGUMENTS_MAX - 4) {
        argv[n] = request->agent_command[n];
        n++;
    }
    argv[n++] = "--name";
    argv[n++] = name;
    if (several)
        argv[n++] = "--relay";
    argv[n] = NULL;
    agent->pid = local->host->spawn(local->host->handle, argv, NULL, on_agent_end, agent);
    if (agent->pid < 0) {
        int rc = agent->pid;
        free(agent);
        return plugin_fail(error, rc, "cannot start the node agent %s: %s", argv[0], flm_strerror(rc));
    }
    agent->next = local->agents;
    local->agents = agent;
    block->running++;
    return 0;
}

static void signal_block(struct block *block, int signal)
{
    for (struct agent *a = block->local->agents; a; a = a->next)
        if (a->block == block)
            kill(a->pid, signal);
}

static void on_grace_over(void *arg)
{
    struct block *block = arg;
    block->kill_timer = 0;
    signal_block(block, SIGKILL);
}

/* Once: a second SIGTERM would mean to an agent that its executors get no time. */
static void release(struct block *block)
{
    struct local *local = block->local;
    if (block->released)
        return;
    block->released = 1;
    signal_block(block, SIGTERM);
    int timer = local->host->timer(local->host->handle, GRACE_MS, on_grace_over, block);
    block->kill_timer = timer > 0 ? timer : 0;
}

static int local_get_block(void *state, const struct flm_block_request *request, flm_error *error)
{
    struct local *local = state;
    unsigned nodes = request->nodes ? request->nodes : local->nodes;
    if (!request->agent_command || !request->agent_command[0])
        return plugin_fail(error, FLM_EINVAL, "backend local: there is no agent command");
    if (nodes > NODES_MAX)
        return plugin_fail(error, FLM_EINVAL,
                           "backend local starts at most %d agents on this machine, not %u", NODES_MAX,
                           nodes);
    struct block *block = calloc(1, sizeof(*block));
    if (!block)
        return plugin_fail(error, FLM_ENOMEM, "backend local: no memory");
    block->local = local;
    block->number = request->block;
    block->next = local->blocks;
    local->blocks = block;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < nodes; i++)
        rc = start_agent(local, block, request, nodes > 1 || request->node, error);
    if (rc < 0 && block->running == 0) {
        free_block(block);
        return rc;
    }
    local->host->granted(local->host->handle, block->number, "local", -1);
    if (rc < 0) { /* some run: end them, the block says why */
        local->host->log(local->host->handle, error ? error->text : flm_strerror(rc));
        release(block);
    }
    return 0;
}

static int local_release_block(void *state, uint64_t number, flm_error *error)
{
    struct local *local = state;
    for (struct block *b = local->blocks; b; b = b->next) {
        if (b->number == number) {
            release(b);
            return 0;
        }
    }
    return plugin_fail(error, FLM_ENOTFOUND, "backend local: there is no block %llu",
                       (unsigned long long)number);
}

static void local_fini(void *state)
{
    struct local *local = state;
    for (struct block *b = local->blocks; b; b = b->next)
        release(b);
    local->ending = 1;
    settle(local);
}

static int local_dry_run(void *state, const struct flm_block_request *request, char *text, size_t size,
                         flm_error *error)
{
    const struct local *local = state;
    unsigned nodes = request->nodes ? request->nodes : local->nodes;
    size_t used = 0;
    (void)error;
    if (!size)
        return 0;
    for (unsigned i = 0; i < nodes && used < size; i++) {
        for (const char *const *word = request->agent_command; word && *word && used < size; word++)
            used += (size_t)snprintf(text + used, size - used, "%s ", *word);
        if (used < size)
            used +=
                (size_t)snprintf(text + used, size - used,
                                 nodes > 1 ? "--name %s.%u --relay\n" : "--name %s\n", local->host_name, i);
    }
    return 0;
}

static int local_world_command(void *state, unsigned ranks, const char *const *program, const char **argv,
                               size_t n, flm_error *error)
{
    struct local *local = state;
    return world_words(local->world, &local->world_words, ranks, program, argv, n, error);
}

FLM_API const struct flm_backend flm_backend = {
    .abi = FLM_BACKEND_ABI,
    .size = sizeof(struct flm_backend),
    .name = "local",
    .description = "node agents on this machine",
    .init = local_init,
    .fini = local_fini,
    .get_block = local_get_block,
    .release_block = local_release_block,
    .dry_run = local_dry_run,
    .world_command = local_world_command,
};
