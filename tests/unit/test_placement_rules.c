/* What holds for the placement on any machine, with any cpuset that a job may get there: checked against
 * the machines' numbering of CPUs, which is written down here once more. */
#define _GNU_SOURCE
#include "node/cpulist.h"
#include "node/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FIXTURE(name) FLM_SRCDIR "/tests/fixtures/hwloc/" name ".xml"

enum { CPUS_MAX = 512, RANDOM_SETS = 5 };

/* Where a CPU is. */
struct where {
    unsigned core, l3, numa, package;
    int memory; /* the system's number of the node */
};

struct machine {
    const char *topology;
    unsigned cpus, cores;
    void (*where)(unsigned cpu, struct where *w);
};

static void on_epyc(unsigned cpu, struct where *w)
{
    unsigned core = cpu % 128;
    *w = (struct where){core, core / 8, core / 16, core / 64, (int)core / 16};
}

static void on_epyc_gpus(unsigned cpu, struct where *w)
{
    unsigned core = cpu % 64;
    *w = (struct where){core, core / 8, core / 16, 0, (int)core / 16};
}

static void on_xeon(unsigned cpu, struct where *w)
{
    unsigned socket = cpu % 2;
    *w = (struct where){cpu % 64, socket, socket, socket, (int)socket};
}

/* No L3: the node is in its place. */
static void on_knl(unsigned cpu, struct where *w)
{
    unsigned core = cpu % 72;
    *w = (struct where){core, core / 18, core / 18, 0, (int)(core / 18)};
}

static void on_hybrid(unsigned cpu, struct where *w)
{
    *w = (struct where){.core = cpu < 16 ? cpu / 2 : cpu - 8};
}

static void on_six_per_l3(unsigned cpu, struct where *w)
{
    *w = (struct where){cpu, cpu / 6, cpu / 12, cpu / 24, (int)cpu / 12};
}

static const struct machine machines[] = {
    {FIXTURE("epyc-2x64-nps4"), 256, 128, on_epyc},
    {FIXTURE("epyc-1x64-gpus"), 128, 64, on_epyc_gpus},
    {FIXTURE("xeon-2x32-odd-even"), 128, 64, on_xeon},
    {FIXTURE("knl-snc4-flat"), 288, 72, on_knl},
    {FIXTURE("hybrid-8p8e"), 24, 16, on_hybrid},
    {"synthetic:Package:2 Group:2 [NUMANode] L3:2 Core:6 PU:1", 48, 48, on_six_per_l3},
};

/* --- cpusets as jobs get them; the machine's cores in the order of their numbers --- */

static unsigned next_random(void)
{
    static uint64_t state = 88172645463325252u; /* always the same sets */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 32);
}

enum {
    ALL,
    HALF_A_SOCKET,
    ONE_THREAD,
    OTHER_THREADS,
    SPREAD_CORES,
    ALL_BUT_ONE_PER_L3,
    MIXED_THREADS,
    SETS
};

static const char *const set_names[] = {
    "all",
    "half of a socket",
    "one thread of each core",
    "threads of odd cores",
    "every third core",
    "a core per L3 is the system's",
    "one thread of some cores, all of others",
};

static bool is_in_set(const struct machine *m, unsigned set, unsigned cpu)
{
    struct where w, first;
    m->where(cpu, &w);
    unsigned number = 0, lower = 0; /* of this thread in its core; of this core in its L3 */
    for (unsigned other = 0; other < cpu; other++) {
        m->where(other, &first);
        number += first.core == w.core;
        lower += first.l3 == w.l3 && first.core < w.core;
    }
    switch (set) {
    case ALL:
        return true;
    case HALF_A_SOCKET:
        return w.package == 0 && w.core < m->cores / 4;
    case ONE_THREAD:
        return number == 0;
    case OTHER_THREADS:
        return w.core % 2 && (number == 1 || m->cpus == m->cores);
    case SPREAD_CORES:
        return w.core % 3 == 1;
    case ALL_BUT_ONE_PER_L3:
        return lower > 0;
    case MIXED_THREADS:
        return w.core % 2 || number == 0;
    }
    return next_random() % (2 + set % 3) == 0;
}

/* --- the rules --- */

struct counts {
    unsigned n; /* cores that are allowed */
    bool allowed[CPUS_MAX];
    unsigned char core[CPUS_MAX]; /* by core: how many slots have it */
};

static int mark(void *arg, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++)
        ((bool *)arg)[i] = true;
    return 0;
}

static unsigned domain_of(const struct where *w, int level)
{
    return level == 0 ? w->l3 : level == 1 ? w->numa : level == 2 ? w->package : 0;
}

/* Cores of the level's domains that are allowed, or of one slot. */
static unsigned count_cores(const struct machine *m, const bool *cpus, int level, unsigned domain)
{
    bool seen[CPUS_MAX] = {false};
    struct where w;
    unsigned n = 0;
    for (unsigned cpu = 0; cpu < m->cpus; cpu++) {
        m->where(cpu, &w);
        if (!cpus[cpu] || domain_of(&w, level) != domain || seen[w.core])
            continue;
        seen[w.core] = true;
        n++;
    }
    return n;
}

