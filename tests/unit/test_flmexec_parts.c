/* The parts of flmexec that need no instance: places in a command, sources of
 * arguments, the joblog, outputs, results, the progress line. */
#include "tools/flmexec_joblog.h"
#include "tools/flmexec_output.h"
#include "tools/flmexec_results.h"
#include "tools/flmexec_source.h"
#include "tools/flmexec_template.h"
#include "tools/progress.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Words and arguments are separated by '|', as is the command that comes out. */
static int split(char *text, char **list)
{
    int n = 0;
    for (char *next; text; text = next) {
        next = strchr(text, '|');
        if (next)
            *next++ = 0;
        list[n++] = text;
    }
    return n;
}

static void test_template(void **state)
{
    (void)state;
    static const struct {
        const char *words, *arguments, *direct, *shell;
    } cases[] = {
        {"echo", "a", "echo|a|", "echo a"},
        {"echo|{}", "a b", "echo|a b|", "echo 'a b'"},
        {"echo|x{}y", "a|b", "echo|xa|by|", "echo xa by"},
        {"{2}|{1}|{3}|{-1}", "a|b", "b|a|b|", "b a  b"},
        {"{.}|{/}|{//}|{/.}", "d.d/x.tar.gz", "d.d/x.tar|x.tar.gz|d.d|x.tar|",
         "d.d/x.tar x.tar.gz d.d x.tar"},
        {"{.}|{/}|{//}|{/.}", ".rc", "|.rc|.||", "'' .rc . ''"},
        {"{.}|{/}|{//}|{/.}", "/abs", "/abs|abs|/|abs|", "/abs abs / abs"},
        {"{.}|{//}", "d.d/f", "d.d/f|d.d|", "d.d/f d.d"},
        {"{1.}{2/}", "a.c|b/d", "ad|", "ad"},
        {"echo|{#}", "a", "echo|17|", "echo 17"},
        {"awk|{print $1}", "f", "awk|{print $1}|f|", "awk {print $1} f"},
        {"echo|{}", "it's", "echo|it's|", "echo 'it'\\''s'"},
        {"echo||{}", "", "echo|||", "echo  ''"},
        {"{0}|{10}|{1x}|{}}", "a", "{0}|{1x}|a}|", "{0}  {1x} a}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char words[100], arguments[100], *word[20];
        const char *item[20];
        size_t size[20];
        struct flmexec_template t = {0};
        struct flmexec_text out = {0};
        strcpy(words, cases[i].words);
        strcpy(arguments, cases[i].arguments);
        struct flmexec_arguments a = {.item = item, .size = size};
        a.n = split(arguments, (char **)item);
        for (int k = 0; k < a.n; k++)
            size[k] = strlen(item[k]);
        flmexec_template_make(&t, word, split(words, word));
        flmexec_template_expand(&t, &a, 17, &out);
        for (size_t k = 0; k < out.size; k++)
            out.data[k] = out.data[k] ? out.data[k] : '|';
        assert_string_equal(out.data, cases[i].direct);
        t.shell = "sh";
        flmexec_template_expand(&t, &a, 17, &out);
        assert_memory_equal(out.data, "sh\0-c", 6);
        assert_string_equal(out.data + 6, cases[i].shell);
        assert_int_equal(out.size, 6 + strlen(cases[i].shell) + 1);
        flmexec_text_free(&out);
        flmexec_template_free(&t);
    }
}

/* Quoted words come back from a shell as they were. */
static void test_quoting(void **state)
{
    (void)state;
    char all[256];
    struct flmexec_text command = {0};
    for (int i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = 0;
    flmexec_text_str(&command, "printf %s ");
    flmexec_text_quoted(&command, all, 255);
    FILE *p = popen(command.data, "r");
    char back[300];
    assert_int_equal(fread(back, 1, sizeof(back), p), 255);
    assert_memory_equal(back, all, 255);
    pclose(p);
    flmexec_text_free(&command);
}

/* --- sources --- */

static char *temporary(const char *text, size_t size)
{
    static char path[64];
    strcpy(path, "/tmp/flmexec-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
    return path;
}

/* All jobs, as "a|b;c|d;". */
static void expect_jobs(struct flmexec_inputs *in, const char *expected, bool counted)
{
    struct flmexec_text all = {0};
    struct flmexec_arguments a;
    uint64_t n = 0, count;
    flmexec_text_str(&all, "");
    flmexec_inputs_open(in);
    count = flmexec_inputs_count(in);
    for (; flmexec_inputs_next(in, &a) == NEXT_JOB; n++) {
        for (int i = 0; i < a.n; i++) {
            flmexec_text_add(&all, a.item[i], a.size[i]);
            assert_int_equal(a.item[i][a.size[i]], 0);
            flmexec_text_char(&all, i + 1 < a.n ? '|' : ';');
        }
        if (a.n == 0)
            flmexec_text_char(&all, ';');
    }
    assert_int_equal(flmexec_inputs_next(in, &a), NEXT_END);
    assert_string_equal(all.data, expected);
    if (counted)
        assert_int_equal(count, n);
    flmexec_text_free(&all);
    flmexec_inputs_close(in);
}

static struct flmexec_inputs inputs_of(int n)
{
    struct flmexec_inputs in = {.n = n, .delimiter = '\n', .per_job = 1};
    in.source = flmexec_alloc((size_t)n * sizeof(*in.source));
    for (int i = 0; i < n; i++)
        in.source[i].fd = -1;
    return in;
}

static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        char delimiter;
        const char *colsep;
        int per_job;
        const char *expected;
    } cases[] = {
        {"a b\n\nc\n", 7, '\n', NULL, 1, "a b;;c;"},
        {"a\nb", 3, '\n', NULL, 1, "a;b;"},
        {"", 0, '\n', NULL, 1, ""},
        {"\n", 1, '\n', NULL, 1, ";"},
        {"a\nb\0c\0", 6, 0, NULL, 1, "a\nb;c;"},
        {"1\n2\n3\n4\n5\n", 10, '\n', NULL, 2, "1|2;3|4;5;"},
        {"1\n2\n", 4, '\n', NULL, 0, ";;"},
        {"1,x,\n2\n", 7, '\n', ",", 1, "1|x|;2;"},
        {"1::2:3\n", 7, '\n', "::", 1, "1|2:3;"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct flmexec_inputs in = inputs_of(1);
        char *file = temporary(cases[i].text, cases[i].size);
        in.source[0].file = file;
        in.delimiter = cases[i].delimiter;
        in.colsep = cases[i].colsep;
        in.per_job = cases[i].per_job;
        expect_jobs(&in, cases[i].expected, true);
        unlink(file);
    }
}

/* More than a buffer, and items that lie across its end. */
static void test_large_file(void **state)
{
    (void)state;
    struct flmexec_text text = {0};
    char line[64];
    for (int i = 0; i < 100000; i++) {
        snprintf(line, sizeof(line), "item %d\n", i);
        flmexec_text_str(&text, line);
    }
    char *file = temporary(text.data, text.size);
    struct flmexec_inputs in = inputs_of(1);
    struct flmexec_arguments a;
    in.source[0].file = file;
    flmexec_inputs_open(&in);
    assert_int_equal(flmexec_inputs_count(&in), 100000);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(flmexec_inputs_next(&in, &a), NEXT_JOB);
        snprintf(line, sizeof(line), "item %d", i);
        assert_string_equal(a.item[0], line);
    }
    assert_int_equal(flmexec_inputs_next(&in, &a), NEXT_END);
    flmexec_inputs_close(&in);
    unlink(file);
    flmexec_text_free(&text);
}

static void test_combinations(void **state)
{
    (void)state;
    static char *abc[] = {(char *)"a", (char *)"b", (char *)"c"}, *two[] = {(char *)"1", (char *)"2"};
    struct flmexec_inputs in = inputs_of(2);
    in.source[0] = (struct flmexec_source){.list = abc, .n_list = 3, .fd = -1};
    in.source[1] = (struct flmexec_source){.list = two, .n_list = 2, .fd = -1};
    expect_jobs(&in, "a|1;a|2;b|1;b|2;c|1;c|2;", true);
    in = inputs_of(2);
    in.source[0] = (struct flmexec_source){.list = abc, .n_list = 3, .fd = -1};
    in.source[1] = (struct flmexec_source){.list = two, .n_list = 2, .linked = true, .fd = -1};
    expect_jobs(&in, "a|1;b|2;", true);
    in = inputs_of(3);
    in.source[0] = (struct flmexec_source){.list = two, .n_list = 2, .fd = -1};
    in.source[1] = (struct flmexec_source){.list = abc, .n_list = 3, .fd = -1};
    in.source[2] = (struct flmexec_source){.list = two, .n_list = 2, .linked = true, .fd = -1};
    expect_jobs(&in, "1|a|1;1|b|2;2|a|1;2|b|2;", true);
    in = inputs_of(2);
    in.source[0] = (struct flmexec_source){.list = abc, .n_list = 0, .fd = -1};
    in.source[1] = (struct flmexec_source){.list = two, .n_list = 2, .fd = -1};
    expect_jobs(&in, "", true);
}

/* A pipe that has nothing yet says so, and goes on where it was. */
static void test_waiting(void **state)
{
    (void)state;
    int fds[2], saved = dup(0);
    struct flmexec_arguments a;
    assert_int_equal(pipe(fds), 0);
    dup2(fds[0], 0);
    struct flmexec_inputs in = inputs_of(1);
    in.source[0].file = "-";
    in.per_job = 2;
    flmexec_inputs_open(&in);
    assert_int_equal(flmexec_inputs_next(&in, &a), NEXT_WAIT);
    assert_int_equal(write(fds[1], "one\ntw", 6), 6);
    assert_int_equal(flmexec_inputs_next(&in, &a), NEXT_WAIT);
    assert_int_equal(flmexec_inputs_fd(&in), 0);
    assert_int_equal(write(fds[1], "o\n", 2), 2);
    assert_int_equal(flmexec_inputs_next(&in, &a), NEXT_JOB);
    assert_int_equal(a.n, 2);
    assert_string_equal(a.item[0], "one");
    assert_string_equal(a.item[1], "two");
    close(fds[1]);
    assert_int_equal(flmexec_inputs_next(&in, &a), NEXT_END);
    flmexec_inputs_close(&in);
    dup2(saved, 0);
    close(saved);
    close(fds[0]);
}

/* --- joblog --- */

static void test_joblog(void **state)
{
    (void)state;
    char file[64];
    struct flmexec_joblog log;
    strcpy(file, temporary("", 0));
    flmexec_joblog_open(&log, file, false, false);
    for (uint64_t seq = 1; seq <= 200; seq += 2) {
        struct flmexec_joblog_entry e = {
            .seq = seq, .host = "n", .start_s = 1, .run_s = 2, .exit_value = seq == 5, .command = "x\\ty"};
        e.signal = seq == 7 ? 9 : 0;
        assert_int_equal(flmexec_joblog_write(&log, &e), 0);
    }
    flmexec_joblog_close(&log);
    int fd = open(file, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "strange\n8\tn\t1.0\t2", 17), 17); /* a line that is none, and a torn one */
    close(fd);
    for (int failed = 0; failed < 2; failed++) {
        flmexec_joblog_open(&log, file, true, failed);
        for (uint64_t seq = 0; seq < 10000; seq++)
            assert_int_equal(flmexec_joblog_done(&log, seq),
                             seq % 2 == 1 && seq < 200 && !(failed && (seq == 5 || seq == 7)));
        struct flmexec_joblog_entry e = {.seq = 8 + 2 * (uint64_t)failed, .host = "n", .command = "c"};
        assert_int_equal(flmexec_joblog_write(&log, &e), 0);
        flmexec_joblog_close(&log);
        flmexec_joblog_open(&log, file, true, false);
        assert_true(flmexec_joblog_done(&log, e.seq)); /* the torn line is gone, and did not swallow it */
        flmexec_joblog_close(&log);
        assert_int_equal(truncate(file, 0), 0);
        flmexec_joblog_open(&log, file, true, false);
        assert_int_equal(log.n_done, 0);
        for (uint64_t seq = 1; seq < 200; seq += 2) {
            e = (struct flmexec_joblog_entry){
                .seq = seq, .host = "n", .exit_value = seq == 5, .command = ""};
            e.signal = seq == 7 ? 9 : 0;
            flmexec_joblog_write(&log, &e);
        }
        flmexec_joblog_close(&log);
    }
    unlink(file);
}

