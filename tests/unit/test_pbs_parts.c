/* What the backend `pbs` reads: answers of OpenPBS 23.06 as they were recorded, broken ones, node files. */
#define _GNU_SOURCE
#include "../../plugins/pbs/json.h"
#include "../../plugins/pbs/nodes.h"
#include "../../plugins/pbs/reports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char *recorded(const char *name, size_t *n)
{
    char path[512];
    snprintf(path, sizeof(path), FLM_SRCDIR "/tests/fixtures/pbs/%s", name);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    char *text = malloc(1 << 16);
    *n = fread(text, 1, (1 << 16) - 1, f);
    text[*n] = 0;
    fclose(f);
    return text;
}

static void read_recorded(const char *name, struct job_reports *all)
{
    size_t n;
    char *text = recorded(name, &n);
    assert_true(reports_read(text, n, all));
    free(text);
}

static void jobs_are_read(void **state)
{
    struct job_reports all;
    (void)state;
    read_recorded("jobs.json", &all);
    assert_int_equal(all.n, 7);
    const struct job_report *three = reports_find(&all, "0.head");
    assert_non_null(three);
    assert_ptr_equal(three, reports_find(&all, "0"));
    assert_int_equal(three->state, 'R');
    assert_int_equal(three->walltime_s, 300);
    assert_int_equal(report_end(three), three->start_s + 300);
    assert_true(three->has_ranks && three->has_threads);
    assert_string_equal(three->exec_host, "n1/0*2+n2/0*2+n3/0*2");
    const struct job_report *plain = reports_find(&all, "1.head");
    assert_int_equal(report_end(plain), -1);
    assert_false(plain->has_ranks || plain->has_threads);
    assert_int_equal(reports_find(&all, "2.head")->state, 'Q');
    assert_string_equal(reports_find(&all, "2.head")->comment,
                        "Not Running: Insufficient amount of resource: ncpus (R: 12 A: 5 T: 12)");
    assert_int_equal(reports_find(&all, "3.head")->state, 'H');
    assert_string_equal(reports_find(&all, "4.head")->comment, "Not Running: Queue not started.");
    assert_int_equal(reports_find(&all, "6.head")->state, 'R'); /* has bytes that are not UTF-8 */
    assert_null(reports_find(&all, "7.head"));
    assert_null(reports_find(&all, "0.other"));
    reports_free(&all);
}

static void ends_are_told(void **state)
{
    static const struct {
        const char *id, *how;
    } cases[] = {{"0", "has failed with status 7"},
                 {"1", "was ended by signal 9"},
                 {"4", "has used up its time"},
                 {"5", "was ended by SIGTERM, as by qdel"},
                 {"6", "has ended"}};
    struct job_reports all;
    char text[120];
    (void)state;
    read_recorded("finished.json", &all);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct job_report *job = reports_find(&all, cases[i].id);
        assert_non_null(job);
        assert_int_equal(job->state, 'F');
        assert_string_equal(report_how(job, text, sizeof(text)), cases[i].how);
    }
    reports_free(&all);
}

static void no_jobs_are_no_mistake(void **state)
{
    static const char *const names[] = {"unknown.json", "server_down.json", "nodes.json"};
    struct job_reports all;
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        read_recorded(names[i], &all);
        assert_int_equal(all.n, 0);
        reports_free(&all);
    }
    read_recorded("some_unknown.json", &all);
    assert_int_equal(all.n, 2);
    reports_free(&all);
}

static void nodes_are_read(void **state)
{
    size_t n;
    char *text = recorded("nodes.json", &n);
    (void)state;
    assert_int_equal(report_is_offline(text, n, "n1"), 0);
    assert_int_equal(report_is_offline(text, n, "n3"), 1);
    assert_int_equal(report_is_offline(text, n, "n9"), -1);
    assert_int_equal(report_usual_cpus(text, n), 4);
    free(text);
    text = recorded("nodes_unknown.json", &n);
    assert_int_equal(report_is_offline(text, n, "n9"), -1);
    assert_int_equal(report_usual_cpus(text, n), 0);
    free(text);
}

