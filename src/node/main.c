/* flm-node - the node agent. */
#include "base/standard.h"
#include "node/agent.h"
#include "node/options.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct node_options options;
    struct agent agent;
    flm_error error = {0, ""};
    flm__standard_open();
    node_options_parse(&options, argc, argv);
    int status = 1;
    int rc = agent_init(&agent, &options, &error);
    if (rc == 0)
        status = agent_run(&agent);
    else if (rc == FLM_ECLOSED) /* there is nothing to do any more */
        status = 0;
    else
        fprintf(stderr, "flm-node %s: %s\n", options.name, error.text);
    agent_fini(&agent);
    return status;
}
