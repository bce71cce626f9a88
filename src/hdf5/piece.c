#include "hdf5/inside.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

static const char magic[8] = "flmhdf5";

/* Followed by start, count and extent of each dimension, and by the two names, each with its zero byte. */
struct head {
    char magic[8];
    uint32_t version, rank;
    uint64_t file_bytes;
    int64_t file_time_ns;
};

void *piece_encode(const struct piece *p, size_t *bytes)
{
    struct head h = {.version = VERSION,
                     .rank = p->slab.rank,
                     .file_bytes = p->file_bytes,
                     .file_time_ns = p->file_time_ns};
    size_t numbers = p->slab.rank * sizeof(uint64_t), file = strlen(p->file) + 1;
    memcpy(h.magic, magic, sizeof(magic));
    *bytes = sizeof(h) + 3 * numbers + file + strlen(p->dataset) + 1;
    char *out = malloc(*bytes), *at = out;
    if (!out)
        return NULL;
    memcpy(at, &h, sizeof(h));
    memcpy(at += sizeof(h), p->slab.start, numbers);
    memcpy(at += numbers, p->slab.count, numbers);
    memcpy(at += numbers, p->slab.extent, numbers);
    memcpy(at += numbers, p->file, file);
    memcpy(at += file, p->dataset, strlen(p->dataset) + 1);
    return out;
}

static bool within(const struct flm_hdf5_slab *s)
{
    for (unsigned i = 0; i < s->rank; i++)
        if (s->count[i] == 0 || s->start[i] > s->extent[i] || s->count[i] > s->extent[i] - s->start[i])
            return false;
    return true;
}

bool piece_decode(struct piece *p, const void *input, size_t bytes)
{
    struct head h;
    const char *at = input, *end = at + bytes;
    if (bytes < sizeof(h))
        return false;
    memcpy(&h, at, sizeof(h));
    at += sizeof(h);
    size_t numbers = h.rank * sizeof(uint64_t);
    if (memcmp(h.magic, magic, sizeof(magic)) != 0 || h.version != VERSION || h.rank < 1 ||
        h.rank > FLM_HDF5_MAX_RANK || (size_t)(end - at) < 3 * numbers)
        return false;
    *p = (struct piece){.slab.rank = h.rank, .file_bytes = h.file_bytes, .file_time_ns = h.file_time_ns};
    memcpy(p->slab.start, at, numbers);
    memcpy(p->slab.count, at += numbers, numbers);
    memcpy(p->slab.extent, at += numbers, numbers);
    p->file = at += numbers;
    const char *zero = memchr(at, 0, (size_t)(end - at));
    p->dataset = zero ? zero + 1 : end;
    return memchr(p->dataset, 0, (size_t)(end - p->dataset)) == end - 1 && within(&p->slab);
}
