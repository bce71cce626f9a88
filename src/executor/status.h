/* executor/status.h - the page that an executor shares with its agent, so that after its death it is
 * known which one task ran. Written by the executor's main thread alone (plain stores). */
#ifndef FLM_EXECUTOR_STATUS_H
#define FLM_EXECUTOR_STATUS_H

#include <stdatomic.h>
#include <stdint.h>

struct flm__status_page {
    _Atomic uint64_t began; /* tasks of this life that were begun: the number of the running or last one */
    _Atomic int32_t reason; /* enum flm_reason: why the executor ends itself (deadline, ...) */
    _Atomic int32_t busy;   /* 1 while user code runs */
    char pad[4096 - 16];
};
_Static_assert(sizeof(struct flm__status_page) == 4096, "one page");

#endif
