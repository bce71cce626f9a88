/* Links over libfabric: order, back-pressure, strangers, RMA, peers that die. All over tcp;ofi_rxm. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/time.h"
#include "net/fabric.h"
#include "wire/record.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct flm__fabric_ops *ops;
static const struct flm__fabric_options tcp = {.provider = "tcp;ofi_rxm", .interface = "lo"};

/* A wait that should end at once gives up after this: the test fails instead of hanging. */
enum { PATIENCE_S = 60 };

static int64_t patience(void)
{
    return flm__now_ns() + PATIENCE_S * INT64_C(1000000000);
}

/* ---- Records whose content follows from their number ---- */

static unsigned char byte_of(uint64_t number, uint32_t i)
{
    return (unsigned char)(number * 31 + i * 7 + (i >> 8));
}

static void write_record(void *at, uint64_t number, uint32_t size)
{
    struct flm__record r = {.size = size, .type = FLM__TASK, .task = number};
    unsigned char *payload = (unsigned char *)at + FLM__RECORD_HEADER;
    memcpy(at, &r, FLM__RECORD_HEADER);
    for (uint32_t i = 0; i < size; i++)
        payload[i] = byte_of(number, i);
    memset(payload + size, 0, flm__record_padded(size) - size);
}

static void check_record(const void *at, const struct flm__record *r, uint64_t number, uint32_t size)
{
    const unsigned char *payload = flm__record_payload(at);
    assert_int_equal(r->task, number);
    assert_int_equal(r->size, size);
    for (uint32_t i = 0; i < size; i++)
        if (payload[i] != byte_of(number, i))
            fail_msg("record %lu differs at byte %u", (unsigned long)number, i);
}

static bool send_record(struct flm__link *l, uint64_t number, uint32_t size)
{
    void *at = flm__link_reserve(l, flm__record_bytes(size));
    if (!at)
        return false;
    write_record(at, number, size);
    flm__link_commit(l, flm__record_bytes(size));
    return true;
}

/* Takes what has come; size_of(number) gives the expected sizes. */
static uint64_t take_records(struct flm__link *l, uint64_t number, uint32_t (*size_of)(uint64_t))
{
    const void *data;
    size_t n;
    while ((n = flm__link_peek(l, &data)) > 0) {
        struct flm__record r = {0};
        uint32_t bytes = flm__record_read(data, n, &r);
        assert_int_not_equal(bytes, 0);
        check_record(data, &r, number, size_of(number));
        flm__link_consume(l, bytes);
        number++;
    }
    return number;
}

static void swallow(struct flm__link *l)
{
    const void *data;
    size_t n;
    while ((n = flm__link_peek(l, &data)) > 0)
        flm__link_consume(l, n);
}

/* ---- Pairs of endpoints in this process ---- */

struct side {
    struct flm__fabric *fabric;
    struct flm__link *link;
};

static struct flm__fabric *open_fabric(const struct flm__fabric_options *o)
{
    struct flm__fabric *f = NULL;
    flm_error e = {0};
    if (ops->open(o, &f, &e))
        fail_msg("open: %s", e.text);
    return f;
}

static struct flm__link *join(struct flm__fabric *from, struct flm__fabric *to, uint64_t key_in,
                              uint64_t key_out)
{
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    struct flm__link *l = NULL;
    flm_error e = {0};
    if (ops->address(to, address, &size, &e) || ops->connect(from, address, size, key_in, key_out, &l, &e))
        fail_msg("connect: %s", e.text);
    return l;
}

static void open_pair(struct side *a, struct side *b, const struct flm__fabric_options *o)
{
    a->fabric = open_fabric(o);
    b->fabric = open_fabric(o);
    a->link = join(a->fabric, b->fabric, 11, 22);
    b->link = join(b->fabric, a->fabric, 22, 11);
}

static void close_side(struct side *s)
{
    flm__link_destroy(s->link);
    ops->close(s->fabric);
}

static void pump(struct side *a, struct side *b)
{
    ops->progress(a->fabric);
    ops->progress(b->fabric);
}

/* ---- Order and content ---- */

