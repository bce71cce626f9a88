/* What a launcher says of our place, and shares of GPUs. */
#define _GNU_SOURCE
#include "node/gpus.h"
#include "node/launcher.h"
#include "node/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void counts_are_those_of_the_node(void **state)
{
    static const struct {
        const char *list;
        unsigned index;
        int value; /* -1: no list */
    } cases[] = {
        {"4", 0, 4},          {"4", 9, 4},
        {"4(x2),2", 0, 4},    {"4(x2),2", 1, 4},
        {"4(x2),2", 2, 2},    {"4(x2),2", 3, 2},
        {"1,2,3", 1, 2},      {"1,2,3", 2, 3},
        {"0,7(x1000)", 0, 0}, {"0,7(x1000)", 500, 7},
        {"", 0, -1},          {"a", 0, -1},
        {"-1", 0, -1},        {"4(x0)", 0, -1},
        {"4(x2", 0, -1},      {"4(2)", 0, -1},
        {"4,", 0, -1},        {"4 ", 0, -1},
        {"4(x2)3", 0, -1},    {"99999999999", 0, -1},
        {"4(x2),b", 0, -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        unsigned value = 0;
        bool ok = launcher_count(cases[i].list, cases[i].index, &value);
        assert_int_equal(ok, cases[i].value >= 0);
        if (ok)
            assert_int_equal(value, cases[i].value);
    }
}

static void only_a_step_counts(void **state)
{
    struct launcher l;
    (void)state;
    setenv("SLURM_JOB_ID", "17", 1);
    setenv("SLURMD_NODENAME", "n3", 1);
    setenv("SLURM_NODEID", "2", 1);
    unsetenv("SLURM_STEP_ID");
    setenv("SLURM_PROCID", "0", 1);
    launcher_read(&l);
    assert_null(l.job);
    assert_null(l.node);
    setenv("SLURM_STEP_ID", "1", 1);
    launcher_read(&l);
    assert_string_equal(l.job, "17");
    assert_string_equal(l.node, "n3");
    assert_int_equal(l.index, 2);
    setenv("SLURM_NODEID", "x", 1);
    launcher_read(&l);
    assert_int_equal(l.index, 0);
}

static void gpus_are_divided(void **state)
{
    static const struct {
        const char *list;
        unsigned lane, slots;
        const char *share; /* NULL: none */
    } cases[] = {
        {"0,1,2,3", 0, 4, "0"},
        {"0,1,2,3", 3, 4, "3"},
        {"0,1,2,3", 0, 2, "0,1"},
        {"0,1,2,3", 1, 2, "2,3"},
        {"0,1,2,3", 0, 1, "0,1,2,3"},
        {"4,7", 0, 4, "4"},
        {"4,7", 1, 4, "7"},
        {"4,7", 3, 4, "7"},
        {"0,1,2", 0, 2, "0"},
        {"0,1,2", 1, 2, "1,2"},
        {"GPU-a,MIG-b/1", 1, 2, "MIG-b/1"},
        {"0", 5, 6, "0"},
        {"", 0, 2, NULL},
        {"NoDevFiles", 0, 1, NULL},
        {"-1", 0, 1, NULL},
        {"0", 1, 1, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char share[32] = "?";
        bool ok = gpus_share(cases[i].list, cases[i].lane, cases[i].slots, share, sizeof(share));
        assert_int_equal(ok, cases[i].share != NULL);
        if (ok)
            assert_string_equal(share, cases[i].share);
    }
    char small[3];
    assert_false(gpus_share("100,200", 0, 1, small, sizeof(small)));
}

/* 16 cores with 2 threads each. */
static void a_part_of_a_node_is_not_bound(void **state)
{
    struct placement_options o = {.topology = "synthetic:pack:2 l3:1 core:8 pu:2", .bind = PLACEMENT_CORE};
    struct placement p;
    (void)state;
    o.cpus = 32;
    assert_int_equal(placement_compute(&o, &p, NULL), 0);
    assert_int_equal(p.n, 16);
    assert_string_equal(p.slots[0].cpus, "0-1");
    placement_free(&p);
    o.cpus = 8; /* not confined to them: which they are nobody says */
    assert_int_equal(placement_compute(&o, &p, NULL), 0);
    assert_int_equal(p.n, 4);
    assert_string_equal(p.slots[0].cpus, "");
    placement_free(&p);
    o.allowed = "8-15"; /* confined */
    assert_int_equal(placement_compute(&o, &p, NULL), 0);
    assert_int_equal(p.n, 4);
    assert_string_equal(p.slots[0].cpus, "8-9");
    placement_free(&p);
    o.allowed = NULL;
    o.cpus = 1;
    o.cores_per_slot = 2;
    assert_int_equal(placement_compute(&o, &p, NULL), 0);
    assert_int_equal(p.n, 1);
    placement_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_the_node),
        cmocka_unit_test(only_a_step_counts),
        cmocka_unit_test(gpus_are_divided),
        cmocka_unit_test(a_part_of_a_node_is_not_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
