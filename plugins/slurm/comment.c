/* comment.c - what squeue -o %k and sacct -o Comment show of a block's job. A comment that somebody else
 * gave is left alone, and where Slurm does not take ours it is not tried again. */
#define _GNU_SOURCE
#include "slurm.h"

#include <stdlib.h>
#include <string.h>

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* sbatch takes unambiguous beginnings of its options' names. */
bool comment_is_given(const char *const *options)
{
    if (getenv("SBATCH_COMMENT"))
        return true;
    for (; options && *options; options++)
        if (begins(*options, "--comm"))
            return true;
    return false;
}

void comment_set(struct slurm *s, uint32_t job, const char *text)
{
    char why[200];
    if (s->no_comments || !job)
        return;
    if (job_comment(job, text, why, sizeof(why)))
        return;
    s->no_comments = true;
    plugin_log(s->host, "Slurm takes no comment on job %u: %s; none is tried any more", job, why);
}
