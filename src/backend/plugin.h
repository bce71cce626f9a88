/* backend/plugin.h - loading a backend plugin, and refusing one that does not fit. */
#ifndef BACKEND_PLUGIN_H
#define BACKEND_PLUGIN_H

#include <flm/backend.h>

struct plugin {
    void *handle;           /* of dlopen */
    struct flm_backend ops; /* what the plugin lacks answers FLM_ENOTSUP */
};

/* name: "slurm" (the module flm-backend-slurm.so of this installation) or a path with a slash.
 * FLM_ENOTFOUND, FLM_ELOAD, FLM_EABI with the error filled. */
int plugin_load(const char *name, struct plugin *out, flm_error *error);
void plugin_unload(struct plugin *plugin);

#endif
