/* launch.h - from nothing to an open session of a module that lies beside the
 * program: what every client of this kind does.
 */
#ifndef EXAMPLES_LAUNCH_H
#define EXAMPLES_LAUNCH_H

#include <flm/client.h>

struct launch {
    flm_client *client;
    flm_session *session;
    unsigned executors; /* slots of the instance when it was asked; at least 1 */
};

struct launch_options {
    const char *program;     /* for messages: "flm-montecarlo" */
    const char *module;      /* file name of the service: "montecarlo.so" */
    const char *service;     /* path of the module, or NULL: find it (launch_find_module) */
    const char *description; /* shown by flmctl list -a */
    int inproc;              /* run tasks inside this process */
};

/* Connects and registers the application, whose name is module without ".so".
 * 0 or a negative FLM_E* with an error that says what to do. */
int launch_connect(struct launch *launch, const struct launch_options *options, flm_error *error);

/* Creates the session. common may be NULL. */
int launch_session(struct launch *launch, const struct launch_options *options, const void *common,
                   size_t common_size, flm_error *error);

/* Opens the session `id`, which outlives this program, or creates it. Results, of tasks of earlier programs
 * too, go to callback and come again to the next program until flm_acknowledge. */
int launch_open(struct launch *launch, const struct launch_options *options, const char *id,
                const void *common, size_t common_size, flm_task_fn *callback, void *arg, flm_error *error);

/* Cancels what is under way and disconnects. */
void launch_end(struct launch *launch);
/* Disconnects; a session that outlives this program goes on. */
void launch_leave(struct launch *launch);

/* Finds a module beside the program, in ../lib/flame as installed or built, or
 * where it was to be installed. The caller frees it. */
char *launch_find_module(const char *module, flm_error *error);

/* One sentence for a task that did not succeed. */
void launch_explain(const struct flm_result *result, flm_error *error);

#endif