/* Answers about a job that began at 03:00 and may run for ten minutes; then it was suspended for a while.
 */
struct look {
    int at_s; /* after it began */
    char state;
    int used_s; /* -1: not said */
    int end_s;  /* expected, after it began; -1: none */
};

static void follow_looks(const struct look *looks, size_t n, int64_t stopped_s)
{
    struct tm begin = {.tm_year = 126, .tm_mon = 10, .tm_mday = 22, .tm_hour = 3, .tm_isdst = -1};
    int64_t begin_s = mktime(&begin);
    struct job_reports before = {0};
    for (size_t i = 0; i < n; i++) {
        char text[500], used[60] = "";
        struct job_reports now;
        if (looks[i].used_s >= 0)
            snprintf(used, sizeof(used), "\"resources_used\":{\"walltime\":\"%d\"},", looks[i].used_s);
        snprintf(text, sizeof(text),
                 "{\"timestamp\":%ld,\"Jobs\":{\"1.head\":{%s\"job_state\":\"%c\",\"Resource_List\":"
                 "{\"walltime\":\"00:10:00\"},\"stime\":\"Sun Nov 22 03:00:00 2026\"}}}",
                 (long)(begin_s + looks[i].at_s), used, looks[i].state);
        assert_true(reports_read(text, strlen(text), &now));
        reports_follow(&now, &before, i == 2 ? stopped_s : 0);
        int64_t end_s = report_end(reports_find(&now, "1"));
        assert_int_equal(end_s < 0 ? -1 : end_s - begin_s, looks[i].end_s);
        reports_free(&before);
        before = now;
    }
    reports_free(&before);
}

static void suspended_time_does_not_count(void **state)
{
    static const struct look never[] = {{1, 'R', -1, 600},
                                        {30, 'R', 0, 600},
                                        {60, 'R', 28, 600},
                                        {120, 'R', 59, 600},
                                        {125, 'R', 122, 600}};
    static const struct look seen[] = {{10, 'R', 8, 600},   {20, 'S', 8, -1},    {110, 'S', 8, -1},
                                       {120, 'R', 8, 690},  {125, 'R', 25, 692}, {130, 'R', 28, 694},
                                       {500, 'R', 28, 694}, {505, 'R', 400, 697}};
    static const struct look guessed[] = {{10, 'R', 8, 600}, {400, 'R', 8, 600}, {405, 'R', 12, 985}};
    static const struct look told[] = {
        {10, 'R', 8, 600}, {70, 'R', 60, 600}, {400, 'R', 60, 870}, {460, 'R', 120, 877}};
    (void)state;
    follow_looks(never, sizeof(never) / sizeof(*never), 0);
    follow_looks(seen, sizeof(seen) / sizeof(*seen), 0);
    follow_looks(guessed, sizeof(guessed) / sizeof(*guessed), 0);
    follow_looks(told, sizeof(told) / sizeof(*told), 270);
}

static void long_ids_are_whole(void **state)
{
    char id[JOB_ID] = "123456789.", text[2 * JOB_ID + 100];
    struct job_reports all;
    (void)state;
    memset(id + strlen(id), 'h', 255); /* the rest is 0 */
    snprintf(text, sizeof(text), "{\"Jobs\":{\"%sx\":{\"job_state\":\"F\"},\"%s\":{\"job_state\":\"R\"}}}",
             id, id);
    assert_true(reports_read(text, strlen(text), &all));
    assert_int_equal(all.n, 2);
    assert_int_equal(reports_find(&all, id)->state, 'R');
    reports_free(&all);
}

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        {"0", 0},          {"90", 90}, {"01:30", 90},      {"1:02:03", 3723}, {"720:00:00", 2592000},
        {"00:00:05.5", 5}, {"", -1},   {":", -1},          {"1:", -1},        {"1:2:3:4", -1},
        {"-1", -1},        {"1h", -1}, {"99999999999", -1}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(report_walltime(cases[i].text), cases[i].seconds);
}

struct told {
    char text[4096];
};

