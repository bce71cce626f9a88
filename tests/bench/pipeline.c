/* pipeline - what the transports of this machine can carry, without the engine.
 *
 * Three processes: client -> broker -> executor -> broker -> client. The client keeps `window` tasks
 * under way; the broker copies each record to the other side, as any manager must at the least; the
 * executor reads the input and writes an output. Over a ring in shared memory, and over libfabric with
 * one link for each pair. Then the rate at which a process reads another's memory by RMA.
 *
 * Every wait is bounded: a transport that stands still is reported as such, and the children die with
 * their parent.
 */
#define _GNU_SOURCE
#include "base/argp_number.h"
#include "base/time.h"
#include "net/fabric.h"
#include "net/ring.h"
#include "wire/record.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SPINS_RING = 200, /* fruitless turns before a process sleeps */
    SPINS_FABRIC = 2, /* each is a system call: twice the rate of 200 over tcp */
    SLEEP_MS = 100,   /* longest sleep, should a wake-up be lost */
    STALL_S = 10,     /* without a result for so long: give up */
    WARM_UP_TASKS = 20000,
    RMA_MEMORY = 64 << 20,
};

struct settings {
    unsigned input, output, window;
    double seconds;
    bool json, rma;
    const char *transports; /* comma between them */
};
static struct settings settings = {
    .input = 64,
    .output = 8,
    .window = 2048,
    .seconds = 2,
    .rma = true,
    .transports = "ring,shm,tcp;ofi_rxm",
};

/* One process's means to talk: up to two links, and what to sleep on. */
struct station {
    struct flm__link *links[2];
    const struct flm__fabric_ops *ops;
    struct flm__fabric *fabric;
    int fd; /* doorbell or the fabric's; -1: none, yield */
    bool is_ring;
    bool starved[2]; /* a link had no room for what we wanted to send */
    unsigned idle;
};

static bool quiet(struct station *s)
{
    bool sleep = true;
    for (int i = 0; i < 2; i++)
        if (s->links[i] && !flm__link_arm(s->links[i], s->starved[i]))
            sleep = false;
    return sleep && (!s->fabric || s->ops->arm(s->fabric));
}

static void go_to_sleep(struct station *s)
{
    if (s->fd < 0) {
        sched_yield();
        return;
    }
    if (quiet(s)) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        uint64_t rings;
        if (poll(&p, 1, SLEEP_MS) > 0 && s->is_ring && read(s->fd, &rings, sizeof(rings)) < 0)
            return;
    }
    for (int i = 0; i < 2; i++)
        if (s->links[i])
            flm__link_disarm(s->links[i]);
}

/* The end of a turn of a process's loop: progress, and sleep after many turns without work. */
static void next_turn(struct station *s, bool worked)
{
    if (s->fabric && s->ops->progress(s->fabric) > 0)
        worked = true;
    if (worked) {
        s->idle = 0;
        return;
    }
    if (++s->idle < (s->is_ring ? SPINS_RING : SPINS_FABRIC))
        flm__relax();
    else
        go_to_sleep(s);
}

/* ---- The three processes ---- */

/* Copies what can be copied from one link to the other. */
static bool forward(struct station *s, int source, int target)
{
    struct flm__link *from = s->links[source], *to = s->links[target];
    const void *data;
    size_t n = flm__link_peek(from, &data), done = 0;
    while (done < n) {
        struct flm__record r;
        uint32_t bytes = flm__record_read((const char *)data + done, n - done, &r);
        void *at = bytes ? flm__link_reserve(to, bytes) : NULL;
        if (!at)
            break;
        memcpy(at, (const char *)data + done, bytes);
        flm__link_commit(to, bytes);
        done += bytes;
    }
    s->starved[target] = done < n;
    if (done) {
        flm__link_consume(from, done);
        flm__link_flush(to);
    }
    return done > 0;
}

static void run_broker(struct station *s)
{
    for (;;) {
        bool worked = forward(s, 0, 1);
        worked |= forward(s, 1, 0);
        next_turn(s, worked);
    }
}

