#define _GNU_SOURCE
#include "manager/rejoin.h"

#include "base/error.h"
#include "base/time.h"
#include "manager/backend.h"
#include "manager/blocks.h"
#include "manager/executor.h"
#include "net/rejoin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    GATHER_MS = 5000,
    LOOK_MS = 50,
    NOTE_MS = 100, /* many nodes join at once, and each would have the file written */
};

/* Somebody of whom the predecessor's file says that it would outlive it. */
struct awaited {
    struct awaited *prev, *next;
    bool is_backend;
    int pid; /* 0: not on this machine */
    char name[128];
};

struct rejoin {
    uint64_t state;    /* random, of the state directory */
    uint64_t settings; /* what survivors were started with: they are of use only if it is the same */
    char file[1000], machine[64];
    bool unwanted, gathering;
    bool noted; /* and not yet written */
    struct awaited *awaited;
    int64_t until_ns;
    uv_timer_t look, note;
};

/* ---- the file ---------------------------------------------------------------------------------- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return XXH3_64bits_withSeed(text ? text : "", text ? strlen(text) + 1 : 0, hash + (text != NULL));
}

/* What the backend and the agents were started with. */
static uint64_t hash_settings(const struct options *o)
{
    char numbers[64];
    uint64_t h = hash_text(0, o->backend);
    snprintf(numbers, sizeof(numbers), "%u %u %u", o->slots, o->nodes, o->block_nodes);
    h = hash_text(h, numbers);
    h = hash_text(h, o->provider);
    h = hash_text(h, o->interface);
    h = hash_text(h, o->secret_file);
    for (unsigned i = 0; i < o->n_backend_options; i++)
        h = hash_text(h, o->backend_options[i]);
    for (unsigned i = 0; i < o->n_agent_options; i++)
        h = hash_text(h, o->agent_options[i]);
    return h;
}

/* This boot of this machine, and our view of its processes. */
static void name_machine(char *name, size_t size)
{
    char boot[40] = "", space[40] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, boot, 36) < 0)
        boot[0] = 0;
    if (fd >= 0)
        close(fd);
    ssize_t n = readlink("/proc/self/ns/pid", space, sizeof(space) - 1);
    space[n > 0 ? n : 0] = 0;
    snprintf(name, size, "%.36s%.20s", boot, space);
}

static void write_file(struct manager *m)
{
    struct rejoin *r = m->rejoin;
    r->noted = false;
    char draft[sizeof(r->file) + 8];
    const struct awaited *a;
    const struct node *n;
    int backend = backend_pid(m);
    snprintf(draft, sizeof(draft), "%s.new", r->file);
    FILE *f = fopen(draft, "we");
    if (!f) {
        say("cannot write %s: %s; nothing will outlive this session manager", draft, strerror(errno));
        return;
    }
    fprintf(f, "flame-manager 1\nstate %016" PRIx64 "\nsettings %016" PRIx64 "\nmachine %s\n", r->state,
            r->settings, r->machine);
    fprintf(f, "instance %s\nprocess %d\nendpoints %s\n", m->instance, (int)getpid(), m->endpoints);
    if (backend)
        fprintf(f, "backend %d %s\n", backend, m->options.backend);
    DL_FOREACH(m->nodes, n)
    fprintf(f, "node %d %s\n", flm__conn_is_unix(n->peer->conn) ? n->peer->pid : 0, n->own_name);
    DL_FOREACH(r->awaited, a)
    fprintf(f, "%s %d %s\n", a->is_backend ? "backend" : "node", a->pid, a->name);
    if (fclose(f) != 0 || rename(draft, r->file) < 0)
        say("cannot write %s: %s; nothing will outlive this session manager", r->file, strerror(errno));
}

static bool process_lives(int pid)
{
    char path[40], text[400], *state;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    state = strrchr(text, ')');
    return state && state[1] == ' ' && state[2] != 'Z' && state[2] != 'X';
}

