/* A service for the shim stdio that misbehaves on request: argv[1] says how at
 * its start, the first bytes of an input say how in a task; else it echoes. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void take(void *to, size_t size)
{
    if (size && fread(to, size, 1, stdin) != 1)
        _exit(0);
}

static void reply(uint64_t task, int32_t code, const void *data, size_t size)
{
    uint32_t rest = (uint32_t)(12 + size);
    fwrite(&rest, 4, 1, stdout);
    fwrite(&task, 8, 1, stdout);
    fwrite(&code, 4, 1, stdout);
    if (size)
        fwrite(data, size, 1, stdout);
    fflush(stdout);
}

/* As an interpreter does: its output is closed before the process ends. */
static void exit_late(int status)
{
    fclose(stdout);
    usleep(20000);
    _exit(status);
}

static void hello(const char *how)
{
    unsigned char head[12];
    uint32_t n[2];
    char text[1000];
    take(head, sizeof(head));
    memcpy(n, head + 4, sizeof(n));
    if (memcmp(head, "FLM1", 4) != 0 || n[0] + n[1] >= sizeof(text))
        _exit(9);
    take(text, n[0] + n[1]);
    if (strcmp(how, "refuse") == 0)
        reply(0, 42, "no licence left", 15);
    else if (strcmp(how, "exit") == 0)
        _exit(3);
    else if (strcmp(how, "exit late") == 0)
        exit_late(4);
    else if (strcmp(how, "sleep") == 0)
        sleep(1000);
    else if (strcmp(how, "chatter") == 0)
        puts("Welcome to the service"), fflush(stdout);
    else
        reply(0, 0, NULL, 0);
}

static int is(const char *input, size_t size, const char *word)
{
    return size >= strlen(word) && memcmp(input, word, strlen(word)) == 0;
}

static void serve(uint64_t task, const char *input, size_t size)
{
    char text[64];
    if (is(input, size, "exit "))
        _exit(atoi(input + 5));
    if (is(input, size, "late "))
        exit_late(atoi(input + 5));
    if (is(input, size, "kill "))
        kill(getpid(), atoi(input + 5));
    if (is(input, size, "sleep"))
        sleep(1000);
    if (is(input, size, "touch ")) {
        fclose(fopen(input + 6, "w"));
        sleep(1000);
    }
    if (is(input, size, "pid"))
        reply(task, 0, text, (size_t)snprintf(text, sizeof(text), "%d", (int)getpid()));
    else if (is(input, size, "fail"))
        reply(task, 5, input, size);
    else if (is(input, size, "wrong"))
        reply(task + 1, 0, NULL, 0);
    else if (is(input, size, "print"))
        puts("a line that does not belong here"), fflush(stdout);
    else if (is(input, size, "short"))
        fwrite("\3\0\0\0abcdefghijklmnop", 20, 1, stdout), fflush(stdout);
    else if (is(input, size, "huge"))
        fwrite("\377\377\377\177\0\0\0\0\0\0\0\0\0\0\0\0", 16, 1, stdout), fflush(stdout);
    else if (is(input, size, "half"))
        fwrite("\40\0\0\0", 4, 1, stdout), fflush(stdout), _exit(0);
    else
        reply(task, 0, input, size);
}

int main(int argc, char **argv)
{
    hello(argc > 1 ? argv[1] : "");
    for (;;) {
        uint32_t rest;
        uint64_t task;
        take(&rest, 4);
        take(&task, 8);
        char *input = calloc(1, rest);
        if (!input)
            return 1;
        take(input, rest - 8);
        serve(task, input, rest - 8);
        free(input);
    }
}
