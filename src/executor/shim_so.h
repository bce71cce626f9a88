/* executor/shim_so.h - services in shared objects: find, load, check, keep.
 *
 * A service that is called needs no table of calls between it and the task loop, so the shims `so` and
 * `self` end in a struct flm_service and not in a struct flm__shim.
 */
#ifndef FLM_EXECUTOR_SHIM_SO_H
#define FLM_EXECUTOR_SHIM_SO_H

#include <flm/service.h>
#include <sys/stat.h>

/* The last service stays loaded, so that the next session of the same file finds its pages, its
 * libraries and its static data warm. A file that has changed is loaded again. */
struct flm__so_cache {
    void *handle; /* NULL: none */
    char *file;
    struct stat identity; /* of the file when it was loaded */
    unsigned threads;     /* that the process had then */
    const struct flm_service *service;
};

/* The service in `file`: a path, or a name for the search path of dlopen. Only while no service of the
 * cache is in use. FLM_ELOAD (no file, no symbol), FLM_EABI. */
int flm__so_load(struct flm__so_cache *cache, const char *file, const struct flm_service **service,
                 flm_error *error);
void flm__so_unload(struct flm__so_cache *cache);

/* Whether a service can be called at all. where: the file or program it is in. FLM_EABI, FLM_ELOAD. */
int flm__service_check(const struct flm_service *service, const char *where, flm_error *error);

/* Shim self: whether an application (its name and shim) can be served by the service of this program. */
int flm__self_check(const struct flm_service *self, const char *application, int shim, flm_error *error);

#endif
