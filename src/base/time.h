/* base/time.h - clocks. */
#ifndef FLM_BASE_TIME_H
#define FLM_BASE_TIME_H

#include <stdint.h>
#include <time.h>

/* Monotonic nanoseconds: for durations. */
static inline int64_t flm__now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Nanoseconds since the epoch: for people. */
static inline int64_t flm__wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* One turn of a spin loop. */
static inline void flm__relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
