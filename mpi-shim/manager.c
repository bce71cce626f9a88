#define _GNU_SOURCE
#include "join.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A pipe whose ends are above those that a child is given. */
static int high_pipe(int ends[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
        close(low[i]);
    }
    return ends[0] < 0 || ends[1] < 0 ? -1
                                      : 0; /* out of descriptors: what is left open is the least trouble */
}

/* The line that flmd writes when it listens: its endpoints. */
static int read_endpoint(int fd, char *endpoint, size_t size, flm_error *error)
{
    size_t n = 0;
    while (n < size - 1) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, JOIN_START_MS) <= 0)
            return join_fail(error, FLM_ETIMEDOUT, "flmd was not ready in %d s", JOIN_START_MS / 1000);
        ssize_t got = read(fd, endpoint + n, 1);
        if (got <= 0)
            return join_fail(error, FLM_ECONNECT, "flmd has ended before it was ready; stderr has why");
        if (endpoint[n] == '\n')
            break;
        n++;
    }
    endpoint[n] = 0;
    return 0;
}

static int read_secret(struct join_manager *m, const char *path, flm_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, m->secret, sizeof(m->secret));
    if (fd >= 0)
        close(fd);
    if (n <= 0 || n == sizeof(m->secret))
        return join_fail(error, FLM_EIO, "cannot read flmd's secret in %s", path);
    m->secret_size = (int)n;
    return 0;
}

static int start(struct flm_mpi *mpi, flm_error *error)
{
    char program[PATH_MAX], endpoint[JOIN_PATH + 32], secret[JOIN_PATH + 32];
    int ready[2], parent[2];
    struct join_child *flmd = &mpi->flmd;
    int rc = join_find_program("flmd", FLM_BINDIR, program, sizeof(program), error);
    if (rc == 0)
        rc = join_make_folder(&flmd->folder, error);
    if (rc < 0)
        return rc;
    if (high_pipe(ready) < 0 || high_pipe(parent) < 0)
        return join_fail(error, FLM_EIO, "cannot make a pipe: %s", strerror(errno));
    snprintf(endpoint, sizeof(endpoint), "unix:%s/flmd.sock", flmd->folder.path);
    snprintf(secret, sizeof(secret), "%s/secret", flmd->folder.path);
    const char *argv[] = {program,      "--private", "--backend",  "none", "--directory", flmd->folder.path,
                          "--endpoint", endpoint,    "--ready-fd", "3",    "--parent-fd", "4",
                          "--slots",    "1",         NULL,         NULL,   NULL,          NULL,
                          NULL,         NULL,        NULL};
    size_t n = 14;
    if (!mpi->one_node) { /* the nodes may have no munge, and the secret lives as long as the job */
        const char *const more[] = {"--endpoint", "tcp:*:0", "--auth", "secret", "--secret-file", secret};
        memcpy(&argv[n], more, sizeof(more));
    }
    rc = join_spawn(flmd, argv, ready[1], parent[0], error);
    close(ready[1]);
    close(parent[0]);
    flmd->parent_fd = parent[1];
    if (rc == 0)
        rc = read_endpoint(ready[0], mpi->manager.endpoint, sizeof(mpi->manager.endpoint), error);
    close(ready[0]);
    if (rc == 0 && !mpi->one_node)
        rc = read_secret(&mpi->manager, secret, error);
    return rc;
}

void join_start_manager(struct flm_mpi *mpi)
{
    flm_error error = {0, ""};
    mpi->manager.code = start(mpi, &error);
    snprintf(mpi->manager.text, sizeof(mpi->manager.text), "%.399s", error.text);
    if (mpi->manager.code)
        join_end_manager(mpi);
}

int join_end_manager(struct flm_mpi *mpi)
{
    if (mpi->flmd.pid)
        kill(mpi->flmd.pid, SIGTERM);
    int rc = join_reap(&mpi->flmd, JOIN_END_MS);
    if (mpi->flmd.parent_fd >= 0)
        close(mpi->flmd.parent_fd);
    mpi->flmd.parent_fd = -1;
    join_remove_folder(&mpi->flmd.folder);
    return rc;
}

int join_write_secret(const struct join_manager *manager, const char *folder, char *path, size_t size,
                      flm_error *error)
{
    path[0] = 0;
    if (!manager->secret_size)
        return 0;
    snprintf(path, size, "%s/secret", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) /* the first client has it already */
        return 0;
    bool good = fd >= 0 && write(fd, manager->secret, (size_t)manager->secret_size) == manager->secret_size;
    if (fd >= 0)
        close(fd);
    return good ? 0 : join_fail(error, FLM_EIO, "cannot write %s: %s", path, strerror(errno));
}
