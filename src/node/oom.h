/* node/oom.h - did the kernel kill a process of this node's memory group for lack of memory? */
#ifndef FLM_NODE_OOM_H
#define FLM_NODE_OOM_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct oom {
    char file[PATH_MAX]; /* memory.events (cgroup v2) or memory.oom_control (v1); "" none */
    uint64_t kills;      /* as last seen */
    int64_t grown_ns;    /* when it was seen to grow; 0: never */
};

/* cgroup: "/proc/self/cgroup" and mount: "/sys/fs/cgroup", or others for a test. */
void oom_open(struct oom *oom, const char *cgroup, const char *mount);

/* Whether the count of kills has grown lately: since the call before, or at most OOM_LATELY_NS ago. To be
 * asked every few seconds in any case, else "since the call before" says little. */
#define OOM_LATELY_NS ((int64_t)3000000000)
bool oom_happened(struct oom *oom, int64_t now_ns);

#endif
