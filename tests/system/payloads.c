/* Large payloads whose memory is used again: what somebody still looks at must stay as it is.
 *
 *     payloads held|reused|inputs|deaf|lost MARK|wait MARK|cancel|shared [journal|detached]
 *
 * Client and service (shim self), which answers with its input, each byte one larger, or with where the
 * input lies. Prints one line.
 *
 * held: results of flm_take_results and flm_invoke are looked at again after many other tasks have run.
 * reused: in how many pieces of memory the outputs of TASKS tasks, one after the other, have lain.
 * inputs: the same for inputs, as the service sees them.
 * lost: the executor ends at the input of a first task, which another runs then; no other input may come to
 * lie there. MARK: a file that is made.
 * deaf: as inputs, by a client that nobody can connect to.
 * wait: TASKS inputs at once, which the service answers once there is a file MARK, with what is in them.
 * shared: whether the service finds inputs in the very memory of flm_alloc_buffer; in such a session.
 *
 * cancel: large inputs, whose memory goes as soon as the callback says so, in a session that is cancelled.
 */
#define _GNU_SOURCE
#include <flm/admin.h>
#include <flm/client.h>
#include <flm/service.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIZE = 300000, TASKS = 40 };
enum {
    WHERE = 120,
    END_ONCE = 121,
    WAIT = 122
};                              /* first bytes of inputs that ask for more than the next byte */
enum { PATH_MAX_BYTES = 4096 }; /* behind WAIT; what comes then is all the same */

static bool is_all(const char *data, size_t size, int byte)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != (char)byte)
            return false;
    return size == SIZE;
}

/* The file behind a mapping of ours; 0: there is none. */
static unsigned long inode_at(const void *at)
{
    char line[600];
    unsigned long from, to, inode, found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) == 3 && (uintptr_t)at >= from &&
            (uintptr_t)at < to)
            found = inode;
    if (maps)
        fclose(maps);
    return found;
}

/* ---- service ----------------------------------------------------------------------------------- */

/* The byte that all are, from here on; 256: they differ. */
static unsigned long same_from(const char *data, size_t size, size_t from)
{
    for (size_t i = from; i < size; i++)
        if (data[i] != data[size - 1])
            return 256;
    return (unsigned char)data[size - 1];
}

static int invoke(struct flm_task_context *task, void *state)
{
    size_t size;
    const char *in = flm_task_input(task, &size);
    (void)state;
    if (in[0] == END_ONCE && open(in + 1, O_CREAT | O_EXCL, 0600) >= 0)
        _exit(1);
    if (in[0] == WHERE || in[0] == END_ONCE)
        return flm_task_set_output(task, &(unsigned long){inode_at(in)}, sizeof(unsigned long));
    if (in[0] == WAIT) {
        while (access(in + 1, F_OK) < 0)
            usleep(10000);
        return flm_task_set_output(task, &(unsigned long){same_from(in, size, PATH_MAX_BYTES)},
                                   sizeof(unsigned long));
    }
    char *out = flm_task_output(task, size);
    if (!out)
        return 1;
    for (size_t i = 0; i < size; i++)
        out[i] = (char)(in[i] + 1);
    return 0;
}

static const struct flm_service service = {
    .abi = FLM_SERVICE_ABI, .name = "payloads", .on_task_invoke = invoke};

/* ---- client ------------------------------------------------------------------------------------ */

static char input[SIZE];
static flm_client *client;

static flm_session *create(const char *how)
{
    flm_error e = {0};
    struct flm_session_options o = {.size = sizeof(o), .application = "payloads"};
    o.durability = strcmp(how, "journal") == 0 ? FLM_DURABILITY_JOURNAL : FLM_DURABILITY_NONE;
    o.flags = strcmp(how, "detached") == 0 ? FLM_DETACHED : 0;
    flm_session *s = flm_create_session(client, &o, &e);
    if (!s)
        printf("%s\n", e.text);
    return s;
}

static int fail(const char *what)
{
    printf("wrong: %s\n", what);
    return 1;
}

/* Runs one; its output is to be as it should. */
static bool one(flm_session *s, int byte, struct flm_result *r)
{
    memset(input, byte, SIZE);
    return flm_invoke(s, input, SIZE, -1, r) == 0 && r->state == FLM_TASK_SUCCEED &&
           is_all(r->output, r->size, byte + 1);
}

