/* From a topology to slots, in four steps:
 *
 *   load     hwloc's tree of this machine, of an XML file or of a description
 *   cores    the physical cores with at least one allowed hardware thread, in
 *            hwloc's order, each with the package, NUMA node and L3 it is in
 *   chunks   groups of cores_per_slot cores: those that fit into an L3, then, while
 *            there are too few, of the cores that are left over those that fit into
 *            a NUMA node, a package, the machine; packed they are in order, spread
 *            they go round the packages, then the NUMA nodes, then the L3s
 *   slots    slot i is bound to chunk i, or to the L3 or NUMA node around it
 *
 * Invariants: a bound slot has all allowed threads of its cores and no other; with
 * bind core no two slots share a core. Where there is no L3, bind l3 means the
 * NUMA node.
 */
#define _GNU_SOURCE
#include "node/placement.h"

#include "base/error.h"
#include "node/cpulist.h"
#include "node/quota.h"

#include <hwloc.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What a core is in, from near to far. */
enum level { LEVEL_L3, LEVEL_NUMA, LEVEL_PACKAGE, LEVEL_MACHINE, LEVELS };

struct core {
    hwloc_bitmap_t cpus;     /* allowed threads */
    unsigned domain[LEVELS]; /* hwloc's logical number of the L3, ...; 0 where it has none */
    int numa;                /* the system's number of the node; -1: none */
};

struct chunk {
    const unsigned *cores; /* cores_per_slot indices, ascending; in plan.order */
    unsigned rank[LEVELS]; /* how many came before it in the same L3, that L3 in its node, ... */
};

struct plan {
    hwloc_topology_t topology;
    hwloc_bitmap_t allowed;
    bool here; /* this machine, not a description */
    unsigned n_cores, n_chunks, cores_per_slot;
    struct core *cores;
    struct chunk *chunks;
    unsigned *order; /* cores by chunk */
    bool *taken;     /* cores that are in a chunk */
};

/* --- load --- */

/* hwloc looks for plugins (OpenCL, GPUs, PCI, libxml) and loads them all, tens of
 * milliseconds for nothing we use; and it prints banners about firmware. Only its
 * environment variables turn that off. */
static int topology_init(hwloc_topology_t *out)
{
    static const char *const settings[][2] = {{"HWLOC_PLUGINS_PATH", "/nonexistent"},
                                              {"HWLOC_HIDE_ERRORS", "2"}};
    bool ours[2];
    for (int i = 0; i < 2; i++) {
        ours[i] = !getenv(settings[i][0]);
        if (ours[i])
            setenv(settings[i][0], settings[i][1], 0);
    }
    int rc = hwloc_topology_init(out);
    for (int i = 0; i < 2; i++)
        if (ours[i])
            unsetenv(settings[i][0]);
    return rc;
}

static int set_source(hwloc_topology_t topology, const char *text, flm_error *error)
{
    static const char prefix[] = "synthetic:";
    if (strncmp(text, prefix, sizeof(prefix) - 1) == 0) {
        if (hwloc_topology_set_synthetic(topology, text + sizeof(prefix) - 1) < 0)
            return flm__error_set(error, FLM_EIO,
                                  "'%.200s' is not a synthetic topology; see 'lstopo --help-synthetic'"
                                  " or hwloc(7)",
                                  text);
        return 0;
    }
    struct stat st;
    if (stat(text, &st) < 0 || !S_ISREG(st.st_mode))
        return flm__error_set(error, FLM_EIO,
                              "there is no topology file '%.300s'; make one with 'lstopo FILE.xml'", text);
    if (hwloc_topology_set_xml(topology, text) < 0)
        return flm__error_set(error, FLM_EIO,
                              "'%.300s' is not an hwloc topology in XML; make one with"
                              " 'lstopo FILE.xml'",
                              text);
    return 0;
}

