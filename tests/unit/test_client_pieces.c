/* Inputs in pieces (struct flm_iov), outputs into memory of the caller or objects. */
#define _GNU_SOURCE
#include "client_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Submits, waits and takes the result. */
static void run(struct fixture *f, struct flm_task *task, struct flm_result *result)
{
    task->size = sizeof(*task);
    assert_true(flm_submit_task(f->s, task) > 0);
    assert_int_equal(flm_take_results(f->s, result, 1, 20000), 1);
}

static void pieces(void **state)
{
    static const char text[] = "abcdefghij";
    const struct {
        struct flm_iov iov[3];
        size_t n;
        const char *whole;
    } cases[] = {
        {{{text, 3, 0, 0}}, 1, "abc"},
        {{{text, 3, 1, 7}, {text + 9, 1, 0, 0}}, 2, "abcj"},
        {{{text, 1, 5, 2}}, 1, "acegi"},
        {{{text, 2, 3, 4}}, 1, "abefij"},
        {{{text, 2, 3, 0}}, 1, "abcdef"},
        {{{text, 2, 3, 1}}, 1, "abbccd"},
        {{{text + 9, 1, 10, -1}}, 1, "jihgfedcba"},
        {{{text, 1, 0, 0}, {NULL, 0, 0, 0}, {text + 1, 1, 0, 0}}, 3, "ab"},
        {{{NULL, 0, 4, 8}}, 1, ""},
    };
    struct fixture f;
    (void)state;
    fixture_open(&f, NULL, NULL, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct flm_result r;
        run(&f, &(struct flm_task){.iov = cases[i].iov, .iov_count = cases[i].n}, &r);
        assert_int_equal(r.size, strlen(cases[i].whole));
        if (r.size)
            assert_memory_equal(r.output, cases[i].whole, r.size);
    }
    fixture_close(&f);
}

/* A block of the columns of a matrix, too large for a record. */
static void strided(void **state)
{
    enum { ROWS = 300, COLUMNS = 500, FROM = 100, WIDTH = 77 };
    struct fixture f;
    struct flm_result r;
    double *a = malloc(ROWS * COLUMNS * sizeof(double));
    (void)state;
    fixture_open(&f, NULL, NULL, 0);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        a[i] = i;
    const struct flm_iov columns = {&a[FROM], WIDTH * sizeof(double), ROWS, COLUMNS * sizeof(double)};
    run(&f, &(struct flm_task){.iov = &columns, .iov_count = 1}, &r);
    assert_int_equal(r.size, ROWS * WIDTH * sizeof(double));
    const double *got = r.output;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < WIDTH; j++)
            if (got[i * WIDTH + j] != i * COLUMNS + FROM + j)
                fail_msg("row %d, column %d", i, j);
    free(a);
    fixture_close(&f);
}

/* What the client says, and how it ends, when it does not leave its memory alone. */
static void meddle(const char *how, const char *expected)
{
    int out[2], status;
    char said[512] = "";
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        enum { BYTES = 1 << 20 };
        struct fixture f;
        struct flm_result r;
        const struct rlimit none = {0, 0};
        dup2(out[1], 2);
        setrlimit(RLIMIT_CORE, &none);
        setenv("FLM_CHECK_BUFFERS", "1", 1);
        fixture_open(&f, NULL, NULL, 0);
        char *input = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
             *room = calloc(1, BYTES);
        struct flm_task task = {.size = sizeof(task),
                                .input = input,
                                .input_size = BYTES,
                                .output = room,
                                .output_size = BYTES};
        if (flm_submit_task(f.s, &task) <= 0)
            _exit(2);
        if (*how == 'i')
            input[BYTES - 1]++;
        else if (*how == 'o')
            room[5] = 1;
        else if (*how == 'f')
            mprotect(input, BYTES, PROT_NONE); /* another mapping may come where one has been */
        bool well = flm_take_results(f.s, &r, 1, 20000) == 1 && r.size == BYTES;
        _exit(well ? 0 : 3);
    }
    close(out[1]);
    for (size_t n = 0; n < sizeof(said) - 1;) {
        ssize_t got = read(out[0], said + n, sizeof(said) - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), expected ? SIGABRT : 0);
    if (expected && !strstr(said, expected))
        fail_msg("%s", said);
}

static void checked_buffers(void **state)
{
    (void)state;
    meddle("not at all", NULL);
    meddle("input", "the input of task 1 of session");
    meddle("output", "the room for the output of task 1 of session");
    meddle("freed", "was freed before");
}

