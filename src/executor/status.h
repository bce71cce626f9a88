/* executor/status.h - the page that an executor shares with its agent, so that after its death it is
 * known which one task ran. Written by the executor's main thread alone (plain stores); of a world by each
 * rank its own part: rank 0 may be some tasks ahead of the others, and what the slowest did is what ran. */
#ifndef FLM_EXECUTOR_STATUS_H
#define FLM_EXECUTOR_STATUS_H

#include <stdatomic.h>
#include <stdint.h>

enum { FLM__STATUS_RANKS = 63 };

/* The directory that the agent has made for the shared memory of MPI programs of an executor of shim mpi,
 * and may be emptied; "": none. And the variables by which Open MPI 4 and 5 find it, unless the user has
 * named another. */
#define FLM__LAUNCH_MEMORY   "FLM_LAUNCH_MEMORY"
#define FLM__LAUNCH_MEMORY_4 "OMPI_MCA_btl_vader_backing_directory"
#define FLM__LAUNCH_MEMORY_5 "OMPI_MCA_btl_sm_backing_directory"

struct flm__status_page {
    _Atomic uint64_t began; /* tasks of this life that were begun: the number of the running or last one */
    _Atomic int32_t reason; /* enum flm_reason: why the executor ends itself (deadline, ...) */
    _Atomic int32_t busy;   /* 1 while user code runs */
    char pad[64 - 16];
    struct {
        _Atomic uint64_t
            unfinished; /* number of the first task that it has not done; 0: it does not tell */
        char pad[56];
    } ranks[FLM__STATUS_RANKS]; /* of a world: 1, 2, ... */
};

/* The number of the task that ran when it died, or of the last that it began. */
static inline uint64_t flm__status_began(const struct flm__status_page *page)
{
    uint64_t began = page->began;
    for (int i = 0; i < FLM__STATUS_RANKS && page->ranks[i].unfinished; i++)
        if (page->ranks[i].unfinished < began)
            began = page->ranks[i].unfinished;
    return began;
}

_Static_assert(sizeof(struct flm__status_page) == 4096, "one page");

#endif
