/* reduce.h - sums of tasks, added in the order of their numbers.
 *
 * Results arrive in any order. Those that come before their turn wait in a
 * ring of fixed size, so at most `window` tasks may be under way: submit task i
 * only while i < reduce_next() + window. The sums are kept in twice the
 * precision of a double. So the same tasks give the same digits, however many
 * executors there are and whichever is first; and memory is bounded.
 */
#ifndef MONTECARLO_REDUCE_H
#define MONTECARLO_REDUCE_H

#include "model.h"

struct twofold {
    double high, low;
};

struct reduce {
    struct model model;
    uint64_t window;      /* a power of two */
    struct mc_sums *ring; /* [number % window]; samples 0: not here yet */
    uint64_t next;        /* tasks added so far: the number of the next one */
    uint64_t samples;     /* in them */
    struct twofold sum, sum2;
};

struct estimate {
    uint64_t samples;
    double value, error; /* error: the standard error of value */
};

/* 0 or FLM_ENOMEM. */
int reduce_init(struct reduce *reduce, const struct model *model, uint64_t window);
void reduce_fini(struct reduce *reduce);

/* Takes the sums of a task. 0; FLM_EINVAL: that task is not under way, came
 * twice or its sums are not numbers. */
int reduce_put(struct reduce *reduce, const struct mc_sums *sums);

/* Whether the sums of this task have been put. */
int reduce_has(const struct reduce *reduce, uint64_t number);

/* Adds the next task if it is here: 1, else 0. */
int reduce_step(struct reduce *reduce);

/* The estimate from all tasks added so far; error is NaN below 2 samples. */
struct estimate reduce_estimate(const struct reduce *reduce);

#endif
