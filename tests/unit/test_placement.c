/* Placement on machines that are not here: recorded topologies and described ones. */
#define _GNU_SOURCE
#include "node/cpulist.h"
#include "node/placement.h"
#include "node/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURE(name) FLM_SRCDIR "/tests/fixtures/hwloc/" name ".xml"
#define EPYC          FIXTURE("epyc-2x64-nps4")
#define KNL           FIXTURE("knl-snc4-flat")
#define HYBRID        FIXTURE("hybrid-8p8e")
#define ONE           FIXTURE("one-core")
#define CPUSET        FIXTURE("cpuset-4-of-16")
#define TWO_SOCKETS   "synthetic:Package:2 [NUMANode] L3:1 Core:4 PU:1"
#define SIX_PER_L3    "synthetic:Package:1 [NUMANode] L3:2 Core:6 PU:1"
#define NO_CORES      "synthetic:NUMANode:1 PU:4"

/* The slots as text: cpus/numa/cores of each, separated by blanks. At most the first eight. */
struct placement_case {
    const char *what;
    struct placement_options options;
    unsigned n, cores;
    bool oversubscribed;
    const char *slots;
};

static const struct placement_case cases[] = {
    {"all of a big machine",
     {.topology = EPYC},
     128,
     128,
     false,
     "0,128/0/1 1,129/0/1 2,130/0/1 3,131/0/1 4,132/0/1 5,133/0/1 6,134/0/1 7,135/0/1"},
    {"spread goes round sockets, then nodes",
     {.topology = EPYC, .slots = 6, .spread = true},
     6,
     128,
     false,
     "0,128/0/1 64,192/4/1 16,144/1/1 80,208/5/1 32,160/2/1 96,224/6/1"},
    {"a spread of all is all",
     {.topology = TWO_SOCKETS, .spread = true},
     8,
     8,
     false,
     "0/0/1 4/1/1 1/0/1 5/1/1 2/0/1 6/1/1 3/0/1 7/1/1"},
    {"one slot per L3",
     {.topology = EPYC, .cores_per_slot = 8},
     16,
     128,
     false,
     "0-7,128-135/0/8 8-15,136-143/0/8 16-23,144-151/1/8 24-31,152-159/1/8 32-39,160-167/2/8 "
     "40-47,168-175/2/8 48-55,176-183/3/8 56-63,184-191/3/8"},
    {"bind to L3",
     {.topology = EPYC, .slots = 3, .bind = PLACEMENT_L3, .spread = true},
     3,
     128,
     false,
     "0-7,128-135/0/1 64-71,192-199/4/1 16-23,144-151/1/1"},
    {"bind to a node",
     {.topology = EPYC, .slots = 2, .bind = PLACEMENT_NUMA},
     2,
     128,
     false,
     "0-15,128-143/0/1 0-15,128-143/0/1"},
    {"not bound",
     {.topology = EPYC, .slots = 2, .bind = PLACEMENT_NONE, .cores_per_slot = 4},
     2,
     128,
     false,
     "/-1/4 /-1/4"},
    {"no slot across an L3 while there is room",
     {.topology = SIX_PER_L3, .slots = 2, .cores_per_slot = 4},
     2,
     12,
     false,
     "0-3/0/4 6-9/0/4"},
    {"across an L3 when there is not",
     {.topology = SIX_PER_L3, .cores_per_slot = 4},
     3,
     12,
     false,
     "0-3/0/4 4-5,10-11/0/4 6-9/0/4"},
    {"cores that are left over",
     {.topology = SIX_PER_L3, .cores_per_slot = 5},
     2,
     12,
     false,
     "0-4/0/5 6-10/0/5"},
    {"memory is DRAM, not MCDRAM",
     {.topology = KNL, .slots = 2, .spread = true},
     2,
     72,
     false,
     "0,72,144,216/0/1 18,90,162,234/2/1"},
    {"without an L3 its node",
     {.topology = KNL, .slots = 1, .bind = PLACEMENT_L3},
     1,
     72,
     false,
     "0-17,72-89,144-161,216-233/0/1"},
    {"cores of one and of two threads",
     {.topology = HYBRID, .allowed = "12-17"},
     4,
     4,
     false,
     "12-13/0/1 14-15/0/1 16/0/1 17/0/1"},
    {"two cores of each kind",
     {.topology = HYBRID, .allowed = "14-16", .cores_per_slot = 2},
     1,
     2,
     false,
     "14-16/0/2"},
    {"every core counts once",
     {.topology = HYBRID},
     16,
     16,
     false,
     "0-1/0/1 2-3/0/1 4-5/0/1 6-7/0/1 8-9/0/1 10-11/0/1 12-13/0/1 14-15/0/1"},
    {"one thread of each core",
     {.topology = EPYC, .allowed = "0-3,132"},
     5,
     5,
     false,
     "0/0/1 1/0/1 2/0/1 3/0/1 132/0/1"},
    {"one core", {.topology = ONE}, 1, 1, false, "0/0/1"},
    {"one core, two slots", {.topology = ONE, .slots = 2}, 2, 1, true, "/-1/1 /-1/1"},
    {"more cores per slot than there are", {.topology = ONE, .cores_per_slot = 4}, 1, 1, false, "0/0/1"},
    {"a cpuset", {.topology = CPUSET}, 4, 4, false, "4/0/1 5/0/1 6/0/1 7/0/1"},
    {"a cpuset and a list", {.topology = CPUSET, .allowed = "0-5"}, 2, 2, false, "4/0/1 5/0/1"},
    {"bind to what is allowed of the L3",
     {.topology = CPUSET, .slots = 1, .bind = PLACEMENT_L3},
     1,
     4,
     false,
     "4-7/0/1"},
    {"too many slots are not bound",
     {.topology = TWO_SOCKETS, .slots = 9},
     9,
     8,
     true,
     "/-1/1 /-1/1 /-1/1 /-1/1 /-1/1 /-1/1 /-1/1 /-1/1"},
    {"too many slots share nodes",
     {.topology = TWO_SOCKETS, .slots = 16, .bind = PLACEMENT_NUMA, .spread = true},
     16,
     8,
     true,
     "0-3/0/1 4-7/1/1 0-3/0/1 4-7/1/1 0-3/0/1 4-7/1/1 0-3/0/1 4-7/1/1"},
    {"two slots of four cores on six",
     {.topology = "synthetic:Core:6 PU:1", .slots = 2, .cores_per_slot = 4},
     2,
     6,
     true,
     "/-1/3 /-1/3"},
    {"threads without cores", {.topology = NO_CORES}, 4, 4, false, "0/0/1 1/0/1 2/0/1 3/0/1"},
    {"a list with parts that are not there",
     {.topology = NO_CORES, .allowed = "3,7-70"},
     1,
     1,
     false,
     "3/0/1"},
};

