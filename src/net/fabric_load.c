/* Loads flm-fabric.so on demand. */
#include "net/fabric.h"

#include "base/error.h"
#include "base/paths.h"
#include "base/signals.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>

static const struct flm__fabric_ops *loaded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over loaded */

static const char MODULE[] = "flm-fabric.so";

static const struct flm__fabric_ops *load(flm_error *error)
{
    char path[PATH_MAX];
    if (flm__find_module(MODULE, path, sizeof(path))) {
        flm__error_set(
            error, FLM_ENOTSUP,
            "no links between nodes: the module %s is not installed (built --without-fabric?); set "
            "FLM_MODULE_DIR if it is elsewhere",
            MODULE);
        return NULL;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        flm__error_set(error, FLM_ELOAD, "cannot load %s: %s", path, dlerror());
        return NULL;
    }
    const struct flm__fabric_ops *ops = dlsym(handle, "flm__fabric_module");
    if (!ops || ops->abi != FLM__FABRIC_ABI) {
        flm__error_set(error, FLM_EABI,
                       "%s is of another version of Flame (its number is %u, needed is %u)", path,
                       ops ? ops->abi : 0, FLM__FABRIC_ABI);
        dlclose(handle);
        return NULL;
    }
    return ops; /* stays loaded: libfabric does not like to be unloaded */
}

const struct flm__fabric_ops *flm__fabric_load(flm_error *error)
{
    pthread_mutex_lock(&lock);
    if (!loaded) {
        struct flm__signals kept;
        flm__signals_keep(&kept);
        loaded = load(error);
        flm__signals_put_back(&kept);
    }
    const struct flm__fabric_ops *ops = loaded;
    pthread_mutex_unlock(&lock);
    return ops;
}
