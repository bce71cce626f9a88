/* A ring between two threads, and between us and a child that is killed at random moments. */
#define _GNU_SOURCE
#include "base/time.h"
#include "net/ring.h"
#include "wire/record.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BYTES = 1 << 16 };

struct pair {
    int memfd, bell_a, bell_b;
    struct flm__link *a, *b; /* server and peer */
};

static void pair_open(struct pair *p)
{
    assert_int_equal(flm__ring_create(BYTES, &p->memfd, NULL), 0);
    p->bell_a = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->bell_b = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->a = flm__ring_open(p->memfd, BYTES, true, p->bell_b, NULL);
    p->b = flm__ring_open(p->memfd, BYTES, false, p->bell_a, NULL);
    assert_non_null(p->a);
    assert_non_null(p->b);
}

static void pair_close(struct pair *p)
{
    flm__link_destroy(p->a);
    flm__link_destroy(p->b);
    close(p->memfd);
    close(p->bell_a);
    close(p->bell_b);
}

/* Sizes that do not repeat with the size of the ring. */
static uint32_t size_of(uint64_t i)
{
    return (uint32_t)((i * 2654435761u >> 7) % 700);
}

static bool put(struct flm__link *l, uint64_t i)
{
    uint32_t size = size_of(i), bytes = flm__record_bytes(size);
    struct flm__record *r = flm__link_reserve(l, bytes);
    if (!r)
        return false;
    *r = (struct flm__record){.size = size, .type = FLM__TASK, .task = i};
    memset(r + 1, (int)(i & 0xff), size);
    flm__link_commit(l, bytes);
    return true;
}

/* Takes what is there; checks content and order. Returns how many. */
static unsigned take(struct flm__link *l, uint64_t *next)
{
    const void *data;
    size_t n = flm__link_peek(l, &data), at = 0;
    unsigned taken = 0;
    while (at < n) {
        struct flm__record r = {0};
        const unsigned char *record = (const unsigned char *)data + at;
        uint32_t bytes = flm__record_read(record, n - at, &r);
        assert_int_not_equal(bytes, 0);
        assert_int_equal(r.task, *next);
        assert_int_equal(r.size, size_of(*next));
        for (uint32_t k = 0; k < r.size; k++)
            if (record[FLM__RECORD_HEADER + k] != (*next & 0xff))
                fail_msg("byte %u of record %lu", k, (unsigned long)*next);
        ++*next;
        ++taken;
        at += bytes;
    }
    if (at)
        flm__link_consume(l, at);
    return taken;
}

static void sleep_on(int bell, struct flm__link *l, bool want_room)
{
    if (flm__link_arm(l, want_room)) {
        struct pollfd p = {bell, POLLIN, 0};
        assert_int_equal(poll(&p, 1, 20000), 1); /* a lost wake-up ends here */
        uint64_t count;
        ssize_t got = read(bell, &count, sizeof(count));
        (void)got;
    }
    flm__link_disarm(l);
}

enum { THREAD_RECORDS = 200000 };

static void *produce(void *arg)
{
    struct pair *p = arg;
    for (uint64_t i = 0; i < THREAD_RECORDS; i++) {
        while (!put(p->b, i))
            sleep_on(p->bell_b, p->b, true);
        if (i % 3 == 0)
            flm__link_flush(p->b);
    }
    flm__link_flush(p->b);
    return NULL;
}

/* Both sides sleep whenever they can: no record and no wake-up is lost. */
static void threads(void **state)
{
    (void)state;
    struct pair p;
    pthread_t thread;
    uint64_t next = 0;
    pair_open(&p);
    assert_int_equal(pthread_create(&thread, NULL, produce, &p), 0);
    while (next < THREAD_RECORDS)
        if (!take(p.a, &next))
            sleep_on(p.bell_a, p.a, false);
    pthread_join(thread, NULL);
    pair_close(&p);
}

static void *produce_nudging(void *arg)
{
    struct pair *p = arg;
    for (uint64_t i = 0; i < THREAD_RECORDS; i++) {
        while (!put(p->b, i))
            sleep_on(p->bell_b, p->b, true);
        flm__link_nudge(p->b);
    }
    return NULL;
}

/* As link.h demands of who is nudged: the first sleep after some work is a short one. */
static void look_twice(struct pair *p, uint64_t *next)
{
    struct pollfd bell = {p->bell_a, POLLIN, 0};
    if (flm__link_arm(p->a, false))
        poll(&bell, 1, 1);
    flm__link_disarm(p->a);
    if (!take(p->a, next) && *next < THREAD_RECORDS)
        sleep_on(p->bell_a, p->a, false);
}

