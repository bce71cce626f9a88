/* flmctl backend - where the nodes come from, and what would be asked for. */
#include "tools/flmctl/flmctl.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

enum { KEY_DRY_RUN = 1000, KEY_NODES, DRY_RUN_TEXT = 16384 };

static bool dry_run;
static uint64_t nodes_wanted;

static const struct argp_option options[] = {
    {"dry-run", KEY_DRY_RUN, NULL, 0, "print the request for a job of one's own, and do nothing", 0},
    {"nodes", KEY_NODES, "K", 0, "with --dry-run: of so many nodes", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case KEY_DRY_RUN:
        dry_run = true;
        return 0;
    case KEY_NODES:
        if (!flmctl_number("--nodes", arg, 10000, &nodes_wanted))
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int print_request(struct flmctl *ctl)
{
    char text[DRY_RUN_TEXT];
    if (flm_admin_dry_run(ctl->client, 1, (unsigned)nodes_wanted, text, sizeof(text), &ctl->error))
        return flmctl_fail(ctl, NULL);
    printf("%s%s", text, text[0] && text[strlen(text) - 1] == '\n' ? "" : "\n");
    return EXIT_SUCCESS;
}

static int run(struct flmctl *ctl, int n, char **args)
{
    static const struct report_column columns[] = {
        {"block", "Block", 0}, {"backend", "Backend", 0}, {"nodes", "Nodes", REPORT_RIGHT}};
    struct flm_node_view *nodes = NULL;
    (void)n;
    (void)args;
    if (dry_run)
        return print_request(ctl);
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
                all += *nodes[j].name != 0; /* else a job that waits for nodes */
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

const struct command command_backend = {
    "backend", "", "Show where the nodes come from", 0, 0, true, options, parse, run};