static void describe(const struct placement *p, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < p->n && i < 8; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s/%d/%u", i ? " " : "", p->slots[i].cpus,
                                 p->slots[i].numa, p->slots[i].cores);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct placement_case *c = &cases[i];
        struct placement p;
        flm_error error = {0};
        char text[8 * (PLACEMENT_CPUS_TEXT + 32)];
        print_message("%s\n", c->what);
        int rc = placement_compute(&c->options, &p, &error);
        assert_string_equal(error.text, "");
        assert_int_equal(rc, 0);
        describe(&p, text, sizeof(text));
        assert_string_equal(text, c->slots);
        assert_int_equal(p.n, c->n);
        assert_int_equal(p.cores, c->cores);
        assert_int_equal(p.oversubscribed, c->oversubscribed);
        placement_free(&p);
        assert_null(p.slots);
    }
}

static int add_bit(void *arg, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++)
        ((unsigned char *)arg)[i]++;
    return 0;
}

/* On any machine, with any number of slots and cores per slot: bound to cores, no CPU has two. */
static void test_no_core_twice(void **state)
{
    static const char *const machines[] = {EPYC, KNL, HYBRID, TWO_SOCKETS, SIX_PER_L3, CPUSET};
    (void)state;
    for (unsigned i = 0; i < 6 * 2 * 9; i++) {
        struct placement_options o = {
            .topology = machines[i % 6], .spread = i / 6 % 2, .cores_per_slot = i / 12};
        struct placement p;
        unsigned char used[CPULIST_MAX + 1] = {0};
        assert_int_equal(placement_compute(&o, &p, NULL), 0);
        assert_false(p.oversubscribed);
        for (unsigned s = 0; s < p.n; s++)
            assert_int_equal(cpulist_parse(p.slots[s].cpus, add_bit, used), 0);
        for (unsigned cpu = 0; cpu <= CPULIST_MAX; cpu++)
            assert_true(used[cpu] <= 1);
        placement_free(&p);
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *what;
        struct placement_options options;
        int code;
        const char *text; /* part of the message */
    } bad[] = {
        {"no such file", {.topology = "/nonexistent/x.xml"}, FLM_EIO, "/nonexistent/x.xml"},
        {"a folder", {.topology = "/tmp"}, FLM_EIO, "/tmp"},
        {"not XML", {.topology = FLM_SRCDIR "/tests/unit/test_placement.c"}, FLM_EIO, "test_placement.c"},
        {"empty description", {.topology = "synthetic:"}, FLM_EIO, "synthetic:"},
        {"bad description", {.topology = "synthetic:Sofa:2"}, FLM_EIO, "Sofa"},
        {"too many slots", {.topology = ONE, .slots = PLACEMENT_MAX_SLOTS + 1}, FLM_EINVAL, "4097"},
        {"no kind of binding", {.topology = ONE, .bind = (enum placement_bind)9}, FLM_EINVAL, "9"},
        {"no CPU left", {.topology = ONE, .allowed = "5"}, FLM_EINVAL, "5"},
        {"empty list", {.topology = ONE, .allowed = ""}, FLM_EINVAL, "list of CPUs"},
        {"no list", {.topology = ONE, .allowed = "0-"}, FLM_EINVAL, "'0-'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct placement p;
        flm_error error = {0};
        print_message("%s\n", bad[i].what);
        assert_int_equal(placement_compute(&bad[i].options, &p, &error), bad[i].code);
        assert_int_equal(error.code, bad[i].code);
        if (!strstr(error.text, bad[i].text))
            fail_msg("'%s' is not in '%s'", bad[i].text, error.text);
        assert_null(p.slots);
        assert_int_equal(placement_compute(&bad[i].options, &p, NULL), bad[i].code);
    }
}

/* What a killed copy, or a copy of something else, may leave. */
static void test_truncated_topology(void **state)
{
    char file[] = "/tmp/flm-test-placement-XXXXXX", text[4096];
    int fd = mkstemp(file);
    (void)state;
    assert_true(fd >= 0);
    FILE *whole = fopen(HYBRID, "r");
    assert_non_null(whole);
    size_t n = fread(text, 1, sizeof(text), whole);
    fclose(whole);
    for (size_t size = 0; size < n; size += 97) {
        struct placement p;
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, text, size, 0), size);
        assert_int_equal(placement_compute(&(struct placement_options){.topology = file}, &p, NULL),
                         FLM_EIO);
    }
    close(fd);
    unlink(file);
}