static void tell(void *arg, const char *const *keys, unsigned depth, const char *value)
{
    struct told *told = arg;
    size_t n = strlen(told->text);
    for (unsigned i = 0; i < depth; i++)
        n += (size_t)snprintf(told->text + n, sizeof(told->text) - n, "%s.", keys[i]);
    snprintf(told->text + n, sizeof(told->text) - n, "%s ", value);
}

static void odd_texts_are_walked(void **state)
{
    static const struct {
        const char *text, *told;
        bool ok;
    } cases[] = {
        {"{\"a\":1,\"b\":[\"x\",true],\"c\":{\"d\":{}}}", "a.1 b.x b.true ", true},
        {"{\"a\":\"\\\"\\n\\u0041\\u20ac\\x\"}", "a.\"\nA?\\x ", true},
        {"{\"a\":\"\xff\xfe\"}", "a.\xff\xfe ", true},
        {" 7 ", "7 ", true},
        {"{\"a\":\"b", "", false},
        {"{\"a\":1", "a.1 ", false},
        {"{\"a\" 1}", "", false},
        {"{\"a\":1}}", "a.1 ", false},
        {"{\"a\":\"b\\", "", false},
        {"{\"a\":\"\\u12", "", false},
        {"", "", false},
        {"}", "", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct told told = {""};
        assert_int_equal(json_walk(cases[i].text, strlen(cases[i].text), tell, &told), cases[i].ok);
        assert_string_equal(told.text, cases[i].told);
    }
    char deep[2001];
    struct told told = {""};
    memset(deep, '[', 2000);
    deep[2000] = 0;
    assert_false(json_walk(deep, 2000, tell, &told));
    assert_false(json_walk("{\0}", 3, tell, &told));
}

/* Cut anywhere, and with any byte changed: no crash, no read beyond it (AddressSanitizer would see it). */
static void damaged_answers_are_survived(void **state)
{
    size_t n;
    char *text = recorded("jobs.json", &n);
    (void)state;
    for (size_t i = 0; i < n; i += 7) {
        struct job_reports all;
        char *copy = malloc(n);
        memcpy(copy, text, n);
        copy[i] = (char)(copy[i] ^ (1 + i % 255));
        size_t cut = i % 2 ? n : i;
        char *exact = malloc(cut ? cut : 1);
        memcpy(exact, copy, cut);
        reports_read(exact, cut, &all);
        reports_free(&all);
        free(exact);
        free(copy);
    }
    free(text);
}

static void node_files_are_read(void **state)
{
    char file[] = "/tmp/flm-nodes-XXXXXX";
    int fd = mkstemp(file);
    struct pbs_nodes nodes;
    flm_error error = {0, ""};
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(nodes_read(file, &nodes, &error), FLM_ENOTFOUND);
    assert_non_null(strstr(error.text, "is empty"));
    static const char text[] = "n1.site\nn1.site\nn2.site\n\nn10\nn1.site\n";
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(nodes_read(file, &nodes, &error), 0);
    assert_int_equal(nodes.n, 3);
    assert_int_equal(nodes.list[0].lines, 3);
    assert_int_equal(nodes.list[1].line, 2);
    assert_int_equal(nodes.list[2].line, 3);
    nodes_count_cpus(&nodes, "n1/0*4+n1/1+n2/0*2+n3/0*9+n10/7*3");
    assert_int_equal(nodes.list[0].cpus, 5);
    assert_int_equal(nodes.list[1].cpus, 2);
    assert_int_equal(nodes.list[2].cpus, 3);
    assert_null(nodes_find(&nodes, "n1.other"));
    assert_ptr_equal(nodes_find(&nodes, "n2"), &nodes.list[1]);
    nodes_count_cpus(&nodes, "+/*+n1*+");
    nodes_free(&nodes);
    unlink(file);
    assert_int_equal(nodes_read(file, &nodes, &error), FLM_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_read),
        cmocka_unit_test(ends_are_told),
        cmocka_unit_test(no_jobs_are_no_mistake),
        cmocka_unit_test(nodes_are_read),
        cmocka_unit_test(suspended_time_does_not_count),
        cmocka_unit_test(long_ids_are_whole),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(odd_texts_are_walked),
        cmocka_unit_test(damaged_answers_are_survived),
        cmocka_unit_test(node_files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
