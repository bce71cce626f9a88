/* test_matmul.c - tiles, files of matrices and the check of examples/matmul. */
#include "block.h"
#include "inputs.h"
#include "matrix_file.h"
#include "matrix_writer.h"
#include "tile.h"
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

static const struct {
    uint64_t m, n, k, side;
} shapes[] = {{1, 1, 1, 64},    {1, 9, 5, 2},      {9, 1, 1, 4},       {64, 64, 64, 64}, {65, 63, 64, 64},
              {100, 7, 200, 3}, {5, 1000, 3, 128}, {130, 70, 300, 33}, {2, 2, 500, 1}};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_cache_of_a_core(void **state)
{
    static const struct {
        const char *machine;
        uint64_t bytes;
    } cases[] = {
        {"core:2 pu:1", 1 << 20}, /* unknown */
        {"core:2 l1:1(size=49152) pu:1", 1 << 20},
        {"pack:2 l2:2(size=524288) core:1 pu:2", 512 << 10},
        {"pack:1 l3:1(size=33554432) l2:4(size=524288) core:1 pu:2", 8 << 20},
        {"pack:1 l3:1(size=2097152) l2:4(size=1048576) core:1 pu:2", 1 << 20},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        setenv("HWLOC_SYNTHETIC", cases[i].machine, 1);
        assert_int_equal(block_cache_bytes(), cases[i].bytes);
    }
    unsetenv("HWLOC_SYNTHETIC");
}

static void test_sides(void **state)
{
    static const struct {
        uint64_t cache, m, n;
        unsigned executors;
        uint64_t side;
    } cases[] = {
        {1 << 20, 100000, 100000, 2, 192},  /* 3 x 192^2 x 8 bytes fit in 1 MiB, 256^2 do not */
        {16 << 20, 100000, 100000, 2, 832}, /**/
        {1 << 30, 1000000, 1000000, 2, 2048},
        {1, 1000, 1000, 0, 64},
        {16 << 20, 1000, 1000, 100, 64}, /* 256 tiles: fewer than four each, but no less than 64 */
        {16 << 20, 2000, 2000, 2, 704},  /* 3 x 3, cut evenly */
        {16 << 20, 1, 1, 2, 64},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(block_side(cases[i].cache, cases[i].m, cases[i].n, cases[i].executors),
                         cases[i].side);
}

static void test_tiles_cover_c_once(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        uint64_t m = shapes[s].m, n = shapes[s].n, tiles = block_count(m, n, shapes[s].side);
        struct matmul_common head = {.m = m, .n = n};
        unsigned char *seen = calloc(m * n, 1);
        for (uint64_t t = 0; t < tiles; t++) {
            struct tile tile = block_tile(m, n, shapes[s].side, t);
            assert_true(tile_valid(&head, &tile));
            for (uint64_t i = 0; i < tile.rows; i++)
                for (uint64_t j = 0; j < tile.columns; j++)
                    assert_int_equal(seen[(tile.row + i) * n + tile.column + j]++, 0);
        }
        for (uint64_t i = 0; i < m * n; i++)
            assert_int_equal(seen[i], 1);
        free(seen);
    }
}

