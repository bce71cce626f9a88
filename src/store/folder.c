#define _GNU_SOURCE
#include "store/folder.h"

#include "base/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lock_file[] = "lock", ending[] = ".flj";
enum { DIGITS = 16, TRIES = 40, PAUSE_US = 50000 };

struct flm__segment_name flm__segment_name(uint64_t first)
{
    struct flm__segment_name name;
    snprintf(name.text, sizeof(name.text), "%016" PRIx64 "%s", first, ending);
    return name;
}

static bool parse_name(const char *text, uint64_t *first)
{
    if (strlen(text) != DIGITS + sizeof(ending) - 1 || strspn(text, "0123456789abcdef") != DIGITS ||
        strcmp(text + DIGITS, ending) != 0)
        return false;
    *first = strtoull(text, NULL, 16);
    return true;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int add(struct flm__folder *f, uint64_t first)
{
    if ((f->n & (f->n - 1)) == 0) { /* full at each power of two */
        uint64_t *more = realloc(f->firsts, (f->n ? 2 * f->n : 1) * sizeof(*more));
        if (!more)
            return FLM_ENOMEM;
        f->firsts = more;
    }
    f->firsts[f->n++] = first;
    return 0;
}

static int list(struct flm__folder *f, flm_error *error)
{
    int fd = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return flm__error_errno(error, FLM_EIO, why, "cannot read the journal's folder %s", f->path);
    }
    int status = 0;
    errno = 0;
    for (struct dirent *e; !status && (e = readdir(dir));) {
        uint64_t first;
        if (parse_name(e->d_name, &first))
            status = add(f, first);
    }
    if (status)
        flm__error_set(error, status, "no memory for the list of segments in %s", f->path);
    else if (errno)
        status = flm__error_errno(error, FLM_EIO, errno, "cannot read the journal's folder %s", f->path);
    closedir(dir);
    if (f->n)
        qsort(f->firsts, f->n, sizeof(*f->firsts), compare);
    return status;
}

/* Who has it: for the message. */
static int busy(struct flm__folder *f, flm_error *error)
{
    char who[100];
    ssize_t n = pread(f->lock, who, sizeof(who) - 1, 0);
    who[n > 0 ? n : 0] = 0;
    who[strcspn(who, "\n")] = 0;
    return flm__error_set(error, FLM_EBUSY,
                          "the journal in %s is in use by %s: end that first, or name another folder",
                          f->path, *who ? who : "another process");
}

static int lock(struct flm__folder *f, bool make, flm_error *error)
{
    f->lock = openat(f->fd, lock_file, (make ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->lock < 0) {
        if (!make && errno == ENOENT)
            return 0;
        return flm__error_errno(error, FLM_EIO, errno, "cannot open %s/%s", f->path, lock_file);
    }
    /* A program that a killed flmd was about to start has the lock until it begins. */
    for (int i = 0; flock(f->lock, LOCK_EX | LOCK_NB); i++) {
        if (errno == EWOULDBLOCK && make && i < TRIES) {
            usleep(PAUSE_US);
            continue;
        }
        if (errno == EWOULDBLOCK)
            return busy(f, error);
        return flm__error_errno(error, FLM_EIO, errno, "cannot lock %s/%s", f->path, lock_file);
    }
    if (!make)
        return 0;
    char text[100], host[60] = "";
    gethostname(host, sizeof(host) - 1);
    int n = snprintf(text, sizeof(text), "process %ld on %s\n", (long)getpid(), host);
    /* for the message above only: a full disk must not keep a journal from being opened */
    if (ftruncate(f->lock, 0) || pwrite(f->lock, text, (size_t)n, 0) != n)
        return 0;
    return 0;
}

int flm__folder_open(struct flm__folder *f, const char *path, bool make, flm_error *error)
{
    *f = (struct flm__folder){.path = strdup(path), .fd = -1, .lock = -1};
    if (!f->path)
        return flm__error_set(error, FLM_ENOMEM, "no memory to open the journal in %s", path);
    if (make && mkdir(path, 0700) && errno != EEXIST)
        return flm__error_errno(error, FLM_EIO, errno, "cannot make the journal's folder %s", path);
    f->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->fd < 0)
        return flm__error_errno(error, errno == ENOENT ? FLM_ENOTFOUND : FLM_EIO, errno,
                                "cannot open the journal's folder %s", path);
    int status = lock(f, make, error);
    return status ? status : list(f, error);
}

int flm__folder_look(struct flm__folder *f, const char *path, flm_error *error)
{
    *f = (struct flm__folder){.path = strdup(path), .fd = -1, .lock = -1};
    if (!f->path)
        return flm__error_set(error, FLM_ENOMEM, "no memory to look at the journal in %s", path);
    f->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->fd < 0)
        return flm__error_errno(error, errno == ENOENT ? FLM_ENOTFOUND : FLM_EIO, errno,
                                "cannot open the journal's folder %s", path);
    return flm__folder_list(f, error);
}

int flm__folder_list(struct flm__folder *f, flm_error *error)
{
    free(f->firsts);
    f->firsts = NULL;
    f->n = 0;
    return list(f, error);
}

void flm__folder_close(struct flm__folder *f)
{
    if (f->lock >= 0)
        close(f->lock);
    if (f->fd >= 0)
        close(f->fd);
    free(f->firsts);
    free(f->path);
    *f = (struct flm__folder){.fd = -1, .lock = -1};
}
