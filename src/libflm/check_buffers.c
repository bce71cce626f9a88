/* check_buffers.c - with $FLM_CHECK_BUFFERS: whether a program leaves alone what is the library's between
 * the submission of a task and its callback: a large input, and the memory that was given for an output.
 * Some transports read it late, others at once, so a program that changes it is wrong everywhere and fails
 * somewhere.
 *
 * It is summed up at both ends, by way of the kernel: memory that was given back is told, and no crash
 * here. */
#define _GNU_SOURCE
#include "libflm/handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { AT_ONCE = 64 << 10 };

struct buffer {
    const char *what;
    const void *at;
    size_t size;
    uint64_t sum;
};

struct flm__checked_task {
    uint32_t slot; /* key of the hash */
    struct buffer input, output;
    UT_hash_handle hh;
};

/* False: it cannot be read. */
static bool sum_up(const void *at, size_t size, uint64_t *sum)
{
    char part[AT_ONCE];
    *sum = 0;
    for (size_t done = 0; done < size;) {
        size_t n = size - done < sizeof(part) ? size - done : sizeof(part);
        struct iovec to = {part, n}, from = {(char *)(uintptr_t)at + done, n};
        if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)n)
            return false;
        *sum = XXH3_64bits_withSeed(part, n, *sum);
        done += n;
    }
    return true;
}

static void compare(const flm_session *s, uint64_t task, const struct buffer *b)
{
    uint64_t sum;
    if (!b->size)
        return;
    bool there = sum_up(b->at, b->size, &sum);
    if (there && sum == b->sum)
        return;
    fprintf(
        stderr,
        "FLM_CHECK_BUFFERS: the %s of task %llu of session %s, %zu bytes at %p, was %s before the task's "
        "result was delivered (see flm_run_task(3))\n",
        b->what, (unsigned long long)task, flm_session_id(s), b->size, b->at, there ? "changed" : "freed");
    abort();
}

/* Where the kernel does not let a process read itself so, nothing is looked at. */
static struct buffer look(const char *what, const void *at, size_t size)
{
    struct buffer b = {.what = what, .at = at, .size = size};
    if (!at || !sum_up(at, size, &b.sum))
        b.size = 0;
    return b;
}

void flm__buffers_note(flm_client *c, uint32_t slot, const struct flm__submission *task)
{
    bool large = !task->owned && !flm__task_is_small(task->size, &task->head);
    struct flm__checked_task *k = large || task->output ? calloc(1, sizeof(*k)) : NULL;
    if (!k || task->invoked) {
        free(k);
        return;
    }
    *k = (struct flm__checked_task){.slot = slot,
                                    .output = look("room for the output", task->output, task->output_size)};
    if (large)
        k->input = look("input", task->input, task->size);
    HASH_ADD(hh, c->checked_tasks, slot, sizeof(k->slot), k);
    if (!flm__hash_added(&k->hh))
        free(k);
}

static struct flm__checked_task *take(flm_client *c, uint32_t slot)
{
    struct flm__checked_task *k;
    HASH_FIND(hh, c->checked_tasks, &slot, sizeof(slot), k);
    if (k)
        HASH_DEL(c->checked_tasks, k);
    return k;
}

void flm__buffers_check(flm_client *c, uint32_t slot)
{
    const struct flm__outstanding *o = &c->slots[slot];
    struct flm__checked_task *k = take(c, slot);
    if (!k)
        return;
    compare(o->session, o->id, &k->input);
    compare(o->session, o->id, &k->output);
    free(k);
}

void flm__buffers_forget(flm_client *c, uint32_t slot)
{
    free(take(c, slot));
}