static uint32_t mixed_size(uint64_t number)
{
    static const uint32_t sizes[] = {0,    1,     7,     8,   64,    63,    1000, 4095, 4096,
                                     5000, 16344, 16400, 100, 32767, 32768, 3,    0,    32760};
    return sizes[number % (sizeof(sizes) / sizeof(sizes[0]))];
}

/* Both ways at once, with a flush only now and then. */
static void exchange(const struct flm__fabric_options *o, uint64_t count)
{
    struct side a, b;
    uint64_t sent[2] = {0, 0}, got[2] = {0, 0};
    int64_t end = patience();
    open_pair(&a, &b, o);
    while ((got[0] < count || got[1] < count) && flm__now_ns() < end) {
        for (int i = 0; i < 5 && sent[0] < count && send_record(a.link, sent[0], mixed_size(sent[0])); i++)
            sent[0]++;
        for (int i = 0; i < 3 && sent[1] < count && send_record(b.link, sent[1], mixed_size(sent[1])); i++)
            sent[1]++;
        flm__link_flush(a.link);
        flm__link_flush(b.link);
        pump(&a, &b);
        got[0] = take_records(b.link, got[0], mixed_size);
        got[1] = take_records(a.link, got[1], mixed_size);
    }
    assert_int_equal(got[0], count);
    assert_int_equal(got[1], count);
    assert_int_equal(ops->strangers(a.fabric) + ops->strangers(b.fabric), 0);
    close_side(&a);
    close_side(&b);
}

static void test_order_and_content(void **state)
{
    (void)state;
    exchange(&tcp, 4000);
}

static void test_shm_by_name(void **state)
{
    static const struct flm__fabric_options shm = {.provider = "shm"};
    (void)state;
    exchange(&shm, 500);
}

static void test_largest_record(void **state)
{
    struct side a, b;
    const void *data;
    size_t n = 0;
    int64_t end = patience();
    (void)state;
    open_pair(&a, &b, &tcp);
    for (int i = 0; i < 3; i++) {
        assert_true(send_record(a.link, 0, FLM__RECORD_MAX - FLM__RECORD_HEADER));
        flm__link_flush(a.link);
        while (!(n = flm__link_peek(b.link, &data)) && flm__now_ns() < end)
            pump(&a, &b);
        assert_int_equal(n, FLM__RECORD_MAX);
        flm__link_consume(b.link, n);
    }
    assert_null(flm__link_reserve(a.link, 1 << 20));
    close_side(&a);
    close_side(&b);
}

/* ---- Sleeping ---- */

/* Sleeps as a process does; false: woken by nothing for too long. */
static bool sleep_once(struct side *s, int timeout_ms)
{
    struct pollfd p = {.fd = ops->fd(s->fabric), .events = POLLIN};
    assert_true(p.fd >= 0);
    if (!flm__link_arm(s->link, false) || !ops->arm(s->fabric)) {
        flm__link_disarm(s->link);
        return true;
    }
    int n = poll(&p, 1, timeout_ms);
    flm__link_disarm(s->link);
    return n > 0;
}

static uint32_t size_64(uint64_t number)
{
    (void)number;
    return 64;
}

/* A process that sends back each record, sleeping in between. */
static void echo_until_killed(int address_in, int address_out)
{
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    struct side s = {.fabric = open_fabric(&tcp)};
    uint64_t number = 0;
    if (ops->address(s.fabric, address, &size, NULL) || write(address_out, address, size) < 0)
        _exit(1);
    ssize_t n = read(address_in, address, sizeof(address));
    if (n <= 0 || ops->connect(s.fabric, address, (size_t)n, 22, 11, &s.link, NULL))
        _exit(1);
    for (;;) {
        ops->progress(s.fabric);
        uint64_t next = take_records(s.link, number, size_64);
        for (; number < next; number++)
            while (!send_record(s.link, number, 64))
                ops->progress(s.fabric);
        flm__link_flush(s.link);
        sleep_once(&s, -1);
    }
}

struct child {
    pid_t pid;
    int to, from;
};

static struct child start_child(void (*run)(int in, int out))
{
    int down[2], up[2];
    assert_int_equal(pipe(down), 0);
    assert_int_equal(pipe(up), 0);
    struct child c = {.pid = fork(), .to = down[1], .from = up[0]};
    if (c.pid == 0) {
        alarm(2 * PATIENCE_S);
        run(down[0], up[1]);
        _exit(0);
    }
    assert_true(c.pid > 0);
    close(down[0]);
    close(up[1]);
    return c;
}

