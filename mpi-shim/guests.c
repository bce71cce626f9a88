#define _GNU_SOURCE
#include "join.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 20 };

static int listen_in(struct flm_mpi *mpi, const char *folder, int lane, flm_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%d", folder, lane);
    mpi->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (mpi->listener >= 0 && bind(mpi->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(mpi->listener, 4) == 0)
        return 0;
    return join_fail(error, FLM_EIO, "cannot listen at %s: %s", address.sun_path, strerror(errno));
}

/* The first executor of the node: an agent with a slot for each of them. */
static int start_agent(struct flm_mpi *mpi, int slots, flm_error *error)
{
    char program[PATH_MAX], guest[PATH_MAX], count[16], secret[JOIN_PATH + 32],
        name[HOST_NAME_MAX + 32] = "node";
    int rc = join_find_program("flm-node", FLM_LIBEXECDIR, program, sizeof(program), error);
    if (rc == 0)
        rc = join_find_program("flm-guest", FLM_LIBEXECDIR, guest, sizeof(guest), error);
    if (rc == 0)
        rc = join_write_secret(&mpi->manager, mpi->agent.folder.path, secret, sizeof(secret), error);
    if (rc < 0)
        return rc;
    snprintf(count, sizeof(count), "%d", slots);
    /* Who shares memory need not be all of a host (containers): names tell them apart. */
    gethostname(name, HOST_NAME_MAX);
    if (!mpi->one_node)
        snprintf(name + strlen(name), sizeof(name) - strlen(name), ".%d", mpi->rank);
    const char *argv[] = {program,
                          "--name",
                          name,
                          "--endpoint",
                          mpi->manager.endpoint,
                          "--slots",
                          count,
                          "--bind",
                          "none",
                          "--executor",
                          guest,
                          "--world-command=",
                          secret[0] ? "--secret-file" : NULL,
                          secret,
                          NULL};
    setenv("FLM_GUESTS", mpi->agent.folder.path, 1);
    rc = join_spawn(&mpi->agent, argv, -1, -1, error);
    unsetenv("FLM_GUESTS");
    return rc;
}

/* Whether the agent has ended, and how. */
static bool agent_ended(struct flm_mpi *mpi, int *status)
{
    *status = 0;
    if (!mpi->agent.pid || waitpid(mpi->agent.pid, status, WNOHANG) == 0)
        return false;
    mpi->agent.pid = 0;
    *status = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
    return true;
}

/* The agent has reached the session manager, and holds a slot for this rank. */
static int await_stand_in(struct flm_mpi *mpi, flm_error *error)
{
    int status;
    for (int waited = 0; waited < JOIN_START_MS; waited += LOOK_MS) {
        struct pollfd p = {mpi->listener, POLLIN, 0};
        if (poll(&p, 1, LOOK_MS) > 0)
            return 0;
        if (agent_ended(mpi, &status))
            return join_fail(
                error, FLM_ECONNECT,
                "the node agent of this node has ended before it was ready (status %d); stderr "
                "has why",
                status);
    }
    return join_fail(error, FLM_ETIMEDOUT, "the node agent of this node was not ready in %d s",
                     JOIN_START_MS / 1000);
}

/* The executors of a node, lane 0 first. Who fails goes on, for the others wait for it. An error: of this
 * one. */
static int open_together(struct flm_mpi *mpi, MPI_Comm node, flm_error *error)
{
    int lane, slots, rc = 0, all;
    char folder[JOIN_PATH];
    MPI_Comm_rank(node, &lane);
    MPI_Comm_size(node, &slots);
    if (lane == 0)
        rc = join_make_folder(&mpi->agent.folder, error);
    memcpy(folder, mpi->agent.folder.path, sizeof(folder));
    MPI_Bcast(folder, sizeof(folder), MPI_CHAR, 0, node);
    if (rc == 0 && folder[0])
        rc = listen_in(mpi, folder, lane, error);
    MPI_Allreduce(&rc, &all, 1, MPI_INT, MPI_MIN, node);
    if (all == 0 && lane == 0) {
        rc = start_agent(mpi, slots, error);
        if (rc == 0)
            rc = await_stand_in(mpi, error);
        all = rc;
    }
    MPI_Bcast(&all, 1, MPI_INT, 0, node);
    return all == 0 ? await_stand_in(mpi, error) : rc;
}

int join_open_guest(struct flm_mpi *mpi, flm_error *error)
{
    MPI_Comm node;
    MPI_Comm_split_type(mpi->peers, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    int rc = open_together(mpi, node, error);
    MPI_Comm_free(&node);
    return rc;
}

/* True: all clients have finalized. */
static bool is_over(struct flm_mpi *mpi)
{
    int over = 0;
    if (mpi->over == MPI_REQUEST_NULL)
        return true;
    MPI_Test(&mpi->over, &over, MPI_STATUS_IGNORE);
    return over;
}

/* It ends when flmd does, and then the clients are about to say that all is over. */
static int look_at_agent(struct flm_mpi *mpi, flm_error *error)
{
    int status;
    if (!agent_ended(mpi, &status))
        return 0;
    for (int waited = 0; waited < JOIN_END_MS; waited += LOOK_MS) {
        if (is_over(mpi))
            return 0;
        poll(NULL, 0, LOOK_MS);
    }
    return join_fail(error, FLM_ELOST, "the node agent of this node has ended (status %d); stderr has why",
                     status);
}

/* One stand-in after the other: the agent replaces those that end. */
int join_serve(struct flm_mpi *mpi, const struct flm_service *const *services, flm_error *error)
{
    int rc = 0;
    while (rc == 0 && !is_over(mpi)) {
        struct pollfd p = {mpi->listener, POLLIN, 0};
        if (poll(&p, 1, LOOK_MS) <= 0) {
            rc = look_at_agent(mpi, error);
            continue;
        }
        int fd = accept4(mpi->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        int served = flm_service_attend(services, fd, error);
        close(fd);
        rc = served == FLM_EDISCONNECTED ? 0 : served;
    }
    return rc;
}

void join_close_guest(struct flm_mpi *mpi)
{
    join_reap(&mpi->agent, JOIN_END_MS);
    if (mpi->listener >= 0)
        close(mpi->listener);
    mpi->listener = -1;
    join_remove_folder(&mpi->agent.folder);
}
