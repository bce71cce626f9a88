/* The histogram of the tools against sorting. */
#include "tools/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct histogram h;
enum { VALUES = 20000 };
static uint64_t values[VALUES];

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_empty(void **state)
{
    (void)state;
    memset(&h, 0, sizeof(h));
    assert_int_equal(histogram_percentile(&h, 0.5), 0);
    assert_true(histogram_mean(&h) == 0);
}

/* Each value alone comes back exactly: it is the largest. */
static void test_single(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++)
        for (int d = -1; d <= 1; d++) {
            uint64_t value = (1ull << shift) + (uint64_t)d;
            memset(&h, 0, sizeof(h));
            histogram_add(&h, value);
            assert_int_equal(histogram_percentile(&h, 0), value);
            assert_int_equal(histogram_percentile(&h, 1), value);
        }
}

static void test_against_sorting(void **state)
{
    static const double shares[] = {0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    uint64_t x = 1;
    (void)state;
    for (unsigned spread = 4; spread <= 60; spread += 8) {
        memset(&h, 0, sizeof(h));
        for (int i = 0; i < VALUES; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            values[i] = x >> (64 - spread) >> (x >> 7) % spread;
            histogram_add(&h, values[i]);
        }
        qsort(values, VALUES, sizeof(values[0]), by_value);
        for (size_t s = 0; s < sizeof(shares) / sizeof(shares[0]); s++) {
            int rank = (int)(shares[s] * VALUES + 0.999999);
            uint64_t exact = values[rank ? rank - 1 : 0], got = histogram_percentile(&h, shares[s]);
            assert_true(got >= exact);
            assert_true(got <= exact + exact / 32 + 1);
        }
        assert_int_equal(h.max, values[VALUES - 1]);
        assert_int_equal(h.count, VALUES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_against_sorting),
    };
    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