static void end_child(struct child *c)
{
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    close(c->to);
    close(c->from);
}

/* Our own end of a link with a child. */
static void join_child(struct side *s, const struct child *c)
{
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    s->fabric = open_fabric(&tcp);
    ssize_t n = read(c->from, address, sizeof(address));
    assert_true(n > 0);
    assert_int_equal(ops->connect(s->fabric, address, (size_t)n, 11, 22, &s->link, NULL), 0);
    assert_int_equal(ops->address(s->fabric, address, &size, NULL), 0);
    assert_int_equal(write(c->to, address, size), size);
}

/* One record at a time, both sides asleep in between: nobody is left sleeping. */
static void test_sleepers_wake(void **state)
{
    struct side s;
    struct child c = start_child(echo_until_killed);
    (void)state;
    join_child(&s, &c);
    for (uint64_t number = 0; number < 500;) {
        assert_true(send_record(s.link, number, 64));
        flm__link_flush(s.link);
        uint64_t next = number;
        int64_t end = patience();
        while (next == number && flm__now_ns() < end) {
            ops->progress(s.fabric);
            next = take_records(s.link, number, size_64);
            if (next == number)
                assert_true(sleep_once(&s, PATIENCE_S * 1000));
        }
        number = next;
    }
    close_side(&s);
    end_child(&c);
}

/* ---- Back-pressure ---- */

/* Sends until the link takes no more, for good. */
static uint64_t fill(struct side *a, struct side *b, uint64_t number)
{
    int idle = 0;
    while (idle < 1000) {
        idle++;
        while (send_record(a->link, number, 64)) {
            number++;
            idle = 0;
        }
        flm__link_flush(a->link);
        pump(a, b);
        usleep(idle > 100 ? 20 : 0);
    }
    return number;
}

/* b does not consume what a sends; c is served all the same, and a's records are all there later. */
static void test_back_pressure(void **state)
{
    struct side a, b, c;
    int64_t end = patience();
    (void)state;
    open_pair(&a, &b, &tcp);
    c.fabric = open_fabric(&tcp);
    c.link = join(c.fabric, b.fabric, 33, 44);
    struct flm__link *from_c = join(b.fabric, c.fabric, 44, 33);

    uint64_t sent = fill(&a, &b, 0);
    assert_true(sent > 100);
    assert_true(sent * flm__record_bytes(64) < 2 * 1024 * 1024);
    assert_true(flm__link_arm(a.link, true)); /* no room: may sleep */

    uint64_t count = 0;
    for (uint64_t number = 0; count < 2000 && flm__now_ns() < end;) {
        while (number < 2000 && send_record(c.link, number, 64))
            number++;
        flm__link_flush(c.link);
        pump(&c, &b);
        count = take_records(from_c, count, size_64);
    }
    assert_int_equal(count, 2000);

    uint64_t got = 0;
    while (got < sent && flm__now_ns() < end) {
        got = take_records(b.link, got, size_64);
        pump(&a, &b);
    }
    assert_int_equal(got, sent);
    assert_false(flm__link_arm(a.link, true)); /* room again */
    assert_int_equal(ops->strangers(b.fabric), 0);
    flm__link_destroy(from_c);
    close_side(&c);
    close_side(&a);
    close_side(&b);
}

/* ---- Strangers ---- */

static void test_wrong_key(void **state)
{
    struct side a, b, c;
    uint64_t got = 0;
    int64_t end = patience();
    (void)state;
    open_pair(&a, &b, &tcp);
    c.fabric = open_fabric(&tcp);
    c.link = join(c.fabric, b.fabric, 33, 23);
    assert_true(send_record(c.link, 0, 64));
    flm__link_flush(c.link);
    while (!ops->strangers(b.fabric) && flm__now_ns() < end)
        pump(&b, &c);
    assert_int_equal(ops->strangers(b.fabric), 1);
    assert_true(send_record(a.link, 0, 64));
    flm__link_flush(a.link);
    while (!got && flm__now_ns() < end) {
        pump(&a, &b);
        got = take_records(b.link, 0, size_64);
    }
    assert_int_equal(got, 1);
    close_side(&c);
    close_side(&a);
    close_side(&b);
}