static void await(struct rejoin *r, bool is_backend, const char *line, bool same_machine)
{
    struct awaited *a = calloc(1, sizeof(*a));
    if (!a || sscanf(line, "%d %127s", &a->pid, a->name) != 2) {
        free(a);
        return;
    }
    a->is_backend = is_backend;
    if (!same_machine)
        a->pid = 0;
    DL_APPEND(r->awaited, a);
}

/* What a predecessor has left there. */
static void read_file(struct rejoin *r)
{
    char value[128], *text;
    if (flm__rejoin_read(r->file, &text, NULL) < 0 ||
        !flm__rejoin_line(text, "state", value, sizeof(value)))
        return;
    r->state = strtoull(value, NULL, 16);
    r->unwanted = flm__rejoin_line(text, "settings", value, sizeof(value)) &&
                  strtoull(value, NULL, 16) != r->settings;
    if (r->unwanted)
        return;
    bool same = flm__rejoin_line(text, "machine", value, sizeof(value)) && strcmp(value, r->machine) == 0;
    for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "backend ", 8) == 0)
            await(r, true, line + 8, same);
        else if (strncmp(line, "node ", 5) == 0)
            await(r, false, line + 5, same);
    }
}

/* ---- gathering --------------------------------------------------------------------------------- */

static void forget(struct rejoin *r, struct awaited *a)
{
    DL_DELETE(r->awaited, a);
    free(a);
}

bool rejoin_gathers(const struct manager *m)
{
    return m->rejoin && m->rejoin->gathering;
}

bool rejoin_awaits_backend(const struct manager *m)
{
    const struct awaited *a;
    if (!m->rejoin)
        return false;
    DL_FOREACH(m->rejoin->awaited, a)
    if (a->is_backend)
        return true;
    return false;
}

/* Nodes of blocks that nobody knows: who would have given them back is gone. */
static void refuse_strays(struct manager *m)
{
    struct node *n, *next;
    DL_FOREACH_SAFE(m->nodes, n, next)
    if (n->block_number && !blocks_know(m, n->block_number))
        peer_refuse(n->peer, FLM_ECLOSED, "the backend that has started this node is gone");
}

static void gathered(struct manager *m)
{
    struct rejoin *r = m->rejoin;
    flm_error error = {0, ""};
    bool wants_backend = !m->backend && strcmp(m->options.backend, "none") != 0;
    uv_timer_stop(&r->look);
    r->gathering = false;
    while (r->awaited) {
        say("%s %s of the session manager before has not come back",
            r->awaited->is_backend ? "the backend" : "node", r->awaited->name);
        forget(r, r->awaited);
    }
    if (wants_backend) {
        refuse_strays(m);
        if (backend_start(m, &error) < 0) {
            say("%s", error.text);
            m->exit_status = 1;
            manager_stop(m, "the backend cannot begin");
            return;
        }
    }
    write_file(m);
    survivors_go_on(m);
}

static void on_look(uv_timer_t *timer)
{
    struct manager *m = timer->data;
    struct rejoin *r = m->rejoin;
    struct awaited *a, *next;
    bool unknown = false;
    if (m->stopping)
        return;
    DL_FOREACH_SAFE(r->awaited, a, next)
    {
        if (a->pid && !process_lives(a->pid))
            forget(r, a);
        else
            unknown = true;
    }
    if (!unknown || flm__now_ns() > r->until_ns)
        gathered(m);
}

static void is_back(struct manager *m, bool is_backend, const char *name)
{
    struct rejoin *r = m->rejoin;
    struct awaited *a, *next;
    if (!r || m->stopping) /* the file is gone, and nothing is to begin any more */
        return;
    DL_FOREACH_SAFE(r->awaited, a, next)
    if (a->is_backend == is_backend && (is_backend || strcmp(a->name, name) == 0))
        forget(r, a);
    if (r->gathering && !r->awaited)
        gathered(m);
    else
        rejoin_note(m);
}

