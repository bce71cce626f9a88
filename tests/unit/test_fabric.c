/* Links over libfabric: order, sleeping, back-pressure, strangers. All but one over tcp;ofi_rxm. */
#define _GNU_SOURCE
#include "fabric_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_content), cmocka_unit_test(test_shm_by_name),
        cmocka_unit_test(test_largest_record),    cmocka_unit_test(test_sleepers_wake),
        cmocka_unit_test(test_back_pressure),     cmocka_unit_test(test_wrong_key),
        cmocka_unit_test(test_same_key_twice),    cmocka_unit_test(test_no_such_provider),
        cmocka_unit_test(test_automatic_choice),
    };
    cmocka_set_test_filter(getenv("FLM_TEST")); /* NULL: all */
    return cmocka_run_group_tests(tests, fabric_setup, NULL);
}