static unsigned domains(const struct machine *m, const bool *cpus, int level, unsigned per_slot,
                        unsigned *room)
{
    unsigned n = 0;
    *room = 0;
    for (unsigned domain = 0; domain < CPUS_MAX / 2; domain++) {
        unsigned cores = count_cores(m, cpus, level, domain);
        n += cores > 0;
        *room += cores / per_slot;
        if (!cores && domain > 16)
            break;
    }
    return n;
}

static void check_slot(const struct machine *m, struct counts *c, const struct placement_slot *slot,
                       unsigned per_slot, bool *cpus)
{
    struct where w, other;
    assert_int_equal(cpulist_parse(slot->cpus, mark, cpus), 0);
    assert_int_equal(slot->cores, per_slot);
    assert_int_equal(count_cores(m, cpus, 3, 0), per_slot);
    bool counted[CPUS_MAX] = {false};
    unsigned on_node[CPUS_MAX] = {0}, most = 0;
    for (unsigned cpu = 0; cpu < m->cpus; cpu++) {
        if (!cpus[cpu])
            continue;
        assert_true(c->allowed[cpu]);
        m->where(cpu, &w);
        if (!counted[w.core]) {
            c->core[w.core]++;
            unsigned n = ++on_node[w.numa];
            most = n > most ? n : most;
        }
        counted[w.core] = true;
        for (unsigned i = 0; i < m->cpus; i++) { /* all that is allowed of a core */
            m->where(i, &other);
            assert_true(other.core != w.core || cpus[i] == c->allowed[i]);
        }
    }
    for (unsigned cpu = 0; cpu < m->cpus; cpu++) { /* the memory is near most of its cores */
        m->where(cpu, &w);
        if (w.memory == slot->numa || m->where == on_knl) {
            assert_true(m->where == on_knl ? slot->numa >= 0 : on_node[w.numa] == most);
            return;
        }
    }
    fail_msg("no node has the number %d", slot->numa);
}

static void check_placement(const struct machine *m, struct counts *c, const struct placement_options *o)
{
    struct placement p;
    flm_error error = {0};
    unsigned per_slot = o->cores_per_slot < c->n ? o->cores_per_slot : c->n;
    unsigned crossing[3] = {0}, room;
    if (placement_compute(o, &p, &error) < 0)
        fail_msg("%s", error.text);
    memset(c->core, 0, sizeof(c->core));
    assert_int_equal(p.cores, c->n);
    assert_int_equal(p.n, o->slots ? o->slots : c->n / per_slot);
    assert_int_equal(p.oversubscribed, p.n > c->n / per_slot);
    for (unsigned i = 0; i < p.n && !p.oversubscribed; i++) {
        bool cpus[CPULIST_MAX + 1] = {false};
        check_slot(m, c, &p.slots[i], per_slot, cpus);
        for (int level = 0; level < 3; level++)
            crossing[level] += domains(m, cpus, level, 1, &room) > 1;
    }
    for (unsigned i = 0; i < p.n && p.oversubscribed; i++) {
        assert_string_equal(p.slots[i].cpus, "");
        assert_int_equal(p.slots[i].numa, -1);
        assert_int_equal(p.slots[i].cores, p.n < c->n ? c->n / p.n : 1);
    }
    for (unsigned core = 0; core < m->cores; core++)
        assert_true(c->core[core] <= 1);
    for (int level = 0; level < 3 && !p.oversubscribed; level++) { /* no more than must be */
        domains(m, c->allowed, level, per_slot, &room);
        assert_int_equal(crossing[level], p.n > room ? p.n - room : 0);
    }
    placement_free(&p);
}

static void fill_set(const struct machine *m, unsigned set, struct counts *c, char *list, size_t size)
{
    size_t used = 0;
    memset(c, 0, sizeof(*c));
    for (unsigned cpu = 0; cpu < m->cpus; cpu++) {
        c->allowed[cpu] = is_in_set(m, set, cpu);
        if (c->allowed[cpu])
            used += (size_t)snprintf(list + used, size - used, "%s%u", used ? "," : "", cpu);
    }
    c->n = count_cores(m, c->allowed, 3, 0);
}

static void test_rules(void **state)
{
    static const unsigned per_slot[] = {1, 2, 3, 4, 5, 7, 8, 16, 33, 200};
    (void)state;
    for (unsigned i = 0; i < sizeof(machines) / sizeof(machines[0]) * (SETS + RANDOM_SETS); i++) {
        const struct machine *m = &machines[i / (SETS + RANDOM_SETS)];
        unsigned set = i % (SETS + RANDOM_SETS);
        struct counts c;
        char list[8 * CPUS_MAX];
        fill_set(m, set, &c, list, sizeof(list));
        if (!c.n)
            continue;
        const char *file = strrchr(m->topology, '/');
        print_message("%s: %s: %u cores\n", file ? file + 1 : m->topology,
                      set < SETS ? set_names[set] : "any", c.n);
        for (unsigned k = 0; k < 10 * 4; k++) {
            unsigned each = per_slot[k / 4], most = each < c.n ? c.n / each : 1;
            const unsigned slots[] = {0, most, most > 1 ? most - 1 : 1, most + 1 + k};
            struct placement_options o = {.topology = m->topology,
                                          .allowed = list,
                                          .cores_per_slot = each,
                                          .slots = slots[k % 4],
                                          .spread = (k / 4 + set) % 2};
            check_placement(m, &c, &o);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
