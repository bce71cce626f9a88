/* test_montecarlo_results.c - sums in order, the history, and the files of examples/montecarlo. */
#include "plot.h"
#include "report.h"
#include "results.h"
#include "save.h"
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#ifdef EXAMPLES_HDF5
#include <hdf5.h>
#endif

#define WINDOW 64

static const struct model pi = {.version = MODEL_VERSION, .payoff = PAYOFF_PI, .seed = 1};

static struct mc_sums made_up(uint64_t number)
{
    double x = sin((double)number) * pow(10, (double)(number % 13));
    return (struct mc_sums){.number = number, .samples = 10 + number % 3, .sum = x, .sum2 = fabs(x) * 3};
}

/* Tasks 0..n-1 arrive in an order that depends on salt. */
static struct reduce reduced(uint64_t n, uint64_t salt)
{
    struct reduce r;
    unsigned char here[1000] = {0};

    assert_true(n <= sizeof(here));
    assert_int_equal(reduce_init(&r, &pi, WINDOW), 0);
    while (r.next < n) {
        uint64_t room = n - r.next < WINDOW ? n - r.next : WINDOW;
        uint64_t number = r.next + (salt = salt * 6364136223846793005u + 1442695040888963407u) / 7 % room;
        struct mc_sums sums = made_up(number);
        if (here[number])
            continue;
        here[number] = 1;
        assert_int_equal(reduce_put(&r, &sums), 0);
        while (reduce_step(&r))
            ;
    }
    return r;
}

static void test_order_of_arrival_does_not_matter(void **state)
{
    struct reduce first = reduced(1000, 0);
    struct estimate e = reduce_estimate(&first);

    (void)state;
    for (uint64_t salt = 1; salt < 20; salt++) {
        struct reduce other = reduced(1000, salt);
        struct estimate x = reduce_estimate(&other);
        assert_memory_equal(&other.sum, &first.sum, sizeof(first.sum));
        assert_memory_equal(&x.value, &e.value, sizeof(e.value));
        assert_memory_equal(&x.error, &e.error, sizeof(e.error));
        reduce_fini(&other);
    }
    reduce_fini(&first);
}

static void test_sums_keep_what_a_double_loses(void **state)
{
    static const double x[] = {1e16, 1, 1, 1, -1e16};
    struct reduce r;

    (void)state;
    assert_int_equal(reduce_init(&r, &pi, WINDOW), 0);
    for (uint64_t i = 0; i < 5; i++) {
        struct mc_sums sums = {.number = i, .samples = 1, .sum = x[i], .sum2 = 0};
        assert_int_equal(reduce_put(&r, &sums), 0);
        assert_int_equal(reduce_step(&r), 1);
    }
    assert_true(reduce_estimate(&r).value == 4 * 3.0 / 5);
    reduce_fini(&r);
}

static void test_estimate_and_standard_error(void **state)
{
    struct mc_sums sums = {.number = 0, .samples = 1000, .sum = 785, .sum2 = 785};
    struct reduce r;
    struct estimate e;

    (void)state;
    assert_int_equal(reduce_init(&r, &pi, WINDOW), 0);
    assert_true(isnan(reduce_estimate(&r).error));
    reduce_put(&r, &sums);
    reduce_step(&r);
    e = reduce_estimate(&r);
    assert_int_equal(e.samples, 1000);
    assert_true(fabs(e.value - 3.14) < 1e-12);
    assert_true(fabs(e.error - 4 * sqrt(0.785 * 0.215 / 999)) < 1e-12);
    reduce_fini(&r);
}

static void test_what_is_not_a_task_is_refused(void **state)
{
    struct reduce r = reduced(100, 3);
    const struct mc_sums cases[] = {
        {.number = 99, .samples = 1},                    /* done */
        {.number = 100 + WINDOW, .samples = 1},          /* not under way */
        {.number = UINT64_MAX, .samples = 1},            /* nor this */
        {.number = 101, .samples = 0},                   /* empty */
        {.number = 101, .samples = 1, .sum = NAN},       /* no numbers */
        {.number = 101, .samples = 1, .sum = -INFINITY}, /**/
        {.number = 101, .samples = 1, .sum2 = NAN},      /**/
        {.number = 101, .samples = 1, .sum2 = INFINITY}, /**/
        {.number = 101, .samples = 1, .sum2 = -1},       /**/
    };
    const struct mc_sums good = {.number = 101, .samples = 1, .sum = 1, .sum2 = 1};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(reduce_put(&r, &cases[i]), FLM_EINVAL);
    assert_int_equal(reduce_put(&r, &good), 0);
    assert_int_equal(reduce_put(&r, &good), FLM_EINVAL); /* twice */
    assert_int_equal(reduce_step(&r), 0);                /* 100 is missing */
    reduce_fini(&r);
}

