/* What flmping sends and expects: any change of it is seen. */
#include "tools/flmping_pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 23, 24, 25, 64, 100, 1024};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

struct payload {
    char *data, *template;
};

static struct payload make(size_t size, uint64_t number, int direction)
{
    struct payload p = {malloc(size + 1), malloc(size + 1)};
    assert_non_null(p.data);
    assert_non_null(p.template);
    flmping_template(p.template, size, direction);
    memcpy(p.data, p.template, size);
    flmping_stamp_on(p.data, size, number ^ 0xff, direction); /* an older stamp goes away */
    flmping_stamp_on(p.data, size, number, direction);
    return p;
}

static void release(struct payload *p)
{
    free(p->data);
    free(p->template);
}

static void test_right(void **state)
{
    (void)state;
    for (int i = 0; i < SIZES; i++)
        for (uint64_t number = 0; number < 1000; number++) {
            struct payload p = make(sizes[i], number, FLMPING_OUTPUT);
            assert_true(flmping_check(p.data, sizes[i], p.template, number, FLMPING_OUTPUT));
            release(&p);
        }
}

static void test_every_byte(void **state)
{
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        struct payload p = make(sizes[i], 12345, FLMPING_INPUT);
        for (size_t at = 0; at < sizes[i]; at++)
            for (int bit = 0; bit < 8; bit++) {
                p.data[at] ^= (char)(1 << bit);
                assert_false(flmping_check(p.data, sizes[i], p.template, 12345, FLMPING_INPUT));
                p.data[at] ^= (char)(1 << bit);
            }
        release(&p);
    }
}

static void test_other_task_or_direction(void **state)
{
    (void)state;
    for (int i = 1; i < SIZES; i++) {
        struct payload p = make(sizes[i], 77, FLMPING_INPUT);
        for (uint64_t other = 70; other < 85; other++)
            assert_int_equal(flmping_check(p.data, sizes[i], p.template, other, FLMPING_INPUT),
                             other == 77);
        assert_false(flmping_check(p.data, sizes[i], p.template, 77, FLMPING_OUTPUT));
        release(&p);
    }
}

static void test_templates_differ(void **state)
{
    (void)state;
    char a[64], b[64], c[72];
    flmping_template(a, 64, FLMPING_INPUT);
    flmping_template(b, 64, FLMPING_OUTPUT);
    flmping_template(c, 72, FLMPING_INPUT);
    assert_memory_not_equal(a + 8, b + 8, 40);
    assert_memory_not_equal(a + 8, c + 8, 40);
    for (int i = 0; i < 7; i++) /* a shift by words is seen */
        assert_memory_not_equal(a + 8 * i, a + 8 * i + 8, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_other_task_or_direction),
        cmocka_unit_test(test_templates_differ),
    };
    return cmocka_run_group_tests_name("flmping_pattern", tests, NULL, NULL);
}
