/* block.c - see block.h */
#include "block.h"
#include <hwloc.h>
#include <math.h>

#define GRAIN          64 /* sides are multiples of it */
#define LARGEST        2048
#define TILES_EACH     4 /* per executor, so that none waits long for the last one */
#define FALLBACK_BYTES ((uint64_t)1 << 20)

/* The part of a cache that one of its cores may call its own. */
static uint64_t share(hwloc_topology_t topology, hwloc_obj_t cache)
{
    int cores = hwloc_get_nbobjs_inside_cpuset_by_type(topology, cache->cpuset, HWLOC_OBJ_CORE);

    return cache->attr->cache.size / (uint64_t)(cores > 0 ? cores : 1);
}

uint64_t block_cache_bytes(void)
{
    hwloc_topology_t topology;
    uint64_t best = 0;

    if (hwloc_topology_init(&topology))
        return FALLBACK_BYTES;
    if (hwloc_topology_load(topology) == 0)
        for (hwloc_obj_t o = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, 0); o; o = o->parent)
            if (hwloc_obj_type_is_dcache(o->type) && o->attr->cache.depth >= 2 && share(topology, o) > best)
                best = share(topology, o);
    hwloc_topology_destroy(topology);
    return best ? best : FALLBACK_BYTES;
}

/* The largest part of a length that is cut evenly into parts of at most `side`. */
static uint64_t even(uint64_t length, uint64_t side)
{
    uint64_t parts = (length + side - 1) / side;

    return (length + parts - 1) / parts;
}

uint64_t block_side(uint64_t cache_bytes, uint64_t m, uint64_t n, unsigned executors)
{
    uint64_t side = (uint64_t)sqrt((double)cache_bytes / (3 * sizeof(double))) / GRAIN * GRAIN;
    uint64_t wanted = (uint64_t)(executors ? executors : 1) * TILES_EACH;

    side = side < GRAIN ? GRAIN : side > LARGEST ? LARGEST : side;
    while (side > GRAIN && block_count(m, n, side) < wanted)
        side -= GRAIN;
    side = even(m, side) > even(n, side) ? even(m, side) : even(n, side);
    return (side + GRAIN - 1) / GRAIN * GRAIN;
}

uint64_t block_count(uint64_t m, uint64_t n, uint64_t side)
{
    return ((m + side - 1) / side) * ((n + side - 1) / side);
}

struct tile block_tile(uint64_t m, uint64_t n, uint64_t side, uint64_t number)
{
    uint64_t across = (n + side - 1) / side;
    struct tile t = {.row = number / across * side, .column = number % across * side};

    t.rows = m - t.row < side ? m - t.row : side;
    t.columns = n - t.column < side ? n - t.column : side;
    return t;
}