static int load(struct plan *plan, const char *source, flm_error *error)
{
    if (topology_init(&plan->topology) < 0)
        return flm__error_set(error, FLM_ENOMEM, "no memory for the topology of this machine");
    int rc = source ? set_source(plan->topology, source, error) : 0;
    if (rc)
        return rc;
    static const hwloc_obj_type_t unused[] = {HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L4CACHE,
                                              HWLOC_OBJ_L5CACHE, HWLOC_OBJ_MEMCACHE};
    for (size_t i = 0; i < sizeof(unused) / sizeof(unused[0]); i++)
        hwloc_topology_set_type_filter(plan->topology, unused[i], HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_io_types_filter(plan->topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(plan->topology, HWLOC_OBJ_MISC, HWLOC_TYPE_FILTER_KEEP_NONE);
    /* What is allowed here is the process's affinity; hwloc would read the cpuset group for it. */
    hwloc_topology_set_flags(plan->topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    if (hwloc_topology_load(plan->topology) < 0)
        return flm__error_set(error, FLM_EIO, "cannot read the topology of %.300s",
                              source ? source : "this machine");
    plan->here = hwloc_topology_is_thissystem(plan->topology);
    return 0;
}

/* --- cores --- */

static int add_range(void *arg, unsigned first, unsigned last)
{
    return hwloc_bitmap_set_range(arg, first, (int)last) < 0 ? FLM_ENOMEM : 0;
}

static int find_allowed(struct plan *plan, const char *text, flm_error *error)
{
    plan->allowed = hwloc_bitmap_dup(hwloc_topology_get_topology_cpuset(plan->topology));
    hwloc_bitmap_t limit = hwloc_bitmap_alloc();
    int rc = plan->allowed && limit ? 0 : FLM_ENOMEM;
    if (!rc && text)
        rc = cpulist_parse(text, add_range, limit);
    else if (!rc && (!plan->here || hwloc_get_cpubind(plan->topology, limit, HWLOC_CPUBIND_THREAD) < 0))
        rc = hwloc_bitmap_copy(limit, plan->allowed) < 0 ? FLM_ENOMEM : 0;
    if (!rc)
        hwloc_bitmap_and(plan->allowed, plan->allowed, limit);
    if (!rc && !plan->here)
        hwloc_bitmap_and(plan->allowed, plan->allowed, hwloc_topology_get_allowed_cpuset(plan->topology));
    hwloc_bitmap_free(limit);

    if (rc == FLM_EINVAL)
        return flm__error_set(error, rc, "'%.200s' is not a list of CPUs; write it like 0-3,8", text);
    if (rc)
        return flm__error_set(error, rc, "no memory for the list of CPUs");
    if (hwloc_bitmap_iszero(plan->allowed))
        return flm__error_set(error, FLM_EINVAL,
                              "none of the CPUs %.200s can be used; 'lstopo --no-io' shows"
                              " those of this machine",
                              text ? text : "");
    return 0;
}

/* The NUMA node for the memory of what runs on `cpus`: the first that is near and may be used. A
 * node without CPUs (memory of a GPU) is near nobody; where a core has two (DRAM and
 * high-bandwidth memory), hwloc puts the DRAM first. */
static hwloc_obj_t near_memory(struct plan *plan, hwloc_const_bitmap_t cpus)
{
    hwloc_const_nodeset_t usable = hwloc_topology_get_allowed_nodeset(plan->topology);
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(plan->topology, HWLOC_OBJ_NUMANODE, node)))
        if (hwloc_bitmap_intersects(node->cpuset, cpus) && hwloc_bitmap_isset(usable, node->os_index))
            return node;
    return NULL;
}

static unsigned ancestor_number(struct plan *plan, hwloc_obj_type_t type, hwloc_obj_t obj,
                                unsigned otherwise)
{
    hwloc_obj_t up = hwloc_get_ancestor_obj_by_type(plan->topology, type, obj);
    return up ? up->logical_index : otherwise;
}

static int fill_core(struct plan *plan, struct core *core, hwloc_obj_t obj)
{
    core->cpus = hwloc_bitmap_dup(obj->cpuset);
    if (!core->cpus)
        return FLM_ENOMEM;
    hwloc_bitmap_and(core->cpus, core->cpus, plan->allowed);
    hwloc_obj_t node = near_memory(plan, core->cpus);
    core->numa = node ? (int)node->os_index : -1;
    core->domain[LEVEL_MACHINE] = 0;
    core->domain[LEVEL_PACKAGE] = ancestor_number(plan, HWLOC_OBJ_PACKAGE, obj, 0);
    core->domain[LEVEL_NUMA] = node ? node->logical_index : 0;
    core->domain[LEVEL_L3] =
        ancestor_number(plan, HWLOC_OBJ_L3CACHE, obj, UINT_MAX - core->domain[LEVEL_NUMA]);
    return 0;
}

/* Some virtual machines show threads without cores: then each is one. */
static int find_cores(struct plan *plan)
{
    int n_pus = hwloc_get_nbobjs_by_type(plan->topology, HWLOC_OBJ_PU);
    plan->cores = calloc((size_t)n_pus, sizeof(*plan->cores));
    if (!plan->cores)
        return FLM_ENOMEM;
    hwloc_obj_t pu = NULL, last = NULL;
    while ((pu = hwloc_get_next_obj_by_type(plan->topology, HWLOC_OBJ_PU, pu))) {
        hwloc_obj_t up = hwloc_get_ancestor_obj_by_type(plan->topology, HWLOC_OBJ_CORE, pu);
        hwloc_obj_t obj = up ? up : pu;
        if (obj == last || !hwloc_bitmap_isset(plan->allowed, pu->os_index))
            continue; /* the threads of a core are neighbours in hwloc's order */
        last = obj;
        if (fill_core(plan, &plan->cores[plan->n_cores++], obj))
            return FLM_ENOMEM;
    }
    return 0;
}

/* --- chunks --- */

/* The first core behind those that share the level's domain with core i. */
static unsigned domain_end(const struct plan *plan, unsigned i, enum level level)
{
    unsigned domain = plan->cores[i].domain[level];
    while (i < plan->n_cores && plan->cores[i].domain[level] == domain)
        i++;
    return i;
}

/* Makes chunks of the cores that are in none yet, none across a domain of the level. */
static void cut(struct plan *plan, enum level level)
{
    for (unsigned i = 0, end; i < plan->n_cores; i = end) {
        unsigned *cores = plan->order + plan->n_chunks * plan->cores_per_slot, n = 0;
        end = domain_end(plan, i, level);
        for (unsigned j = i; j < end; j++) {
            if (plan->taken[j])
                continue;
            cores[n++] = j;
            if (n < plan->cores_per_slot)
                continue;
            while (n)
                plan->taken[cores[--n]] = true;
            plan->chunks[plan->n_chunks++].cores = cores;
            cores += plan->cores_per_slot;
        }
    }
}

static bool same_domain(const struct plan *plan, const struct chunk *a, const struct chunk *b, int level)
{
    for (; level < LEVEL_MACHINE; level++)
        if (plan->cores[a->cores[0]].domain[level] != plan->cores[b->cores[0]].domain[level])
            return false;
    return true;
}

static int compare_packed(const void *a, const void *b)
{
    const struct chunk *x = a, *y = b;
    return x->cores[0] < y->cores[0] ? -1 : 1;
}

/* Chunks come in hwloc's order, so those of one domain are neighbours: rank[L3] counts within the
 * L3, rank[NUMA] the L3s within the node, and so on. */
static void rank_chunks(struct plan *plan)
{
    for (unsigned i = 1; i < plan->n_chunks; i++) {
        struct chunk *c = &plan->chunks[i];
        const struct chunk *before = c - 1;
        int shared = LEVEL_L3;
        while (!same_domain(plan, before, c, shared))
            shared++;
        for (int level = shared; level < LEVELS; level++)
            c->rank[level] = before->rank[level] + (level == shared);
    }
}

static int compare_spread(const void *a, const void *b)
{
    const struct chunk *x = a, *y = b;
    for (int level = 0; level < LEVELS; level++)
        if (x->rank[level] != y->rank[level])
            return x->rank[level] < y->rank[level] ? -1 : 1;
    return 0;
}

static int make_chunks(struct plan *plan, unsigned wanted, bool spread)
{
    plan->chunks = calloc(plan->n_cores / plan->cores_per_slot, sizeof(*plan->chunks));
    /* Behind the last whole chunk there may be the beginning of one. */
    plan->order = calloc(plan->n_cores + plan->cores_per_slot, sizeof(*plan->order));
    plan->taken = calloc(plan->n_cores, sizeof(*plan->taken));
    if (!plan->chunks || !plan->order || !plan->taken)
        return FLM_ENOMEM;
    unsigned nearer = 0;
    for (int level = LEVEL_L3; level < LEVELS && plan->n_chunks < wanted; level++) {
        nearer = plan->n_chunks;
        cut(plan, (enum level)level);
    }
    if (nearer && plan->n_chunks > wanted) /* those that are cut off are of the farthest kind */
        plan->n_chunks = wanted;
    qsort(plan->chunks, plan->n_chunks, sizeof(*plan->chunks), compare_packed);
    rank_chunks(plan);
    if (spread)
        qsort(plan->chunks, plan->n_chunks, sizeof(*plan->chunks), compare_spread);
    return 0;
}

/* --- slots --- */

/* Fewer CPUs are ours than we may use: a batch system that shares nodes and does not confine jobs. */
static bool is_shared(const struct plan *plan, const struct placement_options *options)
{
    return options->cpus && options->cpus < (unsigned)hwloc_bitmap_weight(plan->allowed);
}

/* Cores that are ours; the threads of a core count as one. */
static unsigned own_cores(const struct plan *plan, const struct placement_options *options)
{
    if (!is_shared(plan, options))
        return plan->n_cores;
    unsigned cpus = (unsigned)hwloc_bitmap_weight(plan->allowed);
    return (unsigned)(((uint64_t)options->cpus * plan->n_cores + cpus - 1) / cpus);
}

static unsigned count_slots(const struct plan *plan, const struct placement_options *options)
{
    unsigned n = own_cores(plan, options) / plan->cores_per_slot;
    n = n ? n : 1;
    double quota = plan->here ? quota_cpus("") / plan->cores_per_slot : 0;
    if (quota > 0 && quota < n) {
        unsigned whole = (unsigned)quota;
        n = whole + (quota > whole);
    }
    return n < PLACEMENT_MAX_SLOTS ? n : PLACEMENT_MAX_SLOTS;
}

/* Adds the core, or all that share its domain. */
static int add_core(const struct plan *plan, hwloc_bitmap_t set, unsigned core, enum placement_bind bind)
{
    if (bind == PLACEMENT_CORE)
        return hwloc_bitmap_or(set, set, plan->cores[core].cpus);
    enum level level = bind == PLACEMENT_L3 ? LEVEL_L3 : LEVEL_NUMA;
    for (unsigned i = 0; i < plan->n_cores; i++)
        if (plan->cores[i].domain[level] == plan->cores[core].domain[level] &&
            hwloc_bitmap_or(set, set, plan->cores[i].cpus) < 0)
            return -1;
    return 0;
}

/* The node that most cores of the chunk are near. */
static int chunk_numa(const struct plan *plan, const struct chunk *chunk)
{
    unsigned best = 0, most = 0;
    for (unsigned i = 0; i < plan->cores_per_slot; i++) {
        unsigned n = 0;
        for (unsigned j = 0; j < plan->cores_per_slot; j++)
            n += plan->cores[chunk->cores[j]].numa == plan->cores[chunk->cores[i]].numa;
        if (n > most) {
            most = n;
            best = i;
        }
    }
    return plan->cores[chunk->cores[best]].numa;
}

/* A text that does not fit leaves the slot unbound: half a list would be wrong. */
static int bind_slot(const struct plan *plan, const struct chunk *chunk, enum placement_bind bind,
                     struct placement_slot *slot)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    int rc = set ? 0 : -1;
    for (unsigned i = 0; !rc && i < plan->cores_per_slot; i++)
        rc = add_core(plan, set, chunk->cores[i], bind);
    int length = rc ? 0 : hwloc_bitmap_list_snprintf(slot->cpus, sizeof(slot->cpus), set);
    if (length < 0 || (size_t)length >= sizeof(slot->cpus))
        slot->cpus[0] = '\0';
    else
        slot->numa = chunk_numa(plan, chunk);
    hwloc_bitmap_free(set);
    return rc ? FLM_ENOMEM : 0;
}