static void test_same_key_twice(void **state)
{
    struct side a, b;
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    struct flm__link *l = NULL;
    flm_error e;
    (void)state;
    open_pair(&a, &b, &tcp);
    assert_int_equal(ops->address(b.fabric, address, &size, NULL), 0);
    assert_int_equal(ops->connect(a.fabric, address, size, 11, 99, &l, &e), FLM_EEXIST);
    assert_int_equal(ops->connect(a.fabric, address, 0, 12, 99, &l, &e), FLM_EINVAL);
    assert_int_equal(ops->connect(a.fabric, address, 100000, 12, 99, &l, &e), FLM_EINVAL);
    close_side(&a);
    close_side(&b);
}

static void test_no_such_provider(void **state)
{
    static const struct flm__fabric_options none = {.provider = "carrier pigeon"};
    struct flm__fabric *f = NULL;
    flm_error e;
    (void)state;
    assert_int_equal(ops->open(&none, &f, &e), FLM_ENOTSUP);
    assert_non_null(strstr(e.text, "carrier pigeon"));
}

/* Whatever is chosen by itself reaches other nodes. */
static void test_automatic_choice(void **state)
{
    static const struct flm__fabric_options any;
    struct flm__fabric *f = open_fabric(&any);
    (void)state;
    assert_string_not_equal(ops->provider(f), "shm");
    ops->close(f);
}

/* ---- Reading memory ---- */

struct done {
    int calls, status;
};

static void on_done(void *arg, int status)
{
    struct done *d = arg;
    d->calls++;
    d->status = status;
}

static void read_all(struct side *a, struct side *b, size_t size)
{
    char *from = malloc(size + 1), *to = malloc(size + 1);
    struct flm__region *region = NULL;
    uint64_t address, key;
    struct done d = {0};
    int64_t end = patience();
    assert_true(from && to);
    for (size_t i = 0; i < size; i++)
        from[i] = (char)(i * 13 + (i >> 12));
    memset(to, 0, size);
    to[size] = 77;
    assert_int_equal(ops->expose(b->fabric, from, size, &region, &address, &key, NULL), 0);
    assert_int_equal(ops->read(a->link, to, size, address, key, on_done, &d), 0);
    assert_int_equal(d.calls, 0);
    while (!d.calls && flm__now_ns() < end)
        pump(a, b);
    assert_int_equal(d.calls, 1);
    assert_int_equal(d.status, 0);
    assert_memory_equal(from, to, size);
    assert_int_equal(to[size], 77);
    ops->conceal(b->fabric, region);
    free(from);
    free(to);
}

static void test_read_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, (1 << 20) + 1, 64 << 20};
    struct side a, b;
    (void)state;
    open_pair(&a, &b, &tcp);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        read_all(&a, &b, sizes[i]);
    close_side(&a);
    close_side(&b);
}

/* More reads than there are chunks, then one of memory that was never exposed. */
static void test_many_reads_and_a_wrong_key(void **state)
{
    enum { READS = 40, BYTES = 100000 };
    struct side a, b;
    static char from[BYTES], to[READS][BYTES];
    struct flm__region *region = NULL;
    uint64_t address, key;
    struct done d = {0}, wrong = {0};
    int64_t end = patience();
    (void)state;
    open_pair(&a, &b, &tcp);
    memset(from, 5, sizeof(from));
    assert_int_equal(ops->expose(b.fabric, from, sizeof(from), &region, &address, &key, NULL), 0);
    for (int i = 0; i < READS; i++)
        assert_int_equal(ops->read(a.link, to[i], BYTES, address, key, on_done, &d), 0);
    while (d.calls < READS && flm__now_ns() < end)
        pump(&a, &b);
    assert_int_equal(d.calls, READS);
    assert_int_equal(d.status, 0);
    for (int i = 0; i < READS; i++)
        assert_memory_equal(from, to[i], BYTES);
    assert_int_equal(ops->read(a.link, to[0], 100, address, key ^ 0x5555, on_done, &wrong), 0);
    while (!wrong.calls && flm__now_ns() < end)
        pump(&a, &b);
    assert_int_equal(wrong.calls, 1);
    assert_true(wrong.status < 0);
    ops->conceal(b.fabric, region);
    close_side(&a);
    close_side(&b);
}