static bool answer(struct station *s)
{
    struct flm__link *link = s->links[0];
    const void *data;
    size_t n = flm__link_peek(link, &data), done = 0;
    uint32_t out = flm__record_bytes(settings.output);
    while (done < n) {
        struct flm__record r;
        uint32_t bytes = flm__record_read((const char *)data + done, n - done, &r);
        char *at = bytes ? flm__link_reserve(link, out) : NULL;
        if (!at)
            break;
        const char *input = flm__record_payload((const char *)data + done);
        unsigned char sum = 0;
        for (uint32_t i = 0; i < r.size; i += 64)
            sum ^= (unsigned char)input[i];
        r.type = FLM__RESULT;
        r.size = settings.output;
        memcpy(at, &r, FLM__RECORD_HEADER);
        memset(at + FLM__RECORD_HEADER, sum, out - FLM__RECORD_HEADER);
        flm__link_commit(link, out);
        done += bytes;
    }
    s->starved[0] = done < n;
    if (done) {
        flm__link_consume(link, done);
        flm__link_flush(link);
    }
    return done > 0;
}

static void run_executor(struct station *s)
{
    for (;;)
        next_turn(s, answer(s));
}

struct client {
    uint64_t sent, got, batches; /* batches of results */
    bool wrong;                  /* a result that is not the next one */
};

static bool submit(struct client *c, struct station *s)
{
    struct flm__link *link = s->links[0];
    uint32_t bytes = flm__record_bytes(settings.input);
    uint64_t before = c->sent;
    while (c->sent - c->got < settings.window) {
        char *at = flm__link_reserve(link, bytes);
        if (!at)
            break;
        struct flm__record r = {.size = settings.input, .type = FLM__TASK, .task = c->sent};
        memcpy(at, &r, FLM__RECORD_HEADER);
        memset(at + FLM__RECORD_HEADER, (int)(c->sent & 0xff), bytes - FLM__RECORD_HEADER);
        flm__link_commit(link, bytes);
        c->sent++;
    }
    s->starved[0] = c->sent - c->got < settings.window;
    if (c->sent == before)
        return false;
    flm__link_flush(link);
    return true;
}

static bool collect(struct client *c, struct flm__link *link)
{
    const void *data;
    size_t n = flm__link_peek(link, &data), done = 0;
    while (done < n) {
        struct flm__record r;
        uint32_t bytes = flm__record_read((const char *)data + done, n - done, &r);
        if (!bytes || r.task != c->got || r.size != settings.output) {
            c->wrong = true;
            break;
        }
        c->got++;
        done += bytes;
    }
    if (done) {
        flm__link_consume(link, done);
        c->batches++;
    }
    return done > 0;
}

/* Keeps the pipeline full for some time and some tasks; false: it stood still, or went wrong. */
static bool run_client(struct station *s, struct client *c, int64_t ns, uint64_t tasks)
{
    int64_t start = flm__now_ns(), last = start;
    uint64_t enough = c->got + tasks, seen = c->got;
    for (unsigned turn = 0;; turn++) {
        bool worked = collect(c, s->links[0]);
        worked |= submit(c, s);
        next_turn(s, worked);
        if (c->wrong)
            return false;
        if (turn % 64)
            continue;
        int64_t now = flm__now_ns();
        if (now - start >= ns && c->got >= enough)
            return true;
        if (c->got != seen) {
            seen = c->got;
            last = now;
        }
        if (now - last > STALL_S * INT64_C(1000000000))
            return false;
    }
}

/* ---- Setting up ---- */

static void quit(const char *what)
{
    fprintf(stderr, "pipeline: %s\n", what);
    _exit(1);
}

struct plumbing {
    int memfd[2]; /* client - broker, broker - executor */
    int bell[3];  /* of client, broker, executor */
    int socket[2][2];
};

static struct flm__link *open_ring(struct plumbing *p, int pair, bool server, int peer)
{
    flm_error e;
    struct flm__link *l = flm__ring_open(p->memfd[pair], FLM__RING_BYTES, server, p->bell[peer], &e);
    if (!l)
        quit(e.text);
    return l;
}

