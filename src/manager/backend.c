#define _GNU_SOURCE
#include "manager/backend.h"

#include "base/error.h"
#include "base/paths.h"
#include "manager/blocks.h"
#include "manager/child.h"
#include "manager/client.h"
#include "manager/rejoin.h"
#include "manager/say.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

enum { COMMAND_MAX = 64 }; /* words of an agent's command */

struct backend {
    struct manager *manager;
    struct flm__conn *conn;
    uv_poll_t poll;
    int pid;
    bool stopping, gone;
    bool adopted; /* it was started by a session manager before */
    bool ready;   /* it has said what it can do */
    struct {
        uint64_t number;          /* of the request; 0: nobody has asked */
        uint64_t incarnation, id; /* of who has asked, and of the request */
    } dry;
    char world[512]; /* how a world is started: words separated by blanks */
};

static void on_readable(uv_poll_t *poll, int status, int events);

/* What does not fit now goes when there is room: the helper may be waiting for a batch system. */
static int backend_say(struct backend *b, const Flm__Message *m)
{
    if (b->gone)
        return FLM_EDISCONNECTED;
    int rc = flm__conn_send(b->conn, m, NULL, 0);
    uv_poll_start(&b->poll, UV_READABLE | (flm__conn_pending(b->conn) ? UV_WRITABLE : 0), on_readable);
    return rc;
}

/* The agent's command line: what is given once per node. */
static unsigned agent_command(struct backend *b, uint64_t block, char **argv, unsigned room)
{
    static char program[PATH_MAX], numbers[4][32];
    struct manager *m = b->manager;
    const struct options *o = &m->options;
    unsigned n = 0;
    if (flm__find_program("flm-node", program, sizeof(program)) < 0)
        snprintf(program, sizeof(program), "flm-node");
    snprintf(numbers[0], sizeof(numbers[0]), "%u", o->slots);
    snprintf(numbers[1], sizeof(numbers[1]), "%lu", (unsigned long)block);
    snprintf(numbers[2], sizeof(numbers[2]), "%u", o->loss_ms);
    char *fixed[] = {
        program,          "--endpoint", m->endpoints,  "--directory", (char *)(uintptr_t)o->directory,
        "--block-number", numbers[1],   "--loss-time", numbers[2],    NULL};
    for (unsigned i = 0; fixed[i] && n < room - 1; i++)
        argv[n++] = fixed[i];
    if (o->slots && n < room - 3) {
        argv[n++] = "--slots";
        argv[n++] = numbers[0];
    }
    if (o->provider && n < room - 3) {
        argv[n++] = "--provider";
        argv[n++] = (char *)(uintptr_t)o->provider;
    }
    if (o->secret_file && n < room - 3) {
        argv[n++] = "--secret-file";
        argv[n++] = (char *)(uintptr_t)o->secret_file;
    }
    Flm__Rejoin rejoin = FLM__REJOIN__INIT;
    if (m->rejoin && n < room - 3) {
        rejoin_describe(m, &rejoin);
        argv[n++] = "--rejoin-file";
        argv[n++] = rejoin.file;
    }
    if (b->world[0] && n < room - 3) {
        argv[n++] = "--world-command";
        argv[n++] = b->world;
    }
    for (unsigned i = 0; i < o->n_agent_options && n < room - 1; i++)
        argv[n++] = (char *)(uintptr_t)o->agent_options[i];
    argv[n] = NULL;
    return n;
}

/* What both a request and a dry run say. */
static void fill(struct manager *m, Flm__BlockRequest *r, uint64_t number, bool new_job, char **argv)
{
    r->block = number;
    r->nodes = new_job ? m->options.block_nodes : m->options.nodes;
    r->new_job = new_job;
    r->name = (char *)(uintptr_t) "flame";
    r->time_s = m->options.block_time_s;
    r->n_site_options = m->options.n_site_options;
    r->site_options = (char **)(uintptr_t)m->options.site_options;
    r->slots = m->options.slots;
    r->n_agent_command = agent_command(m->backend, number, argv, COMMAND_MAX);
    r->agent_command = argv;
}

int backend_ask(struct manager *m, uint64_t number, const char *node, unsigned slots, const char *job)
{
    char *argv[COMMAND_MAX];
    Flm__BlockRequest r = FLM__BLOCK_REQUEST__INIT;
    fill(m, &r, number, job != NULL, argv);
    r.node = (char *)(uintptr_t)node;
    if (*node) {
        r.nodes = 1;
        r.slots = slots;
    }
    if (job)
        r.name = (char *)(uintptr_t)job;
    FLM__MESSAGE(message, block_request, BLOCK_REQUEST, &r);
    return backend_say(m->backend, &message);
}