static int make_slots(struct plan *plan, const struct placement_options *options, struct placement *out)
{
    unsigned n = options->slots ? options->slots : count_slots(plan, options);
    struct placement_slot *slots = calloc(n, sizeof(*slots));
    if (!slots || make_chunks(plan, n, options->spread)) {
        free(slots);
        return FLM_ENOMEM;
    }
    bool crowded = n > plan->n_chunks;
    unsigned share = plan->n_cores / n;
    /* Which cores are ours is not known on a shared node: others may be bound to the first ones too. */
    bool free_choice = (crowded && options->bind == PLACEMENT_CORE) || is_shared(plan, options);
    enum placement_bind bind = free_choice ? PLACEMENT_NONE : options->bind;
    int rc = 0;
    for (unsigned i = 0; !rc && i < n; i++) {
        slots[i].cores = !crowded ? plan->cores_per_slot : share ? share : 1;
        slots[i].numa = -1;
        unsigned chunk = !crowded          ? i
                         : options->spread ? i % plan->n_chunks
                                           : (unsigned)((uint64_t)i * plan->n_chunks / n);
        if (bind != PLACEMENT_NONE)
            rc = bind_slot(plan, &plan->chunks[chunk], bind, &slots[i]);
    }
    *out = (struct placement){.n = n, .cores = plan->n_cores, .oversubscribed = crowded, .slots = slots};
    if (rc)
        placement_free(out);
    return rc;
}

