/* backend/host.h - the services that flm-backend gives its plugin: events to flmd, descriptors, timers,
 * processes. All on one thread and one libuv loop.
 *
 * The plugin is not trusted to keep the contract of <flm/backend.h>: an answer for a block that nobody
 * asked for, or a second one, is reported to flmd as a log line and has no other effect.
 */
#ifndef BACKEND_HOST_H
#define BACKEND_HOST_H

#include "net/watch.h"

#include <flm/backend.h>
#include <stdbool.h>

struct block;
struct host_watch;
struct host_timer;
struct host_child;

struct host {
    uv_loop_t loop;
    struct flm__watch *manager; /* NULL: flmd is gone, and perhaps there will be another */
    struct flm_backend_host table;
    struct block *blocks;
    struct host_watch *watches;
    struct host_timer *timers;
    struct host_child *children;
    int timer_numbers;
    uv_signal_t on_child;
};

void host_init(struct host *host);
/* Frees what the plugin left; its processes must have ended. */
void host_fini(struct host *host);

/* flmd asks for a block: from now on it may be answered. false: it did already. */
bool host_block_begin(struct host *host, const struct flm_block_request *request);
bool host_block_known(const struct host *host, uint64_t block);

/* Tells another flmd of all blocks that there are. */
void host_tell_blocks(struct host *host);

void host_say(struct host *host, Flm__BlockEvent__Kind kind, uint64_t block, int code, const char *text);

/* host_process.c */
int host_spawn(void *handle, const char *const *argv, const char *const *environment,
               void (*fn)(void *arg, int pid, int status), void *arg);
int host_spawn_with_output(void *handle, const char *const *argv, const char *const *environment,
                           const int output[2], void (*fn)(void *arg, int pid, int status), void *arg);
void host_reap(struct host *host);
void host_adopt_orphans(void);
bool host_has_children(const struct host *host);
void host_kill_children(struct host *host, int signal);

#endif
