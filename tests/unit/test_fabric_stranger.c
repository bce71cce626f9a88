/* What others send to an endpoint: a stranger that uses libfabric itself, with whatever it likes on the
 * line. */
#define _GNU_SOURCE
#include "fabric_fixture.h"

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>

/* An endpoint without Flame. */
struct raw {
    struct fi_info *info;
    struct fid_fabric *net;
    struct fid_domain *domain;
    struct fid_cq *cq;
    struct fid_av *av;
    struct fid_ep *ep;
    fi_addr_t peer;
};

static void raw_open(struct raw *r, struct flm__fabric *target)
{
    struct fi_info *hints = fi_allocinfo();
    struct fi_cq_attr cq = {.format = FI_CQ_FORMAT_CONTEXT};
    struct fi_av_attr av = {.type = FI_AV_TABLE};
    char address[FLM__FABRIC_ADDRESS_MAX];
    size_t size = sizeof(address);
    assert_non_null(hints);
    hints->caps = FI_MSG;
    hints->ep_attr->type = FI_EP_RDM;
    hints->fabric_attr->prov_name = strdup("tcp;ofi_rxm");
    assert_int_equal(
        fi_getinfo(FI_VERSION(1, 17), "127.0.0.1", NULL, FI_SOURCE | FI_NUMERICHOST, hints, &r->info), 0);
    fi_freeinfo(hints);
    assert_int_equal(fi_fabric(r->info->fabric_attr, &r->net, NULL), 0);
    assert_int_equal(fi_domain(r->net, r->info, &r->domain, NULL), 0);
    assert_int_equal(fi_cq_open(r->domain, &cq, &r->cq, NULL), 0);
    assert_int_equal(fi_av_open(r->domain, &av, &r->av, NULL), 0);
    assert_int_equal(fi_endpoint(r->domain, r->info, &r->ep, NULL), 0);
    assert_int_equal(fi_ep_bind(r->ep, &r->cq->fid, FI_TRANSMIT | FI_RECV), 0);
    assert_int_equal(fi_ep_bind(r->ep, &r->av->fid, 0), 0);
    assert_int_equal(fi_enable(r->ep), 0);
    assert_int_equal(ops->address(target, address, &size, NULL), 0);
    assert_int_equal(fi_av_insert(r->av, address, 1, &r->peer, 0, NULL), 1);
}

static void raw_close(struct raw *r)
{
    fi_close(&r->ep->fid);
    fi_close(&r->av->fid);
    fi_close(&r->cq->fid);
    fi_close(&r->domain->fid);
    fi_close(&r->net->fid);
    fi_freeinfo(r->info);
}

/* Sends and waits until it has left. */
static void raw_send(struct raw *r, struct flm__fabric *target, const void *message, size_t size)
{
    struct fi_cq_entry e;
    int64_t end = patience();
    while (fi_send(r->ep, message, size, NULL, r->peer, NULL) == -FI_EAGAIN && flm__now_ns() < end) {
        fi_cq_read(r->cq, &e, 0);
        ops->progress(target);
    }
    while (fi_cq_read(r->cq, &e, 1) == -FI_EAGAIN && flm__now_ns() < end)
        ops->progress(target);
}

struct message {
    struct flm__batch_header header;
    char records[200];
};

struct scene {
    struct side a, b; /* key 22 is that of a at b */
    struct raw raw;
};

static void open_scene(struct scene *s)
{
    open_pair(&s->a, &s->b, &tcp);
    raw_open(&s->raw, s->b.fabric);
}

static void close_scene(struct scene *s)
{
    raw_close(&s->raw);
    close_side(&s->a);
    close_side(&s->b);
}

static void wait_for_strangers(struct scene *s, uint64_t count)
{
    int64_t end = patience();
    while (ops->strangers(s->b.fabric) < count && flm__now_ns() < end)
        ops->progress(s->b.fabric);
    assert_int_equal(ops->strangers(s->b.fabric), count);
}

