/* What flmrun and flm-instance have in common about the processes that they start. */
#include "tools/flmrun.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void say(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", say_name, text);
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void children_reap(struct child *a, struct child *b)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *c = pid == a->pid ? a : pid == b->pid ? b : NULL;
        if (c)
            *c = (struct child){.ended = true, .status = status};
    }
}

void ready_read(struct ready_line *r)
{
    ssize_t n = read(r->fd, r->text + r->size, sizeof(r->text) - 1 - r->size);
    if (n > 0)
        r->size += (size_t)n;
    r->text[r->size] = 0;
    bool more = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
    if (more && !strchr(r->text, '\n') && r->size < sizeof(r->text) - 1)
        return;
    close(r->fd);
    r->fd = -1;
    r->ended = true;
}
