/* flm-guest - stands in a slot of a node agent for a process that another has started: a rank of an MPI
 * program, which listens at the socket $FLM_GUESTS/LANE (join.c). It passes on who the agent says it is,
 * and its end: told to end it closes its side, and ends when the rank has closed its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

enum { EXIT_USAGE = 2 };

static const char usage[] = "usage: flm-guest\n"
                            "Stands in a slot for a rank of an MPI program. A node agent that "
                            "flm_mpi_init(3) has started runs it; there\n"
                            "is nothing to start by hand.\n";

static int answer_option(const char *option)
{
    if (strcmp(option, "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (strcmp(option, "--version") == 0 || strcmp(option, "-V") == 0) {
        puts("flm-guest " FLM_VERSION);
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "flm-guest: there is no option %s\n%s", option, usage);
    return EXIT_USAGE;
}

static int say(const char *what, const char *which)
{
    fprintf(stderr, "flm-guest: %s%s%s\n", what, which ? " " : "", which ? which : "");
    return EXIT_FAILURE;
}

static int connect_to_rank(const char *folder, const char *lane)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, lane);
    if (fd < 0 || n >= (int)sizeof(address.sun_path) ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static int send_all(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        text += sent;
        n -= (size_t)sent;
    }
    return 0;
}

static int introduce(int fd)
{
    for (char **e = environ; *e; e++)
        if (strncmp(*e, "FLM_", 4) == 0 && send_all(fd, *e, strlen(*e) + 1) < 0)
            return -1;
    return send_all(fd, "", 1);
}

/* Until the rank closes. */
static void stay(int fd, int signals)
{
    struct pollfd fds[2] = {{fd, POLLIN, 0}, {signals, POLLIN, 0}};
    char byte;
    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents) {
            shutdown(fd, SHUT_WR);
            fds[1].fd = -1;
        }
        if (fds[0].revents && read(fd, &byte, 1) <= 0)
            return;
    }
}

int main(int argc, char **argv)
{
    const char *folder = getenv("FLM_GUESTS"), *lane = getenv("FLM_LANE");
    sigset_t term;
    if (argc > 1)
        return answer_option(argv[1]);
    if (!folder || !lane) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    int signals = signalfd(-1, &term, SFD_CLOEXEC);
    int fd = connect_to_rank(folder, lane);
    if (fd < 0)
        return say("no rank listens at", folder);
    if (signals < 0 || introduce(fd) < 0)
        return say("the rank is gone", NULL);
    stay(fd, signals);
    close(fd);
    return EXIT_SUCCESS;
}
