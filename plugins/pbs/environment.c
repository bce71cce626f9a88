#define _GNU_SOURCE
#include "environment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "environment-"
enum { LEFT_S = 3600 }; /* they are read within seconds */

extern char **environ;

/* The node's own, or the job's; what a shell does not let anybody set; what PBS and its hooks give each
 * node. */
static const char *const not_these[] = {
    "PBS_",
    "SLURM_",
    "HOSTNAME=",
    "PWD=",
    "OLDPWD=",
    "SHLVL=",
    "_=",
    "UID=",
    "EUID=",
    "PPID=",
    "GROUPS=",
    "SHELLOPTS=",
    "BASHOPTS=",
    "BASH_",
    "TMPDIR=",
    "NCPUS=",
    "IFS=",
    "XDG_RUNTIME_DIR=",
    "XDG_SESSION_ID=",
    "CUDA_VISIBLE_DEVICES=",
    "ROCR_VISIBLE_DEVICES=",
    "HIP_VISIBLE_DEVICES=",
    "GPU_DEVICE_ORDINAL=",
    "ZE_AFFINITY_MASK=",
    "ENVIRONMENT=",
};

static bool is_given(const char *assignment)
{
    for (size_t i = 0; i < sizeof(not_these) / sizeof(*not_these); i++)
        if (strncmp(assignment, not_these[i], strlen(not_these[i])) == 0)
            return false;
    size_t n = strspn(assignment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n && assignment[n] == '=' && (*assignment < '0' || *assignment > '9');
}

static bool pbs_chose_threads(void)
{
    const char *threads = getenv("OMP_NUM_THREADS"), *cpus = getenv("NCPUS");
    return threads && cpus && strcmp(threads, cpus) == 0;
}

void environment_print(FILE *f, bool threads)
{
    char *here = getcwd(NULL, 0);
    mode_t mask = umask(0);
    umask(mask);
    threads |= !pbs_chose_threads();
    if (!threads)
        fputs("unset OMP_NUM_THREADS\n", f);
    for (char **e = environ; *e; e++) {
        if (!is_given(*e) || (!threads && strncmp(*e, "OMP_NUM_THREADS=", 16) == 0))
            continue;
        size_t n = strcspn(*e, "=");
        fprintf(f, "export %.*s=", (int)n, *e);
        quote(f, *e + n + 1);
        fputc('\n', f);
    }
    if (here) {
        fputs("cd ", f);
        quote(f, here);
        fputc('\n', f);
    }
    fprintf(f, "umask %04o\n", (unsigned)mask);
    free(here);
}

static bool make_folders(char *path)
{
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        int rc = mkdir(path, 0700);
        *p = '/';
        if (rc < 0 && errno != EEXIST && errno != EACCES && errno != EROFS)
            return false;
    }
    return true;
}

char *environment_folder(void)
{
    const char *home = getenv("HOME"), *config = getenv("XDG_CONFIG_HOME");
    const struct passwd *we = home && *home == '/' ? NULL : getpwuid(geteuid());
    char *folder = NULL;
    if (!home || *home != '/')
        home = we ? we->pw_dir : "/nonexistent";
    int n = config && *config == '/' ? asprintf(&folder, "%s/flame", config)
                                     : asprintf(&folder, "%s/.config/flame", home);
    return n < 0 ? NULL : folder;
}

/* Else somebody could put a file of his own in the place of ours, which a shell of ours then reads. */
static bool is_ours(const char *folder)
{
    struct stat s;
    if (stat(folder, &s) < 0)
        return false;
    bool good = s.st_uid == geteuid() && !(s.st_mode & (S_IWGRP | S_IWOTH));
    if (!good)
        errno = EPERM;
    return good;
}

/* What others, who were killed before anybody could read it, have left. */
static void sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    time_t now = time(NULL);
    struct stat s;
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strncmp(e->d_name, FILE_NAME, strlen(FILE_NAME)) == 0 &&
            fstatat(dirfd(dir), e->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0 && s.st_uid == geteuid() &&
            now - s.st_mtime > LEFT_S)
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

char *environment_create(const char *folder, FILE **f)
{
    char *path = NULL;
    *f = NULL;
    if (asprintf(&path, "%s/" FILE_NAME "XXXXXX", folder) < 0)
        return NULL;
    bool good = make_folders(path) && is_ours(folder);
    if (good)
        sweep(folder);
    int fd = good ? mkostemp(path, O_CLOEXEC) : -1; /* mode 0600 */
    *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (*f)
        return path;
    int e = errno;
    if (fd >= 0) {
        unlink(path);
        close(fd);
    }
    free(path);
    errno = e;
    return NULL;
}

/* PBS does not give it to a task on the node of the job's script. */
static void print_node_file(FILE *f)
{
    const char *file = getenv("PBS_NODEFILE");
    if (!file)
        return;
    fputs("[ -n \"$PBS_NODEFILE\" ] || export PBS_NODEFILE=", f);
    quote(f, file);
    fputc('\n', f);
}

char *environment_write(const char *folder, bool threads)
{
    FILE *f;
    char *path = environment_create(folder, &f);
    if (!path)
        return NULL;
    environment_print(f, threads);
    print_node_file(f);
    if (fclose(f) == 0) /* which fails if any of it could not be written */
        return path;
    int e = errno;
    unlink(path);
    free(path);
    errno = e;
    return NULL;
}

void environment_add(struct words *w, const char *file)
{
    /* No variable of its own: the file may set any. */
    static const char read_it[] = "if [ -r \"$1\" ]; then . \"$1\"; rm -f \"$1\"\n"
                                  "else echo \"flame: $(uname -n) does not see $1: is the home directory "
                                  "not there? Services start without "
                                  "the variables of the job's script\" >&2; fi\n"
                                  "shift; exec \"$@\"";
    if (!file)
        return;
    words_add(w, "/bin/sh");
    words_add(w, "-c");
    words_add(w, read_it);
    words_add(w, "flame");
    words_add(w, file);
}
