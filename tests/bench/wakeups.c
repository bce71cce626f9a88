/* wakeups - how long a lone message takes through three sleeping processes, without the engine.
 *
 * Client, broker and executor share a page and sleep on an eventfd each. The client rests, then leaves a
 * number and wakes the broker; the broker hands it on and wakes the executor; the executor answers. Who
 * waits for an answer spins, so a round trip costs two wake-ups: of the kernel, the processor's idle
 * state and the virtual machine, if it is one. No engine that lets its processors rest can be faster.
 */
#define _GNU_SOURCE
#include "base/argp_number.h"
#include "base/time.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_MAX_MS = 1000, ROUNDS_MAX = 100000 };

struct page {
    _Alignas(64) atomic_long asked;  /* by the client */
    _Alignas(64) atomic_long passed; /* by the broker, to the executor */
    _Alignas(64) atomic_long done;   /* by the executor */
    _Alignas(64) atomic_long answer; /* by the broker, to the client */
};

static struct page *page;
static int bells[2]; /* of broker, executor */
static unsigned pause_ms = 10, rounds = 300;

static void spin_until(atomic_long *what, long value)
{
    while (atomic_load_explicit(what, memory_order_acquire) < value)
        sched_yield(); /* all may share one processor */
}

static void ring(int bell)
{
    const uint64_t one = 1;
    if (write(bell, &one, sizeof(one)) < 0)
        _exit(1);
}

static void wait_for(int bell)
{
    struct pollfd p = {.fd = bell, .events = POLLIN};
    uint64_t rings;
    if (poll(&p, 1, -1) < 0 || read(bell, &rings, sizeof(rings)) < 0)
        _exit(1);
}

static void run_broker(void)
{
    for (long i = 1;; i++) {
        wait_for(bells[0]);
        atomic_store(&page->passed, i);
        ring(bells[1]);
        spin_until(&page->done, i);
        atomic_store(&page->answer, i);
    }
}

static void run_executor(void)
{
    for (long i = 1;; i++) {
        wait_for(bells[1]);
        atomic_store(&page->done, atomic_load(&page->passed));
    }
}

static pid_t start(void (*run)(void))
{
    pid_t parent = getpid(), pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    run();
    _exit(0);
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void measure(int64_t *took)
{
    const struct timespec rest = {pause_ms / 1000, (long)(pause_ms % 1000) * 1000000};
    for (unsigned i = 0; i < rounds; i++) {
        nanosleep(&rest, NULL);
        int64_t from = flm__now_ns();
        atomic_store(&page->asked, i + 1);
        ring(bells[0]);
        spin_until(&page->answer, i + 1);
        took[i] = flm__now_ns() - from;
    }
    qsort(took, rounds, sizeof(*took), ascending);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    if (key == 'p')
        pause_ms = (unsigned)flm__argp_number(state, "--pause", arg, 0, PAUSE_MAX_MS);
    else if (key == 'n')
        rounds = (unsigned)flm__argp_number(state, "--rounds", arg, 1, ROUNDS_MAX);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"pause", 'p', "MS", 0, "rest before each message (10)", 0},
        {"rounds", 'n', "N", 0, "messages (300)", 0},
        {0},
    };
    static const struct argp argp = {.options = options,
                                     .parser = parse,
                                     .doc =
                                         "A round trip through three sleeping processes; one JSON object."};
    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    int64_t *took = calloc(rounds, sizeof(*took));
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bells[0] = eventfd(0, EFD_CLOEXEC);
    bells[1] = eventfd(0, EFD_CLOEXEC);
    if (!took || page == MAP_FAILED || bells[0] < 0 || bells[1] < 0) {
        fprintf(stderr, "wakeups: no memory or no descriptors\n");
        return 1;
    }
    pid_t broker = start(run_broker), executor = start(run_executor);
    measure(took);
    printf("{\"pause_ms\": %u, \"rounds\": %u, \"p50_us\": %.1f, \"p90_us\": %.1f}\n", pause_ms, rounds,
           (double)took[rounds / 2] / 1e3, (double)took[rounds * 9ULL / 10] / 1e3);
    kill(broker, SIGKILL);
    kill(executor, SIGKILL);
    while (wait(NULL) > 0)
        ;
    free(took);
    return 0;
}
