/* flm-backend - hosts one backend plugin for flmd, which is at the other end of descriptor 3. A plugin may
 * block and its library may exit: not inside the session manager, which then ends in order. */
#define _GNU_SOURCE
#include "backend/host.h"
#include "backend/plugin.h"
#include "base/time.h"
#include "base/standard.h"
#include "net/handshake.h"
#include "net/rejoin.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MANAGER_FD = 3,
    GRACE_MS = 4000, /* for the plugin's processes at the end, between SIGTERM and SIGKILL */
    RECONNECT_MS = 5000,
    DRY_RUN_TEXT = 16384,
    WORLD_WORDS = 32,
    /* World commands are asked for once, for this many ranks, which are then replaced by "{n}". */
    SAMPLE_RANKS = 987654,
};

struct backend {
    struct host host;
    struct plugin plugin;
    const char *name;
    const char *const *configuration;
    void *state;
    bool ready, ending, killed;
    int status;
    struct flm__rejoin rejoin;
    char *secret_file; /* NULL: the default */
    int64_t lost_ns;
    uv_timer_t rejoining;
    uv_signal_t on_term, on_int;
    uv_timer_t grace;
};

/* ---- flmd asks --------------------------------------------------------------------------------- */

static void dry_run(struct backend *b, const struct flm_block_request *request)
{
    char text[DRY_RUN_TEXT] = "";
    flm_error error = {0, ""};
    int rc = b->plugin.ops.dry_run(b->state, request, text, sizeof(text), &error);
    text[sizeof(text) - 1] = 0;
    host_say(&b->host, FLM__BLOCK_EVENT__KIND__DRY_RUN, request->block, rc < 0 ? rc : 0,
             rc < 0 ? error.text : text);
}

/* A list as the plugin wants it: ended by NULL. The strings are borrowed. */
static const char **list(char **strings, size_t n)
{
    const char **copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++)
        copy[i] = strings[i];
    return copy;
}

static void get_block(struct backend *b, const struct flm_block_request *request)
{
    flm_error error = {0, ""};
    if (!host_block_begin(&b->host, request)) {
        host_say(&b->host, FLM__BLOCK_EVENT__KIND__LOG, request->block, FLM_EEXIST,
                 "this block was asked for already");
        return;
    }
    int rc = b->plugin.ops.get_block(b->state, request, &error);
    if (rc < 0 && host_block_known(&b->host, request->block))
        b->host.table.refused(&b->host, request->block, rc, error.code ? error.text : flm_strerror(rc));
}

static void on_request(struct backend *b, const Flm__BlockRequest *r)
{
    const char **options = list(r->site_options, r->n_site_options);
    const char **command = list(r->agent_command, r->n_agent_command);
    const struct flm_block_request request = {.block = r->block,
                                              .new_job = r->new_job,
                                              .nodes = r->nodes,
                                              .node = r->node[0] ? r->node : NULL,
                                              .slots = r->slots,
                                              .time_s = r->time_s,
                                              .name = r->name,
                                              .site_options = options,
                                              .agent_command = command};
    if (!options || !command)
        host_say(&b->host, FLM__BLOCK_EVENT__KIND__REFUSED, r->block, FLM_ENOMEM,
                 "no memory in flm-backend");
    else if (r->dry_run)
        dry_run(b, &request);
    else
        get_block(b, &request);
    free(options);
    free(command);
}

static void on_release(struct backend *b, uint64_t block)
{
    flm_error error = {0, ""};
    if (!host_block_known(&b->host, block))
        return; /* it has ended meanwhile */
    int rc = b->plugin.ops.release_block(b->state, block, &error);
    if (rc < 0)
        host_say(&b->host, FLM__BLOCK_EVENT__KIND__LOG, block, rc,
                 error.code ? error.text : flm_strerror(rc));
}

/* Of one that has been released it says how far it came. */
static void on_comment(struct backend *b, const Flm__BlockComment *comment)
{
    if (host_block_known(&b->host, comment->block))
        b->plugin.ops.comment(b->state, comment->block, comment->text);
}

/* What to do when flmd is lost. */
static void on_ready(struct backend *b, const Flm__Ready *ready)
{
    flm__rejoin_learn(&b->rejoin, ready);
    free(b->secret_file);
    b->secret_file =
        ready->rejoin && *ready->rejoin->secret_file ? strdup(ready->rejoin->secret_file) : NULL;
}

static void begin_end(struct backend *b, int status);

