/* The recall protocol alone: one thread begins tasks, another takes them back at random moments. Each task
 * is run or given back, never both, never neither. */
#include "executor/recall.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TASKS = 200000, AHEAD = 50 };

struct game {
    struct flm__recall recall;
    _Atomic uint64_t began;
    _Atomic uint64_t sent; /* tasks up to here may be begun */
    unsigned char ran[TASKS + 1], returned[TASKS + 1];
};

static void *main_thread(void *arg)
{
    struct game *g = arg;
    for (uint64_t n = 1; n <= TASKS; n++) {
        while (atomic_load_explicit(&g->sent, memory_order_acquire) < n)
            sched_yield();
        if (flm__recall_begin(&g->recall, n))
            g->ran[n]++;
    }
    return NULL;
}

static void play(bool fenced)
{
    struct game *g = calloc(1, sizeof(*g));
    unsigned seed = 12345;
    uint64_t sent = 0, recalls_that_took = 0;
    pthread_t thread;
    assert_non_null(g);
    flm__recall_init(&g->recall, &g->began);
    if (fenced)
        g->recall.fenced = true;
    assert_int_equal(pthread_create(&thread, NULL, main_thread, g), 0);
    while (sent < TASKS) {
        sent += 1 + (unsigned)rand_r(&seed) % AHEAD;
        if (sent > TASKS)
            sent = TASKS;
        atomic_store_explicit(&g->sent, sent, memory_order_release);
        for (volatile unsigned i = (unsigned)rand_r(&seed) % 2000; i > 0; i--)
            ;
        uint64_t upto = rand_r(&seed) % 8 ? sent : sent - (sent > 3 ? 3 : 0);
        uint64_t from = flm__recall_take(&g->recall, upto, 0);
        assert_true(from <= upto);
        for (uint64_t n = from + 1; n <= upto; n++)
            g->returned[n]++;
        recalls_that_took += from < upto;
    }
    pthread_join(thread, NULL);
    for (uint64_t n = 1; n <= TASKS; n++)
        if (g->ran[n] + g->returned[n] != 1)
            fail_msg("task %llu: %d runs, %d returns", (unsigned long long)n, g->ran[n], g->returned[n]);
    assert_true(recalls_that_took > 0);
    flm__recall_fini(&g->recall);
    free(g);
}

static void with_membarrier(void **state)
{
    (void)state;
    play(false);
}

static void with_fences(void **state)
{
    (void)state;
    play(true);
}

/* What the answer says in each situation, one thread. */
static void answers(void **state)
{
    struct flm__recall r;
    _Atomic uint64_t began = 0;
    (void)state;
    flm__recall_init(&r, &began);
    assert_int_equal(flm__recall_take(&r, 0, 0), 0); /* nothing was sent */
    assert_true(flm__recall_begin(&r, 1));
    assert_int_equal(flm__recall_take(&r, 1, 0), 1); /* it had begun */
    assert_int_equal(flm__recall_take(&r, 5, 0), 1); /* 2 .. 5 */
    assert_int_equal(flm__recall_take(&r, 5, 0), 5); /* not twice */
    assert_int_equal(flm__recall_take(&r, 3, 0), 3);
    assert_false(flm__recall_begin(&r, 2));
    assert_int_equal(flm__recall_take(&r, 9, 0), 5); /* grows while the main thread is in it */
    for (uint64_t n = 3; n <= 9; n++)
        assert_false(flm__recall_begin(&r, n));
    assert_true(flm__recall_begin(&r, 10));
    assert_int_equal(flm__recall_take(&r, 12, 0), 10);
    assert_false(flm__recall_begin(&r, 11));
    assert_false(flm__recall_begin(&r, 12));
    assert_int_equal(flm__recall_take(&r, 12, 0), 12);
    assert_true(flm__recall_begin(&r, 13));
    assert_false(atomic_load(&r.recalling));            /* back on the short way */
    assert_int_equal(flm__recall_take(&r, 16, 15), 13); /* there is one before it */
    for (uint64_t n = 14; n <= 16; n++)
        assert_false(flm__recall_begin(&r, n));
    assert_int_equal(flm__recall_take(&r, 19, 17), 17); /* it is the next */
    assert_int_equal(flm__recall_take(&r, 19, 17), 19);
    assert_true(flm__recall_begin(&r, 17));
    assert_false(flm__recall_begin(&r, 18));
    assert_false(flm__recall_begin(&r, 19));
    assert_int_equal(flm__recall_take(&r, 20, 20), 20); /* all there is */
    assert_int_equal(flm__recall_take(&r, 20, 0), 19);  /* asked for again without that */
    assert_false(flm__recall_begin(&r, 20));
    assert_true(flm__recall_begin(&r, 21));
    assert_int_equal(flm__recall_take(&r, 24, 22), 22);
    assert_int_equal(flm__recall_take(&r, 25, 22), 24); /* spared again */
    assert_int_equal(flm__recall_take(&r, 26, 0), 21);  /* no more */
    for (uint64_t n = 22; n <= 26; n++)
        assert_false(flm__recall_begin(&r, n));
    assert_true(flm__recall_begin(&r, 27));
    assert_int_equal(flm__recall_take(&r, 29, 28), 28);
    assert_int_equal(flm__recall_all(&r), 27);
    assert_false(flm__recall_begin(&r, 28));
    assert_false(flm__recall_begin(&r, 29));
    flm__recall_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(with_membarrier),
        cmocka_unit_test(with_fences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