static void bad_pieces(void **state)
{
    static const char text[] = "abc";
    const struct flm_iov one = {text, 3, 0, 0}, nothing = {NULL, 3, 0, 0},
                         huge = {text, FLM_MAX_PAYLOAD / 2 + 1, 2, -1},
                         endless = {text, 2, SIZE_MAX / 2 + 1, -1};
    const struct flm_object_ref object = {.name = "x"}, none = {0}, odd = {.name = "a b"};
    char room[4];
    const struct {
        struct flm_task task;
        int code;
    } cases[] = {
        {{.iov = &one, .iov_count = 1, .input = text}, FLM_EINVAL},
        {{.iov = &one, .iov_count = 1, .input_size = 1}, FLM_EINVAL},
        {{.iov = NULL, .iov_count = 1}, FLM_EINVAL},
        {{.iov = &nothing, .iov_count = 1}, FLM_EINVAL},
        {{.iov = &huge, .iov_count = 1}, FLM_ETOOBIG},
        {{.iov = &endless, .iov_count = 1}, FLM_ETOOBIG},
        {{.output_size = sizeof(room)}, FLM_EINVAL},
        {{.output = room, .output_size = sizeof(room), .input_size = FLM_MAX_PAYLOAD + 1, .input = text},
         FLM_ETOOBIG},
        {{.objects = &object, .object_count = FLM_MAX_TASK_OBJECTS + 1}, FLM_EINVAL},
        {{.object_count = 1}, FLM_EINVAL},
        {{.objects = &odd, .object_count = 1}, FLM_EINVAL},
        {{.output_object = &none}, FLM_EINVAL},
        {{.output_object = &odd}, FLM_EINVAL},
        {{.output_object = &object, .output = room, .output_size = sizeof(room)}, FLM_EINVAL},
    };
    struct fixture f;
    (void)state;
    fixture_open(&f, NULL, NULL, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct flm_task task = cases[i].task;
        task.size = sizeof(task);
        assert_int_equal(flm_submit_task(f.s, &task), cases[i].code);
    }
    /* Who was compiled with an older header has neither. */
    struct flm_task old = {.size = offsetof(struct flm_task, iov), .input = text, .input_size = 3};
    struct flm_result r;
    old.output = room;
    assert_int_equal(flm_submit_task(f.s, &old), 1);
    assert_int_equal(flm_take_results(f.s, &r, 1, 20000), 1);
    assert_ptr_not_equal(r.output, room);
    fixture_close(&f);
}

static void count_result(const struct flm_result *r, void *arg)
{
    const struct flm_result *expected = arg;
    assert_ptr_equal(r->output, expected->output);
    assert_int_equal(r->size, expected->size);
    assert_int_equal(r->state, FLM_TASK_SUCCEED);
}

/* Small ones and large ones, with a callback and without; room that is as large as it has to be, or larger.
 */
static void own_output(void **state)
{
    static const size_t sizes[] = {0, 1, 32768, 32769, 1 << 20};
    struct fixture f;
    char *input = malloc(1 << 20), *room = malloc((1 << 20) + 8);
    (void)state;
    fixture_open(&f, NULL, NULL, 0);
    for (size_t i = 0; i < 2 * COUNT(sizes); i++) {
        size_t size = sizes[i / 2], given = size + i % 2 * 8;
        struct flm_result r, expected = {.output = size ? room : NULL, .size = size};
        struct flm_task task = {
            .input = input, .input_size = size, .output = room, .output_size = given ? given : 1};
        pattern_fill(input, size, i);
        memset(room, 'x', (1 << 20) + 8);
        run(&f, &task, &r);
        assert_ptr_equal(r.output, expected.output);
        assert_int_equal(r.size, size);
        assert_true(pattern_is(room, size, i));
        assert_int_equal(room[size], 'x');
        memset(room, 'x', size);
        task.callback = count_result;
        task.arg = &expected;
        assert_true(flm_submit_task(f.s, &task) > 0);
        assert_int_equal(flm_wait(f.s, 20000), 0);
        assert_true(pattern_is(room, size, i));
    }
    free(input);
    free(room);
    fixture_close(&f);
}

static void too_small(void **state)
{
    static const size_t sizes[] = {9, 32768, 100000};
    struct fixture f;
    char *input = calloc(1, 100000), room[8];
    (void)state;
    fixture_open(&f, NULL, NULL, 0);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct flm_result r;
        char text[200];
        memset(room, 'x', sizeof(room));
        run(&f,
            &(struct flm_task){.input = input, .input_size = sizes[i], .output = room, .output_size = 8},
            &r);
        snprintf(text, sizeof(text),
                 "the output of %zu bytes is larger than the 8 bytes that were given for it", sizes[i]);
        assert_int_equal(r.state, FLM_TASK_FAILED);
        assert_int_equal(r.reason, FLM_REASON_OUT_OF_MEMORY);
        assert_int_equal(r.code, FLM_ETOOBIG);
        assert_string_equal(r.message, text);
        assert_null(r.output);
        assert_int_equal(r.size, 0);
        assert_memory_equal(room, "xxxxxxxx", 8);
    }
    free(input);
    fixture_close(&f);
}

/* Sessions that end before their tasks: the memory is not touched any more, and nothing is left behind. */
static void never_answered(void **state)
{
    struct fixture f;
    char room[8];
    (void)state;
    fixture_open(&f, &(struct fake_script){.hold_tasks = true}, NULL, 0);
    for (int i = 0; i < 3; i++)
        assert_true(flm_submit_task(f.s, &(struct flm_task){.size = sizeof(struct flm_task),
                                                            .input = "abc",
                                                            .input_size = 3,
                                                            .output = room,
                                                            .output_size = sizeof(room)}) > 0);
    flm_disconnect(f.c);
    f.c = NULL;
    f.s = NULL;
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces),          cmocka_unit_test(strided),   cmocka_unit_test(bad_pieces),
        cmocka_unit_test(own_output),      cmocka_unit_test(too_small), cmocka_unit_test(never_answered),
        cmocka_unit_test(checked_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
