#define _GNU_SOURCE
#include "executor/world_memory.h"

#include "net/handshake.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LOOKS = 100, /* each with a yield: the others may need our core */
    RELAXED = 20,
};

/* ---- its life ---------------------------------------------------------------------------------- */

static size_t size_for(unsigned ranks)
{
    return sizeof(struct flm__world_memory) + ranks * sizeof(struct flm__world_rank) +
           (size_t)ranks * FLM__WORLD_ENTRIES * sizeof(struct flm__world_failure);
}

static struct flm__world_memory *map(int fd, unsigned ranks)
{
    void *p = mmap(NULL, size_for(ranks), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

struct flm__world_memory *flm__world_memory_create(unsigned ranks, struct flm__world_memory_at *at)
{
    struct flm__world_memory *m = NULL;
    int fd = memfd_create("flm-world", MFD_CLOEXEC);
    *at = (struct flm__world_memory_at){0};
    if (fd >= 0 && ftruncate(fd, (off_t)size_for(ranks)) == 0)
        m = map(fd, ranks);
    if (!m || flm__random(&m->token, sizeof(m->token)) < 0) {
        flm__world_memory_close(m, ranks);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    m->token |= 1;
    *at = (struct flm__world_memory_at){.token = m->token, .pid = getpid(), .fd = fd};
    return m;
}

/* On another node, or in another container, that number means nothing, or something else. */
struct flm__world_memory *flm__world_memory_find(unsigned ranks, const struct flm__world_memory_at *at)
{
    struct flm__world_memory *m = NULL;
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)at->pid, (int)at->fd);
    int fd = at->token ? open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)size_for(ranks))
        m = map(fd, ranks);
    if (m && m->token != at->token) {
        flm__world_memory_close(m, ranks);
        m = NULL;
    }
    if (fd >= 0)
        close(fd);
    return m;
}

void flm__world_memory_close(struct flm__world_memory *m, unsigned ranks)
{
    if (m)
        munmap(m, size_for(ranks));
}

struct flm__world_failure *flm__world_failure(struct flm__world_memory *m, unsigned ranks, unsigned rank,
                                              uint32_t entry)
{
    struct flm__world_failure *all = (struct flm__world_failure *)(void *)&m->ranks[ranks];
    return &all[(size_t)(entry % FLM__WORLD_ENTRIES) * ranks + rank];
}

/* ---- sleep and wake ---------------------------------------------------------------------------- */

/* Not private: the others are processes of their own. */
static void sleep_on(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void look_again(void)
{
    for (int i = 0; i < RELAXED; i++)
        flm__relax();
    sched_yield();
}

/* ---- rank 0 ------------------------------------------------------------------------------------ */

void *flm__world_reserve(struct flm__world_memory *m, uint32_t *used, size_t n)
{
    size_t whole = (n + 7) & ~(size_t)7;
    if (whole > FLM__WORLD_ROOM - *used)
        return NULL;
    void *room = m->entries + *used;
    *used += (uint32_t)whole;
    return room;
}

uint32_t flm__world_post(struct flm__world_memory *m, const void *entry)
{
    uint32_t number = atomic_load_explicit(&m->posted, memory_order_relaxed) + 1;
    m->offsets[number % FLM__WORLD_ENTRIES] = (uint32_t)((const char *)entry - m->entries);
    atomic_store(&m->posted, number);
    if (atomic_load(&m->sleepers))
        wake_all(&m->posted);
    return number;
}

bool flm__world_is_done(const struct flm__world_memory *m, unsigned ranks, uint32_t entry)
{
    for (unsigned r = 1; r < ranks; r++)
        if ((int32_t)(atomic_load(&m->ranks[r].done) - entry) < 0)
            return false;
    return true;
}

void flm__world_wait_done(struct flm__world_memory *m, unsigned ranks, uint32_t entry)
{
    for (int i = 0; i < LOOKS; i++) {
        if (flm__world_is_done(m, ranks, entry))
            return;
        look_again();
    }
    for (;;) {
        uint32_t finished = atomic_load(&m->finished);
        atomic_store(&m->awaited, true);
        if (flm__world_is_done(m, ranks, entry))
            break;
        sleep_on(&m->finished, finished);
    }
    atomic_store(&m->awaited, false);
}

/* ---- the others -------------------------------------------------------------------------------- */

const void *flm__world_await(struct flm__world_memory *m, uint32_t entry)
{
    for (int i = 0; (int32_t)(atomic_load(&m->posted) - entry) < 0; i++) {
        if (i < LOOKS) {
            look_again();
            continue;
        }
        atomic_fetch_add(&m->sleepers, 1);
        uint32_t posted = atomic_load(&m->posted);
        if ((int32_t)(posted - entry) < 0)
            sleep_on(&m->posted, posted);
        atomic_fetch_sub(&m->sleepers, 1);
    }
    return m->entries + m->offsets[entry % FLM__WORLD_ENTRIES];
}

void flm__world_did(struct flm__world_memory *m, unsigned rank, uint32_t entry)
{
    atomic_store(&m->ranks[rank].done, entry);
    if (!atomic_load(&m->awaited))
        return;
    atomic_fetch_add(&m->finished, 1);
    wake_all(&m->finished);
}

void flm__world_failed(struct flm__world_memory *m, unsigned ranks, unsigned rank, uint32_t entry, int code,
                       const struct flm_task_context *task)
{
    struct flm__world_failure *f = flm__world_failure(m, ranks, rank, entry);
    f->entry = entry;
    f->code = code;
    memcpy(f->message, task->message, task->message_size);
    f->message[task->message_size] = 0;
    atomic_fetch_add(&m->ranks[rank].failures, 1);
}