static void station_ring(struct station *s, struct plumbing *p, int who)
{
    *s = (struct station){.fd = p->bell[who], .is_ring = true};
    if (who == 0)
        s->links[0] = open_ring(p, 0, true, 1);
    if (who == 1) {
        s->links[0] = open_ring(p, 0, false, 0);
        s->links[1] = open_ring(p, 1, true, 2);
    }
    if (who == 2)
        s->links[0] = open_ring(p, 1, false, 1);
}

/* Joins with the process at the other end of the socket. */
static struct flm__link *open_fabric_link(struct station *s, int socket)
{
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    struct flm__link *l = NULL;
    flm_error e;
    if (s->ops->address(s->fabric, address, &size, &e))
        quit(e.text);
    if (send(socket, address, size, 0) < 0)
        quit("a process is gone");
    ssize_t n = recv(socket, address, sizeof(address), 0);
    if (n <= 0)
        quit("a process is gone");
    /* One key for both directions and all pairs is enough here, but each link of a process needs its own.
     */
    uint64_t key = s->links[0] ? 2 : 1;
    uint64_t theirs = 0;
    if (send(socket, &key, sizeof(key), 0) < 0 || recv(socket, &theirs, sizeof(theirs), 0) <= 0)
        quit("a process is gone");
    if (s->ops->connect(s->fabric, address, (size_t)n, key, theirs, &l, &e))
        quit(e.text);
    return l;
}

static void station_fabric(struct station *s, struct plumbing *p, const char *provider, int who)
{
    struct flm__fabric_options options = {.provider = provider};
    flm_error e;
    *s = (struct station){.ops = flm__fabric_load(&e)};
    if (!s->ops || s->ops->open(&options, &s->fabric, &e))
        quit(e.text);
    s->fd = s->ops->fd(s->fabric);
    if (who <= 1)
        s->links[0] = open_fabric_link(s, p->socket[0][who]);
    if (who == 1)
        s->links[1] = open_fabric_link(s, p->socket[1][0]);
    if (who == 2)
        s->links[0] = open_fabric_link(s, p->socket[1][1]);
}

static void open_station(struct station *s, struct plumbing *p, const char *transport, int who)
{
    if (!strcmp(transport, "ring"))
        station_ring(s, p, who);
    else
        station_fabric(s, p, transport, who);
}

static void close_station(struct station *s)
{
    flm__link_destroy(s->links[0]);
    flm__link_destroy(s->links[1]);
    if (s->fabric)
        s->ops->close(s->fabric);
}