static size_t waiting(struct flm__link *l)
{
    const void *data;
    return flm__link_peek(l, &data);
}

/* Each is dropped and counted, and a's link works on. */
static void test_dropped(void **state)
{
    static const struct {
        const char *what;
        struct flm__batch_header header;
        size_t size; /* of the message */
    } cases[] = {
        {"half a header", {.key = 22, .version = FLM__BATCH_VERSION}, 8},
        {"nothing", {.key = 22, .version = FLM__BATCH_VERSION}, 0},
        {"an unknown key", {.key = 23, .version = FLM__BATCH_VERSION, .bytes = 88}, 104},
        {"our own key", {.key = 11, .version = FLM__BATCH_VERSION, .bytes = 88}, 104},
        {"a later version", {.key = 22, .version = FLM__BATCH_VERSION + 1, .bytes = 88}, 104},
        {"more bytes than there are", {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 96}, 104},
        {"fewer bytes than there are", {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 80}, 104},
        {"no bytes but records", {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 0}, 104},
        {"a crooked size", {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 87}, 103},
        {"a size that wraps", {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 0xfffffff8}, 104},
    };
    struct scene s;
    uint64_t got = 0;
    int64_t end = patience();
    (void)state;
    open_scene(&s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct message m = {.header = cases[i].header};
        raw_send(&s.raw, s.b.fabric, &m, cases[i].size);
        wait_for_strangers(&s, i + 1);
        if (waiting(s.b.link))
            fail_msg("%s went through", cases[i].what);
    }
    assert_true(send_record(s.a.link, 0, 64));
    flm__link_flush(s.a.link);
    while (!got && flm__now_ns() < end) {
        pump(&s.a, &s.b);
        got = take_records(s.b.link, 0, size_64);
    }
    assert_int_equal(got, 1);
    close_scene(&s);
}

