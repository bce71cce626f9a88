/* world.c - what MPI ranks leave behind when they are killed.
 *
 * Open MPI's ranks on one node talk through files /dev/shm/vader_segment.HOST.UID.JOB.RANK. mpirun removes
 * them at its end, but not when it is killed itself. JOB of a world is in the environment of each rank.
 * Where a process starts ranks for each task, it and these are told to use a directory of the slot in place
 * of /dev/shm itself. */
#define _GNU_SOURCE
#include "node/process.h"
#include "node/slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHM "/dev/shm"

void slot_world_learn(struct slot *slot, pid_t rank)
{
    char text[32];
    if (slot->kind.world && process_variable(rank, "OMPI_MCA_ess_base_jobid", text, sizeof(text)))
        slot->world_job = (uint32_t)strtoul(text, NULL, 10);
}

static void memory_path(const struct slot *slot, char *path, size_t size)
{
    snprintf(path, size, SHM "/flm-mpi-%d-%u", (int)getpid(), slot->lane);
}

static void remove_memory(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(path);
}

static bool is_our_directory(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

void slot_world_memory(const struct slot *slot, char *path, size_t size)
{
    memory_path(slot, path, size);
    /* One that is there is of the life before, which is over; or of a stranger. */
    if (mkdir(path, 0700) < 0 && (errno != EEXIST || !is_our_directory(path)))
        path[0] = 0;
}

void slot_world_sweep(struct slot *slot)
{
    char part[64];
    struct stat st;
    if (slot->kind.ranks && !slot->kind.world) {
        memory_path(slot, part, sizeof(part));
        if (is_our_directory(part))
            remove_memory(part);
    }
    DIR *dir = slot->world_job ? opendir(SHM) : NULL;
    if (!dir)
        return;
    int n = snprintf(part, sizeof(part), ".%u.%x.", (unsigned)geteuid(), slot->world_job);
    for (struct dirent *e; (e = readdir(dir));) {
        const char *rank = strrchr(e->d_name, '.'); /* the host's name may have dots, too */
        if (strncmp(e->d_name, "vader_segment.", 14) != 0 || !rank || rank - e->d_name + 1 < n ||
            strncmp(rank + 1 - n, part, (size_t)n) != 0)
            continue;
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == geteuid())
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
}
