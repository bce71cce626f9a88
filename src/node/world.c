/* world.c - what a world of MPI ranks leaves behind when it is killed.
 *
 * Open MPI's ranks on one node talk through files /dev/shm/vader_segment.HOST.UID.JOB.RANK. mpirun removes
 * them at its end, but not when it is killed itself. JOB is in the environment of each rank. */
#define _GNU_SOURCE
#include "node/process.h"
#include "node/slot.h"

#include <dirent.h>
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
    if (slot->kind.ranks && process_variable(rank, "OMPI_MCA_ess_base_jobid", text, sizeof(text)))
        slot->world_job = (uint32_t)strtoul(text, NULL, 10);
}

void slot_world_sweep(struct slot *slot)
{
    char part[32];
    struct stat st;
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