static void test_lists(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } lists[] = {
        {"0", 0},
        {"0-3,8", 0},
        {"8,0-3", 0},
        {"65535", 0},
        {"007", 0},
        {"1-1", 0},
        {"", FLM_EINVAL},
        {",", FLM_EINVAL},
        {"0,", FLM_EINVAL},
        {",0", FLM_EINVAL},
        {"-3", FLM_EINVAL},
        {"3-", FLM_EINVAL},
        {"3-1", FLM_EINVAL},
        {"a", FLM_EINVAL},
        {"0 ", FLM_EINVAL},
        {" 0", FLM_EINVAL},
        {"0x1", FLM_EINVAL},
        {"1--2", FLM_EINVAL},
        {"65536", FLM_EINVAL},
        {"99999999999999999999", FLM_EINVAL},
        {"0-7:2", FLM_EINVAL},
        {"0\n", FLM_EINVAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        unsigned char used[CPULIST_MAX + 1] = {0};
        print_message("'%s'\n", lists[i].text);
        assert_int_equal(cpulist_parse(lists[i].text, add_bit, used), lists[i].rc);
    }
}

/* The text that placement writes means the same when it is read. */
static void test_round_trip(void **state)
{
    static const char *const lists[] = {"0", "0-7,128-135", "4-7", "1,3,5,7-9"};
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct placement_options o = {
            .topology = EPYC, .allowed = lists[i], .slots = 1, .cores_per_slot = 128};
        struct placement p;
        assert_int_equal(placement_compute(&o, &p, NULL), 0);
        assert_string_equal(p.slots[0].cpus, lists[i]);
        placement_free(&p);
    }
}