/* --- outputs --- */

/* What flmexec_output writes to stdout goes to a file. */
static void test_spill(void **state)
{
    (void)state;
    char file[64], expected[20000], got[20001];
    size_t n = 0;
    struct flmexec_output o;
    struct flmexec_held held[100];
    strcpy(file, temporary("", 0));
    int saved = dup(1), fd = open(file, O_RDWR | O_TRUNC);
    fflush(stdout);
    dup2(fd, 1);
    flmexec_output_init(&o, true);
    o.held_max = 1000; /* the rest goes to the file */
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            char text[64];
            int size = snprintf(text, sizeof(text), "%d first\n%d second", i, i);
            assert_int_equal(flmexec_output_hold(&o, &held[i], text, (size_t)size, 0), 0);
            n += (size_t)sprintf(expected + n, "t\t%d first\nt\t%d second", i, i);
        }
        assert_true(o.spilled > 0 && o.held <= 1000);
        for (int i = 0; i < 100; i++)
            assert_int_equal(flmexec_output_release(&o, "t", &held[i]), 0);
        assert_int_equal(o.spilled, 0);
        assert_int_equal(o.held, 0);
    }
    flmexec_output_fini(&o);
    dup2(saved, 1);
    close(saved);
    ssize_t size = pread(fd, got, sizeof(got), 0);
    close(fd);
    unlink(file);
    assert_int_equal(size, n);
    assert_memory_equal(got, expected, n);
}

