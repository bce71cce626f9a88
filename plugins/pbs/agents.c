/* agents.c - a block in the job that we are in: a node agent on each of its nodes.
 *
 * Each is a task of the job, started by a pbsdsh of its own (PBS's task manager): PBS counts what it uses,
 * and ends it with the job. That is by sessions, so executors stay in their agent's. A pbsdsh that gets
 * SIGTERM passes it on; one that is killed leaves its agent, which then follows flmd.
 */
#define _GNU_SOURCE
#include "dsh.h"
#include "environment.h"
#include "pbs.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GRACE_MS = 2500, /* for agents, which flmd has told to end, before they are told again */
    SAID = 400,
};

struct agent {
    struct agent *next;
    struct block *block;
    const char *node;
    char *file;      /* its environment */
    int pid, output; /* of pbsdsh */
};

struct block {
    struct block *next;
    struct pbs *pbs;
    uint64_t number;
    struct agent *agents;
    int timer;
    bool released, told;
    int code;
    char reason[SAID];
};

/* ---- the command ------------------------------------------------------------------------------- */

static unsigned nodes_wanted(const struct pbs *p, const struct flm_block_request *r)
{
    unsigned n = r->node ? 1 : r->nodes ? r->nodes : p->nodes.n;
    return p->executors && p->executors < n ? p->executors : n;
}

/* Executors on the i-th node of the block: so many in all; the ranks that the job was asked for; else one
 * for each CPU of the job. */
static unsigned slots_on(const struct pbs *p, const struct flm_block_request *r,
                         const struct pbs_node *node, unsigned i)
{
    unsigned nodes = nodes_wanted(p, r);
    if (r->node && r->slots) /* as many as the lost one had */
        return r->slots;
    if (p->executors)
        return p->executors / nodes + (i < p->executors % nodes);
    if (r->slots)
        return r->slots;
    return p->ranks_are_chosen ? node->lines : node->cpus;
}

