/* flmctl doctor: limits of memory, files and disk. */
#define _GNU_SOURCE
#include "tools/flmctl/doctor.h"

#include <inttypes.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    MEMLOCK_WANTED = 64 << 20, /* what RDMA providers pin for a start */
    FILES_NEEDED = 256,
    FILES_WANTED = 4096, /* some four per executor, more per client */
    PROCESSES_WANTED = 512,
};
#define MIB 1048576u

static void check_memlock(struct doctor *d)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_MEMLOCK, &l))
        return;
    if (l.rlim_cur == RLIM_INFINITY)
        doctor_say(d, DOCTOR_OK, "locked memory", "", "unlimited");
    else
        doctor_say(d, l.rlim_cur < MEMLOCK_WANTED ? DOCTOR_WARN : DOCTOR_OK, "locked memory",
                   "matters for RDMA networks only: 'ulimit -l unlimited', or memlock in "
                   "/etc/security/limits.conf",
                   "%" PRIu64 " KiB", (uint64_t)l.rlim_cur / 1024);
}

static void check_files(struct doctor *d)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l))
        return;
    enum doctor_level level = l.rlim_cur < FILES_NEEDED                                ? DOCTOR_FAIL
                              : l.rlim_cur < FILES_WANTED && l.rlim_max < FILES_WANTED ? DOCTOR_WARN
                                                                                       : DOCTOR_OK;
    doctor_say(d, level, "open files",
               "raise it: 'ulimit -n 65536', or nofile in /etc/security/limits.conf",
               "%" PRIu64 " (at most %" PRIu64 ")", (uint64_t)l.rlim_cur, (uint64_t)l.rlim_max);
}

static void check_processes(struct doctor *d)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NPROC, &l))
        return;
    if (l.rlim_cur == RLIM_INFINITY)
        doctor_say(d, DOCTOR_OK, "processes", "", "unlimited");
    else
        doctor_say(d, l.rlim_cur < PROCESSES_WANTED ? DOCTOR_WARN : DOCTOR_OK, "processes",
                   "raise it: 'ulimit -u 4096', or nproc in /etc/security/limits.conf", "%" PRIu64,
                   (uint64_t)l.rlim_cur);
}

static void check_disk(struct doctor *d)
{
    const char *folder = getenv("TMPDIR");
    struct statvfs v;
    if (!folder || !*folder)
        folder = "/tmp";
    if (statvfs(folder, &v)) {
        doctor_say(d, DOCTOR_FAIL, "disk (TMPDIR)", "set TMPDIR to a folder that exists", "%.150s: %s",
                   folder, strerror(errno));
        return;
    }
    uint64_t mib = (uint64_t)v.f_bavail * v.f_frsize / MIB;
    bool writable = access(folder, W_OK) == 0;
    doctor_say(d,
               !writable || mib < 64 ? DOCTOR_FAIL
               : mib < 1024          ? DOCTOR_WARN
                                     : DOCTOR_OK,
               "disk (TMPDIR)", "make room there or set TMPDIR to another folder",
               "%.150s: %" PRIu64 " MiB free%s", folder, mib, writable ? "" : ", not writable");
}

static void check_memory(struct doctor *d)
{
    char line[160];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            break;
    if (f)
        fclose(f);
    doctor_say(d, kib < 256 * 1024 ? DOCTOR_WARN : DOCTOR_OK, "memory",
               "end other programs on this machine", "%" PRIu64 " MiB available", kib / 1024);
}

void doctor_limits(struct doctor *d)
{
    check_memory(d);
    check_memlock(d);
    check_files(d);
    check_processes(d);
    check_disk(d);
}
