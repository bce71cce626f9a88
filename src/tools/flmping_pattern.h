/* tools/flmping_pattern.h - what the tasks of flmping contain, known to both sides.
 *
 * Inputs and outputs are made of a template (bytes that depend on their place,
 * the size and the direction), stamped with the task's number: a 64-bit stamp at
 * the beginning (as much of it as fits) and, from 24 bytes on, its complement at
 * the end. So a check sees a wrong task, a wrong direction, a torn or shifted
 * payload; and making one costs two stores.
 */
#ifndef FLM_TOOLS_FLMPING_PATTERN_H
#define FLM_TOOLS_FLMPING_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The session's common data: what the service has to do. Little endian. */
struct flmping_common {
    char magic[8]; /* FLMPING_MAGIC */
    uint64_t input_size, output_size;
    uint64_t duration_ns;       /* of each task */
    uint64_t mix_every, mix_ns; /* every so manieth takes mix_ns; 0: none */
    uint64_t fail_every;        /* every so manieth fails; 0: none */
    uint64_t flags;             /* enum flmping_flags */
};
#define FLMPING_MAGIC "flmping1"
enum flmping_flags { FLMPING_SLEEP = 1 /* sleep for the duration, not spin */ };

/* What the service says of a task (flm_result.code). */
enum { FLMPING_FAIL_ASKED = 7, FLMPING_FAIL_INPUT = 8, FLMPING_FAIL_COMMON = 9, FLMPING_FAIL_MEMORY = 10 };

enum flmping_direction { FLMPING_INPUT = 1, FLMPING_OUTPUT = 2 };

/* Task 1 of a session is the warm-up: it has number 0 and takes no time. */
static inline uint64_t flmping_number(uint64_t task)
{
    return task - 1;
}

static inline uint64_t flmping_stamp(uint64_t number, int direction)
{
    return (number + 1) * 0x9e3779b97f4a7c15u ^ (direction == FLMPING_INPUT ? 0 : 0x5851f42d4c957f2du);
}

static inline void flmping_template(void *to, size_t size, int direction)
{
    uint64_t x = size * 2 + (uint64_t)direction;
    unsigned char *p = to;
    for (size_t i = 0; i < size; i += 8) {
        x += 0x9e3779b97f4a7c15u; /* splitmix64 */
        uint64_t z = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        memcpy(p + i, &z, size - i < 8 ? size - i : 8);
    }
}

/* Stamps data, which holds the template or an older stamp. */
static inline void flmping_stamp_on(void *data, size_t size, uint64_t number, int direction)
{
    uint64_t stamp = flmping_stamp(number, direction), last = ~stamp;
    memcpy(data, &stamp, size < 8 ? size : 8);
    if (size >= 24)
        memcpy((char *)data + size - 8, &last, 8);
}

static inline bool flmping_check(const void *data, size_t size, const void *template, uint64_t number,
                                 int direction)
{
    uint64_t stamp = flmping_stamp(number, direction), last = ~stamp;
    const char *p = data, *t = template;
    if (size <= 8)
        return size == 8 ? !memcmp(p, &stamp, 8) : !size || !memcmp(p, &stamp, size);
    if (size < 24)
        return !memcmp(p, &stamp, 8) && !memcmp(p + 8, t + 8, size - 8);
    return !memcmp(p, &stamp, 8) && !memcmp(p + size - 8, &last, 8) && !memcmp(p + 8, t + 8, size - 16);
}

#endif