static void plan_free(struct plan *plan)
{
    for (unsigned i = 0; plan->cores && i < plan->n_cores; i++)
        hwloc_bitmap_free(plan->cores[i].cpus);
    free(plan->cores);
    free(plan->chunks);
    free(plan->order);
    free(plan->taken);
    hwloc_bitmap_free(plan->allowed);
    if (plan->topology)
        hwloc_topology_destroy(plan->topology);
}

int placement_compute(const struct placement_options *options, struct placement *out, flm_error *error)
{
    struct plan plan = {0};
    *out = (struct placement){0};
    if (options->slots > PLACEMENT_MAX_SLOTS)
        return flm__error_set(error, FLM_EINVAL, "%u executors on one machine are too many; at most %d",
                              options->slots, PLACEMENT_MAX_SLOTS);
    if ((unsigned)options->bind > PLACEMENT_NONE)
        return flm__error_set(error, FLM_EINVAL, "%d is no kind of binding", (int)options->bind);
    int rc = load(&plan, options->topology, error);
    if (!rc)
        rc = find_allowed(&plan, options->allowed, error);
    if (rc)
        goto out;
    rc = find_cores(&plan);
    if (!rc) {
        plan.cores_per_slot = options->cores_per_slot ? options->cores_per_slot : 1;
        if (plan.cores_per_slot > plan.n_cores)
            plan.cores_per_slot = plan.n_cores; /* all there are */
        rc = make_slots(&plan, options, out);
    }
    if (rc)
        flm__error_set(error, rc, "no memory for the placement of the executors");
out:
    plan_free(&plan);
    return rc;
}

