/* A service that does what its input says: "ok", "fail N", "exit N", "_exit N", "abort", "segv", "stop",
 * "loop", "sleep MS", "big N", "common", "cancel" (runs until it is cancelled), "print TEXT", "line TEXT"
 * (not flushed, and then it crashes), "flood MIB" (to stdout), "closefds", "cd DIR", "pwd", "thread"
 * (leaves one behind), "pid", "alloc MIB", "scribble" (on the common data). The environment can make it odd
 * on enter, ODD_ENTER=fail|crash|exit, and on leave: ODD_LEAVE=FILE takes half a second and writes it. With
 * ODD_SELF it is a program of its own. */
#define _GNU_SOURCE
#include <flm/service.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct flm_session_info *session;

/* Ends as it would without sanitizers, which catch the signal. */
static void crash(void)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

/* What is read-only for it. Without sanitizers, as crash(). */
static void scribble(struct flm_task_context *task)
{
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)(uintptr_t)flm_task_common(task, NULL, NULL) = '!';
}

static int enter(const struct flm_session_info *info, void **state)
{
    const char *odd = getenv("ODD_ENTER");
    session = info;
    *state = NULL;
    if (odd && strcmp(odd, "fail") == 0)
        return 17;
    if (odd && strcmp(odd, "crash") == 0)
        crash();
    if (odd && strcmp(odd, "exit") == 0)
        exit(3);
    return 0;
}

static void leave(void *state)
{
    const char *file = getenv("ODD_LEAVE");
    (void)state;
    if (!file)
        return;
    usleep(500000);
    FILE *f = fopen(file, "a");
    if (f) {
        fprintf(f, "left %s\n", session->session);
        fclose(f);
    }
}

/* Code of this file that goes on running: it must not be unloaded. */
static void *idle(void *arg)
{
    for (;;)
        usleep(1000);
    return arg;
}

static void flood(int mib)
{
    static char line[1024];
    memset(line, 'f', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    for (int i = 0; i < mib * 1024; i++)
        fwrite(line, 1, sizeof(line), stdout);
    fflush(stdout);
}

static int number(const char *text)
{
    const char *blank = strchr(text, ' ');
    return blank ? atoi(blank + 1) : 0;
}

static int say(struct flm_task_context *task, const char *text)
{
    return flm_task_set_output(task, text, strlen(text));
}

static int invoke(struct flm_task_context *task, void *state)
{
    char text[256];
    size_t size;
    const char *input = flm_task_input(task, &size);
    (void)state;
    snprintf(text, sizeof(text), "%.*s", (int)(size < 200 ? size : 200), input);
    if (strncmp(text, "fail", 4) == 0)
        return flm_task_fail(task, number(text), "asked to fail with %d", number(text));
    if (strncmp(text, "exit", 4) == 0)
        exit(number(text));
    if (strncmp(text, "_exit", 5) == 0)
        _exit(number(text));
    if (strcmp(text, "stop") == 0)
        raise(SIGSTOP);
    if (strcmp(text, "closefds") == 0)
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
    if (strncmp(text, "cd ", 3) == 0 && chdir(text + 3) < 0)
        return flm_task_fail(task, 1, "cannot go there");
    if (strcmp(text, "pwd") == 0 && !getcwd(text, sizeof(text)))
        return flm_task_fail(task, 1, "nowhere");
    if (strcmp(text, "thread") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, idle, NULL);
    }
    if (strcmp(text, "pid") == 0)
        snprintf(text, sizeof(text), "%d", (int)getpid());
    if (strncmp(text, "alloc", 5) == 0) {
        size_t bytes = (size_t)number(text) << 20;
        char *memory = malloc(bytes);
        for (size_t i = 0; memory && i < bytes; i += 4096)
            ((volatile char *)memory)[i] = 1;
        free(memory);
    }
    if (strncmp(text, "flood", 5) == 0)
        flood(number(text));
    if (strcmp(text, "abort") == 0)
        abort();
    if (strcmp(text, "segv") == 0)
        crash();
    if (strcmp(text, "scribble") == 0)
        scribble(task);
    if (strcmp(text, "loop") == 0)
        for (volatile int i = 0;; i++)
            ;
    if (strncmp(text, "sleep", 5) == 0)
        usleep((unsigned)number(text) * 1000);
    if (strcmp(text, "cancel") == 0)
        while (!flm_task_cancelled(task))
            usleep(1000);
    if (strncmp(text, "print", 5) == 0) {
        printf("out %s\n", text + 6);
        fflush(stdout);
        fprintf(stderr, "err %s\n", text + 6);
    }
    if (strncmp(text, "line", 4) == 0) {
        printf("line %s\n", text + 5);
        crash();
    }
    if (strncmp(text, "big", 3) == 0) {
        char *out = flm_task_output(task, (size_t)number(text));
        if (!out)
            return flm_task_fail(task, 1, "no room");
        memset(out, 'x', (size_t)number(text));
        return 0;
    }
    if (strcmp(text, "common") == 0) {
        snprintf(text, sizeof(text), "%.*s v%lu", (int)session->common_size, (const char *)session->common,
                 (unsigned long)session->common_version);
    }
    return say(task, text);
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI,
               .name = "odd",
               .on_session_enter = enter,
               .on_task_invoke = invoke,
               .on_session_leave = leave};

#ifdef ODD_SELF
int main(int argc, char **argv)
{
    return flm_service_run(&flm_service, argc, argv);
}
#endif
