/* executor/world_memory.h - memory that the ranks of a world share when all are on one node.
 *
 * Rank 0 posts entries (what to do, and the input of a task) for the others, which do them one after the
 * other, each at its own speed; nobody waits for anybody before the end of a span of tasks. Entry number n
 * (from 1) is found by offsets[n % WORLD_ENTRIES]; each rank says the last that it has done. The room of
 * entries is used again once all are done with all of them, which rank 0 waits for.
 *
 * Who has nothing to do looks for a while, then sleeps on a futex; nobody polls, so an idle world costs
 * nothing.
 *
 * Rank 0 makes it and the others find it as a descriptor of that process. It goes with the last of them.
 */
#ifndef FLM_EXECUTOR_WORLD_MEMORY_H
#define FLM_EXECUTOR_WORLD_MEMORY_H

#include "executor/task.h"

#include <flm/error.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    FLM__WORLD_RANKS = 64,
    FLM__WORLD_ENTRIES = 64,      /* at once; a span has at most half as many */
    FLM__WORLD_SPAN_MAX = 32,     /* tasks that one rank is ahead of another */
    FLM__WORLD_ROOM = 256 * 1024, /* of entries; holds several of FLM__INLINE_MAX */
};

/* Why a rank failed the task of an entry. */
struct flm__world_failure {
    uint32_t entry;
    int32_t code;
    char message[FLM__MESSAGE_MAX + 1];
};

struct flm__world_rank {
    _Alignas(64) _Atomic uint32_t done; /* number of the last entry */
    _Atomic uint32_t failures;          /* so many were written */
};

struct flm__world_memory {
    uint64_t token;
    struct flm__cancels cancels; /* written by the second thread of rank 0 */

    /* By rank 0. */
    _Alignas(64) _Atomic uint32_t posted; /* number of the last entry; futex */
    uint32_t offsets[FLM__WORLD_ENTRIES];
    /* By the others. */
    _Alignas(64) _Atomic uint32_t sleepers; /* that wait for entries */
    _Alignas(64) _Atomic uint32_t finished; /* futex of rank 0, which says that it */
    _Atomic bool awaited;                   /* waits */

    _Alignas(64) char entries[FLM__WORLD_ROOM];
    struct flm__world_rank ranks[]; /* then failures, for each rank of each entry */
};

/* Where the others find it, and the status page. token 0: there is none. */
struct flm__world_memory_at {
    uint64_t token;
    int64_t pid, fd, page_fd;
};

/* Rank 0: makes it. NULL: not possible. at: for the others; the descriptor stays open until close. */
struct flm__world_memory *flm__world_memory_create(unsigned ranks, struct flm__world_memory_at *at);
/* Another rank: finds it. NULL: it is not on this node. */
struct flm__world_memory *flm__world_memory_find(unsigned ranks, const struct flm__world_memory_at *at);
void flm__world_memory_close(struct flm__world_memory *m, unsigned ranks);

/* What this rank wrote of this entry, if it failed that. */
struct flm__world_failure *flm__world_failure(struct flm__world_memory *m, unsigned ranks, unsigned rank,
                                              uint32_t entry);

/* Rank 0: room for the next entry, aligned to 8; NULL: not before all are done with what there is. */
void *flm__world_reserve(struct flm__world_memory *m, uint32_t *used, size_t n);
/* The others may read it. Returns its number. */
uint32_t flm__world_post(struct flm__world_memory *m, const void *entry);
/* Whether all others have done it; or waits until then. */
bool flm__world_is_done(const struct flm__world_memory *m, unsigned ranks, uint32_t entry);
void flm__world_wait_done(struct flm__world_memory *m, unsigned ranks, uint32_t entry);

/* Another rank: waits for an entry, and says that it is done with it. */
const void *flm__world_await(struct flm__world_memory *m, uint32_t entry);
void flm__world_did(struct flm__world_memory *m, unsigned rank, uint32_t entry);

/* Any rank: it failed the task of this entry. */
void flm__world_failed(struct flm__world_memory *m, unsigned ranks, unsigned rank, uint32_t entry, int code,
                       const struct flm_task_context *task);

#endif