void backend_release(struct manager *m, uint64_t number)
{
    Flm__BlockRelease r = FLM__BLOCK_RELEASE__INIT;
    r.block = number;
    FLM__MESSAGE(message, block_release, BLOCK_RELEASE, &r);
    backend_say(m->backend, &message);
}

void backend_comment(struct manager *m, uint64_t number, const char *text)
{
    Flm__BlockComment c = FLM__BLOCK_COMMENT__INIT;
    c.block = number;
    c.text = (char *)(uintptr_t)text;
    FLM__MESSAGE(message, block_comment, BLOCK_COMMENT, &c);
    backend_say(m->backend, &message);
}

void backend_dry_run(struct peer *p, uint64_t id, const Flm__BlockRequest *wanted)
{
    char *argv[COMMAND_MAX];
    struct manager *m = p->manager;
    struct backend *b = m->backend;
    Flm__BlockRequest r = FLM__BLOCK_REQUEST__INIT;
    if (!b || b->gone) {
        client_reply(p, id, FLM_ENOTSUP, "there is no backend: agents join by themselves");
        return;
    }
    if (b->dry.number) {
        client_reply(p, id, FLM_EBUSY, "somebody else is asking the same: try again");
        return;
    }
    b->dry.number = ++m->block_numbers;
    b->dry.incarnation = p->incarnation;
    b->dry.id = id;
    fill(m, &r, b->dry.number, wanted->new_job, argv);
    if (wanted->nodes)
        r.nodes = wanted->nodes;
    r.dry_run = true;
    FLM__MESSAGE(message, block_request, BLOCK_REQUEST, &r);
    backend_say(b, &message);
}

static void tell_dry_run(struct backend *b, const Flm__BlockEvent *e)
{
    struct peer *p;
    if (e->block != b->dry.number)
        return;
    b->dry.number = 0;
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = b->dry.id;
    r.code = e->code;
    r.text = e->text;
    DL_FOREACH(b->manager->peers, p)
    if (p->state == PEER_CLIENT && p->incarnation == b->dry.incarnation) {
        client_send_reply(p, &r);
        return;
    }
}

static void on_backend_event(struct backend *b, const Flm__BlockEvent *e)
{
    switch (e->kind) {
    case FLM__BLOCK_EVENT__KIND__READY:
        b->ready = true;
        b->world[0] = 0;
        for (size_t i = 0; i < e->n_world_command; i++) {
            size_t used = strlen(b->world);
            snprintf(b->world + used, sizeof(b->world) - used, "%s%s", i ? " " : "", e->world_command[i]);
        }
        if (b->stopping)
            break;
        manager_ready(b->manager);
        blocks_start(b->manager, e->abilities);
        if (b->adopted)
            rejoin_backend_is_back(b->manager);
        break;
    case FLM__BLOCK_EVENT__KIND__DRY_RUN:
        tell_dry_run(b, e);
        break;
    case FLM__BLOCK_EVENT__KIND__LOG:
        if (b->manager->options.verbose)
            say("%s", e->text);
        break;
    case FLM__BLOCK_EVENT__KIND__REFUSED:
        if (!e->block) { /* the plugin cannot begin */
            say("%s", e->text);
            b->manager->exit_status = 1;
            manager_stop(b->manager, "the backend cannot begin");
            break;
        }
        blocks_event(b->manager, e);
        break;
    default:
        blocks_event(b->manager, e);
        break;
    }
}

static void backend_gone(struct backend *b)
{
    if (b->gone)
        return;
    b->gone = true;
    uv_poll_stop(&b->poll);
    if (b->stopping || b->manager->stopping)
        return;
    b->manager->exit_status = 1;
    manager_stop(b->manager, "flm-backend has ended; it says why above");
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct backend *b = poll->data;
    if (events & UV_WRITABLE) {
        flm__conn_flush(b->conn);
        if (!flm__conn_pending(b->conn))
            uv_poll_start(&b->poll, UV_READABLE, on_readable);
        if (!(events & UV_READABLE) && status == 0)
            return;
    }
    int lost = status < 0 ? status : flm__conn_fill(b->conn);
    for (;;) {
        Flm__Message *m;
        int fds[FLM__FRAME_FDS];
        unsigned n_fds;
        int rc = flm__conn_take(b->conn, &m, fds, &n_fds);
        if (rc <= 0) {
            if (rc < 0)
                lost = rc;
            break;
        }
        flm__close_fds(fds, n_fds);
        if (m->body_case == FLM__MESSAGE__BODY_BLOCK_EVENT)
            on_backend_event(b, m->block_event);
        else if (m->body_case == FLM__MESSAGE__BODY_BLOCK_BACK)
            blocks_back(b->manager, m->block_back);
        flm__message__free_unpacked(m, NULL);
    }
    if (lost < 0)
        backend_gone(b);
}

