/* The queue of a session against a plain model: random appends, reads, returns and ends. */
#include <stdbool.h>
#include <stdlib.h>

static bool no_memory; /* for the queue */

static void *scarce_malloc(size_t n)
{
    return no_memory ? NULL : malloc(n);
}

#define malloc scarce_malloc
#include "manager/queue.c"
#undef malloc

#include "manager/events.h"
#include "manager/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TASKS = 20000 };

static bool append(struct queue *q, uint64_t id)
{
    static char payload[70000];
    struct flm__record r = {.size = (uint32_t)(id * 7919 % 300), .type = QUEUE_PENDING, .task = id};
    struct task_ref ref;
    if (id % 997 == 0)
        r.size = 65000; /* nearly a chunk of its own */
    memset(payload, (int)(id & 0xff), r.size);
    return queue_append(q, &r, payload, &ref);
}

static void check_content(struct task_ref ref, uint64_t id)
{
    struct flm__record *r = queue_record(ref);
    assert_int_equal(r->task, id);
    const unsigned char *p = queue_payload(ref);
    for (uint32_t i = 0; i < r->size; i += 61)
        assert_int_equal(p[i], id & 0xff);
}

static void in_order(void **state)
{
    (void)state;
    struct queue q = {0};
    struct task_ref ref;
    uint64_t written = 0, read = 0;
    while (read < TASKS) {
        for (unsigned n = (unsigned)rand() % 40; n && written < TASKS; n--)
            assert_true(append(&q, ++written));
        for (unsigned n = (unsigned)rand() % 40; n && queue_next(&q, &ref); n--) {
            check_content(ref, ++read);
            queue_record(ref)->type = QUEUE_DONE;
            queue_finish(&q, ref);
        }
    }
    assert_true(queue_drained(&q));
    assert_false(queue_next(&q, &ref));
    queue_clear(&q);
}

/* The next task that is to be run: where one came back without memory, others are met again. */
static bool next_pending(struct queue *q, struct task_ref *ref)
{
    while (queue_next(q, ref))
        if (queue_record(*ref)->type == QUEUE_PENDING)
            return true;
    return false;
}

/* Ends a task that waits, if the one with that id does. */
static bool end_waiting(struct queue *q, uint64_t id)
{
    struct task_ref ref;
    if (!queue_find(q, id, &ref) || queue_record(ref)->type != QUEUE_PENDING)
        return false;
    queue_forget(q, ref);
    queue_record(ref)->type = QUEUE_DONE;
    queue_finish(q, ref);
    return true;
}

/* Tasks end in any order, also while they wait, and some come back first; each is read until it is done,
 * none twice at once. */
static void random_ends(bool scarce)
{
    struct queue q = {0};
    struct task_ref out[64], ref;
    unsigned n_out = 0, done = 0;
    static unsigned char finished[TASKS + 1];
    uint64_t written = 0;
    memset(finished, 0, sizeof(finished));
    while (done < TASKS) {
        unsigned dice = (unsigned)rand() % 5;
        uint64_t id = written ? (uint64_t)rand() % written + 1 : 0;
        if (dice == 0 && written < TASKS) {
            assert_true(append(&q, ++written));
        } else if (dice == 4 && id && end_waiting(&q, id)) {
            assert_int_equal(finished[id]++, 0);
            done++;
        } else if (dice == 1 && n_out < 64 && next_pending(&q, &ref)) {
            check_content(ref, queue_record(ref)->task);
            queue_record(ref)->type = QUEUE_RUNNING;
            out[n_out++] = ref;
        } else if (n_out) {
            unsigned i = (unsigned)rand() % n_out;
            ref = out[i];
            out[i] = out[--n_out];
            struct flm__record *r = queue_record(ref);
            if (dice == 2) {
                r->type = QUEUE_PENDING;
                no_memory = scarce;
                queue_push_back(&q, ref);
                no_memory = false;
            } else {
                assert_int_equal(finished[r->task]++, 0);
                r->type = QUEUE_DONE;
                queue_finish(&q, ref);
                done++;
            }
        } else if (written < TASKS) {
            assert_true(append(&q, ++written));
        }
    }
    assert_false(next_pending(&q, &ref));
    queue_clear(&q);
}

static void ends(void **state)
{
    (void)state;
    random_ends(false);
}

static void ends_without_memory(void **state)
{
    (void)state;
    random_ends(true);
}

/* All that wait end at once, as when a session is cancelled, whatever has come back. */
static bool end_it(struct task_ref ref, void *arg)
{
    if (queue_record(ref)->type == QUEUE_PENDING) {
        queue_record(ref)->type = QUEUE_DONE;
        queue_finish(arg, ref);
    }
    return true;
}

static void all_end(void **state)
{
    (void)state;
    struct queue q = {0};
    struct task_ref running[10], ref;
    for (int round = 0; round < 100; round++) {
        for (uint64_t i = 1; i <= 3000; i++)
            assert_true(append(&q, (uint64_t)round * 3000 + i));
        for (int i = 0; i < 10; i++) {
            assert_true(next_pending(&q, &running[i]));
            queue_record(running[i])->type = QUEUE_RUNNING;
        }
        for (int i = 0; i < 5; i++) {
            queue_record(running[i])->type = QUEUE_PENDING;
            queue_push_back(&q, running[i]);
        }
        queue_forget_back(&q);
        queue_each(&q, 0, end_it, &q);
        for (int i = 5; i < 10; i++) {
            queue_record(running[i])->type = QUEUE_DONE;
            queue_finish(&q, running[i]);
        }
        assert_false(next_pending(&q, &ref));
        assert_true(q.head == q.tail); /* the memory is given back */
    }
    queue_clear(&q);
}