static bool has_word(const char *const *list, const char *word)
{
    for (; *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

static void build(struct words *w, const struct pbs *p, const struct flm_block_request *r,
                  const struct pbs_node *node, unsigned i, const char *file)
{
    unsigned slots = slots_on(p, r, node, i);
    *w = (struct words){.n = 0};
    words_add(w, p->dsh);
    words_add(w, "-v"); /* else nobody learns how an agent has ended */
    words_add(w, "-n");
    words_addf(w, "%u", node->line);
    words_add(w, "--");
    environment_add(w, file);
    words_add_all(w, r->agent_command);
    words_add(w, "--name");
    words_add(w, node->name);
    words_add(w, "--block");
    words_add(w, p->job);
    words_add(w, "--same-session");
    words_add(w, "--grace");
    words_add(w, p->grace);
    if (slots) {
        words_add(w, "--slots");
        words_addf(w, "%u", slots);
    }
    if (node->cpus) {
        words_add(w, "--cpus");
        words_addf(w, "%u", node->cpus);
    }
    if (slots && node->cpus > slots && !has_word(r->agent_command, "--cores-per-slot")) {
        words_add(w, "--cores-per-slot");
        words_addf(w, "%u", node->cpus / slots);
    }
}

/* ---- the life of a block ----------------------------------------------------------------------- */

static void drop_block(struct block *b)
{
    struct pbs *p = b->pbs;
    for (struct block **at = &p->blocks; *at; at = &(*at)->next) {
        if (*at == b) {
            *at = b->next;
            break;
        }
    }
    if (b->timer)
        p->host->cancel_timer(p->host->handle, b->timer);
    free(b);
    pbs_settle(p);
}

/* The agent has done so, if it ever ran. */
static void remove_file(struct agent *a)
{
    if (a->file)
        unlink(a->file);
    free(a->file);
    a->file = NULL;
}

static void free_agent(struct agent *a)
{
    remove_file(a);
    if (a->output >= 0)
        close(a->output);
    free(a);
}

static void drop_agent(struct agent *a)
{
    for (struct agent **at = &a->block->agents; *at; at = &(*at)->next) {
        if (*at == a) {
            *at = a->next;
            break;
        }
    }
    free_agent(a);
}

/* pbsdsh itself always succeeds, and says "task 0x00000000 exit status 265" when the task has ended. */
static void describe(const struct agent *a, int status, char *text, size_t size, int *code)
{
    char said[SAID];
    int task = dsh_read(a->output, said, sizeof(said));
    *code = FLM_ELOST;
    if (WIFSIGNALED(status)) {
        snprintf(text, size, "pbsdsh for the node agent on %s was killed by signal %d (%s)", a->node,
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (task > 256) {
        snprintf(text, size, "the node agent on %s was ended by signal %d (%s)", a->node, task - 256,
                 strsignal(task - 256));
    } else if (task >= 0) {
        *code = task ? FLM_ELOST : 0;
        snprintf(text, size, "the node agent on %s has ended with status %d", a->node, task);
    } else {
        for (char *c = said; *c; c++)
            if (*c == '\n')
                *c = ' ';
        snprintf(text, size, "pbsdsh does not start a node agent on %s: %.200s", a->node, said);
    }
}

static void on_agent_end(void *arg, int pid, int status)
{
    struct agent *a = arg;
    struct block *b = a->block;
    const struct flm_backend_host *host = b->pbs->host;
    char text[SAID];
    int code;
    (void)pid;
    describe(a, status, text, sizeof(text), &code);
    if (!b->code) {
        b->code = code;
        snprintf(b->reason, sizeof(b->reason), "%s", text);
    }
    drop_agent(a);
    if (b->agents) {
        if (!b->released)
            plugin_log(host, "%s", text);
        return;
    }
    host->ended(host->handle, b->number, b->released ? 0 : b->code, b->released ? "released" : b->reason);
    drop_block(b);
}

static int start_agent(struct block *b, const struct flm_block_request *r, const struct pbs_node *node,
                       unsigned i, flm_error *error)
{
    struct pbs *p = b->pbs;
    struct words w;
    struct agent *a = calloc(1, sizeof(*a));
    if (!a)
        return plugin_fail(error, FLM_ENOMEM, "backend pbs: no memory");
    *a = (struct agent){.block = b, .node = node->name, .output = memfd_create("flm-pbsdsh", MFD_CLOEXEC)};
    a->file = environment_write(p->folder, p->threads_are_chosen);
    if (!a->file)
        plugin_log(p->host,
                   "cannot write a file into %s: %s; services on %s start without the variables of the "
                   "job's script",
                   p->folder, strerror(errno), node->name);
    build(&w, p, r, node, i, a->file);
    const int output[2] = {a->output, a->output};
    a->pid = w.failed ? FLM_ETOOBIG
                      : p->host->spawn_with_output(p->host->handle, w.list, NULL, output, on_agent_end, a);
    words_free(&w);
    if (a->pid < 0) {
        int rc = a->pid;
        free_agent(a);
        return plugin_fail(error, rc, "cannot start pbsdsh (%s): %s", p->dsh, flm_strerror(rc));
    }
    a->next = b->agents;
    b->agents = a;
    return 0;
}

static void signal_agents(const struct block *b, int signal)
{
    for (const struct agent *a = b->agents; a; a = a->next)
        kill(a->pid, signal);
}

static void on_grace_over(void *arg)
{
    struct block *b = arg;
    const struct flm_backend_host *host = b->pbs->host;
    signal_agents(b, b->told ? SIGKILL : SIGTERM);
    for (struct agent *a = b->agents; a; a = a->next)
        remove_file(a); /* it does not begin any more */
    b->told = true;
    int timer = host->timer(host->handle, GRACE_MS, on_grace_over, b);
    b->timer = timer > 0 ? timer : 0;
}

/* flmd tells the agents to end, and then their pbsdsh end by themselves. */
static void release(struct block *b)
{
    const struct flm_backend_host *host = b->pbs->host;
    if (b->released)
        return;
    b->released = true;
    /* We may not live to see it end; and one that only begins is to find its file, which it removes. */
    for (struct agent *a = b->agents; a; a = a->next)
        if (a->file && truncate(a->file, 0) < 0)
            remove_file(a);
    int timer = host->timer(host->handle, GRACE_MS, on_grace_over, b);
    b->timer = timer > 0 ? timer : 0;
}

static int check(const struct pbs *p, const struct flm_block_request *r, flm_error *error)
{
    if (nodes_wanted(p, r) > p->nodes.n)
        return plugin_fail(error, FLM_EINVAL, "the job %s has %u nodes, not %u", p->job, p->nodes.n,
                           r->nodes);
    if (r->node && !nodes_find(&p->nodes, r->node))
        return plugin_fail(error, FLM_ENOTFOUND, "the job %s has no node %.100s", p->job, r->node);
    return 0;
}

static const struct pbs_node *node_of(const struct pbs *p, const struct flm_block_request *r, unsigned i)
{
    return r->node ? nodes_find(&p->nodes, r->node) : &p->nodes.list[i];
}

int agents_start(struct pbs *p, const struct flm_block_request *r, flm_error *error)
{
    int rc = check(p, r, error);
    if (rc < 0)
        return rc;
    struct block *b = calloc(1, sizeof(*b));
    if (!b)
        return plugin_fail(error, FLM_ENOMEM, "backend pbs: no memory");
    b->pbs = p;
    b->number = r->block;
    b->next = p->blocks;
    p->blocks = b;
    for (unsigned i = 0; rc == 0 && i < nodes_wanted(p, r); i++)
        rc = start_agent(b, r, node_of(p, r, i), i, error);
    if (rc < 0 && !b->agents) {
        drop_block(b);
        return rc;
    }
    p->host->granted(p->host->handle, b->number, p->job, p->end_time_s);
    if (rc < 0) { /* some run: end them, the block says why */
        plugin_log(p->host, "%s", error ? error->text : flm_strerror(rc));
        release(b);
    }
    return 0;
}

bool agents_release(struct pbs *p, uint64_t block)
{
    for (struct block *b = p->blocks; b; b = b->next) {
        if (b->number == block) {
            release(b);
            return true;
        }
    }
    return false;
}

void agents_release_all(struct pbs *p)
{
    for (struct block *b = p->blocks; b; b = b->next)
        release(b);
}

void agents_tell_time(const struct pbs *p)
{
    for (const struct block *b = p->blocks; b; b = b->next)
        p->host->time_left(p->host->handle, b->number, p->end_time_s);
}

int agents_describe(struct pbs *p, const struct flm_block_request *r, char *text, size_t size,
                    flm_error *error)
{
    int rc = check(p, r, error);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < nodes_wanted(p, r) && size > 1; i++) {
        struct words w;
        build(&w, p, r, node_of(p, r, i), i, "ENVIRONMENT");
        words_print(&w, text, size - 1);
        words_free(&w);
        size_t n = strlen(text);
        text[n++] = '\n';
        text[n] = 0;
        text += n;
        size -= n;
    }
    return 0;
}
