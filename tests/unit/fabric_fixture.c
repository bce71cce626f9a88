#define _GNU_SOURCE
#include "fabric_fixture.h"

const struct flm__fabric_ops *ops;
const struct flm__fabric_options tcp = {.provider = "tcp;ofi_rxm", .interface = "lo"};

int64_t patience(void)
{
    return flm__now_ns() + PATIENCE_S * INT64_C(1000000000);
}

/* ---- Records whose content follows from their number ---- */

static unsigned char byte_of(uint64_t number, uint32_t i)
{
    return (unsigned char)(number * 31 + i * 7 + (i >> 8));
}

void write_record(void *at, uint64_t number, uint32_t size)
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

bool send_record(struct flm__link *l, uint64_t number, uint32_t size)
{
    void *at = flm__link_reserve(l, flm__record_bytes(size));
    if (!at)
        return false;
    write_record(at, number, size);
    flm__link_commit(l, flm__record_bytes(size));
    return true;
}

/* Takes what has come; size_of(number) gives the expected sizes. */
uint64_t take_records(struct flm__link *l, uint64_t number, uint32_t (*size_of)(uint64_t))
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

void swallow(struct flm__link *l)
{
    const void *data;
    size_t n;
    while ((n = flm__link_peek(l, &data)) > 0)
        flm__link_consume(l, n);
}

/* ---- Pairs of endpoints in this process ---- */

struct flm__fabric *open_fabric(const struct flm__fabric_options *o)
{
    struct flm__fabric *f = NULL;
    flm_error e = {0};
    if (ops->open(o, &f, &e))
        fail_msg("open: %s", e.text);
    return f;
}

struct flm__link *join(struct flm__fabric *from, struct flm__fabric *to, uint64_t key_in, uint64_t key_out)
{
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    struct flm__link *l = NULL;
    flm_error e = {0};
    if (ops->address(to, address, &size, &e) || ops->connect(from, address, size, key_in, key_out, &l, &e))
        fail_msg("connect: %s", e.text);
    return l;
}

void open_pair(struct side *a, struct side *b, const struct flm__fabric_options *o)
{
    a->fabric = open_fabric(o);
    b->fabric = open_fabric(o);
    a->link = join(a->fabric, b->fabric, 11, 22);
    b->link = join(b->fabric, a->fabric, 22, 11);
}

void close_side(struct side *s)
{
    flm__link_destroy(s->link);
    ops->close(s->fabric);
}

void pump(struct side *a, struct side *b)
{
    ops->progress(a->fabric);
    ops->progress(b->fabric);
}

uint32_t size_64(uint64_t number)
{
    (void)number;
    return 64;
}

struct child start_child(void (*run)(int in, int out))
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

void end_child(struct child *c)
{
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    close(c->to);
    close(c->from);
}

/* Our own end of a link with a child. */
void join_child(struct side *s, const struct child *c)
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

int fabric_setup(void **state)
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
