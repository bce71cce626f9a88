/* resume.h - a run in a session that outlives this program: from the result file of an earlier one, and
 * into it; see checkpoint.h. */
#ifndef MONTECARLO_RESUME_H
#define MONTECARLO_RESUME_H

#include "run.h"

/* Takes up what the file has. 0, or why this run cannot begin or go on. */
int resume_read(struct run *run);
/* Opens the session, and finds out which tasks it has. */
int resume_open(struct run *run, const struct launch_options *launch, flm_task_fn *callback);
/* Writes the file, when the last time is long ago, and acknowledges what is in it. */
void resume_save_if_due(struct run *run);
/* The same at the end of this program: the run is complete, interrupted or failed. */
void resume_end(struct run *run);

#endif
