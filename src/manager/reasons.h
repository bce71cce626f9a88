/* manager/reasons.h - how often what went wrong in a session. */
#ifndef MANAGER_REASONS_H
#define MANAGER_REASONS_H

#include <flm/client.h>

#include <stdint.h>

enum { REASONS = FLM_REASON_OBJECT + 1 };

/* By enum flm_reason. */
struct reasons {
    uint64_t ended[REASONS]; /* tasks that failed or were cancelled */
    uint64_t lost[REASONS];  /* attempts that ended with their executor, charged to the task or not */
};

static inline void reasons_count(uint64_t counts[REASONS], int reason)
{
    counts[reason >= 0 && reason < REASONS ? reason : FLM_REASON_NONE]++;
}

#endif
