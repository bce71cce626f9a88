/* flmrun_instance.c - the private directory of an instance, and what dead ones left.
 *
 * RUNTIME/run-XXXXXX, mode 0700, with a file `lock` that its flmrun holds by flock(2): the kernel lets go
 * of it when flmrun is gone, however it ended. RUNTIME/lock is held while directories are made and looked
 * at, so that nobody takes a directory that is being made for a dead one. The instance of a job (--name) is
 * at a place that its clients know beforehand.
 */
#define _GNU_SOURCE
#include "tools/flmrun.h"
#include "tools/runtime_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEAD_MAX = 64, /* swept in one go; the next start takes the rest */
    SWEEP_GRACE_MS = 500,
};

static int runtime_directory(char path[RUNTIME_FOLDER_MAX])
{
    runtime_folder_choose(path);
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        say("cannot make the directory %s: %s", path, strerror(errno));
        return -1;
    }
    if (folder_is_ours_alone(path))
        return 0;
    say("%s must be a directory of yours with mode 0700, and is not: remove it, or have your administrator "
        "do it",
        path);
    return -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    remove(path); /* what stays is tried again by the next start */
    return 0;
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Opens the lock of an instance without waiting: -1 somebody lives in it, or it cannot be told. */
static int lock_dead(const char *directory)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/lock", directory);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

struct dead {
    char *directories[DEAD_MAX + 1]; /* NULL-terminated */
    int locks[DEAD_MAX];
    unsigned n;
};

static void find_dead(const char *runtime, struct dead *dead)
{
    DIR *dir = opendir(runtime);
    if (!dir)
        return;
    for (struct dirent *e; dead->n < DEAD_MAX && (e = readdir(dir));) {
        char *path = NULL;
        if (strncmp(e->d_name, "run-", 4) != 0 || asprintf(&path, "%s/%s", runtime, e->d_name) < 0)
            continue;
        int lock = folder_is_ours_alone(path) ? lock_dead(path) : -1;
        if (lock < 0) {
            free(path);
            continue;
        }
        dead->directories[dead->n] = path;
        dead->locks[dead->n++] = lock;
    }
    closedir(dir);
}

/* Its locks are held meanwhile, so another start leaves them to us. */
static void sweep(struct dead *dead)
{
    if (!dead->n)
        return;
    unsigned left = processes_end((const char *const *)dead->directories, SWEEP_GRACE_MS);
    if (left)
        say("%u processes of an earlier run do not end", left);
    for (unsigned i = 0; i < dead->n; i++) {
        remove_tree(dead->directories[i]);
        close(dead->locks[i]);
        free(dead->directories[i]);
    }
}

static int make_directory(struct instance *instance, const char *runtime, const char *name)
{
    int n = snprintf(instance->directory, sizeof(instance->directory), "%s/%s", runtime,
                     name ? name : "run-XXXXXX");
    if (n >= (int)sizeof(instance->directory))
        errno = ENAMETOOLONG;
    if (n >= (int)sizeof(instance->directory) ||
        (name ? mkdir(instance->directory, 0700) < 0 : !mkdtemp(instance->directory))) {
        say("cannot make %s in %s: %s", name ? name : "a directory", runtime,
            errno == EEXIST ? "an instance lives there" : strerror(errno));
        instance->directory[0] = 0;
        return -1;
    }
    instance->lock = lock_dead(instance->directory);
    if (instance->lock >= 0)
        return 0;
    say("cannot lock %s: %s", instance->directory, strerror(errno));
    return -1;
}

static int open_log(struct instance *instance)
{
    for (int i = 0; i < 100; i++) {
        snprintf(instance->log, sizeof(instance->log), i ? "flmrun-%d.%d.log" : "flmrun-%d.log",
                 (int)getpid(), i);
        instance->log_fd = open(instance->log, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (instance->log_fd >= 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    say("cannot write %s: %s", instance->log, strerror(errno));
    instance->log[0] = 0;
    return -1;
}

int instance_open(struct instance *instance, const struct flmrun_options *options)
{
    char runtime[RUNTIME_FOLDER_MAX], path[PATH_MAX];
    struct dead dead = {.n = 0};
    *instance = (struct instance){.lock = -1, .log_fd = -1};
    if (runtime_directory(runtime) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/lock", runtime);
    int all = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (all < 0 || flock(all, LOCK_EX) < 0) {
        say("cannot lock %s: %s", path, strerror(errno));
        if (all >= 0)
            close(all);
        return -1;
    }
    find_dead(runtime, &dead);
    if (options->name) { /* one of them may have that name */
        sweep(&dead);
        dead.n = 0;
    }
    int rc = make_directory(instance, runtime, options->name);
    close(all);
    sweep(&dead);
    return rc == 0 && options->keep_logs ? open_log(instance) : rc;
}

/* flmd and the agents cannot say that they cannot say anything: where they write we write a last line. */
bool instance_log_is_whole(const struct instance *instance)
{
    static const char line[] = "flmrun: the end of this run\n";
    return instance->log_fd < 0 || write(instance->log_fd, line, sizeof(line) - 1) == sizeof(line) - 1;
}

void instance_close(struct instance *instance)
{
    if (instance->directory[0])
        remove_tree(instance->directory);
    if (instance->lock >= 0)
        close(instance->lock);
    if (instance->log_fd >= 0)
        close(instance->log_fd);
}
