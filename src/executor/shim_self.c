/* A program that calls flm_service_run is an executor with its service built in: it serves applications
 * of shim `self`, and nothing else. */
#include "base/error.h"
#include "executor/shim_so.h"

#include <flm/admin.h>

int flm__self_check(const struct flm_service *self, const char *application, int shim, flm_error *error)
{
    if (self && shim != FLM_SHIM_SELF)
        return flm__error_set(
            error, FLM_ENOTSUP,
            "application %s is not of shim self: a program with its own service (%s) cannot "
            "serve it",
            application, self->name ? self->name : "no name");
    if (!self && shim == FLM_SHIM_SELF)
        return flm__error_set(error, FLM_ENOTSUP,
                              "application %s is of shim self: its own program must be started for it",
                              application);
    return 0;
}
