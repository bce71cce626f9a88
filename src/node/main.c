/* flm-node - the node agent. */
#include "node/agent.h"
#include "node/options.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct node_options options;
    struct agent agent;
    flm_error error = {0, ""};
    node_options_parse(&options, argc, argv);
    int status = 1;
    if (agent_init(&agent, &options, &error) < 0)
        fprintf(stderr, "flm-node %s: %s\n", options.name, error.text);
    else
        status = agent_run(&agent);
    agent_fini(&agent);
    return status;
}