static void test_bind_names(void **state)
{
    static const char *const names[] = {"core", "l3", "numa", "none"};
    enum placement_bind bind = PLACEMENT_NONE;
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(placement_parse_bind(names[i], &bind), 0);
        assert_int_equal(bind, i);
    }
    assert_int_equal(placement_parse_bind("Core", &bind), FLM_EINVAL);
    assert_int_equal(placement_parse_bind("", &bind), FLM_EINVAL);
    assert_int_equal(placement_parse_bind("cores", &bind), FLM_EINVAL);
}

static void test_quota(void **state)
{
    static const struct {
        const char *folder;
        int hundredths;
    } groups[] = {
        {"v2-parent", 150}, {"v2-none", 0}, {"v2-container", 50}, {"v1", 300},
        {"v1-docker", 250}, {"garbage", 0}, {"missing", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        char root[1024];
        snprintf(root, sizeof(root), "%s/tests/fixtures/cgroup/%s", FLM_SRCDIR, groups[i].folder);
        print_message("%s\n", groups[i].folder);
        assert_int_equal((int)(quota_cpus(root) * 100 + 0.5), groups[i].hundredths);
    }
}

/* This machine: within the affinity of this process, and what apply says is so afterwards. */
static void test_here(void **state)
{
    struct placement p;
    flm_error error = {0};
    (void)state;
    assert_int_equal(placement_compute(&(struct placement_options){0}, &p, &error), 0);
    assert_true(p.n >= 1 && p.n <= p.cores && !p.oversubscribed);
    int pid = fork();
    if (pid == 0) { /* the affinity of the tests stays as it is */
        cpu_set_t set;
        unsigned char wanted[CPULIST_MAX + 1] = {0};
        int rc = placement_apply(p.slots[0].cpus, p.slots[0].numa);
        bool same = cpulist_parse(p.slots[0].cpus, add_bit, wanted) == 0 &&
                    sched_getaffinity(0, sizeof(set), &set) == 0;
        for (unsigned cpu = 0; same && cpu < CPU_SETSIZE; cpu++)
            same = !!CPU_ISSET(cpu, &set) == wanted[cpu];
        struct placement narrow;
        bool follows = placement_compute(&(struct placement_options){0}, &narrow, NULL) == 0 &&
                       narrow.cores == 1 && strcmp(narrow.slots[0].cpus, p.slots[0].cpus) == 0;
        placement_free(&narrow);
        placement_free(&p);
        _exit((rc == FLM_EIO /* memory policies forbidden: a container */ || rc == 0) && same && follows
                  ? 0
                  : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(placement_apply("", 3), 0);
    assert_int_equal(placement_apply("none", -1), FLM_EINVAL);
    assert_int_equal(placement_apply("65535", -1), FLM_EIO);
    placement_free(&p);
    placement_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),      cmocka_unit_test(test_no_core_twice),
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_truncated_topology),
        cmocka_unit_test(test_lists),      cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bind_names), cmocka_unit_test(test_quota),
        cmocka_unit_test(test_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
