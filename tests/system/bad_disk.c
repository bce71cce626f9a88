/* For LD_PRELOAD: fdatasync fails once the file $FLM_BAD_DISK is there, as a disk does that loses what it
 * had taken. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    const char *file = getenv("FLM_BAD_DISK");
    if (file && access(file, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}
