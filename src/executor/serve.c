/* The life of an executor: who it is, its place, the agent, tasks, and back. */
#define _GNU_SOURCE
#include "executor/executor.h"

#include "base/error.h"
#include "executor/world.h"

#include <errno.h>
#include <flm/client.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_BY_HAND = 2, EXIT_NO_AGENT = 3, EXIT_NO_WORLD = 4 };

/* One per process: signal handlers and exit() have no argument. */
static struct flm__executor *the_executor;

static void on_term(int signal)
{
    int saved = errno; /* the service's */
    (void)signal;
    if (the_executor)
        flm__control_stop_soon(&the_executor->control);
    errno = saved;
}

/* A service that calls exit(): say so, since the status alone does not tell who did. */
static void on_exit_called(int status, void *arg)
{
    struct flm__executor *e = the_executor;
    (void)arg;
    if (!e)
        return;
    flm__outbox_rescue(e);
    atomic_store(&e->status->reason, FLM_REASON_EXIT);
    dprintf(STDERR_FILENO, "flm-executor: the service called exit(%d)\n", status);
    flm__end_children();
}

static void watch_signals(struct flm__executor *e)
{
    struct sigaction term = {.sa_handler = on_term};
    static bool registered;
    the_executor = e;
    sigemptyset(&term.sa_mask);
    sigaction(SIGTERM, &term, NULL);
    if (!registered)
        registered = on_exit(on_exit_called, NULL) == 0;
}

static int serve_attached(struct flm__executor *e, flm_error *error)
{
    int rc = flm__attach(e, error);
    if (rc < 0)
        return rc;
    if (e->world) {
        rc = flm__world_share(e, error);
        if (rc < 0)
            return rc;
    }
    flm__recall_init(&e->recall, &e->status->began);
    rc = flm__control_start(e, error);
    if (rc == 0) {
        if (!e->hosted)
            watch_signals(e);
        flm__inbox_serve(e);
        if (e->world)
            flm__world_leave(e);
        else
            flm__session_leave(e);
        the_executor = NULL;
        flm__control_stop(e);
    }
    flm__recall_fini(&e->recall);
    return rc;
}

/* The ranks of a world end with their launcher, also while they wait inside MPI. */
static void *wait_for_parent(void *arg)
{
    pid_t parent = *(pid_t *)arg;
    int fd = (int)syscall(SYS_pidfd_open, parent, 0);
    struct pollfd p = {fd, POLLIN, 0};
    if (fd < 0)
        return NULL;
    while (poll(&p, 1, -1) < 1)
        ;
    flm__end_children();
    _exit(1);
}

static void end_with_parent(void)
{
    static pid_t parent;
    pthread_t thread;
    sigset_t all, old;
    parent = getppid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&thread, NULL, wait_for_parent, &parent) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static int serve_world(struct flm__executor *e, flm_error *error)
{
    static struct flm__status_page page; /* of ranks that have no agent */
    e->world = flm__world_open(&e->identity, error);
    if (!e->world)
        return FLM_EBIND;
    end_with_parent();
    int rc;
    if (flm__world_rank(e->world) == 0) {
        rc = serve_attached(e, error);
    } else {
        /* Rank 0 is told to end and tells them; one that ended on its own would end them all, and what MPI
         * has in shared memory would stay. */
        signal(SIGTERM, SIG_IGN);
        e->status = &page;
        rc = flm__world_follow(e, error);
        e->status = NULL;
    }
    flm__world_close(e);
    return rc;
}

static int init(struct flm__executor *e, const struct flm_service *self, flm_error *error)
{
    e->bell = e->status_fd = e->guest_fd = -1;
    e->self = self;
    e->direct_session = FLM__DIRECT_NONE;
    e->task.info = &e->session.info;
    e->task.object = flm__objects_get;
    e->wire_lane = (uint16_t)(e->identity.lane | (e->identity.life & 15) << 12);
    flm__session_init(&e->session);
    flm__arrivals_init(&e->arrivals);
    flm__stock_init(&e->stock);
    flm__objects_init(&e->objects);
    flm__outbox_init(e);
    int rc = flm__control_init(&e->control, error);
    flm__deadline_init(&e->deadline, e->control.wake_fd);
    e->scratch = malloc(FLM__INLINE_MAX);
    e->scratch_size = e->scratch ? FLM__INLINE_MAX : 0;
    return rc == 0 && !e->scratch ? flm__error_set(error, FLM_ENOMEM, "no memory") : rc;
}

static void fini(struct flm__executor *e)
{
    flm__outbox_fini(e);
    flm__detach(e);
    flm__control_fini(&e->control);
    flm__arrivals_fini(&e->arrivals);
    flm__objects_fini(&e->objects);
    flm__session_fini(&e->session);
    free(e->scratch);
    free(e);
}

/* What a service prints reaches the logs by the line, not when the executor ends or, after a crash, never.
 * A program of its own that asked for no buffer at all keeps that. */
static void print_by_the_line(void)
{
    if (__fbufsize(stdout) != 1)
        setvbuf(stdout, NULL, _IOLBF, 0);
}

static struct flm__executor *new_executor(void)
{
    struct flm__executor *e = aligned_alloc(128, (sizeof(*e) + 127) & ~(size_t)127);
    if (e)
        memset(e, 0, sizeof(*e));
    return e;
}

int flm__executor_attend(const struct flm_service *const *services, const char *identity, int fd,
                         flm_error *error)
{
    struct flm__executor *e = new_executor();
    if (!e)
        return flm__error_set(error, FLM_ENOMEM, "no memory for an executor");
    int rc = flm__identity_read_given(&e->identity, identity, error);
    if (rc < 0) {
        free(e);
        return rc;
    }
    rc = init(e, NULL, error);
    e->hosted = services;
    e->guest_fd = fd;
    e->deadline.outlived = true;
    if (rc == 0)
        rc = serve_attached(e, error);
    fini(e);
    /* An agent that has given it up meanwhile is gone, or refuses it (FLM_EAUTH). */
    bool is_past = rc == FLM_ECANCELLED || rc == FLM_EDISCONNECTED || rc == FLM_EAUTH || rc == FLM_ECONNECT;
    return is_past ? 0 : rc;
}

int flm__executor_serve(const struct flm_service *self, const char *program)
{
    flm_error error = {0};
    struct flm__executor *e = new_executor();
    if (!e) {
        fprintf(stderr, "%s: no memory\n", program);
        return EXIT_FAILURE;
    }
    int rc = flm__identity_read(&e->identity, &error);
    if (rc < 0) {
        fprintf(stderr, "%s: %s; it is started by flm-node for a session, for example under flmrun(1)\n",
                program, error.text);
        free(e);
        return EXIT_BY_HAND;
    }
    print_by_the_line();
    rc = init(e, self, &error);
    if (rc == 0)
        rc = flm__identity_settle(&e->identity, &error);
    bool world = e->identity.world_ranks > 0;
    if (rc == 0)
        rc = world ? serve_world(e, &error) : serve_attached(e, &error);
    if (rc < 0 && rc != FLM_ECANCELLED)
        fprintf(stderr, "%s: %s\n", program, error.text);
    fini(e);
    return rc == 0 || rc == FLM_ECANCELLED ? EXIT_SUCCESS
           : world && rc == FLM_EBIND      ? EXIT_NO_WORLD
                                           : EXIT_NO_AGENT;
}