/* A peer that knows its key and breaks the rules is heard no more, and costs no buffer. */
static void test_rules(void **state)
{
    static const struct {
        const char *what;
        struct flm__batch_header header;
        unsigned times; /* sent so often, the last of them is dropped */
    } cases[] = {
        {"credits that nobody owes", {.key = 22, .version = FLM__BATCH_VERSION, .taken = 1}, 1},
        {"a number too far ahead",
         {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 88, .sequence = 8},
         1},
        {"a number of the past",
         {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 88, .sequence = 255},
         1},
        {"the same number twice",
         {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 88, .sequence = 3},
         2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene s;
        struct message m = {.header = cases[i].header};
        open_scene(&s);
        for (unsigned n = 0; n < cases[i].times; n++)
            raw_send(&s.raw, s.b.fabric, &m, sizeof(m.header) + m.header.bytes);
        wait_for_strangers(&s, 1);
        m.header = (struct flm__batch_header){.key = 22, .version = FLM__BATCH_VERSION, .bytes = 88};
        raw_send(&s.raw, s.b.fabric, &m, 104);
        wait_for_strangers(&s, 2);
        if (waiting(s.b.link))
            fail_msg("%s: heard afterwards", cases[i].what);
        assert_true(flm__link_arm(s.b.link, true));
        close_scene(&s);
    }
}

/* Batches that overtake each other come out in their order. */
static void test_overtaking(void **state)
{
    static const uint8_t numbers[] = {2, 1, 3, 0, 5, 4, 7, 6};
    struct scene s;
    uint64_t got = 0;
    int64_t end = patience();
    (void)state;
    open_scene(&s);
    for (size_t i = 0; i < sizeof(numbers); i++) {
        struct message m = {.header = {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 88}};
        m.header.sequence = numbers[i];
        write_record(m.records, numbers[i], 64);
        raw_send(&s.raw, s.b.fabric, &m, 104);
    }
    while (got < sizeof(numbers) && flm__now_ns() < end) {
        ops->progress(s.b.fabric);
        got = take_records(s.b.link, got, size_64);
    }
    assert_int_equal(got, sizeof(numbers));
    assert_int_equal(ops->strangers(s.b.fabric), 0);
    close_scene(&s);
}

/* A batch that a probe misses may still come; one that three in a row miss is lost, and the link with it.
 */
static void test_lost(void **state)
{
    struct message probe = {
        .header = {.key = 22, .version = FLM__BATCH_VERSION, .flags = FLM__BATCH_PROBE}};
    struct message m = {.header = {.key = 22, .version = FLM__BATCH_VERSION, .bytes = 88}};
    static const uint8_t come[] = {1, 0, 3}; /* two, late, and one of which the one before is missing */
    struct scene s;
    uint64_t got = 0;
    int64_t end = patience();
    (void)state;
    open_scene(&s);
    for (size_t i = 0; i < sizeof(come); i++) {
        m.header.sequence = come[i];
        write_record(m.records, come[i], 64);
        raw_send(&s.raw, s.b.fabric, &m, 104);
        probe.header.sequence = come[i] + 1;
        for (int n = 0; n < 2; n++)
            raw_send(&s.raw, s.b.fabric, &probe, sizeof(probe.header));
    }
    while (got < 2 && flm__now_ns() < end) {
        ops->progress(s.b.fabric);
        got = take_records(s.b.link, got, size_64);
    }
    assert_int_equal(got, 2);
    assert_false(ops->failed(s.b.link));
    raw_send(&s.raw, s.b.fabric, &probe, sizeof(probe.header));
    while (!ops->failed(s.b.link) && flm__now_ns() < end)
        ops->progress(s.b.fabric);
    assert_true(ops->failed(s.b.link));
    close_scene(&s);
}

/* Who has sent something that nobody has taken asks once a second, and knows by the answer that it came. */
static void test_tick(void **state)
{
    struct side a, b;
    int64_t end = patience(), now = 1;
    (void)state;
    open_pair(&a, &b, &tcp);
    assert_false(ops->tick(a.fabric, now));
    assert_true(send_record(a.link, 0, 64));
    flm__link_flush(a.link);
    uint64_t got = 0;
    while (got < 1 && flm__now_ns() < end) {
        pump(&a, &b);
        got = take_records(b.link, got, size_64);
    }
    assert_int_equal(got, 1);
    while (ops->tick(a.fabric, now) && flm__now_ns() < end) {
        now += 1000000000;
        pump(&a, &b);
        ops->arm(b.fabric);
    }
    assert_false(ops->tick(a.fabric, now));
    close_side(&a);
    close_side(&b);
}

/* A flood of strangers keeps nobody from being heard. */
static void test_flood_of_strangers(void **state)
{
    enum { MESSAGES = 2000, RECORDS = 100 };
    struct message m = {.header = {.key = 999, .version = FLM__BATCH_VERSION, .bytes = 88}};
    struct scene s;
    uint64_t got = 0;
    int64_t end = patience();
    (void)state;
    open_scene(&s);
    for (int i = 0; i < MESSAGES; i++) {
        raw_send(&s.raw, s.b.fabric, &m, 104);
        if (i % (MESSAGES / RECORDS) == 0) {
            assert_true(send_record(s.a.link, (uint64_t)(i / (MESSAGES / RECORDS)), 64));
            flm__link_flush(s.a.link);
        }
        pump(&s.a, &s.b);
        got = take_records(s.b.link, got, size_64);
    }
    while (got < RECORDS && flm__now_ns() < end) {
        pump(&s.a, &s.b);
        got = take_records(s.b.link, got, size_64);
    }
    assert_int_equal(got, RECORDS);
    wait_for_strangers(&s, MESSAGES);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropped),    cmocka_unit_test(test_rules),
        cmocka_unit_test(test_overtaking), cmocka_unit_test(test_lost),
        cmocka_unit_test(test_tick),       cmocka_unit_test(test_flood_of_strangers),
    };
    cmocka_set_test_filter(getenv("FLM_TEST")); /* NULL: all */
    return cmocka_run_group_tests(tests, fabric_setup, NULL);
}
