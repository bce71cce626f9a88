/* For LD_PRELOAD: fdatasync fails once the file $FLM_BAD_DISK is there, as a disk does that loses what it
 * had taken; and a file of more than 8 MiB is not on the disk before the file $FLM_SLOW_DISK is there. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    enum { LARGE = 8 << 20, LOOK_MS = 10 };
    const char *bad = getenv("FLM_BAD_DISK"), *slow = getenv("FLM_SLOW_DISK");
    struct stat st;
    if (bad && access(bad, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    if (slow && fstat(fd, &st) == 0 && st.st_size > LARGE)
        while (access(slow, F_OK) < 0)
            poll(NULL, 0, LOOK_MS);
    return (int)syscall(SYS_fdatasync, fd);
}