static void test_tiles_outside_of_c_are_refused(void **state)
{
    const struct matmul_common head = {.m = 100, .n = 50};
    const struct tile cases[] = {{0, 0, 0, 1},          {0, 0, 1, 0},          {100, 0, 1, 1},
                                 {0, 50, 1, 1},         {99, 0, 2, 1},         {0, 49, 1, 2},
                                 {UINT64_MAX, 0, 2, 2}, {1, 0, UINT64_MAX, 1}, {0, 1, 1, UINT64_MAX}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_false(tile_valid(&head, &cases[i]));
}

/* Common data with generated matrices; the caller frees it. */
static char *make_common(uint64_t m, uint64_t n, uint64_t k, size_t *size)
{
    struct matmul_common head = {.version = MATMUL_VERSION, .data = MATMUL_COMMON, .m = m, .n = n, .k = k};
    char *common;
    double *a;

    *size = MATMUL_OFFSET + (m * k + k * n) * sizeof(double);
    common = aligned_alloc(64, (*size + 63) / 64 * 64);
    assert_non_null(common);
    memcpy(common, &head, sizeof(head));
    a = (double *)(void *)(common + MATMUL_OFFSET);
    inputs_generate(1, 0, k, 0, m, a);
    inputs_generate(1, 1, n, 0, k, a + m * k);
    return common;
}

static void naive(uint64_t m, uint64_t n, uint64_t k, const double *a, const double *b, double *c)
{
    for (uint64_t i = 0; i < m; i++)
        for (uint64_t j = 0; j < n; j++) {
            double sum = 0;
            for (uint64_t l = 0; l < k; l++)
                sum += a[i * k + l] * b[l * n + j];
            c[i * n + j] = sum;
        }
}

/* Computes C by tiles and compares it with three plain loops. */
static void check_tiles(struct source *source, size_t s, const double *a, const double *b)
{
    uint64_t m = shapes[s].m, n = shapes[s].n, k = shapes[s].k;
    double *c = malloc(m * n * sizeof(*c)), *want = malloc(m * n * sizeof(*want));
    double *part = malloc(m * n * sizeof(*part));
    struct inputs_check check;
    struct tile_times times;

    for (uint64_t t = 0; t < block_count(m, n, shapes[s].side); t++) {
        struct tile tile = block_tile(m, n, shapes[s].side, t);
        assert_int_equal(tile_compute(source, &tile, part, &times, NULL), 0);
        assert_true(times.multiplying > 0 && times.reading >= 0);
        for (uint64_t i = 0; i < tile.rows; i++)
            memcpy(c + (tile.row + i) * n + tile.column, part + i * tile.columns,
                   tile.columns * sizeof(*c));
    }
    naive(m, n, k, a, b, want);
    assert_int_equal(inputs_compare(m, n, k, a, b, c, want, &check), 0);
    assert_true(check.of_bound >= 0 && check.of_bound <= 1);
    free(part);
    free(want);
    free(c);
}

static void test_tiles_from_common_data(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        struct source source;
        size_t size;
        char *common = make_common(shapes[s].m, shapes[s].n, shapes[s].k, &size);
        assert_int_equal(source_open(&source, common, size, NULL), 0);
        check_tiles(&source, s, source.a, source.b);
        source_close(&source);
        free(common);
    }
}

static void test_common_data_that_is_not(void **state)
{
    struct source source;
    struct matmul_common *head;
    flm_error error;
    size_t size;
    char *common = make_common(3, 4, 5, &size);

    (void)state;
    head = (struct matmul_common *)(void *)common;
    for (size_t n = 0; n < size; n += 8) {
        assert_int_not_equal(source_open(&source, common, n, &error), 0);
        source_close(&source);
    }
    for (int i = 0; i < 5; i++) {
        struct matmul_common good = *head;
        if (i == 0)
            head->version++;
        else if (i == 1)
            head->data = 77;
        else if (i == 2)
            head->m = 0;
        else if (i == 3)
            head->k = UINT64_C(1) << 62; /* times 8 is 0 */
        else
            head->data = MATMUL_HDF5; /* names of files without an end */
        assert_int_not_equal(source_open(&source, common, size, &error), 0);
        assert_true(error.text[0]);
        source_close(&source);
        *head = good;
    }
    free(common);
}

static void test_generated_matrices_do_not_depend_on_pieces(void **state)
{
    double all[20 * 7], part[7], sum = 0, other[20 * 7];

    (void)state;
    inputs_generate(9, 1, 7, 0, 20, all);
    for (uint64_t i = 0; i < 20; i++) {
        inputs_generate(9, 1, 7, i, 1, part);
        assert_memory_equal(part, all + i * 7, sizeof(part));
    }
    for (int i = 0; i < 20 * 7; i++) {
        assert_true(all[i] >= -1 && all[i] < 1);
        sum += all[i];
    }
    assert_true(fabs(sum) < 5 * sqrt(140 / 3.0));
    inputs_generate(9, 0, 7, 0, 20, other);
    assert_memory_not_equal(all, other, sizeof(all));
    inputs_generate(10, 1, 7, 0, 20, other);
    assert_memory_not_equal(all, other, sizeof(all));
}

