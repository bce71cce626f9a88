/* tools/flmexec_source.h - where arguments come from, and how they make jobs.
 *
 * A source is a list on the command line (:::) or the lines of a file (::::, -a,
 * standard input). One source is read as it comes, so it may be endless; several
 * are combined, each with each, the last one fastest; a source that is linked
 * (:::+, ::::+) goes in step with the one before it.
 */
#ifndef FLM_TOOLS_FLMEXEC_SOURCE_H
#define FLM_TOOLS_FLMEXEC_SOURCE_H

#include "flmexec_template.h"

#include <stdbool.h>
#include <stdint.h>

enum { FLMEXEC_ITEM_MAX = 16 * 1024 * 1024 }; /* bytes of one argument */

struct flmexec_source {
    char **list; /* NULL: a file */
    int n_list;
    const char *file; /* "-": standard input */
    bool linked;
    /* private */
    int fd, at;
    bool ended;
    struct flmexec_text buffer; /* read and not yet taken: from `taken` on */
    size_t taken, searched;
    char **kept; /* all items, when sources are combined */
    size_t *kept_size;
    int n_kept;
};

struct flmexec_inputs {
    struct flmexec_source *source;
    int n;
    char delimiter;     /* between the items of a file */
    const char *colsep; /* NULL, or what separates the arguments in an item */
    int per_job;        /* arguments of one source per job; 0: one, which is not put in */
    /* private */
    struct flmexec_arguments arguments;
    struct flmexec_text *own; /* texts of the arguments */
    int n_own;
    bool combined, started, done;
};

/* Opens files, and reads them when there are several sources; gives up with a
 * message when that fails. */
void flmexec_inputs_open(struct flmexec_inputs *in);
void flmexec_inputs_close(struct flmexec_inputs *in);

enum flmexec_next { NEXT_JOB, NEXT_END, NEXT_WAIT };
/* The arguments of the next job; they live until the next call. NEXT_WAIT:
 * nothing has come yet, see flmexec_inputs_fd. */
enum flmexec_next flmexec_inputs_next(struct flmexec_inputs *in, struct flmexec_arguments *a);

/* What to poll for reading after NEXT_WAIT. */
int flmexec_inputs_fd(const struct flmexec_inputs *in);

/* How many jobs there will be, or 0 when that is not known before. */
uint64_t flmexec_inputs_count(const struct flmexec_inputs *in);

#endif
