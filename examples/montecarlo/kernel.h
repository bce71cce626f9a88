/* kernel.h - the numerics of one task.
 *
 * The sums of a task depend on the model and on the task, on nothing else: not
 * on the executor, the processor's vector width or the compiler (the arithmetic
 * is +, -, *, / and sqrt in a fixed order; compile with -ffp-contract=off).
 */
#ifndef MONTECARLO_KERNEL_H
#define MONTECARLO_KERNEL_H

#include "model.h"
#include <stdbool.h>

/* Samples that are worked on at a time. */
#define KERNEL_CHUNK 2048

/* Computes a task. stop (may be NULL) is asked after some thousand samples each
 * whether to give up; then the function returns FLM_ECANCELLED. */
int kernel_run(const struct model *model, const struct mc_task *task, struct mc_sums *sums,
               bool (*stop)(const void *arg), const void *arg);

/* The parts, for tests. Arrays of KERNEL_CHUNK; first: number of the first of
 * the blocks of four words. */
void kernel_words(uint64_t seed, uint64_t task, uint64_t first, uint32_t words[4][KERNEL_CHUNK / 2]);
void kernel_normals(const uint32_t words[4][KERNEL_CHUNK / 2], double z[KERNEL_CHUNK]);
void kernel_exp(double x[KERNEL_CHUNK]); /* in place; |x| at most 700 */

#endif
