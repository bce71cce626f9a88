/* Times as Slurm writes them. */
#include "base/walltime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void reads_all_forms(void **state)
{
    static const struct {
        const char *text;
        unsigned seconds; /* 0: no such time */
    } cases[] = {
        {"30", 1800},      {"1:30", 90},
        {"2:00:05", 7205}, {"1-0", 86400},
        {"1-2:03", 93780}, {"1-2:03:04", 93784},
        {"0:01", 1},       {"24855-03:14:07", 2147483647},
        {"0", 0},          {"0:00", 0},
        {"", 0},           {"-1", 0},
        {"1-", 0},         {"1:", 0},
        {"1:2:3:4", 0},    {"1-2:3:4:5", 0},
        {"30m", 0},        {" 30", 0},
        {"1 ", 0},         {"9999999999", 0},
        {"99999999", 0},   {"24855-03:14:08", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        unsigned seconds = 0;
        assert_int_equal(flm__walltime(cases[i].text, &seconds), cases[i].seconds > 0);
        if (cases[i].seconds)
            assert_int_equal(seconds, cases[i].seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_all_forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