void placement_free(struct placement *placement)
{
    if (!placement)
        return;
    free(placement->slots);
    *placement = (struct placement){0};
}

int placement_parse_bind(const char *text, enum placement_bind *out)
{
    static const char *const names[] = {"core", "l3", "numa", "none"};
    for (int i = 0; text && i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum placement_bind)i;
            return 0;
        }
    }
    return FLM_EINVAL;
}

/* --- apply --- */

static int add_to_set(void *arg, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++)
        CPU_SET_S(i, CPU_ALLOC_SIZE(CPULIST_MAX + 1), (cpu_set_t *)arg);
    return 0;
}

/* The kernel's own call: libnuma would be one more library for one line. */
static int prefer_memory(int numa)
{
    enum { BITS = 8 * sizeof(unsigned long), NODES = 1024 /* CONFIG_NODES_SHIFT is at most 10 */ };
    unsigned long mask[NODES / BITS] = {0};
    if (numa >= NODES)
        return FLM_EINVAL;
    mask[(unsigned)numa / BITS] = 1ul << ((unsigned)numa % BITS);
    return syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask, (unsigned long)NODES + 1) < 0 ? FLM_EIO : 0;
}

int placement_apply(const char *cpus, int numa)
{
    if (!*cpus)
        return 0;
    cpu_set_t *set = CPU_ALLOC(CPULIST_MAX + 1);
    if (!set)
        return FLM_ENOMEM;
    size_t size = CPU_ALLOC_SIZE(CPULIST_MAX + 1);
    CPU_ZERO_S(size, set);
    int rc = cpulist_parse(cpus, add_to_set, set);
    if (!rc && sched_setaffinity(0, size, set) < 0)
        rc = FLM_EIO;
    CPU_FREE(set);
    if (!rc && numa >= 0)
        rc = prefer_memory(numa);
    return rc;
}
