/* Shim self: the user's program is the executor. */
#include "executor/executor.h"

#include <stdio.h>

int flm_service_run(const struct flm_service *service, int argc, char **argv)
{
    const char *program = argc > 0 && argv && argv[0] ? argv[0] : "service";
    flm_error error = {0};
    if (!service || flm__service_check(service, program, &error) < 0) {
        fprintf(stderr, "%s: %s\n", program, service ? error.text : "flm_service_run was given no service");
        return 2;
    }
    return flm__executor_serve(service, program);
}
