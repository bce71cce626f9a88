#define _GNU_SOURCE
#include "backend/plugin.h"

#include "base/error.h"
#include "base/paths.h"

#include <dlfcn.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* A plugin must have grown at least to here. */
#define LEAST_SIZE (offsetof(struct flm_backend, release_block) + sizeof(void *))

static int no_dry_run(void *state, const struct flm_block_request *request, char *text, size_t size,
                      flm_error *error)
{
    (void)state;
    (void)request;
    (void)text;
    (void)size;
    return flm__error_set(error, FLM_ENOTSUP, "this backend cannot say what it would ask for");
}

static int no_world_command(void *state, unsigned ranks, const char *const *program, const char **argv,
                            size_t n, flm_error *error)
{
    (void)state;
    (void)ranks;
    (void)program;
    (void)argv;
    (void)n;
    return flm__error_set(error, FLM_ENOTSUP, "this backend starts no MPI worlds");
}

static void no_comment(void *state, uint64_t block, const char *text)
{
    (void)state;
    (void)block;
    (void)text;
}

static unsigned has_nodes(void *state)
{
    (void)state;
    return FLM_BACKEND_HAS_NODES;
}

static int find(const char *name, char *path, size_t n, flm_error *error)
{
    char file[NAME_MAX + 1];
    if (strchr(name, '/'))
        return snprintf(path, n, "%s", name) < (int)n
                   ? 0
                   : flm__error_set(error, FLM_ENOTFOUND, "the path of the backend plugin is too long");
    if (snprintf(file, sizeof(file), "flm-backend-%s.so", name) >= (int)sizeof(file) ||
        flm__find_module(file, path, n) < 0)
        return flm__error_set(error, FLM_ENOTFOUND,
                              "there is no backend '%.100s': the module flm-backend-%.100s.so "
                              "is not installed",
                              name, name);
    return 0;
}

/* Says whether the structure fits, before any of its functions is looked at. */
static int check(const struct flm_backend *b, const char *path, flm_error *error)
{
    if (b->abi != FLM_BACKEND_ABI)
        return flm__error_set(error, FLM_EABI,
                              "the backend plugin %s was built for ABI %u, this flm-backend has %u: "
                              "build it against this release",
                              path, b->abi, FLM_BACKEND_ABI);
    if (b->size < LEAST_SIZE || b->size % sizeof(void *))
        return flm__error_set(error, FLM_EABI,
                              "the backend plugin %s says that its structure has %u bytes; it must "
                              "have at least %zu: set .size = sizeof(struct flm_backend)",
                              path, b->size, LEAST_SIZE);
    if (!b->name || !b->init || !b->fini || !b->get_block || !b->release_block)
        return flm__error_set(error, FLM_EABI,
                              "the backend plugin %s lacks one of name, init, fini, get_block, "
                              "release_block",
                              path);
    return 0;
}

int plugin_load(const char *name, struct plugin *out, flm_error *error)
{
    char path[PATH_MAX];
    *out = (struct plugin){0};
    int rc = find(name, path, sizeof(path), error);
    if (rc < 0)
        return rc;
    out->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!out->handle)
        return flm__error_set(error, FLM_ELOAD, "cannot load the backend plugin: %s", dlerror());
    const struct flm_backend *b = dlsym(out->handle, "flm_backend");
    rc = b ? check(b, path, error)
           : flm__error_set(error, FLM_ELOAD, "%s is not a backend plugin: it has no symbol flm_backend",
                            path);
    if (rc < 0) {
        plugin_unload(out);
        return rc;
    }
    memcpy(&out->ops, b, b->size < sizeof(out->ops) ? b->size : sizeof(out->ops));
    if (!out->ops.dry_run)
        out->ops.dry_run = no_dry_run;
    if (!out->ops.world_command)
        out->ops.world_command = no_world_command;
    if (!out->ops.abilities)
        out->ops.abilities = has_nodes;
    if (!out->ops.comment)
        out->ops.comment = no_comment;
    return 0;
}

void plugin_unload(struct plugin *plugin)
{
    if (plugin->handle)
        dlclose(plugin->handle);
    plugin->handle = NULL;
}
