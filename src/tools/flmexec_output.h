/* tools/flmexec_output.h - what jobs have written, whole and in order.
 *
 * Outputs are kept until their turn: up to HELD_MAX bytes in memory, beyond that
 * in a file without a name in $TMPDIR. Written are first a job's stdout, then
 * its stderr, never mixed with another's.
 */
#ifndef FLM_TOOLS_FLMEXEC_OUTPUT_H
#define FLM_TOOLS_FLMEXEC_OUTPUT_H

#include "flmexec_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What one job has written and its turn has not come. */
struct flmexec_held {
    char *data;      /* NULL: in the file, or nothing */
    off_t offset;    /* in the file */
    size_t out, err; /* bytes of stdout, of stderr that follow */
};

struct flmexec_output {
    bool tag;
    bool closed;             /* nobody reads stdout any more */
    uint64_t held, held_max; /* bytes in memory */
    int spill_fd;            /* -1: not needed so far */
    off_t spill_end;
    uint64_t spilled; /* outputs in the file */
    char *buffer;     /* of stdout, not written yet */
    size_t used;
};

void flmexec_output_init(struct flmexec_output *o, bool tag);
/* Flushes. */
void flmexec_output_fini(struct flmexec_output *o);

/* Copies an output (stdout, then stderr behind it at data) to be written later.
 * 0, or an errno value when there is no room on the disk either. */
int flmexec_output_hold(struct flmexec_output *o, struct flmexec_held *h, const char *data, size_t out,
                        size_t err);

/* Writes an output now; tag: put before each line (with a tab), when asked for. */
void flmexec_output_write(struct flmexec_output *o, const char *tag, const char *data, size_t out,
                          size_t err);
/* The same for one that was held, which is then gone. 0, or an errno value. */
int flmexec_output_release(struct flmexec_output *o, const char *tag, struct flmexec_held *h);

void flmexec_output_flush(struct flmexec_output *o);

#endif