static void test_check_finds_what_is_wrong(void **state)
{
    enum { M = 17, N = 19, K = 23 };
    double a[M * K], b[K * N], c[M * N], want[M * N];
    static const double wrong[] = {1e-12, -1e-3, NAN, INFINITY};
    struct inputs_check check;

    (void)state;
    inputs_generate(1, 0, K, 0, M, a);
    inputs_generate(1, 1, N, 0, K, b);
    naive(M, N, K, a, b, want);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memcpy(c, want, sizeof(c));
        c[5 * N + 7] += wrong[i];
        assert_int_equal(inputs_compare(M, N, K, a, b, c, want, &check), 0);
        assert_true(check.of_bound > 1);
        assert_int_equal(check.row, 5);
        assert_int_equal(check.column, 7);
    }
    a[3 * K] = NAN; /* row 3 of C must not be a number then, and may not be compared */
    naive(M, N, K, a, b, want);
    memcpy(c, want, sizeof(c));
    inputs_compare(M, N, K, a, b, c, want, &check);
    assert_true(check.of_bound == 0);
    c[3 * N + 1] = 1;
    inputs_compare(M, N, K, a, b, c, want, &check);
    assert_true(check.of_bound > 1);
}

#ifdef EXAMPLES_HDF5
static void write_matrices(const char *name, uint64_t m, uint64_t n, uint64_t k, const double *a,
                           const double *b)
{
    const struct matrix_set sets[] = {{"/A", m, k}, {"/B", k, n}};
    const struct matrix_note notes[] = {{"k", (double)k}, {0}};
    struct matrix_writer *w = matrix_writer_create(name, sets, 2, notes, NULL);

    assert_non_null(w);
    for (uint64_t i = 0; i < m; i++) /* row by row */
        assert_int_equal(matrix_writer_write(w, 0, i, 0, 1, k, a + i * k, k, NULL), 0);
    for (uint64_t j = 0; j < n; j++) /* column by column */
        assert_int_equal(matrix_writer_write(w, 1, 0, j, k, 1, b + j, n, NULL), 0);
    assert_int_equal(access(name, F_OK), -1); /* not before it is whole */
    assert_int_equal(matrix_writer_commit(w, NULL), 0);
    matrix_writer_close(w);
}

static size_t name_files(char *common, uint64_t m, uint64_t n, uint64_t k)
{
    static const char names[] = "ab.h5\0/A\0ab.h5\0/B";
    struct matmul_common head = {.version = MATMUL_VERSION, .data = MATMUL_HDF5, .m = m, .n = n, .k = k};

    memcpy(common, &head, sizeof(head));
    memcpy(common + MATMUL_OFFSET, names, sizeof(names));
    return MATMUL_OFFSET + sizeof(names);
}

static void test_tiles_from_files(void **state)
{
    int cut = 0;

    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        uint64_t m = shapes[s].m, n = shapes[s].n, k = shapes[s].k;
        char names[MATMUL_OFFSET + 64] __attribute__((aligned(8)));
        struct tile first = block_tile(m, n, shapes[s].side, 0);
        struct source source;
        size_t size;
        char *common = make_common(m, n, k, &size);
        const double *a = (const double *)(const void *)(common + MATMUL_OFFSET), *b = a + m * k;
        write_matrices("ab.h5", m, n, k, a, b);
        assert_int_equal(source_open(&source, names, name_files(names, m, n, k), NULL), 0);
        assert_true(source.a && source.b); /* mapped */
        assert_int_equal(source_depth(&source, &first), k);
        check_tiles(&source, s, a, b);
        source.a = source.b = NULL; /* as if they could not be */
        cut += source_depth(&source, &first) < k;
        check_tiles(&source, s, a, b);
        source_close(&source);
        assert_int_not_equal(source_open(&source, names, name_files(names, m, n, k + 1), NULL), 0);
        source_close(&source);
        unlink("ab.h5");
        free(common);
    }
    assert_true(cut > 0); /* some were read in several panels */
}

