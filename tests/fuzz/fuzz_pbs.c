/* Whatever a server of PBS answers: read as the backend reads the JSON of qstat and pbsnodes. An answer is
 * read twice, and the second time followed from the first, as the next one would be. */
#include "../../plugins/pbs/nodes.h"
#include "../../plugins/pbs/reports.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_nodes(const struct job_report *job, const char *text, size_t size)
{
    const char *at = job->exec_host;
    char node[NODE_NAME_SIZE];
    unsigned cpus;
    while (exec_host_next(&at, node, sizeof(node), &cpus))
        report_is_offline(text, size, node);
}

static void read_jobs(const struct job_reports *all, const char *text, size_t size)
{
    char how[120];
    for (unsigned i = 0; i < all->n; i++) {
        const struct job_report *job = &all->list[i];
        report_how(job, how, sizeof(how));
        report_end(job);
        if (!reports_find(all, job->id))
            abort();
        if (i < 4) /* each node of it is a walk through all of the text */
            read_nodes(job, text, size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job_reports first, then;
    if (size > 20000)
        return 0;
    char *text = malloc(size + 1); /* as an answer: NUL-terminated */
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    bool whole = reports_read(text, size, &first);
    if (reports_read(text, size, &then) != whole || then.n != first.n)
        abort();
    reports_follow(&then, &first, 1);
    read_jobs(&then, text, size);
    report_usual_cpus(text, size);
    reports_free(&first);
    reports_free(&then);
    free(text);
    return 0;
}
