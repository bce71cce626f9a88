#include "tools/connection.h"

#include <flm/client.h>
#include <stdio.h>

void connection_tell(int event, const char *text, void *program)
{
    const char *name = program;
    if (event == FLM_CONNECTION_LOST)
        fprintf(stderr, "%s: %s\n", name, text);
    else if (event == FLM_CONNECTION_BACK)
        fprintf(stderr, "%s: goes on with the session manager\n", name);
    /* Given up: that is the error of whatever waited. */
}