/* The link goes while the provider still writes: done comes once, and memory is not touched after it. */
static void destroy_under_read(int turns_of_peer)
{
    enum { BYTES = 32 << 20 };
    struct side a, b;
    char *from = calloc(1, BYTES), *to = malloc(BYTES);
    struct flm__region *region = NULL;
    uint64_t address, key;
    struct done d = {0};
    assert_true(from && to);
    open_pair(&a, &b, &tcp);
    read_all(&a, &b, 1); /* they are connected now */
    assert_int_equal(ops->expose(b.fabric, from, BYTES, &region, &address, &key, NULL), 0);
    assert_int_equal(ops->read(a.link, to, BYTES, address, key, on_done, &d), 0);
    for (int i = 0; i < 5; i++) {
        ops->progress(a.fabric);
        if (i < turns_of_peer)
            ops->progress(b.fabric);
    }
    assert_int_equal(d.calls, 0);
    flm__link_destroy(a.link);
    for (int i = 0; i < 1000 && !d.calls; i++)
        ops->progress(a.fabric); /* the peer does nothing any more */
    ops->close(a.fabric);
    assert_int_equal(d.calls, 1);
    assert_int_equal(d.status, FLM_EDISCONNECTED);
    free(to);
    ops->conceal(b.fabric, region);
    free(from);
    close_side(&b);
}

/* The side that is read from goes in the middle, its link first or with all it has. */
static void leave_under_read(int turns)
{
    enum { BYTES = 32 << 20 };
    struct side a, b;
    char *from = calloc(1, BYTES), *to = malloc(BYTES);
    struct flm__region *region = NULL;
    uint64_t address, key;
    struct done d = {0};
    int64_t end = patience();
    assert_true(from && to);
    open_pair(&a, &b, &tcp);
    read_all(&a, &b, 1);
    assert_int_equal(ops->expose(b.fabric, from, BYTES, &region, &address, &key, NULL), 0);
    assert_int_equal(ops->read(a.link, to, BYTES, address, key, on_done, &d), 0);
    ops->progress(a.fabric);
    for (int i = 0; i < turns; i++)
        ops->progress(b.fabric);
    flm__link_destroy(b.link);
    for (int i = 0; i < turns; i++)
        pump(&a, &b);
    ops->conceal(b.fabric, region);
    ops->close(b.fabric);
    free(from);
    while (!d.calls && flm__now_ns() < end)
        ops->progress(a.fabric);
    assert_int_equal(d.calls, 1);
    assert_int_equal(d.status, FLM_EDISCONNECTED);
    free(to);
    close_side(&a);
}

/* The receiver goes in the middle of a flood, whatever part of a message it has. */
static void test_leave_under_flood(void **state)
{
    (void)state;
    for (int turns = 0; turns < 40; turns++) {
        struct side a, b;
        open_pair(&a, &b, &tcp);
        for (int i = 0; i < 4 * turns; i++) {
            for (uint64_t n = 0; n < 100 && send_record(a.link, n, 5000); n++)
                continue;
            flm__link_flush(a.link);
            swallow(b.link);
            ops->progress(a.fabric);
            if (i % 3)
                ops->progress(b.fabric);
        }
        close_side(turns % 2 ? &a : &b);
        close_side(turns % 2 ? &b : &a);
    }
}

static void test_leave_under_read(void **state)
{
    (void)state;
    for (int turns = 0; turns < 4; turns++)
        leave_under_read(turns);
}

static void test_destroy_under_read(void **state)
{
    (void)state;
    destroy_under_read(0); /* the peer has not answered */
    destroy_under_read(3); /* it has, in part */
}

/* ---- Death ---- */

