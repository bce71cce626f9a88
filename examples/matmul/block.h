/* block.h - how large a tile should be, and which tiles there are. */
#ifndef MATMUL_BLOCK_H
#define MATMUL_BLOCK_H

#include "task.h"

/* Bytes of cache that one core may call its own, as hwloc finds them: the largest
 * of its second-level cache and its share of the last level; 1 MiB where that is
 * not known. */
uint64_t block_cache_bytes(void);

/* A side such that a tile of C and two panels as large fit in the cache, but
 * small enough that each executor gets some tiles. */
uint64_t block_side(uint64_t cache_bytes, uint64_t m, uint64_t n, unsigned executors);

/* Tiles are numbered row by row. */
uint64_t block_count(uint64_t m, uint64_t n, uint64_t side);
struct tile block_tile(uint64_t m, uint64_t n, uint64_t side, uint64_t number);

#endif