/* flm_run_task with a callback, after each of which the memory may be used again. */
static void on_result(const struct flm_result *r, void *arg)
{
    int *wrong = arg;
    *wrong += !is_all(r->output, r->size, 11);
}

static int others(flm_session *s)
{
    int wrong = 0;
    for (int i = 0; i < TASKS; i++) {
        memset(input, 10, SIZE);
        if (flm_run_task(s, input, SIZE, on_result, &wrong) < 0 || flm_wait(s, -1) < 0)
            wrong++;
    }
    return wrong;
}

static int held(flm_session *s)
{
    struct flm_result taken[3], invoked;
    int n = 0;
    memset(input, 50, SIZE);
    for (int i = 0; i < 3; i++)
        if (flm_run_task(s, input, SIZE, NULL, NULL) < 0)
            return fail("submitting");
    flm_wait(s, -1);
    while (n < 2)
        n += flm_take_results(s, taken + n, 2 - n, -1); /* one is kept by the library */
    if (!one(s, 60, &invoked))
        return fail("an invocation");
    if (others(s))
        return fail("an output");
    for (int i = 0; i < n; i++)
        if (!is_all(taken[i].output, taken[i].size, 51))
            return fail("a result that was taken has changed");
    if (!is_all(invoked.output, invoked.size, 61))
        return fail("a result of an invocation has changed");
    if (flm_take_results(s, taken, 1, -1) != 1 || !is_all(taken[0].output, taken[0].size, 51))
        return fail("a result that was kept has changed");
    if (others(s) || !is_all(taken[0].output, taken[0].size, 51))
        return fail("a result that was taken later has changed");
    puts("unchanged");
    return 0;
}

static void on_place(const struct flm_result *r, void *arg)
{
    *(unsigned long *)arg = inode_at(r->output);
}

static void on_answer(const struct flm_result *r, void *arg)
{
    if (r->state == FLM_TASK_SUCCEED && r->size == sizeof(unsigned long))
        memcpy(arg, r->output, sizeof(unsigned long));
}

/* Where the input (or output) of the next task lies; 0: nowhere. */
static unsigned long place(flm_session *s, flm_task_fn *callback)
{
    unsigned long inode = 0;
    if (flm_run_task(s, input, SIZE, callback, &inode) < 0 || flm_wait(s, -1) < 0)
        return 0;
    return inode;
}

static int lost(flm_session *s, const char *mark)
{
    input[0] = END_ONCE;
    snprintf(input + 1, SIZE - 1, "%s", mark);
    unsigned long first = place(s, on_answer);
    memset(input, WHERE, SIZE);
    for (int i = 0; first && i < TASKS; i++)
        if (place(s, on_answer) == first)
            return fail("an input lies where an executor that did not answer may look still");
    puts(first ? "never again" : "no answer");
    return 0;
}

static int reused(flm_session *s, flm_task_fn *callback)
{
    unsigned long inodes[TASKS];
    int n = 0;
    for (int i = 0; i < TASKS; i++) {
        inodes[n] = place(s, callback);
        if (!inodes[n])
            return fail("a place");
        int k = 0;
        while (inodes[k] != inodes[n])
            k++;
        n += k == n;
    }
    printf("%s\n", n <= TASKS / 2 ? "again and again" : "each somewhere else");
    return 0;
}

static int wait_for_mark(flm_session *s, const char *mark)
{
    static char inputs[TASKS][SIZE];
    unsigned long answers[TASKS] = {0};
    for (int i = 0; i < TASKS; i++) {
        memset(inputs[i], i, SIZE);
        inputs[i][0] = WAIT;
        snprintf(inputs[i] + 1, PATH_MAX_BYTES - 1, "%s", mark);
        if (flm_run_task(s, inputs[i], SIZE, on_answer, &answers[i]) < 0)
            return fail("submitting");
    }
    flm_wait(s, -1);
    for (int i = 0; i < TASKS; i++)
        if (answers[i] != (unsigned long)i)
            return fail("an input is not what was sent");
    puts("all as sent");
    return 0;
}

enum { LARGE = 24 << 20, LARGE_TASKS = 8 };

static void on_end_of_large(const struct flm_result *r, void *arg)
{
    (void)r;
    munmap(arg, LARGE);
}