static void fill(struct history *h, uint64_t rows)
{
    memset(h, 0, sizeof(*h));
    h->exact = 3.14159;
    for (uint64_t n = 1; n <= rows; n++) {
        struct estimate e = {
            .samples = n * 1000, .value = 3 + 1.0 / (double)n, .error = 1 / sqrt((double)n)};
        history_add(h, &e, n == rows);
    }
}

static void test_history_grows_by_per_cents(void **state)
{
    static struct history h;
    struct estimate last = {.samples = UINT64_MAX, .value = 1, .error = 1};

    (void)state;
    fill(&h, 100000);
    assert_in_range(h.n, 100, 250);
    assert_int_equal(h.row[h.n - 1].samples, 100000000);
    for (int i = 1; i < h.n; i++)
        assert_true(h.row[i].samples > h.row[i - 1].samples);
    assert_true(h.row[0].difference == 4 - 3.14159);
    history_add(&h, &(struct estimate){.samples = 100000000}, 1); /* no news */
    assert_int_equal(h.row[h.n - 1].samples, 100000000);
    for (int i = 0; i < 2 * HISTORY_ROWS; i++, last.samples--)
        history_add(&h, &last, 1);
    assert_int_equal(h.n, HISTORY_ROWS);
}

static const struct outcome outcome = {.model = {.version = 1,
                                                 .payoff = PAYOFF_CALL,
                                                 .seed = UINT64_MAX,
                                                 .spot = 100,
                                                 .strike = 105,
                                                 .rate = 0.05,
                                                 .volatility = 0.2,
                                                 .maturity = 1},
                                       .estimate = {.samples = 1000, .value = 3.5, .error = 0.25},
                                       .exact = 3.25,
                                       .tasks = 7,
                                       .executors = 3,
                                       .seconds = 1.5,
                                       .version = "9.9"};

static char *read_all(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);

    assert_non_null(f);
    assert_non_null(text);
    *size = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    return text;
}

static void test_csv(void **state)
{
    static struct history h;
    char *text, *at;
    size_t size;
    int lines = 0;

    (void)state;
    fill(&h, 10);
    assert_int_equal(results_write("out.csv", &outcome, &h, NULL), 0);
    text = read_all("out.csv", &size);
    for (at = text; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, h.n + 3);
    assert_non_null(strstr(text, "seed 18446744073709551615"));
    assert_non_null(strstr(text, "\nsamples,estimate,standard_error,exact,difference\n1000,4,1,3.14"));
    free(text);
    unlink("out.csv");
}

#ifdef EXAMPLES_HDF5
static void assert_number(hid_t file, const char *name, double want)
{
    double x = NAN;
    hid_t a = H5Aopen(file, name, H5P_DEFAULT);

    assert_true(a >= 0 && H5Aread(a, H5T_NATIVE_DOUBLE, &x) >= 0);
    assert_true(x == want);
    H5Aclose(a);
}

static void test_hdf5(void **state)
{
    static struct history h;
    double error[HISTORY_ROWS];
    uint64_t seed = 0;
    char version[16];
    hid_t file, set, a, type;

    (void)state;
    fill(&h, 1000);
    assert_int_equal(results_write("out.h5", &outcome, &h, NULL), 0);
    file = H5Fopen("out.h5", H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    assert_number(file, "estimate", 3.5);
    assert_number(file, "standard_error", 0.25);
    assert_number(file, "exact", 3.25);
    assert_number(file, "tasks", 7);
    assert_number(file, "executors", 3);
    assert_number(file, "strike", 105);
    a = H5Aopen(file, "seed", H5P_DEFAULT);
    H5Aread(a, H5T_NATIVE_UINT64, &seed);
    H5Aclose(a);
    assert_true(seed == UINT64_MAX);
    a = H5Aopen(file, "flame_version", H5P_DEFAULT);
    type = H5Aget_type(a);
    assert_int_equal(H5Tget_size(type), 4);
    H5Aread(a, type, version);
    assert_string_equal(version, "9.9");
    H5Tclose(type);
    H5Aclose(a);
    set = H5Dopen2(file, "/convergence", H5P_DEFAULT);
    type = H5Tcreate(H5T_COMPOUND, sizeof(double)); /* one column, by its name */
    H5Tinsert(type, "standard_error", 0, H5T_NATIVE_DOUBLE);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, error) >= 0);
    for (int i = 0; i < h.n; i++)
        assert_true(error[i] == h.row[i].standard_error);
    H5Tclose(type);
    H5Dclose(set);
    H5Fclose(file);
    unlink("out.h5");
}
#endif

