/* node/oom.h - did the kernel kill a process of this node's memory group for lack of memory? */
#ifndef FLM_NODE_OOM_H
#define FLM_NODE_OOM_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct oom {
    char file[PATH_MAX]; /* memory.events (cgroup v2) or memory.oom_control (v1); "" none */
    uint64_t kills;      /* as last seen */
};

/* cgroup: "/proc/self/cgroup" and mount: "/sys/fs/cgroup", or others for a test. */
void oom_open(struct oom *oom, const char *cgroup, const char *mount);

/* Whether the count of kills has grown since the last call. */
bool oom_happened(struct oom *oom);

#endif
