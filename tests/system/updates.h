/* Common data that tell their version: for updates.c and services/updates.c. */
#ifndef TESTS_UPDATES_H
#define TESTS_UPDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a task wants: data of this version or a newer one. wait: it then waits for the file UPDATES_GATE,
 * and the data must not change under it meanwhile. */
struct updates_input {
    uint64_t version, wait;
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

static inline bool updates_are(const uint64_t *data, size_t n, uint64_t version)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] != version * 0x9e3779b97f4a7c15u + i)
            return false;
    return true;
}

#endif
