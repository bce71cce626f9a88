/* block.c - see block.h */
#include "block.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define GRAIN          64 /* sides are multiples of it */
#define LARGEST        2048
#define TILES_EACH     4 /* per executor, so that none waits long for the last one */
#define FALLBACK_BYTES ((uint64_t)1 << 20)
#define MAX_CACHES     16

static int read_text(const char *sysfs, int index, const char *name, char *text, size_t size)
{
    char path[512];
    FILE *f;
    int ok;

    snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu0/cache/index%d/%s", sysfs, index, name);
    f = fopen(path, "re");
    if (!f)
        return 0;
    ok = fgets(text, (int)size, f) != NULL;
    fclose(f);
    return ok;
}

/* How many CPUs a list such as "0-3,8" names. */
static unsigned count_cpus(const char *list)
{
    unsigned first, last, count = 0;
    int used;

    while (sscanf(list, "%u%n", &first, &used) == 1) {
        list += used;
        last = first;
        if (sscanf(list, "-%u%n", &last, &used) == 1)
            list += used;
        count += last >= first ? last - first + 1 : 1;
        if (*list != ',')
            break;
        list++;
    }
    return count ? count : 1;
}

uint64_t block_cache_bytes(const char *sysfs)
{
    uint64_t best = 0;
    char level[16], type[32], size[32], shared[256];

    for (int i = 0; i < MAX_CACHES; i++) {
        unsigned long long kib;
        char unit = 'K';
        if (!read_text(sysfs, i, "level", level, sizeof(level)) ||
            !read_text(sysfs, i, "type", type, sizeof(type)) ||
            !read_text(sysfs, i, "size", size, sizeof(size)))
            continue;
        if (level[0] < '2' || strncmp(type, "Instruction", 11) == 0 ||
            sscanf(size, "%llu%c", &kib, &unit) < 1)
            continue;
        if (!read_text(sysfs, i, "shared_cpu_list", shared, sizeof(shared)))
            snprintf(shared, sizeof(shared), "0");
        kib = (unit == 'M' ? kib << 10 : kib) / count_cpus(shared);
        if (kib << 10 > best)
            best = kib << 10;
    }
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
