/* Recall at random moments while tasks run: each task is run or given back, never both, never neither,
 * and results come in order. */
#include "executor_fixture.h"

#include <flm/client.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS = 4000, MOST = 40, ALL = ROUNDS * MOST };

struct ledger {
    unsigned char ran[ALL + 1], returned[ALL + 1];
    uint64_t last; /* number of the last result */
    uint64_t results, returns;
};

static void take_results(struct manager *m, struct ledger *l)
{
    struct answer a;
    while (manager_answer_now(m, &a)) {
        uint64_t n = a.record.task - 1000;
        assert_int_equal(a.outcome.state, FLM_TASK_SUCCEED);
        assert_true(n > l->last && n <= m->sent);
        l->last = n;
        l->ran[n]++;
        l->results++;
        answer_free(&a);
    }
}

static void send_tasks(struct manager *m, unsigned *seed, size_t large)
{
    unsigned n = (unsigned)rand_r(seed) % MOST;
    static unsigned char big[FLM__INLINE_MAX + 1] = {'s'};
    for (unsigned i = 0; i < n; i++) {
        unsigned char input[2] = {'s',
                                  (unsigned char)(rand_r(seed) % 16 ? rand_r(seed) % 8 : rand_r(seed))};
        if (large && i == n / 2)
            manager_large_task(m, big, sizeof(big), m->sent + 1);
        else
            manager_task(m, input, sizeof(input), 0);
    }
}

static void recall(struct manager *m, struct ledger *l, uint64_t upto)
{
    manager_recall(m, upto);
    Flm__Message *answer;
    while (!(answer = manager_hear_now(m)))
        take_results(m, l);
    assert_int_equal(answer->body_case, FLM__MESSAGE__BODY_RETURNED);
    assert_int_equal(answer->returned->lane, LANE);
    assert_int_equal(answer->returned->upto, upto);
    assert_true(answer->returned->from <= upto);
    for (uint64_t n = answer->returned->from + 1; n <= upto; n++) {
        l->returned[n]++;
        l->returns++;
    }
    flm__message__free_unpacked(answer, NULL);
}

static void at_random_moments(void **state)
{
    struct ledger *l = calloc(1, sizeof(*l));
    struct manager m;
    unsigned seed = 4711;
    (void)state;
    assert_non_null(l);
    manager_start(&m, NULL, NULL, 1 << 20);
    manager_bind(&m, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        send_tasks(&m, &seed, round % 50 == 0);
        for (volatile unsigned i = (unsigned)rand_r(&seed) % 4000; i > 0; i--)
            ;
        recall(&m, l, rand_r(&seed) % 8 || m.sent < 3 ? m.sent : m.sent - 3);
    }
    while (l->results + l->returns < m.sent)
        take_results(&m, l);
    for (uint64_t n = 1; n <= m.sent; n++)
        if (l->ran[n] + l->returned[n] != 1)
            fail_msg("task %llu: %d results, %d returns", (unsigned long long)n, l->ran[n], l->returned[n]);
    assert_true(l->returns > 0 && l->results > 0);
    struct answer a;
    manager_task(&m, "n", 1, 0); /* the service itself has counted */
    manager_answer(&m, &a);
    uint64_t runs;
    assert_int_equal(a.size, sizeof(runs));
    memcpy(&runs, a.output, sizeof(runs));
    assert_int_equal(runs, l->results + 1);
    answer_free(&a);
    manager_stop(&m);
    free(l);
}

/* While a long task runs it is answered at once, and what waited behind it is not run. */
static void behind_a_long_task(void **state)
{
    struct manager m;
    struct answer a;
    (void)state;
    manager_start(&m, NULL, NULL, 1 << 20);
    manager_bind(&m, NULL);
    uint64_t running = manager_task(&m, "l", 1, 0);
    for (int i = 0; i < 10; i++)
        manager_task(&m, "e", 1, 0);
    while (atomic_load(&m.status->began) < running)
        ;
    manager_recall(&m, m.sent);
    Flm__Message *answer = manager_hear(&m, FLM__MESSAGE__BODY_RETURNED, NULL, NULL);
    assert_int_equal(answer->returned->from, running);
    assert_int_equal(answer->returned->upto, running + 10);
    flm__message__free_unpacked(answer, NULL);
    uint64_t next = manager_task(&m, "e", 1, 0);
    manager_cancel(&m, running);
    manager_answer(&m, &a);
    assert_int_equal(a.record.task, 1000 + running);
    answer_free(&a);
    manager_answer(&m, &a);
    assert_int_equal(a.record.task, 1000 + next);
    answer_free(&a);
    manager_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_random_moments),
        cmocka_unit_test(behind_a_long_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