static int cancel(flm_session *s)
{
    for (int i = 0; i < LARGE_TASKS; i++) {
        char *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(memory, 1, LARGE);
        if (flm_run_task(s, memory, LARGE, on_end_of_large, memory) < 0)
            return fail("submitting");
    }
    flm_poll(client, 10);
    if (flm_cancel_session(s, NULL) < 0)
        return fail("cancelling");
    flm_session *next = create("");
    struct flm_result r;
    if (!next || !one(next, 7, &r))
        return fail("a task after it");
    puts("gone and well");
    return 0;
}

static void on_next_byte(const struct flm_result *r, void *arg)
{
    *(int *)arg += r->state == FLM_TASK_SUCCEED && is_all(r->output, r->size, 31);
}

/* All at once, and from one buffer. */
static bool right_from(flm_session *s, char *buffer)
{
    int right = 0;
    memset(buffer, 30, SIZE);
    for (int i = 0; i < 3 * TASKS; i++)
        if (flm_run_task(s, buffer, SIZE, on_next_byte, &right) < 0)
            return false;
    flm_wait(s, -1);
    return right == 3 * TASKS;
}

static bool refused(void)
{
    flm_error none = {0}, large = {0};
    return !flm_alloc_buffer(client, 0, &none) && none.code == FLM_EINVAL &&
           !flm_alloc_buffer(client, (size_t)FLM_MAX_PAYLOAD + 1, &large) && large.code == FLM_ETOOBIG &&
           flm_free_buffer(client, input) == FLM_EINVAL && flm_free_buffer(client, NULL) == 0;
}

static int shared(flm_session *s)
{
    unsigned long inode = 0, beside = 0;
    struct flm_result r;
    char *buffer = flm_alloc_buffer(client, SIZE + 1, NULL), *left = flm_alloc_buffer(client, 1, NULL);
    if (!buffer || !left || buffer[0] || buffer[SIZE] || !refused())
        return fail("a buffer");
    if (!right_from(s, buffer))
        return fail("an output");
    memset(buffer, WHERE, SIZE + 1);
    flm_run_task(s, buffer, SIZE, on_answer, &inode);
    flm_run_task(s, buffer + 1, SIZE, on_answer, &beside);
    flm_wait(s, -1);
    if (!inode || !beside || beside == inode_at(buffer))
        return fail("a place");
    bool is_there = inode == inode_at(buffer);
    /* When the time is over the memory is free, and the task goes on. */
    memset(buffer, 90, SIZE);
    flm_invoke(s, buffer, SIZE, 0, &r);
    memset(buffer, 10, SIZE);
    if (flm_invoke(s, buffer, SIZE, -1, &r) < 0 || !is_all(r.output, r.size, 11))
        return fail("an invocation");
    if (flm_free_buffer(client, buffer) < 0 || flm_free_buffer(client, buffer) != FLM_EINVAL || others(s))
        return fail("what comes after it");
    puts(is_there ? "the very memory" : "elsewhere");
    return 0;
}

static int run(flm_session *s, const char *what, const char *mark)
{
    if (strcmp(what, "shared") == 0)
        return shared(s);
    if (strcmp(what, "held") == 0)
        return held(s);
    if (strcmp(what, "lost") == 0)
        return lost(s, mark);
    if (strcmp(what, "wait") == 0)
        return wait_for_mark(s, mark);
    if (strcmp(what, "cancel") == 0)
        return cancel(s);
    bool inputs = strcmp(what, "reused") != 0;
    memset(input, inputs ? WHERE : 1, SIZE);
    return reused(s, inputs ? on_answer : on_place);
}

/* In place of the C library's, for the provider. */
static bool deaf;
__attribute__((visibility("default"))) int listen(int fd, int backlog)
{
    return deaf ? 0 : (int)syscall(SYS_listen, fd, backlog);
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    deaf = argc == 2 && strcmp(argv[1], "deaf") == 0;
    if (getenv("FLM_AGENT"))
        return flm_service_run(&service, argc, argv);
    char *self = realpath("/proc/self/exe", NULL);
    const char *command[] = {self, NULL};
    struct flm_application app = {
        .size = sizeof(app), .name = "payloads", .shim = FLM_SHIM_SELF, .command = command};
    client = argc >= 2 ? flm_connect(NULL, NULL, &e) : NULL;
    flm_session *s = client && flm_register_application(client, &app, 1, &e) == 0
                         ? create(argc == 3 ? argv[2] : "")
                         : NULL;
    int rc = s ? run(s, argv[1], argv[2]) : fail(e.text);
    flm_disconnect(client);
    free(self);
    return rc;
}
