/* Parts of flm-node that need no process: logs, command lines, the memory group, the states of a slot. */
#define _GNU_SOURCE
#include "base/oom.h"
#include "node/log.h"
#include "node/process.h"
#include "node/slot.h"
#include "node/texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- command lines ----------------------------------------------------------------------------- */

static void splits_words(void **state)
{
    static const struct {
        const char *line, *joined; /* NULL: FLM_EINVAL */
    } cases[] = {
        {"mpirun -n 2", "mpirun|-n|2|"},
        {"  a \t b\n", "a|b|"},
        {"'a b' \"c d\" e\\ f", "a b|c d|e f|"},
        {"a'b c'd", "ab cd|"},
        {"'' x", "|x|"},
        {"'a\\b' \"a\\\"b\"", "a\\b|a\"b|"},
        {"x\\", "x\\|"},
        {"", NULL},
        {"   ", NULL},
        {"'open", NULL},
        {"a \"open", NULL},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct texts t = {0};
        char joined[200] = "";
        int rc = texts_add_words(&t, cases[i].line);
        for (size_t k = 0; k < t.n; k++)
            strcat(strcat(joined, t.list[k]), "|");
        assert_int_equal(rc, cases[i].joined ? 0 : FLM_EINVAL);
        if (cases[i].joined)
            assert_string_equal(joined, cases[i].joined);
        texts_free(&t);
    }
}

static void keeps_an_environment(void **state)
{
    struct texts t = {0};
    (void)state;
    texts_set(&t, "A", "1");
    texts_set(&t, "AB", "2");
    texts_set(&t, "A", "3");
    texts_set_default(&t, "A", "4");
    texts_set_default(&t, "C", "5");
    texts_put(&t, "AB=6=7");
    assert_int_equal(t.n, 3);
    assert_string_equal(texts_get(&t, "A"), "3");
    assert_string_equal(texts_get(&t, "AB"), "6=7");
    assert_string_equal(texts_get(&t, "C"), "5");
    assert_null(texts_get(&t, "B"));
    assert_null(t.list[3]);
    texts_free(&t);
}

/* ---- logs -------------------------------------------------------------------------------------- */

static void add(struct log *log, uint64_t number, const char *text)
{
    log_add(log, number, number % 2, text, strlen(text));
}

static void answers_from_logs(void **state)
{
    struct log a = {.executor = 1}, b = {.executor = 2, .session = "s"};
    const struct log *both[] = {&a, &b};
    static const struct {
        const char *session;
        int executor;
        uint64_t cursor;
        const char *texts;
        uint64_t next;
    } cases[] = {
        {"", -1, 0, "one two three four ", 4},
        {"", -1, 2, "three four ", 4},
        {"s", -1, 0, "two four ", 4},
        {"", 1, 0, "one three ", 4},
        {"t", -1, 0, "", 4},
        {"", -1, 4, "", 4},
        {"", -1, 9, "", 9},
        {"", 0, 0, "", 4},
    };
    (void)state;
    add(&a, 1, "one");
    add(&b, 2, "two");
    add(&a, 3, "three");
    add(&b, 4, "four");
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        Flm__LogQuery q = FLM__LOG_QUERY__INIT;
        Flm__Reply reply = FLM__REPLY__INIT;
        char texts[100] = "";
        q.session = (char *)(uintptr_t)cases[i].session;
        q.executor = cases[i].executor;
        q.cursor = cases[i].cursor;
        assert_int_equal(log_answer(both, 2, &q, &reply), 0);
        for (size_t k = 0; k < reply.n_lines; k++)
            strcat(strcat(texts, reply.lines[k]->text), " ");
        assert_string_equal(texts, cases[i].texts);
        assert_int_equal(reply.cursor, cases[i].next);
        log_answer_free(&reply);
    }
    log_free(&a);
    log_free(&b);
}

