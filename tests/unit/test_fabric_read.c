/* Reading memory over libfabric, and links and processes that go in the middle of anything. */
#define _GNU_SOURCE
#include "fabric_fixture.h"

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
        from[i] = (char)(i * 13 + (i >> 12) + (i >> 20) * 5); /* differs in each chunk */
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

/* As doc/security.md tells: a key is good for the bytes that were exposed, as long as they are. */
static void test_what_a_key_protects(void **state)
{
    enum { BYTES = 5000 };
    static const struct {
        int from, bytes;
        bool concealed, wrong;
        int ok;
    } cases[] = {{0, BYTES, false, false, 1},     {BYTES - 1, 1, false, false, 1},
                 {0, BYTES + 1, false, false, 0}, {-1, 100, false, false, 0},
                 {BYTES, 1, false, false, 0},     {0, BYTES, true, false, 0},
                 {0, BYTES, false, true, 0}};
    static char memory[3 * BYTES], to[2 * BYTES];
    (void)state;
    memset(memory, 5, sizeof(memory));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct side a, b; /* new ones: a read that is refused ends its link */
        struct flm__region *region = NULL;
        uint64_t address, key;
        struct done d = {0};
        int64_t end = patience();
        open_pair(&a, &b, &tcp);
        memset(to, 0, sizeof(to));
        assert_int_equal(ops->expose(b.fabric, memory + BYTES, BYTES, &region, &address, &key, NULL), 0);
        if (cases[i].concealed)
            ops->conceal(b.fabric, region);
        address += (uint64_t)(int64_t)cases[i].from;
        key ^= cases[i].wrong;
        assert_int_equal(ops->read(a.link, to, (size_t)cases[i].bytes, address, key, on_done, &d), 0);
        while (!d.calls && flm__now_ns() < end)
            pump(&a, &b);
        if (d.calls != 1 || (d.status == 0) != cases[i].ok || to[0] != (cases[i].ok ? 5 : 0))
            fail_msg("case %zu: %d calls, status %d, byte %d", i, d.calls, d.status, to[0]);
        if (!cases[i].concealed)
            ops->conceal(b.fabric, region);
        close_side(&a);
        close_side(&b);
    }
}

/* A long reading that has just begun: a reads from b. */
struct reading {
    struct side a, b;
    char *from, *to;
    struct flm__region *region;
    struct done d;
};

static void begin_reading(struct reading *r)
{
    enum { BYTES = 32 << 20 };
    uint64_t address, key;
    *r = (struct reading){.from = calloc(1, BYTES), .to = malloc(BYTES)};
    assert_true(r->from && r->to);
    open_pair(&r->a, &r->b, &tcp);
    read_all(&r->a, &r->b, 1); /* they are connected now */
    assert_int_equal(ops->expose(r->b.fabric, r->from, BYTES, &r->region, &address, &key, NULL), 0);
    assert_int_equal(ops->read(r->a.link, r->to, BYTES, address, key, on_done, &r->d), 0);
}

static void check_disconnected(const struct done *d)
{
    assert_int_equal(d->calls, 1);
    assert_int_equal(d->status, FLM_EDISCONNECTED);
}

/* The link goes while the provider still writes: done comes once, and memory is not touched after it. */
static void destroy_under_read(int turns_of_peer)
{
    struct reading r;
    begin_reading(&r);
    for (int i = 0; i < 5; i++) {
        ops->progress(r.a.fabric);
        if (i < turns_of_peer)
            ops->progress(r.b.fabric);
    }
    assert_int_equal(r.d.calls, 0);
    flm__link_destroy(r.a.link);
    for (int i = 0; i < 1000 && !r.d.calls; i++)
        ops->progress(r.a.fabric); /* the peer does nothing any more */
    ops->close(r.a.fabric);
    check_disconnected(&r.d);
    free(r.to);
    ops->conceal(r.b.fabric, r.region);
    free(r.from);
    close_side(&r.b);
}

/* The side that is read from goes in the middle, its link first or with all it has. */
static void leave_under_read(int turns)
{
    struct reading r;
    int64_t end = patience();
    begin_reading(&r);
    ops->progress(r.a.fabric);
    for (int i = 0; i < turns; i++)
        ops->progress(r.b.fabric);
    flm__link_destroy(r.b.link);
    for (int i = 0; i < turns; i++)
        pump(&r.a, &r.b);
    ops->conceal(r.b.fabric, r.region);
    ops->close(r.b.fabric);
    free(r.from);
    while (!r.d.calls && flm__now_ns() < end)
        ops->progress(r.a.fabric);
    check_disconnected(&r.d);
    free(r.to);
    close_side(&r.a);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_sizes),          cmocka_unit_test(test_many_reads_and_a_wrong_key),
        cmocka_unit_test(test_what_a_key_protects), cmocka_unit_test(test_leave_under_flood),
        cmocka_unit_test(test_leave_under_read),    cmocka_unit_test(test_destroy_under_read),
        cmocka_unit_test(test_killed_in_flood),
    };
    cmocka_set_test_filter(getenv("FLM_TEST")); /* NULL: all */
    return cmocka_run_group_tests(tests, fabric_setup, NULL);
}
