/* Common data that tell their version: for updates.c and services/updates.c. */
#ifndef TESTS_UPDATES_H
#define TESTS_UPDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a task wants: data of this version or a newer one. wait: it then waits for the file UPDATES_GATE,
 * and the data must not change under it meanwhile. patched: the versions after the first are patches. */
struct updates_input {
    uint64_t version, wait, patched;
};

struct updates_output {
    uint64_t version; /* that it has seen; 0: the data were wrong */
    uint64_t maps;    /* blobs that are mapped in its executor */
};

static inline void updates_fill(uint64_t *data, size_t n, uint64_t version)
{
    for (size_t i = 0; i < n; i++)
        data[i] = version * 0x9e3779b97f4a7c15u + i;
}

/* The patch that makes a version: so many words from *at on, of n. */
enum { UPDATES_PATCH = 100 };
static inline void updates_patch(uint64_t *words, size_t n, uint64_t version, size_t *at)
{
    *at = version * 7919 % (n - UPDATES_PATCH);
    updates_fill(words, UPDATES_PATCH, version);
}

static inline bool updates_are(const uint64_t *data, size_t n, uint64_t version)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] != version * 0x9e3779b97f4a7c15u + i)
            return false;
    return true;
}

/* The first version with the patches up to this one. */
static inline bool updates_are_patched(const uint64_t *data, size_t n, uint64_t version)
{
    uint64_t words[UPDATES_PATCH];
    size_t at;
    uint64_t *want = n > UPDATES_PATCH ? malloc(n * sizeof(*want)) : NULL;
    if (!want)
        return false;
    updates_fill(want, n, 1);
    for (uint64_t v = 2; v <= version; v++) {
        updates_patch(words, n, v, &at);
        memcpy(want + at, words, sizeof(words));
    }
    bool same = memcmp(want, data, n * sizeof(*want)) == 0;
    free(want);
    return same;
}

#endif
