/* slurm/removed.h - variables of our job, or of the step that we may run in, which for a new step would be
 * options of srun. NULL-terminated; with "*" at the end: all that begin so. */
#ifndef PLUGIN_SLURM_REMOVED_H
#define PLUGIN_SLURM_REMOVED_H

extern const char *const slurm_removed[];

#endif
