/* base/hash.h - uthash that does not end the program for lack of memory: an element is then simply not
 * added, so whoever adds one asks.
 */
#ifndef FLM_BASE_HASH_H
#define FLM_BASE_HASH_H

#include <stdbool.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Whether an element got into its table: there was memory. */
static inline bool flm__hash_added(const UT_hash_handle *hh)
{
    return hh->tbl != NULL;
}

#endif