static void lay(struct plumbing *p)
{
    flm_error e;
    for (int i = 0; i < 2; i++) {
        if (flm__ring_create(FLM__RING_BYTES, &p->memfd[i], &e))
            quit(e.text);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p->socket[i]))
            quit("cannot make sockets");
    }
    for (int i = 0; i < 3; i++)
        if ((p->bell[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
            quit("cannot make a doorbell");
}

static void tear(struct plumbing *p)
{
    for (int i = 0; i < 2; i++) {
        close(p->memfd[i]);
        close(p->socket[i][0]);
        close(p->socket[i][1]);
    }
    for (int i = 0; i < 3; i++)
        close(p->bell[i]);
}

static pid_t start(struct plumbing *p, const char *transport, int who, void (*run)(struct station *))
{
    pid_t parent = getpid(), pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    struct station s;
    open_station(&s, p, transport, who);
    run(&s);
    _exit(0);
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- Measuring ---- */

static double cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct rate {
    bool ok;
    double tasks, seconds, cpu_ns[3], in_batch;
};

/* One transport, whole. In a process of its own: providers leave threads and handlers behind. */
static void measure(const char *transport, struct rate *out)
{
    struct plumbing p;
    struct station s;
    struct client c = {0};
    lay(&p);
    pid_t pids[3] = {0, start(&p, transport, 1, run_broker), start(&p, transport, 2, run_executor)};
    open_station(&s, &p, transport, 0);
    bool ok = run_client(&s, &c, 0, WARM_UP_TASKS);
    double cpu[3];
    for (int i = 0; i < 3; i++)
        cpu[i] = cpu_of(pids[i]);
    int64_t from = flm__now_ns();
    uint64_t before = c.got;
    c.batches = 0;
    ok = ok && run_client(&s, &c, (int64_t)(settings.seconds * 1e9), 1);
    out->seconds = (double)(flm__now_ns() - from) / 1e9;
    out->tasks = (double)(c.got - before);
    out->in_batch = out->tasks / (double)(c.batches ? c.batches : 1);
    for (int i = 0; i < 3; i++)
        out->cpu_ns[i] = (cpu_of(pids[i]) - cpu[i]) / (out->tasks > 0 ? out->tasks : 1);
    out->ok = ok;
    stop(pids[1]);
    stop(pids[2]);
    close_station(&s);
    tear(&p);
}

static void on_done(void *arg, int status)
{
    *(int *)arg = status ? status : 1;
}

/* Reads `bytes` again and again; bytes/s, or 0. */
static double read_rate(struct station *s, char *to, size_t bytes, const uint64_t where[2])
{
    int64_t from = flm__now_ns(), end = from + (int64_t)(settings.seconds * 5e8);
    double total = 0;
    while (flm__now_ns() < end || total == 0) {
        int done = 0;
        if (s->ops->read(s->links[0], to, bytes, where[0], where[1], on_done, &done))
            return 0;
        while (!done && flm__now_ns() < end + STALL_S * INT64_C(1000000000))
            next_turn(s, false);
        if (done != 1)
            _exit(1); /* `done` would be written later */
        total += (double)bytes;
    }
    return total / ((double)(flm__now_ns() - from) / 1e9);
}

static void serve_memory(struct station *s, int socket)
{
    struct flm__region *region;
    uint64_t where[2];
    flm_error e;
    char *memory = malloc(RMA_MEMORY);
    if (!memory)
        quit("no memory");
    memset(memory, 1, RMA_MEMORY);
    if (s->ops->expose(s->fabric, memory, RMA_MEMORY, &region, &where[0], &where[1], &e))
        quit(e.text);
    if (send(socket, where, sizeof(where), 0) < 0)
        quit("the reader is gone");
    for (;;)
        next_turn(s, false);
}

struct rma {
    bool ok;
    double small, large; /* bytes/s at 1 MiB and 64 MiB */
};

static void measure_rma(const char *transport, struct rma *out)
{
    struct plumbing p;
    struct station s;
    uint64_t where[2];
    char *to = malloc(RMA_MEMORY);
    lay(&p);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(p.socket[0][0]);
        station_fabric(&s, &p, transport, 2);
        serve_memory(&s, p.socket[1][1]);
    }
    *out = (struct rma){0};
    *(&s) = (struct station){0};
    flm_error e;
    const struct flm__fabric_options options = {.provider = transport};
    s.ops = flm__fabric_load(&e);
    if (!to || !s.ops || s.ops->open(&options, &s.fabric, &e))
        quit(to ? e.text : "no memory");
    s.fd = s.ops->fd(s.fabric);
    s.links[0] = open_fabric_link(&s, p.socket[1][0]);
    if (recv(p.socket[1][0], where, sizeof(where), 0) == sizeof(where)) {
        out->small = read_rate(&s, to, 1 << 20, where);
        out->large = read_rate(&s, to, RMA_MEMORY, where);
        out->ok = out->small > 0 && out->large > 0;
    }
    stop(pid);
    close_station(&s);
    tear(&p);
    free(to);
}

/* Runs one measurement in a child, so that one that goes wrong spoils nothing. */
static void apart(const char *transport, void (*one)(const char *, void *), void *shared, size_t size)
{
    void *result = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED)
        quit("no memory");
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        alarm((unsigned)(settings.seconds * 4) + 3 * STALL_S); /* the last resort */
        one(transport, result);
        _exit(0);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    memcpy(shared, result, size);
    munmap(result, size);
}

static void one_rate(const char *transport, void *result)
{
    measure(transport, result);
}

static void one_rma(const char *transport, void *result)
{
    measure_rma(transport, result);
}

/* ---- Reporting ---- */

static void print_row(const char *transport, const struct rate *r, const struct rma *m, bool first)
{
    double sum = r->cpu_ns[0] + r->cpu_ns[1] + r->cpu_ns[2];
    double rate = r->ok ? r->tasks / r->seconds : 0;
    if (settings.json) {
        printf("%s\n  {\"transport\": \"%s\", \"ok\": %s, \"tasks_per_second\": %.0f, \"cpu_ns_per_task\": "
               "%.1f, "
               "\"cpu_ns_client\": %.1f, \"cpu_ns_broker\": %.1f, \"cpu_ns_executor\": %.1f, "
               "\"tasks_per_batch\": %.1f",
               first ? "" : ",", transport, r->ok ? "true" : "false", rate, sum, r->cpu_ns[0], r->cpu_ns[1],
               r->cpu_ns[2], r->in_batch);
        if (m->ok)
            printf(", \"rma_1mib_bytes_per_second\": %.0f, \"rma_64mib_bytes_per_second\": %.0f", m->small,
                   m->large);
        printf("}");
    } else if (!r->ok) {
        printf("%-14s does not work here\n", transport);
    } else {
        printf("%-14s %8.2f M/s %7.0f ns (%.0f + %.0f + %.0f), %4.0f in a batch", transport, rate / 1e6,
               sum, r->cpu_ns[0], r->cpu_ns[1], r->cpu_ns[2], r->in_batch);
        if (m->ok)
            printf("   RMA %.2f and %.2f GB/s", m->small / 1e9, m->large / 1e9);
        printf("\n");
    }
    fflush(stdout);
}

static void measure_all(char *list)
{
    bool first = true;
    for (char *save, *t = strtok_r(list, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
        struct rate r;
        struct rma m = {0};
        apart(t, one_rate, &r, sizeof(r));
        if (settings.rma && r.ok && strcmp(t, "ring"))
            apart(t, one_rma, &m, sizeof(m));
        print_row(t, &r, &m, first);
        first = false;
    }
}

static const struct argp_option options[] = {
    {"size", 's', "BYTES", 0, "input of a task (64)", 0},
    {"output", 'o', "BYTES", 0, "output of a task (8)", 0},
    {"window", 'w', "TASKS", 0, "tasks under way (2048)", 0},
    {"seconds", 't', "S", 0, "how long each transport is measured (2)", 0},
    {"transports", 'x', "LIST", 0, "ring and libfabric providers (ring,shm,tcp;ofi_rxm)", 0},
    {"no-rma", 'R', NULL, 0, "leave out the RMA rates", 0},
    {"json", 'j', NULL, 0, "print one JSON object", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case 's':
        settings.input = (unsigned)flm__argp_number(state, "--size", arg, 0, FLM__INLINE_MAX);
        return 0;
    case 'o':
        settings.output = (unsigned)flm__argp_number(state, "--output", arg, 0, FLM__INLINE_MAX);
        return 0;
    case 'w':
        settings.window = (unsigned)flm__argp_number(state, "--window", arg, 1, 1000000);
        return 0;
    case 't':
        settings.seconds = (unsigned)flm__argp_number(state, "--seconds", arg, 1, 600);
        return 0;
    case 'x':
        settings.transports = arg;
        return 0;
    case 'R':
        settings.rma = false;
        return 0;
    case 'j':
        settings.json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp argp = {.options = options,
                                     .parser = parse,
                                     .doc = "What the transports of this machine carry, without Flame."};
    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    char *list = strdup(settings.transports);
    if (!list)
        return 1;
    if (settings.json)
        printf("{\"input_bytes\": %u, \"output_bytes\": %u, \"window\": %u, \"pipelines\": [",
               settings.input, settings.output, settings.window);
    else
        printf("bare pipeline of three processes, %u B in, %u B out, window %u\n%-14s %12s %10s (client + "
               "broker + "
               "executor)\n",
               settings.input, settings.output, settings.window, "transport", "tasks", "CPU/task");
    fflush(stdout);
    measure_all(list);
    if (settings.json)
        printf("]}\n");
    free(list);
    return 0;
}