/* One file with everything that is no matrix. */
static void make_strange_file(void)
{
    hsize_t size[3] = {2, 3, 4};
    hid_t file = H5Fcreate("strange.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t cube = H5Screate_simple(3, size, NULL), flat = H5Screate_simple(2, size, NULL);
    hid_t chunked = H5Pcreate(H5P_DATASET_CREATE);

    H5Dclose(H5Dcreate2(file, "cube", H5T_NATIVE_DOUBLE, cube, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Dclose(H5Dcreate2(file, "text", H5T_C_S1, flat, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Dclose(H5Dcreate2(file, "int", H5T_STD_I16BE, flat, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Pset_chunk(chunked, 2, size);
    H5Dclose(H5Dcreate2(file, "chunked", H5T_NATIVE_DOUBLE, flat, H5P_DEFAULT, chunked, H5P_DEFAULT));
    H5Pclose(chunked);
    H5Dclose(H5Dcreate2(file, "empty", H5T_NATIVE_DOUBLE, flat, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Gclose(H5Gcreate2(file, "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(cube);
    H5Sclose(flat);
    H5Fclose(file);
}

static void test_files_that_are_no_matrices(void **state)
{
    static const struct {
        const char *file, *dataset, *says;
    } cases[] = {
        {"missing.h5", "/A", "No such file"},
        {"plain.h5", "/A", "no HDF5 file"},
        {"strange.h5", "/A", "has no dataset /A"},
        {"strange.h5", "/group", "has no dataset"},
        {"strange.h5", "/cube", "3 dimensions"},
        {"strange.h5", "/text", "not numbers"},
        {".", "/A", "no HDF5 file"},
        {"", "/A", "empty"},
    };
    struct matrix_file *mf;
    flm_error error;
    double x[6] = {1, 1, 1, 1, 1, 1};

    (void)state;
    write_text("plain.h5", "this is text");
    make_strange_file();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        error.text[0] = '\0';
        assert_null(matrix_file_open(cases[i].file, cases[i].dataset, &error));
        assert_non_null(strstr(error.text, cases[i].says));
    }
    mf = matrix_file_open("strange.h5", "/int", &error);
    assert_non_null(mf);
    assert_int_equal(matrix_file_rows(mf) * 10 + matrix_file_columns(mf), 23);
    assert_int_equal(matrix_file_read(mf, 0, 0, 2, 3, x, 3, &error), 0);
    assert_true(x[5] == 0);
    assert_int_equal(matrix_file_read(mf, 1, 0, 2, 3, x, 3, &error), FLM_EIO); /* beyond its end */
    matrix_file_close(mf);
    for (int i = 0; i < 3; i++) { /* of another type, in pieces, not written yet: these cannot be mapped */
        mf = matrix_file_open("strange.h5", (const char *[]){"/int", "/chunked", "/empty"}[i], &error);
        assert_non_null(mf);
        assert_null(matrix_file_map(mf));
        matrix_file_close(mf);
    }
    unlink("plain.h5");
    unlink("strange.h5");
}

/* A full disk: this process may write no more than 256 KiB to a file. */
static void test_a_full_disk_leaves_no_half_a_file(void **state)
{
    static double data[256 * 256];
    const struct matrix_set sets[] = {{"/C", 256, 256}};
    struct rlimit before, small;
    struct matrix_writer *w;
    flm_error error = {0};

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 256 * 1024;
    setrlimit(RLIMIT_FSIZE, &small);
    assert_null(matrix_writer_create("full.h5", sets, 1, NULL, &error)); /* it is known at once */
    assert_non_null(strstr(error.text, "full.h5: File too large"));
    setrlimit(RLIMIT_FSIZE, &before);
    w = matrix_writer_create("full.h5", sets, 1, NULL, &error);
    assert_non_null(w);
    setrlimit(RLIMIT_FSIZE, &small); /* or when it is no longer as it was */
    assert_int_equal(matrix_writer_write(w, 0, 0, 0, 256, 256, data, 256, &error), FLM_EIO);
    setrlimit(RLIMIT_FSIZE, &before);
    matrix_writer_close(w); /* leave_folder finds what is left */
}
#endif

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
        cmocka_unit_test(test_cache_of_a_core),
        cmocka_unit_test(test_sides),
        cmocka_unit_test(test_tiles_cover_c_once),
        cmocka_unit_test(test_tiles_outside_of_c_are_refused),
        cmocka_unit_test(test_tiles_from_common_data),
        cmocka_unit_test(test_common_data_that_is_not),
        cmocka_unit_test(test_generated_matrices_do_not_depend_on_pieces),
        cmocka_unit_test(test_check_finds_what_is_wrong),
#ifdef EXAMPLES_HDF5
        cmocka_unit_test(test_tiles_from_files),
        cmocka_unit_test(test_files_that_are_no_matrices),
        cmocka_unit_test(test_a_full_disk_leaves_no_half_a_file),
#endif
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
