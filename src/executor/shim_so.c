#include "executor/shim_so.h"

#include "base/error.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int flm__service_check(const struct flm_service *service, const char *where, flm_error *error)
{
    if (service->abi != FLM_SERVICE_ABI)
        return flm__error_set(
            error, FLM_EABI,
            "the service in %s was built for service ABI %u, this Flame has %u: compile it "
            "again with the <flm/service.h> of Flame " FLM_VERSION,
            where, service->abi, FLM_SERVICE_ABI);
    if (!service->on_task_invoke)
        return flm__error_set(error, FLM_ELOAD, "the service in %s has no on_task_invoke", where);
    return 0;
}

static bool same_file(const struct flm__so_cache *cache, const char *file, const struct stat *now)
{
    const struct stat *then = &cache->identity;
    return cache->handle && strcmp(cache->file, file) == 0 && now->st_dev == then->st_dev &&
           now->st_ino == then->st_ino && now->st_mtim.tv_sec == then->st_mtim.tv_sec &&
           now->st_mtim.tv_nsec == then->st_mtim.tv_nsec;
}

static unsigned count_threads(void)
{
    DIR *threads = opendir("/proc/self/task");
    unsigned n = 0;
    if (!threads)
        return 0;
    for (struct dirent *e; (e = readdir(threads));)
        n += e->d_name[0] != '.';
    closedir(threads);
    return n;
}

void flm__so_unload(struct flm__so_cache *cache)
{
    /* Code that a thread of the service still runs stays where it is. */
    if (cache->handle && count_threads() <= cache->threads)
        dlclose(cache->handle);
    free(cache->file);
    memset(cache, 0, sizeof(*cache));
}

/* dlopen takes a name without a slash for a library; for us a file of that name comes first. */
static char *path_of(const char *file, struct stat *identity)
{
    size_t room = strlen(file) + 3;
    char *path = malloc(room);
    if (!path)
        return NULL;
    memset(identity, 0, sizeof(*identity));
    bool here = stat(file, identity) == 0 && !strchr(file, '/');
    snprintf(path, room, "%s%s", here ? "./" : "", file);
    return path;
}

int flm__so_load(struct flm__so_cache *cache, const char *file, const struct flm_service **service,
                 flm_error *error)
{
    struct stat identity;
    char *path = path_of(file, &identity);
    if (!path)
        return flm__error_set(error, FLM_ENOMEM, "no memory to load %s", file);
    if (same_file(cache, path, &identity)) {
        free(path);
        *service = cache->service;
        return 0;
    }
    flm__so_unload(cache);
    if (strchr(path, '/') && identity.st_ino == 0 && stat(path, &identity) < 0) {
        int rc = flm__error_errno(error, FLM_ELOAD, errno, "cannot load the service %s", path);
        free(path);
        return rc;
    }
    unsigned threads = count_threads();
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        int rc = flm__error_set(error, FLM_ELOAD, "cannot load the service %s: %s", path, dlerror());
        free(path);
        return rc;
    }
    const struct flm_service *found = dlsym(handle, "flm_service");
    int rc =
        found
            ? flm__service_check(found, path, error)
            : flm__error_set(error, FLM_ELOAD,
                             "%s has no symbol flm_service: define one with FLM_SERVICE, see flm/service.h",
                             path);
    if (rc < 0) {
        dlclose(handle);
        free(path);
        return rc;
    }
    *cache = (struct flm__so_cache){
        .handle = handle, .file = path, .identity = identity, .service = found, .threads = threads};
    *service = found;
    return 0;
}