static void test_results_folder(void **state)
{
    (void)state;
    char longer[1000];
    memset(longer, 'x', sizeof(longer));
    const char *item[] = {"a/b\\c\td", "", "..", longer};
    size_t size[] = {7, 0, 2, sizeof(longer)};
    struct flmexec_arguments a = {.item = item, .size = size, .n = 3};
    struct flmexec_text out = {0};
    flmexec_results_folder("dir", &a, 5, &out);
    assert_string_equal(out.data, "dir/1/a\\_b\\\\c\\td/2/\\/3/..\\");
    a.n = 0;
    flmexec_results_folder("dir", &a, 5, &out);
    assert_string_equal(out.data, "dir/5");
    a = (struct flmexec_arguments){.item = item + 3, .size = size + 3, .n = 1};
    flmexec_results_folder("dir", &a, 5, &out);
    assert_true(out.size < 255 && strcmp(out.data + out.size - 2, "~5") == 0);
    flmexec_text_free(&out);
}

/* --- progress --- */

static void test_progress_line(void **state)
{
    (void)state;
    static const struct {
        struct progress_view view;
        unsigned width;
        const char *line;
    } cases[] = {
        {{.label = "x", .done = 1234567, .elapsed_s = 61}, 80, "x 1,234,567  1:01"},
        {{.label = "x", .done = 50, .total = 100, .rate = 10, .failed = 3},
         60,
         "x [=========>        ] 50/100  50%  10/s  ETA 0:05  3 failed"},
        {{.label = "x", .done = 100, .total = 100, .rate = 2.5e6, .elapsed_s = 90000},
         50,
         "x [================] 100/100 100%  2.50 M/s  1d01h"},
        {{.label = "x", .done = 7, .total = 100, .rate = 0.5}, 20, "x 7/100   7%  0.50/s"},
        {{.label = "x", .done = 200, .total = 100, .rate = 123456, .elapsed_s = 3661},
         60,
         "x [=========================] 200/100 100%  123 k/s  1:01:01"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[200];
        int n = progress_format(line, sizeof(line), cases[i].width, &cases[i].view);
        assert_true((unsigned)n <= cases[i].width);
        assert_string_equal(line, cases[i].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_template),       cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_files),          cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_combinations),   cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_joblog),         cmocka_unit_test(test_spill),
        cmocka_unit_test(test_results_folder), cmocka_unit_test(test_progress_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
