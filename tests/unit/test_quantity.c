/* Numbers, sizes and times on command lines. */
#include "tools/quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct row {
    char kind; /* count, bytes, duration in ms */
    const char *text;
    bool good;
    uint64_t value;
};

static const struct row rows[] = {
    {'c', "0", true, 0},
    {'c', "1000000", true, 1000000},
    {'c', "10k", true, 10000},
    {'c', "2M", true, 2000000},
    {'c', "1e6", true, 1000000},
    {'c', "1.5k", true, 1500},
    {'c', "1.5", false, 0},
    {'c', "", false, 0},
    {'c', "-1", false, 0},
    {'c', "+1", false, 0},
    {'c', " 1", false, 0},
    {'c', "1x", false, 0},
    {'c', "1kB", false, 0},
    {'c', "0x10", false, 0},
    {'c', "nan", false, 0},
    {'c', "inf", false, 0},
    {'c', "1e400", false, 0},
    {'c', "1e300", false, 0},
    {'c', "99999999999999999999", false, 0},
    {'b', "64", true, 64},
    {'b', "64k", true, 65536},
    {'b', "64K", true, 65536},
    {'b', "64KiB", true, 65536},
    {'b', "1G", true, 1 << 30},
    {'b', "0.5k", true, 512},
    {'b', "64kB", false, 0},
    {'b', "64kk", false, 0},
    {'d', "3", true, 3000000},
    {'d', "1.5", true, 1500000},
    {'d', "10us", true, 10000},
    {'d', "500ns", true, 500},
    {'d', "2s", true, 2000000000},
    {'d', "1m", true, 60000000000},
    {'d', "1h", true, 3600000000000},
    {'d', "1 s", false, 0},
    {'d', "1d", false, 0},
    {'d', "s", false, 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t value = 42;
        const struct row *r = &rows[i];
        bool good = r->kind == 'c'   ? quantity_count(r->text, 1ull << 50, &value)
                    : r->kind == 'b' ? quantity_bytes(r->text, 1ull << 50, &value)
                                     : quantity_duration(r->text, 1000000, 1ull << 50, &value);
        if (good != r->good || (good && value != r->value))
            fail_msg("%c '%s': %d, %llu", r->kind, r->text, good, (unsigned long long)value);
    }
}

static void test_limits(void **state)
{
    uint64_t value;
    (void)state;
    assert_true(quantity_count("100", 100, &value));
    assert_false(quantity_count("101", 100, &value));
    assert_false(quantity_bytes("1k", 1023, &value));
    assert_false(quantity_duration("2s", 1, 1999999999, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests_name("quantity", tests, NULL, NULL);
}
