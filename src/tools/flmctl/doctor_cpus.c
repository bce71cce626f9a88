/* flmctl doctor: how many cores this process may use. */
#define _GNU_SOURCE
#include "tools/flmctl/doctor.h"

#include <dlfcn.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CPUS_MAX = 16384 };

/* "0-3,8" of a set. */
static void list_of(const cpu_set_t *set, size_t bytes, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < CPUS_MAX && at < size; i++) {
        size_t last = i;
        if (!CPU_ISSET_S(i, bytes, set))
            continue;
        while (last + 1 < CPUS_MAX && CPU_ISSET_S(last + 1, bytes, set))
            last++;
        int n = last > i ? snprintf(text + at, size - at, "%s%zu-%zu", at ? "," : "", i, last)
                         : snprintf(text + at, size - at, "%s%zu", at ? "," : "", i);
        at += n > 0 ? (size_t)n : 0;
        i = last;
    }
}

static int check_affinity(struct doctor *d)
{
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    char list[120];
    if (!set || sched_getaffinity(0, bytes, set)) {
        doctor_say(d, DOCTOR_FAIL, "cores", "check the cpuset of this job", "the affinity cannot be read");
        CPU_FREE(set);
        return 0;
    }
    int allowed = CPU_COUNT_S(bytes, set);
    list_of(set, bytes, list, sizeof(list));
    if (allowed < online)
        doctor_say(d, DOCTOR_WARN, "cores",
                   "expected in a job or container; else start this shell without taskset or a cpuset",
                   "%d of %ld (%s): executors get these only", allowed, online, list);
    else
        doctor_say(d, DOCTOR_OK, "cores", "", "%d (%s)", allowed, list);
    CPU_FREE(set);
    return allowed;
}

/* Hundredths of a core that a line "QUOTA PERIOD" of cpu.max allows; -1: no limit. */
static long hundredths(const char *line)
{
    long quota, period;
    if (sscanf(line, "%ld %ld", &quota, &period) != 2 || period <= 0)
        return -1;
    return quota * 100 / period;
}

/* The smallest quota from our group up to the root, cgroup v2. */
static long quota_v2(void)
{
    char line[PATH_MAX], file[PATH_MAX + 64], value[80];
    long least = -1;
    FILE *f = fopen("/proc/self/cgroup", "re");
    line[0] = 0;
    while (f && fgets(line, sizeof(line), f) && strncmp(line, "0::/", 4) != 0)
        line[0] = 0;
    if (f)
        fclose(f);
    if (!line[0])
        return -1;
    line[strcspn(line, "\n")] = 0;
    for (char *path = line + 3;;) {
        snprintf(file, sizeof(file), "/sys/fs/cgroup%s/cpu.max", strcmp(path, "/") ? path : "");
        long q = doctor_read_line(file, value, sizeof(value)) ? hundredths(value) : -1;
        if (q >= 0 && (least < 0 || q < least))
            least = q;
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            return least;
        *slash = 0;
    }
}

static long quota_v1(void)
{
    char quota[40], period[40], both[100];
    if (!doctor_read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !doctor_read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof(period)) ||
        atol(quota) <= 0)
        return -1;
    snprintf(both, sizeof(both), "%s %s", quota, period);
    return hundredths(both);
}

static void check_quota(struct doctor *d, int cores)
{
    long quota = quota_v2();
    if (quota < 0)
        quota = quota_v1();
    if (quota < 0)
        doctor_say(d, DOCTOR_OK, "cpu quota", "", "none");
    else
        doctor_say(
            d, quota < cores * 100L ? DOCTOR_WARN : DOCTOR_OK, "cpu quota",
            "more executors than this are throttled: raise the limit of the container or use flmrun -n",
            "%ld.%02ld cores", quota / 100, quota % 100);
}

static void check_hwloc(struct doctor *d)
{
    void *lib = dlopen("libhwloc.so.15", RTLD_LAZY | RTLD_LOCAL);
    if (!lib)
        doctor_say(d, DOCTOR_FAIL, "hwloc", "install hwloc (Debian: libhwloc15)", "%.200s", dlerror());
    else
        doctor_say(d, DOCTOR_OK, "hwloc", "", "libhwloc.so.15 loads");
}

void doctor_cpus(struct doctor *d)
{
    int cores = check_affinity(d);
    check_quota(d, cores);
    check_hwloc(d);
}