static void on_message(void *arg, Flm__Message *m, int *fds, unsigned n_fds)
{
    struct backend *b = arg;
    (void)fds;
    (void)n_fds;
    if (b->ending)
        return;
    if (m->body_case == FLM__MESSAGE__BODY_BLOCK_REQUEST)
        on_request(b, m->block_request);
    else if (m->body_case == FLM__MESSAGE__BODY_BLOCK_RELEASE)
        on_release(b, m->block_release->block);
    else if (m->body_case == FLM__MESSAGE__BODY_BLOCK_COMMENT)
        on_comment(b, m->block_comment);
    else if (m->body_case == FLM__MESSAGE__BODY_READY)
        on_ready(b, m->ready);
    else if (m->body_case == FLM__MESSAGE__BODY_SHUTDOWN)
        b->rejoin.ms = 0; /* and when it has closed the connection the end begins */
    else if (m->body_case == FLM__MESSAGE__BODY_REFUSED)
        begin_end(b, 0);
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void on_grace_over(uv_timer_t *timer)
{
    struct backend *b = timer->data;
    b->killed = true;
    host_kill_children(&b->host, SIGKILL);
}

static void begin_end(struct backend *b, int status)
{
    if (b->ending)
        return;
    b->ending = true;
    uv_timer_stop(&b->rejoining);
    b->status = status;
    /* What it has started the plugin asks to end, in its own way, and once; who does not is killed. */
    if (b->ready)
        b->plugin.ops.fini(b->state);
    else
        host_kill_children(&b->host, SIGTERM);
    b->ready = false;
    uv_timer_start(&b->grace, on_grace_over, GRACE_MS, 0);
}

/* ---- flmd is lost ------------------------------------------------------------------------------ */

static void say_ready(struct backend *b);
static void on_end(void *arg, int code);

static int greet(struct backend *b, struct flm__conn *conn, int64_t deadline, flm_error *error)
{
    int fds[FLM__FRAME_FDS];
    unsigned n_fds = 0;
    Flm__Message *ready = NULL;
    Flm__Hello hello = FLM__HELLO__INIT;
    Flm__Came came = FLM__CAME__INIT;
    flm__rejoin_introduce(&b->rejoin, &came);
    hello.role = FLM__ROLE__ROLE_BACKEND;
    hello.pid = (int32_t)getpid();
    hello.name = (char *)(uintptr_t) "flm-backend";
    hello.came = &came;
    int rc = flm__random(&hello.incarnation, sizeof(hello.incarnation));
    if (rc == 0)
        rc = flm__handshake(conn, &hello, b->secret_file, deadline, &ready, fds, &n_fds, error);
    if (rc == 0)
        rc = flm__rejoin_check(&b->rejoin, ready->ready, error);
    flm__close_fds(fds, n_fds);
    if (ready)
        flm__message__free_unpacked(ready, NULL);
    return rc;
}

static int reconnect(struct backend *b, flm_error *error)
{
    int64_t deadline = flm__now_ns() + RECONNECT_MS * 1000000LL;
    int fd = flm__rejoin_dial(&b->rejoin, deadline, error);
    if (fd < 0)
        return fd;
    struct flm__conn *conn = flm__conn_new_take(fd);
    if (!conn)
        return FLM_ENOMEM;
    int rc = greet(b, conn, deadline, error);
    if (rc < 0) {
        flm__conn_free(conn);
        return rc;
    }
    b->host.manager = flm__watch_new_take(&b->host.loop, conn, on_message, on_end, b);
    return b->host.manager ? 0 : FLM_ENOMEM;
}

static void on_rejoining(uv_timer_t *timer)
{
    struct backend *b = timer->data;
    flm_error error = {0, ""};
    int rc = reconnect(b, &error);
    if (rc == 0) {
        uv_timer_stop(timer);
        b->lost_ns = 0;
        host_tell_blocks(&b->host);
        say_ready(b);
    } else if (rc == FLM_ECLOSED || flm__now_ns() - b->lost_ns > b->rejoin.ms * 1000000LL) {
        begin_end(b, 0);
    }
}

static void on_end(void *arg, int code)
{
    struct backend *b = arg;
    if (b->ending || !b->ready || !b->rejoin.ms) {
        begin_end(b, code == FLM_EDISCONNECTED ? 0 : 1);
        return;
    }
    flm__watch_close(b->host.manager);
    b->host.manager = NULL;
    b->lost_ns = flm__now_ns();
    uv_timer_start(&b->rejoining, on_rejoining, FLM__REJOIN_EVERY_MS / 4, FLM__REJOIN_EVERY_MS);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    (void)signal;
    begin_end(handle->data, 0);
}

/* ---- init -------------------------------------------------------------------------------------- */

/* "mpirun -n 987654 PROGRAM" as "mpirun", "-n", "{n}". */
static void say_ready(struct backend *b)
{
    static const char *const program[] = {"PROGRAM", NULL};
    const char *argv[WORLD_WORDS] = {NULL};
    char sample[16], *words[WORLD_WORDS], *with_mark[WORLD_WORDS] = {NULL};
    Flm__BlockEvent event = FLM__BLOCK_EVENT__INIT;
    event.kind = FLM__BLOCK_EVENT__KIND__READY;
    snprintf(sample, sizeof(sample), "%d", SAMPLE_RANKS);
    size_t n = 0;
    if (b->plugin.ops.world_command(b->state, SAMPLE_RANKS, program, argv, WORLD_WORDS, NULL) == 0)
        for (; n < WORLD_WORDS && argv[n] && strcmp(argv[n], "PROGRAM") != 0; n++) {
            const char *at = strstr(argv[n], sample);
            words[n] = (char *)(uintptr_t)argv[n];
            if (at &&
                asprintf(&with_mark[n], "%.*s{n}%s", (int)(at - argv[n]), argv[n], at + strlen(sample)) > 0)
                words[n] = with_mark[n];
        }
    event.abilities = b->plugin.ops.abilities(b->state);
    event.n_world_command = n;
    event.world_command = words;
    FLM__MESSAGE(m, block_event, BLOCK_EVENT, &event);
    flm__watch_send(b->host.manager, &m, NULL, 0);
    for (size_t i = 0; i < n; i++)
        if (with_mark[i])
            free(with_mark[i]);
}

static int connect_manager(struct backend *b)
{
    if (fcntl(MANAGER_FD, F_GETFD) < 0) {
        fprintf(stderr, "flm-backend: descriptor 3 is not there: flmd starts this program, nobody else\n");
        return FLM_EINVAL;
    }
    struct flm__conn *conn = flm__conn_new_take(MANAGER_FD);
    b->host.manager = conn ? flm__watch_new_take(&b->host.loop, conn, on_message, on_end, b) : NULL;
    if (b->host.manager)
        return 0;
    fprintf(stderr, "flm-backend: descriptor 3 is not a socket of flmd\n");
    return FLM_EINVAL;
}

static int open_plugin(struct backend *b)
{
    flm_error error = {0, ""};
    int rc = plugin_load(b->name, &b->plugin, &error);
    if (rc == 0) {
        rc = b->plugin.ops.init(&b->host.table, b->configuration, &b->state, &error);
        if (rc < 0 && !error.code)
            snprintf(error.text, sizeof(error.text), "the backend %s cannot begin: %s", b->name,
                     flm_strerror(rc));
    }
    if (rc < 0) {
        host_say(&b->host, FLM__BLOCK_EVENT__KIND__REFUSED, 0, rc, error.text);
        return rc;
    }
    b->ready = true;
    say_ready(b);
    return 0;
}

static void watch_signals(struct backend *b)
{
    uv_signal_init(&b->host.loop, &b->on_term);
    uv_signal_init(&b->host.loop, &b->on_int);
    b->on_term.data = b->on_int.data = b;
    uv_signal_start(&b->on_term, on_signal, SIGTERM);
    uv_signal_start(&b->on_int, on_signal, SIGINT);
    uv_timer_init(&b->host.loop, &b->grace);
    uv_timer_init(&b->host.loop, &b->rejoining);
    b->grace.data = b->rejoining.data = b;
    signal(SIGPIPE, SIG_IGN);
}

static void run(struct backend *b)
{
    while (!b->ending || (host_has_children(&b->host) && !b->killed)) {
        uv_run(&b->host.loop, UV_RUN_ONCE);
        if (b->ending)
            host_reap(&b->host);
    }
}

/* ---- the command line -------------------------------------------------------------------------- */

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct backend *b = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            b->name = arg;
        else if (!strchr(arg, '=') || *arg == '=')
            argp_error(state, "'%s' is not NAME=VALUE", arg);
        return 0;
    case ARGP_KEY_END:
        if (!b->name)
            argp_error(state, "which plugin?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        NULL,
        parse,
        "PLUGIN [NAME=VALUE...]",
        "Hosts one backend plugin of Flame (local, slurm, ... or a path) for flmd, which "
        "starts this program; there is nothing to start by hand.",
        NULL,
        NULL,
        NULL};
    struct backend b = {0};
    flm__standard_open();
    argp_err_exit_status = 2;
    /* Assigned, not defined here: symbols are hidden, and the C library would not see a definition. */
    argp_program_version = "flm-backend (Flame) " FLM_VERSION;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &b);
    b.configuration = (const char *const *)(uintptr_t)(argv + argc);
    for (int i = 1; i < argc; i++)
        if (argv[i] == b.name)
            b.configuration = (const char *const *)(uintptr_t)(argv + i + 1);
    host_init(&b.host);
    host_adopt_orphans();
    watch_signals(&b);
    int rc = connect_manager(&b);
    if (rc == 0)
        rc = open_plugin(&b);
    if (rc < 0)
        begin_end(&b, 1);
    run(&b);
    if (host_has_children(
            &b.host)) /* they were killed, and nobody waits for them and what belongs to them */
        _exit(b.status);
    host_fini(&b.host);
    plugin_unload(&b.plugin);
    free(b.secret_file);
    return b.status;
}
