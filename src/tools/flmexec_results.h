/* tools/flmexec_results.h - --results: files with the outputs of each job.
 *
 * DIR/1/ARGUMENT/2/ARGUMENT/{stdout,stderr,seq}, as GNU parallel lays them out:
 * in a name '/' becomes '\_', a tab '\t' and a backslash '\\'. An argument too
 * long for a name is cut, and the number of the job put behind it.
 */
#ifndef FLM_TOOLS_FLMEXEC_RESULTS_H
#define FLM_TOOLS_FLMEXEC_RESULTS_H

#include "flmexec_template.h"

/* The folder of a job below dir. */
void flmexec_results_folder(const char *dir, const struct flmexec_arguments *a, uint64_t seq,
                            struct flmexec_text *out);

/* Makes the folder and writes the three files. 0 or an errno value. */
int flmexec_results_write(const char *folder, uint64_t seq, const char *data, size_t out, size_t err);

#endif
