/* flmctl backend - where the nodes come from. More when there are more backends. */
#include "tools/flmctl/flmctl.h"

#include <string.h>

static int run(struct flmctl *ctl, int n, char **args)
{
    static const struct report_column columns[] = {
        {"block", "Block", 0}, {"backend", "Backend", 0}, {"nodes", "Nodes", REPORT_RIGHT}};
    struct flm_node_view *nodes = NULL;
    (void)n;
    (void)args;
    int count = flm_list_nodes(ctl->client, &nodes, &ctl->error);
    if (count < 0)
        return flmctl_fail(ctl, NULL);
    struct report *r = report_new(ctl->format);
    report_table(r, "blocks", COLUMNS(columns));
    for (int i = 0; i < count; i++) {
        int before = 0, all = 0;
        for (int j = 0; j < count; j++)
            if (!strcmp(nodes[i].block, nodes[j].block)) {
                before += j < i;
                all++;
            }
        if (before)
            continue;
        report_row(r);
        report_text(r, nodes[i].block);
        report_text(r, strcmp(nodes[i].block, "local") ? "batch" : "local");
        report_number(r, all);
    }
    flm_free_nodes(nodes, count);
    return report_print(r);
}

const struct command command_backend = {"backend", "", "Show where the nodes come from", 0, 0, true, NULL,
                                        NULL,      run};