/* Exposes memory, tells about it in the first record, then sends for ever. */
static void flood_until_killed(int address_in, int address_out)
{
    enum { BYTES = 256 << 20 };
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    struct side s = {.fabric = open_fabric(&tcp)};
    struct flm__region *region;
    uint64_t at, key;
    if (ops->address(s.fabric, address, &size, NULL) || write(address_out, address, size) < 0)
        _exit(1);
    ssize_t n = read(address_in, address, sizeof(address));
    if (n <= 0 || ops->connect(s.fabric, address, (size_t)n, 22, 11, &s.link, NULL))
        _exit(1);
    if (ops->expose(s.fabric, calloc(1, BYTES), BYTES, &region, &at, &key, NULL))
        _exit(1);
    uint64_t *first = flm__link_reserve(s.link, flm__record_bytes(24));
    write_record(first, 0, 24);
    first[3] = at;
    first[4] = key;
    first[5] = BYTES;
    flm__link_commit(s.link, flm__record_bytes(24));
    for (uint64_t number = 1;; number++) {
        while (!send_record(s.link, number, 64))
            ops->progress(s.fabric);
        flm__link_flush(s.link);
    }
}

/* Waits for the child's first record; begins a read that will not end before the kill. */
static void *begin_read(struct side *s, struct done *d)
{
    const void *data;
    uint64_t words[6];
    int64_t end = patience();
    while (flm__link_peek(s->link, &data) < sizeof(words) && flm__now_ns() < end)
        ops->progress(s->fabric);
    assert_true(flm__link_peek(s->link, &data) >= sizeof(words));
    memcpy(words, data, sizeof(words));
    flm__link_consume(s->link, sizeof(words));
    void *to = malloc(words[5]);
    assert_non_null(to);
    assert_int_equal(ops->read(s->link, to, words[5], words[3], words[4], on_done, d), 0);
    return to;
}

static void kill_in_flood(int after_us)
{
    struct side s, a, b;
    struct done d = {0};
    struct child c = start_child(flood_until_killed);
    int64_t end = patience();
    join_child(&s, &c);
    open_pair(&a, &b, &tcp);
    void *to = begin_read(&s, &d);
    int64_t kill_at = flm__now_ns() + after_us * INT64_C(1000);
    bool killed = false;
    while (!killed || (!d.calls && flm__now_ns() < end)) {
        ops->progress(s.fabric);
        swallow(s.link);
        send_record(s.link, 0, 64);
        flm__link_flush(s.link);
        if (!killed && flm__now_ns() >= kill_at) {
            kill(c.pid, SIGKILL);
            killed = true;
        }
    }
    assert_int_equal(d.calls, 1);
    assert_int_equal(d.status, FLM_EDISCONNECTED);
    free(to);
    flm__link_destroy(s.link);
    /* The endpoint goes on: a new link on it works. */
    s.link = join(s.fabric, b.fabric, 55, 66);
    struct flm__link *back = join(b.fabric, s.fabric, 66, 55);
    uint64_t got = 0;
    assert_true(send_record(back, 0, 64));
    flm__link_flush(back);
    while (!got && flm__now_ns() < end) {
        pump(&s, &b);
        got = take_records(s.link, 0, size_64);
    }
    assert_int_equal(got, 1);
    flm__link_destroy(back);
    close_side(&a);
    close_side(&s);
    close_side(&b);
    end_child(&c);
}

static void test_killed_in_flood(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        kill_in_flood(i * 700);
}

static int setup(void **state)
{
    flm_error e;
    (void)state;
    ops = flm__fabric_load(&e);
    if (!ops)
        print_error("%s\n", e.text);
    return ops ? 0 : -1;
}

/* libfabric 1.17 forgets the transfers that an endpoint has under way when it is closed. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfabric.so";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_such_provider),   cmocka_unit_test(test_automatic_choice),
        cmocka_unit_test(test_order_and_content),  cmocka_unit_test(test_largest_record),
        cmocka_unit_test(test_sleepers_wake),      cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_wrong_key),          cmocka_unit_test(test_same_key_twice),
        cmocka_unit_test(test_read_sizes),         cmocka_unit_test(test_many_reads_and_a_wrong_key),
        cmocka_unit_test(test_destroy_under_read), cmocka_unit_test(test_leave_under_read),
        cmocka_unit_test(test_leave_under_flood),  cmocka_unit_test(test_killed_in_flood),
        cmocka_unit_test(test_shm_by_name),
    };
    cmocka_set_test_filter(getenv("FLM_TEST")); /* NULL: all */
    return cmocka_run_group_tests(tests, setup, NULL);
}