static void nudges(void **state)
{
    (void)state;
    struct pair p;
    pthread_t thread;
    uint64_t next = 0, count;
    pair_open(&p);
    assert_int_equal(pthread_create(&thread, NULL, produce_nudging, &p), 0);
    while (next < THREAD_RECORDS)
        if (!take(p.a, &next))
            look_twice(&p, &next);
    pthread_join(thread, NULL);
    ssize_t got = read(p.bell_a, &count, sizeof(count)); /* what was rung meanwhile */
    (void)got;
    assert_true(flm__link_arm(p.a, false));
    assert_true(put(p.b, next));
    flm__link_nudge(p.b); /* it sleeps, and everyone knows it */
    assert_int_equal(read(p.bell_a, &count, sizeof(count)), sizeof(count));
    flm__link_disarm(p.a);
    pair_close(&p);
}

/* A producer that does not flush, but finds the ring full, has shown all there is. */
static void full_and_empty(void **state)
{
    (void)state;
    struct pair p;
    uint64_t sent = 0, next = 0;
    pair_open(&p);
    assert_true(flm__ring_empty(p.a));
    for (int round = 0; round < 50; round++) {
        while (put(p.b, sent))
            sent++;
        assert_null(flm__link_reserve(p.b, 1 << 15 | 1 << 14));
        while (take(p.a, &next))
            ;
        assert_int_equal(next, sent);
        assert_true(flm__ring_empty(p.a));
    }
    assert_null(flm__link_reserve(p.b, 2 * BYTES));
    pair_close(&p);
}

/* A child that is killed, or stopped, in the middle of anything blocks nobody. */
static void killed_peer(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        struct pair p;
        uint64_t next = 0;
        pair_open(&p);
        pid_t child = fork();
        if (child == 0) {
            for (uint64_t i = 0;; i++)
                while (!put(p.b, i))
                    flm__relax();
        }
        int64_t end = flm__now_ns() + (round % 10) * 300000;
        do
            take(p.a, &next);
        while (flm__now_ns() < end);
        kill(child, round % 2 ? SIGKILL : SIGSTOP);
        for (int i = 0; i < 100; i++)
            take(p.a, &next);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (take(p.a, &next))
            ;
        assert_true(flm__ring_empty(p.a));
        pair_close(&p);
    }
}

/* A peer that writes nonsense into the shared offsets gets nowhere. */
static void lying_peer(void **state)
{
    (void)state;
    struct pair p;
    const void *data;
    pair_open(&p);
    uint64_t *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, p.memfd, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    shared[4096 / 8] = (uint64_t)1 << 40; /* tail of the peer */
    assert_int_equal(flm__link_peek(p.a, &data), 0);
    shared[128 / 8] = 77; /* head of the peer, beyond our tail */
    for (int i = 0; i < 10000; i++)
        put(p.a, 1);
    assert_int_equal(flm__link_peek(p.a, &data), 0);
    munmap(shared, 8192);
    pair_close(&p);
}

static void refused_memory(void **state)
{
    (void)state;
    int bell = eventfd(0, EFD_CLOEXEC), memfd;
    flm_error error = {0};
    assert_int_equal(flm__ring_create(12345, &memfd, &error), FLM_EINVAL);
    int plain = memfd_create("plain", MFD_CLOEXEC);
    assert_int_equal(ftruncate(plain, 1 << 20), 0);
    assert_null(flm__ring_open(plain, BYTES, false, bell, &error)); /* not sealed */
    assert_int_equal(error.code, FLM_EPROTO);
    assert_int_equal(flm__ring_create(BYTES, &memfd, &error), 0);
    assert_null(flm__ring_open(memfd, 4 * BYTES, false, bell, &error)); /* smaller than said */
    assert_int_equal(ftruncate(memfd, 0), -1);
    close(memfd);
    close(plain);
    close(bell);
}

/* Records as a hostile peer might write them. */
static void record_checks(void **state)
{
    (void)state;
    static const struct {
        uint32_t size;
        size_t there;
        uint32_t expected;
    } cases[] = {
        {0, 24, 24},
        {0, 23, 0},
        {1, 32, 32},
        {1, 31, 0},
        {8, 32, 32},
        {9, 32, 0},
        {0xffffffff, 4096, 0},
        {0xfffffff0, 1 << 20, 0},
        {FLM__RECORD_MAX, 1 << 20, 0},
        {FLM__RECORD_MAX - FLM__RECORD_HEADER, 1 << 20, FLM__RECORD_MAX},
    };
    static char data[1 << 20];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flm__record r = {.size = cases[i].size}, out;
        memcpy(data, &r, sizeof(r));
        assert_int_equal(flm__record_read(data, cases[i].there, &out), cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_and_empty), cmocka_unit_test(threads), cmocka_unit_test(killed_peer),
        cmocka_unit_test(lying_peer),     cmocka_unit_test(nudges),  cmocka_unit_test(refused_memory),
        cmocka_unit_test(record_checks),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