static int spawn_helper(struct backend *b, flm_error *error)
{
    const struct options *o = &b->manager->options;
    char *argv[24] = {NULL, (char *)(uintptr_t)o->backend};
    for (unsigned i = 0; i < o->n_backend_options; i++)
        argv[2 + i] = (char *)(uintptr_t)o->backend_options[i];
    return child_start("flm-backend", argv, &b->pid, error);
}

/* What it is to do when we are lost. */
static void tell_rejoin(struct backend *b)
{
    Flm__Ready ready = FLM__READY__INIT;
    Flm__Rejoin rejoin = FLM__REJOIN__INIT;
    if (!b->manager->rejoin)
        return;
    rejoin_describe(b->manager, &rejoin);
    rejoin.secret_file = (char *)(uintptr_t)b->manager->options.secret_file;
    if (!rejoin.secret_file)
        rejoin.secret_file = (char *)(uintptr_t) "";
    ready.instance = b->manager->instance;
    ready.rejoin = &rejoin;
    FLM__MESSAGE(m, ready, READY, &ready);
    backend_say(b, &m);
}

int backend_start(struct manager *m, flm_error *error)
{
    struct backend *b = calloc(1, sizeof(*b));
    if (!b)
        return flm__error_set(error, FLM_ENOMEM, "no memory to start the backend");
    b->manager = m;
    b->poll.data = b;
    int fd = spawn_helper(b, error), rc = fd;
    b->conn = fd < 0 ? NULL : flm__conn_new_take(fd);
    if (fd >= 0 && !b->conn) {
        close(fd);
        rc = flm__error_set(error, FLM_ENOMEM, "no memory to start the backend");
    }
    if (b->conn && uv_poll_init(&m->uv, &b->poll, fd) < 0)
        rc = flm__error_set(error, FLM_EIO, "cannot watch the backend");
    if (rc < 0) { /* a helper that runs ends when its connection does */
        flm__conn_free(b->conn);
        free(b);
        return rc;
    }
    uv_poll_start(&b->poll, UV_READABLE, on_readable);
    m->backend = b;
    tell_rejoin(b);
    rejoin_note(m);
    return 0;
}

void backend_adopt(struct manager *m, struct peer *p)
{
    struct backend *b = m->backend ? NULL : calloc(1, sizeof(*b));
    struct flm__conn *conn = b ? flm__conn_move(p->conn) : NULL;
    if (!conn || uv_poll_init(&m->uv, &b->poll, flm__conn_fd(conn)) < 0) {
        peer_refuse(p, FLM_ECLOSED, "there is another backend");
        flm__conn_free(conn);
        free(b);
        return;
    }
    *b = (struct backend){.manager = m, .conn = conn, .pid = p->pid, .adopted = true, .poll = b->poll};
    b->poll.data = b;
    uv_poll_start(&b->poll, UV_READABLE, on_readable);
    m->backend = b;
    tell_rejoin(b);
}

int backend_pid(const struct manager *m)
{
    return m->backend && !m->backend->gone ? m->backend->pid : 0;
}

void backend_stop(struct manager *m)
{
    struct backend *b = m->backend;
    if (!b || b->stopping)
        return;
    b->stopping = true;
    blocks_stop(m);
    Flm__Shutdown end = FLM__SHUTDOWN__INIT;
    FLM__MESSAGE(message, shutdown, SHUTDOWN, &end);
    backend_say(b, &message);
    if (!b->gone)
        shutdown(flm__conn_fd(b->conn), SHUT_WR);
}

bool backend_spreads_worlds(const struct manager *m)
{
    return m->backend && strstr(m->backend->world, "{nodes}");
}

bool backend_begins(const struct manager *m)
{
    return m->backend && !m->backend->gone && !m->backend->ready;
}

bool backend_running(const struct manager *m)
{
    return m->backend && !m->backend->gone;
}

void backend_free(struct manager *m)
{
    struct backend *b = m->backend;
    if (!b)
        return;
    int status;
    flm__conn_free(b->conn);
    for (int i = 0; b->pid && i < 200; i++) {
        if (waitpid(b->pid, &status, WNOHANG) != 0)
            break;
        usleep(10000);
        if (i == 100)
            kill(b->pid, SIGTERM);
        if (i == 199)
            kill(b->pid, SIGKILL);
    }
    free(b);
    m->backend = NULL;
}
