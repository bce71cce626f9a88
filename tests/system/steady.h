/* What the service and the client of the tests of durable sessions agree on. */
#ifndef TESTS_STEADY_H
#define TESTS_STEADY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct steady_input {
    uint64_t number; /* id of the task */
    uint32_t us;     /* it takes so long */
    uint32_t size;   /* of the output; filled up to what the client was told to send */
};

static inline uint64_t steady_mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185u;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44du;
    return x ^ x >> 33;
}

static inline size_t steady_output_size(uint32_t wanted)
{
    return wanted < 16 ? 16 : wanted;
}

static inline void steady_fill(void *to, size_t size, uint64_t number)
{
    char *p = to;
    uint64_t word = number;
    memcpy(p, &number, 8);
    for (size_t at = 8; at < size; at += 8) {
        word = steady_mix(word);
        memcpy(p + at, &word, size - at < 8 ? size - at : 8);
    }
}

static inline bool steady_is_right(const void *data, size_t size, uint64_t number)
{
    const char *p = data;
    uint64_t word = number;
    if (size < 16 || memcmp(p, &number, 8) != 0)
        return false;
    for (size_t at = 8; at < size; at += 8) {
        word = steady_mix(word);
        if (memcmp(p + at, &word, size - at < 8 ? size - at : 8) != 0)
            return false;
    }
    return true;
}

#endif