static bool count(struct task_ref ref, void *arg)
{
    unsigned *n = arg;
    (void)ref;
    return ++*n < 1000000;
}

static void find(void **state)
{
    (void)state;
    struct queue q = {0};
    struct task_ref ref;
    for (uint64_t i = 1; i <= 5000; i++)
        assert_true(append(&q, 3 * i));
    for (uint64_t i = 1; i <= 15003; i++)
        assert_int_equal(queue_find(&q, i, &ref), i % 3 == 0 && i <= 15000);
    unsigned n = 0;
    queue_each(&q, 0, count, &n);
    assert_int_equal(n, 5000);
    n = 0;
    queue_each(&q, 14001, count, &n);
    assert_int_equal(n, 334);
    queue_clear(&q);
    assert_false(queue_find(&q, 3, &ref));
}

/* One that was given up, because its input did not come, and submitted again: the living one is found. */
static void find_again(void **state)
{
    (void)state;
    struct queue q = {0};
    struct task_ref gone, ref;
    for (uint64_t i = 1; i <= 3; i++)
        assert_true(append(&q, i));
    assert_true(queue_find(&q, 3, &gone));
    queue_record(gone)->type = QUEUE_DONE;
    queue_finish(&q, gone);
    assert_false(queue_find(&q, 3, &ref));
    assert_true(append(&q, 3));
    assert_true(queue_find(&q, 3, &ref));
    assert_true(ref.offset != gone.offset || ref.chunk != gone.chunk);
    assert_int_equal(queue_record(ref)->type, QUEUE_PENDING);
    queue_clear(&q);
}

/* Tasks that were set aside are met nowhere else, in the order in which they were, and go when they end. */
static void aside(void **state)
{
    (void)state;
    struct queue q = {0};
    struct task_ref ref, first;
    for (uint64_t i = 1; i <= QUEUE_ASIDE_MAX + 1; i++)
        assert_true(append(&q, i));
    for (unsigned i = 0; i < QUEUE_ASIDE_MAX; i++) {
        assert_true(queue_next(&q, &ref));
        assert_true(queue_set_aside(&q, &(struct aside){.ref = ref}));
    }
    assert_true(queue_aside_full(&q));
    assert_false(queue_set_aside(&q, &(struct aside){.ref = ref}));
    assert_true(queue_next(&q, &ref));
    assert_int_equal(queue_record(ref)->task, QUEUE_ASIDE_MAX + 1);
    assert_false(queue_next(&q, &ref));
    assert_false(queue_drained(&q));
    first = q.aside[0].ref;
    queue_forget(&q, first); /* the first is cancelled */
    check_content(queue_take_aside(&q, 0), 2);
    check_content(queue_take_aside(&q, 1), 4);
    check_content(queue_take_aside(&q, 0), 3);
    assert_int_equal(q.aside_n, QUEUE_ASIDE_MAX - 4);
    queue_forget_back(&q);
    assert_true(queue_drained(&q));
    queue_clear(&q);
}

/* Without memory for one that comes back all is read again, also what was set aside. */
static void aside_without_memory(void **state)
{
    (void)state;
    struct queue q = {0};
    struct task_ref ref;
    assert_true(append(&q, 1) && append(&q, 2));
    no_memory = true;
    assert_true(queue_next(&q, &ref));
    assert_false(queue_set_aside(&q, &(struct aside){.ref = ref}));
    no_memory = false;
    assert_true(queue_set_aside(&q, &(struct aside){.ref = ref}));
    assert_true(queue_next(&q, &ref));
    no_memory = true;
    queue_push_back(&q, ref);
    no_memory = false;
    assert_int_equal(q.aside_n, 0);
    assert_true(queue_next(&q, &ref));
    assert_int_equal(queue_record(ref)->task, 1);
    assert_true(queue_next(&q, &ref));
    assert_int_equal(queue_record(ref)->task, 2);
    queue_clear(&q);
}

static void outbox(void **state)
{
    (void)state;
    struct outbox o = {0};
    uint64_t put = 0, got = 0;
    for (int round = 0; round < 20000; round++) {
        if (rand() % 2) {
            uint32_t bytes = 24 + 8 * ((uint32_t)rand() % 50);
            uint64_t *p = outbox_put(&o, bytes, bytes + put % 5, 0);
            memcpy(p, &put, sizeof(put));
            put++;
        } else if (got < put) {
            uint32_t bytes;
            uint64_t value;
            memcpy(&value, outbox_first(&o, &bytes), sizeof(value));
            assert_int_equal(value, got++);
            outbox_drop_first(&o);
        }
    }
    while (!outbox_empty(&o))
        outbox_drop_first(&o);
    assert_int_equal(o.bytes, 0);
}

static void events_are_bounded(void **state)
{
    (void)state;
    struct events e = {0};
    struct notes n = {0};
    for (int i = 1; i <= 1000; i++) {
        events_add(&e, 0, (uint64_t)i, -1, "event %d", i);
        notes_add(&n, (uint64_t)i)->code = i;
    }
    assert_null(events_get(&e, 1));
    assert_null(events_get(&e, 1001));
    assert_string_equal(events_get(&e, 1000)->text, "event 1000");
    assert_string_equal(events_get(&e, events_first(&e))->text, "event 745");
    assert_int_equal(notes_find(&n, 1000)->code, 1000);
    assert_null(notes_find(&n, 1));
    events_clear(&e);
    notes_clear(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(ends),
        cmocka_unit_test(ends_without_memory),
        cmocka_unit_test(all_end),
        cmocka_unit_test(find),
        cmocka_unit_test(find_again),
        cmocka_unit_test(aside),
        cmocka_unit_test(aside_without_memory),
        cmocka_unit_test(outbox),
        cmocka_unit_test(events_are_bounded),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
