#define _GNU_SOURCE
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { ANSWER_MAX = 64 << 20, LOOK_US = 2000 };

/* ---- what they answer -------------------------------------------------------------------------- */

void answer_free(struct answer *a)
{
    free(a->out);
    free(a->err);
    *a = (struct answer){0};
}

static char *contents(int fd, size_t *size)
{
    struct stat file;
    size_t n = fd >= 0 && fstat(fd, &file) == 0 && file.st_size < ANSWER_MAX ? (size_t)file.st_size : 0;
    char *text = malloc(n + 1);
    ssize_t got = text && n ? pread(fd, text, n, 0) : 0;
    if (text)
        text[got > 0 ? got : 0] = 0;
    *size = got > 0 ? (size_t)got : 0;
    return text;
}

static void make_one_line(char *text)
{
    if (!text)
        return;
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    for (size_t n = strlen(text); n && text[n - 1] == ' ';)
        text[--n] = 0;
}

/* Takes the descriptors. */
static void read_answer(struct answer *a, int status, const int output[2])
{
    size_t unused;
    a->exited = WIFEXITED(status);
    a->status = a->exited ? WEXITSTATUS(status) : status;
    a->out = contents(output[0], &a->out_size);
    a->err = contents(output[1], &unused);
    make_one_line(a->err);
    close(output[0]);
    close(output[1]);
}

static int open_output(int output[2])
{
    for (int i = 0; i < 2; i++)
        output[i] = memfd_create("flm-answer", MFD_CLOEXEC);
    if (output[0] >= 0 && output[1] >= 0)
        return 0;
    for (int i = 0; i < 2; i++)
        if (output[i] >= 0)
            close(output[i]);
    return FLM_EFULL;
}

/* ---- waiting for it ---------------------------------------------------------------------------- */

static int error_of(int number)
{
    switch (number) {
    case 0:
        return 0;
    case ENOENT:
        return FLM_ENOTFOUND;
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return FLM_ENOMEM;
    default:
        return FLM_EPERM;
    }
}

static int spawn(const char *const *argv, const int output[2], pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output[0], 1);
    posix_spawn_file_actions_adddup2(&actions, output[1], 2);
    int rc = posix_spawnp(pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error_of(rc);
}

int command_run(const char *const *argv, unsigned limit_ms, struct answer *out)
{
    int output[2], status = 0;
    pid_t pid;
    *out = (struct answer){0};
    int rc = open_output(output);
    if (rc < 0)
        return rc;
    rc = spawn(argv, output, &pid);
    for (unsigned us = 0; rc == 0 && waitpid(pid, &status, WNOHANG) == 0; us += LOOK_US) {
        if (us / 1000 > limit_ms) {
            out->too_late = true;
            kill(pid, SIGKILL);
        }
        usleep(LOOK_US);
    }
    read_answer(out, status, output);
    if (rc < 0)
        answer_free(out);
    return rc;
}

/* ---- without waiting --------------------------------------------------------------------------- */

struct command {
    const struct flm_backend_host *host;
    struct command **running;
    command_fn *fn; /* NULL: nobody wants to know */
    void *arg;
    int pid, timer, output[2];
    bool too_late;
};

static void stop_timer(struct command *c)
{
    if (c->timer > 0)
        c->host->cancel_timer(c->host->handle, c->timer);
    c->timer = 0;
}

static void on_end(void *arg, int pid, int status)
{
    struct command *c = arg;
    struct answer answer = {.too_late = c->too_late};
    (void)pid;
    stop_timer(c);
    read_answer(&answer, status, c->output);
    if (c->fn) {
        *c->running = NULL;
        c->fn(c->arg, &answer);
    }
    answer_free(&answer);
    free(c);
}

static void on_too_late(void *arg)
{
    struct command *c = arg;
    c->timer = 0;
    c->too_late = true;
    kill(c->pid, SIGKILL);
}

int command_start(const struct flm_backend_host *host, const char *const *argv,
                  const char *const *environment, unsigned limit_ms, command_fn *fn, void *arg,
                  struct command **running)
{
    struct command *c = calloc(1, sizeof(*c));
    if (!c)
        return FLM_ENOMEM;
    *c = (struct command){.host = host, .running = running, .fn = fn, .arg = arg};
    int rc = open_output(c->output);
    if (rc < 0) {
        free(c);
        return rc;
    }
    c->pid = host->spawn_with_output(host->handle, argv, environment, c->output, on_end, c);
    if (c->pid < 0) {
        rc = c->pid;
        close(c->output[0]);
        close(c->output[1]);
        free(c);
        return rc;
    }
    c->timer = limit_ms ? host->timer(host->handle, limit_ms, on_too_late, c) : 0;
    *running = c;
    return 0;
}

void command_kill(struct command *c)
{
    if (!c)
        return;
    *c->running = NULL;
    c->fn = NULL;
    stop_timer(c);
    kill(c->pid, SIGKILL);
}
