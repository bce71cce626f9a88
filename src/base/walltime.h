/* base/walltime.h - times as batch systems write them.
 *
 * Slurm's (sbatch(1), --time): "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours",
 * "days-hours:minutes" and "days-hours:minutes:seconds".
 */
#ifndef FLM_BASE_WALLTIME_H
#define FLM_BASE_WALLTIME_H

#include <stdbool.h>

/* In seconds, 1 to about 68 years. false: that is no such time. */
bool flm__walltime(const char *text, unsigned *seconds);

#endif
