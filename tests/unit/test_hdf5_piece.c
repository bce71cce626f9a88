/* What travels of a piece of a data set: all of it comes back, and nothing else is taken for one. */
#include "hdf5/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct piece example = {
    .slab = {.rank = 3, .start = {2, 0, 5}, .count = {4, 7, 1}, .extent = {6, 7, 6}},
    .file_bytes = 1234,
    .file_time_ns = -5,
    .file = "/data/in.h5",
    .dataset = "/a/b",
};

static char *encode(const struct piece *p, size_t *bytes)
{
    char *text = piece_encode(p, bytes);
    assert_non_null(text);
    return text;
}

static void round_trip(void **state)
{
    (void)state;
    size_t bytes;
    char *text = encode(&example, &bytes);
    struct piece p;
    assert_true(piece_decode(&p, text, bytes));
    assert_int_equal(p.slab.rank, 3);
    assert_memory_equal(p.slab.start, example.slab.start, sizeof(p.slab.start));
    assert_memory_equal(p.slab.count, example.slab.count, sizeof(p.slab.count));
    assert_memory_equal(p.slab.extent, example.slab.extent, sizeof(p.slab.extent));
    assert_int_equal(p.file_bytes, 1234);
    assert_int_equal(p.file_time_ns, -5);
    assert_string_equal(p.file, "/data/in.h5");
    assert_string_equal(p.dataset, "/a/b");
    free(text);
}

static void cut(void **state)
{
    (void)state;
    size_t bytes;
    char *text = encode(&example, &bytes);
    struct piece p;
    for (size_t n = 0; n < bytes; n++) {
        char *part = malloc(n + 1); /* of its own, so that reading behind it is seen */
        assert_non_null(part);
        memcpy(part, text, n);
        assert_false(piece_decode(&p, part, n));
        free(part);
    }
    char *longer = calloc(bytes + 1, 1);
    assert_non_null(longer);
    memcpy(longer, text, bytes);
    assert_false(piece_decode(&p, longer, bytes + 1));
    free(longer);
    free(text);
}

static void outside(void **state)
{
    (void)state;
    static const struct {
        uint64_t start, count;
    } bad[] = {{0, 0}, {7, 1}, {6, 1}, {0, 7}, {UINT64_MAX, 2}, {1, UINT64_MAX}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct piece p = example;
        size_t bytes;
        p.slab.start[0] = bad[i].start;
        p.slab.count[0] = bad[i].count;
        char *text = encode(&p, &bytes);
        assert_false(piece_decode(&p, text, bytes));
        free(text);
    }
}

static void ranks(void **state)
{
    (void)state;
    size_t bytes;
    struct piece p;
    for (uint32_t rank = 0; rank < 20; rank++) {
        char *text = encode(&example, &bytes);
        memcpy(text + 12, &rank, sizeof(rank));
        if (rank != 3)
            assert_false(piece_decode(&p, text, bytes) && p.slab.rank > FLM_HDF5_MAX_RANK);
        else
            assert_true(piece_decode(&p, text, bytes));
        free(text);
    }
    const struct flm_hdf5_slab huge = {.rank = 2, .count = {UINT64_C(1) << 40, UINT64_C(1) << 40}};
    assert_int_equal(slab_elements(&huge, 0), UINT64_MAX);
    assert_int_equal(slab_elements(&example.slab, 1), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(cut),
        cmocka_unit_test(outside),
        cmocka_unit_test(ranks),
    };
    return cmocka_run_group_tests_name("hdf5_piece", tests, NULL, NULL);
}
