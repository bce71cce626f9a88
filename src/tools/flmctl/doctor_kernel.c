/* flmctl doctor: what Flame asks of the kernel, and the folders it uses. */
#define _GNU_SOURCE
#include "tools/flmctl/doctor.h"
#include "tools/runtime_folder.h"

#include <dirent.h>
#include <signal.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rings are sealed memfds with an eventfd as doorbell. */
static void check_shared_memory(struct doctor *d)
{
    int memory = memfd_create("flm-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    void *map = MAP_FAILED;
    if (memory >= 0 && !ftruncate(memory, 4096))
        map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (map == MAP_FAILED || bell < 0)
        doctor_say(d, DOCTOR_FAIL, "shared memory", "a sandbox forbids memfd_create or eventfd: allow them",
                   "%s: %s", map == MAP_FAILED ? "memfd" : "eventfd", strerror(errno));
    else
        doctor_say(d, DOCTOR_OK, "shared memory", "", "memfd and eventfd work");
    if (map != MAP_FAILED)
        munmap(map, 4096);
    if (memory >= 0)
        close(memory);
    if (bell >= 0)
        close(bell);
}

static void check_dev_shm(struct doctor *d)
{
    struct statvfs v;
    if (statvfs("/dev/shm", &v) || access("/dev/shm", W_OK))
        doctor_say(d, DOCTOR_WARN, "/dev/shm", "Flame does without, MPI may not: mount a tmpfs there", "%s",
                   strerror(errno));
    else
        doctor_say(d, (uint64_t)v.f_bavail * v.f_frsize < 64u << 20 ? DOCTOR_WARN : DOCTOR_OK, "/dev/shm",
                   "Flame does without, MPI may not: make room there", "%llu MiB free",
                   (unsigned long long)v.f_bavail * v.f_frsize >> 20);
}

/* "PID:UID:N", as libfabric's shm provider names them; of ours, of a process that is gone. */
static bool is_left_over(int dir, const char *name)
{
    int pid, end = 0;
    unsigned uid, n;
    struct stat st;
    return sscanf(name, "%d:%u:%u%n", &pid, &uid, &n, &end) == 3 && !name[end] && pid > 0 &&
           uid == geteuid() && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_uid == geteuid() && kill(pid, 0) < 0 && errno == ESRCH;
}

static void check_left_over(struct doctor *d)
{
    DIR *dir = opendir("/dev/shm");
    unsigned n = 0;
    char first[64] = "";
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!is_left_over(dirfd(dir), e->d_name))
            continue;
        if (!n++)
            snprintf(first, sizeof(first), "%.60s", e->d_name);
    }
    if (dir)
        closedir(dir);
    if (n)
        doctor_say(d, DOCTOR_WARN, "left in /dev/shm",
                   "of killed processes that used libfabric's provider shm; they take memory: remove those "
                   "whose process (the first number) is in no container either",
                   "%u files like /dev/shm/%s", n, first);
    else
        doctor_say(d, DOCTOR_OK, "left in /dev/shm", "", "nothing of libfabric's provider shm");
}

static void check_membarrier(struct doctor *d)
{
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    bool there = commands >= 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    doctor_say(d, there ? DOCTOR_OK : DOCTOR_WARN, "membarrier", "Flame does without, somewhat slower",
               there ? "works" : "not there");
}

static void check_ptrace(struct doctor *d)
{
    char line[40];
    int scope = doctor_read_line("/proc/sys/kernel/yama/ptrace_scope", line, sizeof(line)) ? atoi(line) : 0;
    doctor_say(d, scope >= 2 ? DOCTOR_WARN : DOCTOR_OK, "ptrace",
               "a debugger cannot attach to executors: 'sysctl kernel.yama.ptrace_scope=1'", "scope %d",
               scope);
}

/* The folder that flmrun uses for its sockets; says so when it is not the one in the environment. */
static void runtime_folder(struct doctor *d, char path[RUNTIME_FOLDER_MAX])
{
    enum runtime_choice choice = runtime_folder_choose(path);
    const char *folder = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    if (choice == RUNTIME_RELATIVE || choice == RUNTIME_TOO_LONG)
        doctor_say(d, DOCTOR_WARN, "XDG_RUNTIME_DIR",
                   "set another, or unset it: then /tmp/flame-UID is used", "%.150s is %s", folder,
                   choice == RUNTIME_RELATIVE ? "no absolute path" : "too long");
    else if (choice == RUNTIME_FOREIGN && lstat(folder, &st))
        doctor_say(d, DOCTOR_WARN, "XDG_RUNTIME_DIR", "unset it: then /tmp/flame-UID is used", "%.150s: %s",
                   folder, strerror(errno));
    else if (choice == RUNTIME_FOREIGN)
        doctor_say(d, DOCTOR_WARN, "XDG_RUNTIME_DIR",
                   "make it 0700, or unset it: then /tmp/flame-UID is used",
                   "%.150s is not ours alone (owner %u, mode %03o)", folder, (unsigned)st.st_uid,
                   (unsigned)st.st_mode & 0777);
}

/* Makes it as flmrun does, and a file in it; what was not there before is removed. */
static void check_runtime_folder(struct doctor *d)
{
    char folder[RUNTIME_FOLDER_MAX], file[RUNTIME_FOLDER_MAX + 32];
    runtime_folder(d, folder);
    bool made = mkdir(folder, 0700) == 0;
    if (!made && errno != EEXIST) {
        doctor_say(d, DOCTOR_FAIL, "runtime folder",
                   "flmrun and flmd cannot start: set XDG_RUNTIME_DIR to a folder of yours with mode 0700",
                   "cannot make %s: %s", folder, strerror(errno));
        return;
    }
    if (!folder_is_ours_alone(folder)) {
        doctor_say(
            d, DOCTOR_FAIL, "runtime folder",
            "flmrun and flmd cannot start: remove it, or set XDG_RUNTIME_DIR to a folder of yours with "
            "mode 0700",
            "%s is not a folder of ours with mode 0700", folder);
        return;
    }
    snprintf(file, sizeof(file), "%s/doctor-XXXXXX", folder);
    int fd = mkostemp(file, O_CLOEXEC);
    if (fd < 0)
        doctor_say(d, DOCTOR_FAIL, "runtime folder", "flmrun and flmd cannot start: make it writable",
                   "cannot make a file in %s: %s", folder, strerror(errno));
    else
        doctor_say(d, DOCTOR_OK, "runtime folder", "", "%s", folder);
    if (fd >= 0) {
        unlink(file);
        close(fd);
    }
    if (made)
        rmdir(folder);
}

void doctor_kernel(struct doctor *d)
{
    check_shared_memory(d);
    check_dev_shm(d);
    check_left_over(d);
    check_membarrier(d);
    check_ptrace(d);
    check_runtime_folder(d);
}