void rejoin_node_is_back(struct node *n)
{
    is_back(n->peer->manager, false, n->own_name);
}

void rejoin_backend_is_back(struct manager *m)
{
    refuse_strays(m);
    is_back(m, true, "");
}

int rejoin_admit(struct peer *p, flm_error *error)
{
    const struct manager *m = p->manager;
    const Flm__Came *came = p->hello->came;
    if (!m->rejoin || came->state != m->rejoin->state)
        return flm__error_set(error, FLM_EPERM,
                              "it comes from a session manager of another state directory");
    if (strcmp(came->instance, m->instance) == 0)
        return flm__error_set(error, FLM_ECLOSED, "it was given up");
    if (m->rejoin->unwanted)
        return flm__error_set(error, FLM_ECLOSED, "this session manager has other settings");
    return 0;
}

/* ---- begin and end ----------------------------------------------------------------------------- */

int rejoin_open(struct manager *m, flm_error *error)
{
    struct options *o = &m->options;
    if (!o->rejoin_s)
        return 0;
    char *folder = realpath(o->state_dir, NULL);
    struct rejoin *r = folder ? calloc(1, sizeof(*r)) : NULL;
    if (!r) {
        free(folder);
        return flm__error_errno(error, FLM_EIO, errno, "cannot use --state-dir %s", o->state_dir);
    }
    bool fits = snprintf(r->file, sizeof(r->file), "%s/flmd", folder) < (int)sizeof(r->file);
    free(folder);
    if (!fits)
        free(r);
    if (!fits)
        return flm__error_set(error, FLM_EINVAL, "the path of --state-dir is too long");
    uv_timer_init(&m->uv, &r->look); /* from here on rejoin_stop and the end of the loop know it */
    uv_timer_init(&m->uv, &r->note);
    r->look.data = r->note.data = m;
    m->rejoin = r;
    name_machine(r->machine, sizeof(r->machine));
    r->settings = hash_settings(o);
    if (flm__random(&r->state, sizeof(r->state)) < 0)
        return flm__error_set(error, FLM_EINTERNAL, "no random numbers");
    read_file(r);
    r->until_ns = flm__now_ns() + GATHER_MS * 1000000LL;
    struct awaited *a, *next;
    DL_FOREACH_SAFE(r->awaited, a, next)
    if (a->pid && !process_lives(a->pid))
        forget(r, a);
    r->gathering = r->awaited != NULL;
    if (r->gathering)
        uv_timer_start(&r->look, on_look, LOOK_MS, LOOK_MS);
    write_file(m);
    return 0;
}

static void on_note(uv_timer_t *timer)
{
    struct manager *m = timer->data;
    if (m->rejoin->noted)
        write_file(m);
}

void rejoin_note(struct manager *m)
{
    struct rejoin *r = m->rejoin;
    if (!r || m->stopping)
        return;
    r->noted = uv_is_active((uv_handle_t *)&r->note);
    if (r->noted)
        return;
    write_file(m);
    uv_timer_start(&r->note, on_note, NOTE_MS, 0);
}

void rejoin_describe(const struct manager *m, Flm__Rejoin *rejoin)
{
    if (m->stopping)
        return;
    rejoin->state = m->rejoin->state;
    rejoin->rejoin_ms = m->options.rejoin_s * 1000;
    rejoin->file = m->rejoin->file;
}

void rejoin_stop(struct manager *m)
{
    if (!m->rejoin)
        return;
    uv_timer_stop(&m->rejoin->look);
    uv_timer_stop(&m->rejoin->note);
    unlink(m->rejoin->file);
}

void rejoin_free(struct manager *m)
{
    struct rejoin *r = m->rejoin;
    if (!r)
        return;
    while (r->awaited)
        forget(r, r->awaited);
    free(r);
    m->rejoin = NULL;
}