static void logs_are_bounded(void **state)
{
    enum { LINES = 3000 };
    struct log log = {.executor = 1};
    const struct log *all[] = {&log};
    char text[LOG_LINE_MAX];
    (void)state;
    memset(text, 'x', sizeof(text));
    for (uint64_t i = 1; i <= LINES; i++)
        log_add(&log, i, false, text, 1000);
    assert_true(log.bytes <= LOG_BYTES_MAX && log.bytes > LOG_BYTES_MAX - 2000);
    Flm__LogQuery q = FLM__LOG_QUERY__INIT;
    Flm__Reply reply = FLM__REPLY__INIT;
    q.executor = -1;
    assert_int_equal(log_answer(all, 1, &q, &reply), 0);
    assert_true(reply.n_lines > 900 && reply.n_lines < LINES);
    assert_int_equal(reply.lines[reply.n_lines - 1]->number, LINES);
    /* The first line says how many are missing. */
    char expected[100];
    snprintf(expected, sizeof(expected), "(%zu older lines were dropped", LINES - reply.n_lines + 1);
    assert_int_equal(reply.lines[0]->number, LINES - reply.n_lines + 1);
    assert_int_equal(reply.lines[1]->number, reply.lines[0]->number + 1);
    assert_memory_equal(reply.lines[0]->text, expected, strlen(expected));
    log_answer_free(&reply);
    /* Who has read some of the dropped ones is told that others are missing, who has read all nothing. */
    const struct {
        uint64_t cursor;
        int executor;
        const char *text;
    } cases[] = {
        {10, -1, "(lines are missing here"}, {10, 1, "(lines are missing here"}, {LINES - 1, -1, "xxx"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        q.cursor = cases[i].cursor;
        q.executor = cases[i].executor;
        assert_int_equal(log_answer(all, 1, &q, &reply), 0);
        assert_memory_equal(reply.lines[0]->text, cases[i].text, strlen(cases[i].text));
        log_answer_free(&reply);
    }
    q.executor = 2;
    q.cursor = 0;
    assert_int_equal(log_answer(all, 1, &q, &reply), 0);
    assert_int_equal(reply.n_lines, 0);
    log_answer_free(&reply);
    log_free(&log);
}

/* Many full logs do not fit one frame: the rest comes with the next question. */
static void long_answers_come_in_pieces(void **state)
{
    enum { LOGS = 12 };
    static struct log logs[LOGS];
    const struct log *all[LOGS];
    char text[LOG_LINE_MAX];
    uint64_t number = 0, cursor = 0;
    size_t seen = 0;
    (void)state;
    memset(text, 'x', sizeof(text));
    for (unsigned i = 0; i < LOGS * 200; i++) {
        all[i % LOGS] = &logs[i % LOGS];
        log_add(&logs[i % LOGS], ++number, false, text, sizeof(text));
    }
    for (int round = 0; round < 10 && cursor < number; round++) {
        Flm__LogQuery q = FLM__LOG_QUERY__INIT;
        Flm__Reply reply = FLM__REPLY__INIT;
        q.executor = -1;
        q.cursor = cursor;
        assert_int_equal(log_answer(all, LOGS, &q, &reply), 0);
        FLM__MESSAGE(m, reply, REPLY, &reply);
        assert_true(flm__message__get_packed_size(&m) < FLM__FRAME_MAX);
        for (size_t i = 0; i < reply.n_lines; i++)
            assert_int_equal(reply.lines[i]->number, cursor + 1 + i);
        seen += reply.n_lines;
        assert_int_equal(reply.cursor, cursor + reply.n_lines);
        cursor = reply.cursor;
        log_answer_free(&reply);
    }
    assert_int_equal(seen, number);
    for (unsigned i = 0; i < LOGS; i++)
        log_free(&logs[i]);
}

struct lines {
    unsigned n;
    size_t longest;
    char last[LOG_LINE_MAX + 1];
};

static void on_line(void *arg, bool error_stream, const char *text, size_t n)
{
    struct lines *lines = arg;
    assert_true(error_stream);
    lines->n++;
    if (n > lines->longest)
        lines->longest = n;
    snprintf(lines->last, sizeof(lines->last), "%.*s", (int)n, text);
}

static void cuts_streams_into_lines(void **state)
{
    int ends[2];
    uv_loop_t loop;
    struct lines lines = {0};
    char big[3 * LOG_LINE_MAX];
    (void)state;
    uv_loop_init(&loop);
    assert_int_equal(pipe(ends), 0);
    struct log_stream *s = log_stream_new_take(&loop, ends[0], true, on_line, &lines);
    assert_int_equal(write(ends[1], "a\nb\r\n\nhal", 9), 9);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(lines.n, 3);
    assert_string_equal(lines.last, "");
    assert_int_equal(write(ends[1], "f\n", 2), 2);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(lines.n, 4);
    assert_string_equal(lines.last, "half");
    memset(big, 'x', sizeof(big));
    assert_int_equal(write(ends[1], big, sizeof(big)), sizeof(big));
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(lines.n, 7);
    assert_int_equal(lines.longest, LOG_LINE_MAX);
    assert_int_equal(write(ends[1], "the end", 7), 7);
    log_stream_end(s); /* the writer still lives: what is there is taken */
    assert_string_equal(lines.last, "the end");
    close(ends[1]);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- how a process ended ----------------------------------------------------------------------- */

static void describes_ends(void **state)
{
    static const struct {
        int status;
        long peak_kib;
        const char *text;
    } cases[] = {
        {3 << 8, 99 << 10, "exited with status 3 after 1.50 s of CPU time"}, /* the agent's own 100 MiB */
        {9, 200 << 10, "ended by signal 9 (Killed) after 1.50 s of CPU time and at most 200 MiB of memory"},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rusage usage = {.ru_utime = {1, 500000}, .ru_maxrss = cases[i].peak_kib};
        char text[200];
        process_describe(cases[i].status, &usage, 100 << 10, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
    assert_true(process_peak_kib() > 0);
}

/* ---- the memory group -------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void sees_kills_for_memory(void **state)
{
    static const struct {
        const char *cgroup, *folder, *file, *before, *after;
    } cases[] = {
        {"0::/job\n", "job", "job/memory.events", "low 0\noom 3\noom_kill 3\n",
         "oom 4\noom_kill 4\noom_group_kill 0\n"},
        {"0::/docker/abc\n", ".", "memory.events", "oom_kill 0\n", "oom_kill 1\n"},
        {"5:cpu:/x\n4:memory:/job\n1:name=systemd:/y\n", "memory", "memory/job/memory.oom_control",
         "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"},
    };
    char directory[] = "/tmp/flm-test-oom-XXXXXX", cgroup[100], file[200];
    struct flm__oom oom;
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(cgroup, sizeof(cgroup), "%s/cgroup", directory);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(file, sizeof(file), "mkdir -p %s/memory/job %s/job", directory, directory);
        assert_int_equal(system(file), 0);
        snprintf(file, sizeof(file), "%s/%s", directory, cases[i].file);
        write_file(cgroup, cases[i].cgroup);
        write_file(file, cases[i].before);
        flm__oom_open(&oom, cgroup, directory);
        assert_false(flm__oom_lately(&oom, 1));
        write_file(file, cases[i].after);
        assert_true(flm__oom_lately(&oom, 2));
        assert_true(flm__oom_lately(&oom, 3)); /* two may have been killed at once */
        assert_false(flm__oom_lately(&oom, 2 + FLM__OOM_LATELY_NS));
        unlink(file);
        assert_false(flm__oom_lately(&oom, 3 + FLM__OOM_LATELY_NS));
    }
    write_file(cgroup, "nonsense\n::\n0::\n9:memory\n");
    flm__oom_open(&oom, cgroup, directory);
    assert_false(flm__oom_lately(&oom, 1));
    flm__oom_open(&oom, "/no/such/file", directory);
    assert_false(flm__oom_lately(&oom, 1));
    snprintf(file, sizeof(file), "rm -rf %s", directory);
    assert_int_equal(system(file), 0);
}

/* ---- states ------------------------------------------------------------------------------------ */

static int state_number(const char *name)
{
    for (int i = 0; i < SLOT_STATES; i++)
        if (strcmp(slot_state_name(i), name) == 0)
            return i;
    fail_msg("slot.dot draws a state '%s' that does not exist", name);
    return -1;
}

static void states_are_as_drawn(void **state)
{
    bool drawn[SLOT_STATES][SLOT_STATES] = {{false}};
    char line[200], from[32], to[32];
    unsigned n = 0;
    (void)state;
    FILE *f = fopen(FLM_SRCDIR "/src/node/slot.dot", "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, " %31[a-z] -> %31[a-z]", from, to) != 2)
            continue;
        drawn[state_number(from)][state_number(to)] = true;
        n++;
    }
    fclose(f);
    assert_true(n > 10);
    for (int a = 0; a < SLOT_STATES; a++)
        for (int b = 0; b < SLOT_STATES; b++)
            if (drawn[a][b] != slot_may(a, b))
                fail_msg("%s -> %s is %s", slot_state_name(a), slot_state_name(b),
                         drawn[a][b] ? "drawn but not allowed" : "allowed but not drawn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_words),
        cmocka_unit_test(keeps_an_environment),
        cmocka_unit_test(answers_from_logs),
        cmocka_unit_test(logs_are_bounded),
        cmocka_unit_test(long_answers_come_in_pieces),
        cmocka_unit_test(cuts_streams_into_lines),
        cmocka_unit_test(describes_ends),
        cmocka_unit_test(sees_kills_for_memory),
        cmocka_unit_test(states_are_as_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
