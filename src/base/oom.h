/* base/oom.h - did the kernel kill a process of our memory group for lack of memory? */
#ifndef FLM_BASE_OOM_H
#define FLM_BASE_OOM_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct flm__oom {
    char file[PATH_MAX]; /* memory.events (cgroup v2) or memory.oom_control (v1); "" none */
    uint64_t kills;      /* as last seen */
    int64_t looked_ns;   /* when flm__oom_forget last looked */
    int64_t grown_ns;    /* when flm__oom_lately saw it grow; 0: never */
};

/* cgroup: "/proc/self/cgroup" and mount: "/sys/fs/cgroup", or others for a test. */
void flm__oom_open(struct flm__oom *oom, const char *cgroup, const char *mount);

/* Whether the count of kills has grown since it was last looked at. */
bool flm__oom_grown(struct flm__oom *oom);

/* What was killed before now does not count. Cheap: looks once in FLM__OOM_LOOK_NS at most. */
#define FLM__OOM_LOOK_NS ((int64_t)100000000)
void flm__oom_forget(struct flm__oom *oom, int64_t now_ns);

/* Whether it has grown lately: since the call before, or at most FLM__OOM_LATELY_NS ago. To be asked every
 * few seconds in any case, else "since the call before" says little. */
#define FLM__OOM_LATELY_NS ((int64_t)3000000000)
bool flm__oom_lately(struct flm__oom *oom, int64_t now_ns);

#endif