static void test_plots_have_no_strange_numbers(void **state)
{
    static struct history h;
    static const uint64_t rows[] = {0, 1, 2, 1000};

    (void)state;
    for (int strange = 0; strange < 4; strange++)
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            size_t size;
            char *svg;
            fill(&h, rows[i]);
            for (int r = 0; r < h.n && strange; r++) {
                h.row[r].standard_error = strange == 1 ? 0 : strange == 2 ? NAN : 1e-300;
                h.row[r].difference = strange == 1 ? 0 : h.row[r].difference;
            }
            svg = plot_svg(&outcome, &h, &size);
            assert_non_null(svg);
            assert_null(strstr(svg, "nan"));
            assert_null(strstr(svg, "inf"));
            assert_int_equal(strlen(svg), size);
            assert_string_equal(svg + size - 7, "</svg>\n");
            free(svg);
        }
}

static void test_plot_names(void **state)
{
    flm_error error;

    (void)state;
    assert_int_equal(plot_check("a.svg", &error), 0);
    assert_int_equal(plot_check("a.gif", &error), FLM_EINVAL);
    assert_int_equal(plot_check(".svg", &error), FLM_EINVAL);
    assert_int_equal(plot_check("/no/such/folder/a.svg", &error), FLM_EIO);
    assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
    assert_int_equal(plot_check("a.png", &error), FLM_ENOTFOUND);
    assert_non_null(strstr(error.text, "librsvg2-bin"));
}

/* A full disk: this process may not write beyond 4096 bytes. */
static void test_a_failed_write_leaves_the_old_file(void **state)
{
    static char data[100000];
    struct rlimit before, small;
    flm_error error;
    size_t size;
    char *text;

    (void)state;
    assert_int_equal(save_file("kept", "old", 3, &error), 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(save_file("kept", data, sizeof(data), &error), FLM_EIO);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_non_null(strstr(error.text, "kept"));
    text = read_all("kept", &size);
    assert_string_equal(text, "old");
    free(text);
    unlink("kept");
    assert_int_equal(save_file("/dev/full", "x", 1, &error), FLM_EIO);
    assert_non_null(strstr(error.text, "free some space"));
    assert_int_equal(access("/dev/full", F_OK), 0);
}

static void test_files_are_written_as_others_do(void **state)
{
    struct stat st;

    (void)state;
    umask(027);
    assert_int_equal(save_file("target", "1", 1, NULL), 0);
    assert_int_equal(stat("target", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(symlink("target", "link"), 0);
    assert_int_equal(save_file("link", "22", 2, NULL), 0);
    assert_int_equal(lstat("link", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat("target", &st), 0);
    assert_int_equal(st.st_size, 2);
    unlink("link");
    unlink("target");
    assert_int_equal(save_check(".", NULL), FLM_EIO);
    assert_int_equal(save_check("", NULL), FLM_EIO);
    assert_int_equal(save_check("here.h5", NULL), 0);
}

static void test_numbers_for_people(void **state)
{
    char t[REPORT_TEXT];

    (void)state;
    assert_string_equal(report_count(t, 0), "0");
    assert_string_equal(report_count(t, 999), "999");
    assert_string_equal(report_count(t, 1000), "1,000");
    assert_string_equal(report_count(t, UINT64_MAX), "18,446,744,073,709,551,615");
    assert_string_equal(report_rate(t, 0), "0.00");
    assert_string_equal(report_rate(t, 999.6), "1.00 k");
    assert_string_equal(report_rate(t, 12345), "12.3 k");
    assert_string_equal(report_rate(t, 7.9e8), "790 M");
    assert_string_equal(report_time(t, 0.5), "0.50 s");
    assert_string_equal(report_time(t, 83), "83 s");
    assert_string_equal(report_time(t, 5000), "1 h 23 min");
    assert_string_equal(report_time(t, INFINITY), "-");
    assert_string_equal(report_time(t, NAN), "-");
}

static void test_json_text(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    (void)state;
    json_text(f, "a\"b\\c\n\x01/");
    json_number(f, NAN);
    fclose(f);
    assert_string_equal(text, "\"a\\\"b\\\\c\\u000a\\u0001/\"null");
    free(text);
}

static int enter_folder(void **state)
{
    static char folder[] = "/tmp/flm-unit-XXXXXX";

    *state = folder;
    return !mkdtemp(folder) || chdir(folder);
}

static int leave_folder(void **state)
{
    return chdir("/") || rmdir(*state); /* also checks that nothing is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_arrival_does_not_matter),
        cmocka_unit_test(test_sums_keep_what_a_double_loses),
        cmocka_unit_test(test_estimate_and_standard_error),
        cmocka_unit_test(test_what_is_not_a_task_is_refused),
        cmocka_unit_test(test_history_grows_by_per_cents),
        cmocka_unit_test(test_csv),
#ifdef EXAMPLES_HDF5
        cmocka_unit_test(test_hdf5),
#endif
        cmocka_unit_test(test_plots_have_no_strange_numbers),
        cmocka_unit_test(test_plot_names),
        cmocka_unit_test(test_a_failed_write_leaves_the_old_file),
        cmocka_unit_test(test_files_are_written_as_others_do),
        cmocka_unit_test(test_numbers_for_people),
        cmocka_unit_test(test_json_text),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
