/* Memory of blobs that is used again: what is found, what is not, and how much is kept. */
#define _GNU_SOURCE
#include "base/time.h"
#include "net/blob.h"
#include "net/blob_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 100 << 10 };

/* Takes and gives back so many bytes; where they were. */
static void *use(struct flm__blob_pool *pool, size_t size)
{
    struct flm__room room;
    flm_error e;
    assert_int_equal(flm__pool_take(pool, size, &room, &e), 0);
    assert_true(room.size >= size);
    memset(room.map, 1, size);
    flm__pool_give(pool, &room);
    return room.map;
}

static void used_again(void **state)
{
    struct flm__blob_pool pool = {0};
    struct flm__room room;
    (void)state;
    void *first = use(&pool, SIZE);
    assert_ptr_equal(use(&pool, SIZE), first);
    assert_ptr_equal(use(&pool, SIZE - 1), first);
    assert_ptr_equal(use(&pool, SIZE / 2), first);
    assert_false(flm__pool_find(&pool, SIZE + 1, &room));     /* too small */
    assert_false(flm__pool_find(&pool, SIZE / 2 - 1, &room)); /* much too large */
    assert_int_equal(pool.n, 1);
    flm__pool_clear(&pool);
    assert_int_equal(pool.n, 0);
    assert_int_equal(pool.bytes, 0);
}

static void bounded(void **state)
{
    struct flm__blob_pool pool = {0};
    struct flm__room rooms[FLM__POOLED_MAX + 2];
    flm_error e;
    (void)state;
    for (unsigned i = 0; i < FLM__POOLED_MAX + 2; i++)
        assert_int_equal(flm__pool_take(&pool, SIZE + i, &rooms[i], &e), 0);
    for (unsigned i = 0; i < FLM__POOLED_MAX + 2; i++)
        flm__pool_give(&pool, &rooms[i]);
    assert_int_equal(pool.n, FLM__POOLED_MAX);
    assert_int_equal(pool.rooms[0].size, SIZE + 2); /* the oldest went */
    flm__pool_trim(&pool, flm__now_ns());
    assert_int_equal(pool.n, FLM__POOLED_MAX);
    flm__pool_trim(&pool, flm__now_ns() + (FLM__POOL_TRIM_MS + 1000) * INT64_C(1000000));
    assert_int_equal(pool.n, 0);
    struct flm__room huge = {.fd = -1, .size = FLM__POOLED_BYTES + 1};
    flm__pool_give(&pool, &huge);
    assert_int_equal(pool.n, 0);
}

static void mapped_once(void **state)
{
    struct flm__blob_maps maps = {0};
    void *map;
    flm_error e;
    (void)state;
    int fd = flm__blob_create(SIZE, &map, &e), same = dup(fd);
    const void *a = flm__maps_get(&maps, fd, SIZE, &e), *b = flm__maps_get(&maps, same, 10, &e);
    assert_non_null(a);
    assert_ptr_equal(a, b);
    memcpy(map, "seen", 5);
    assert_string_equal(a, "seen");
    flm__maps_put(&maps, a, SIZE);
    flm__maps_clear(&maps); /* b is in use */
    assert_string_equal(b, "seen");
    flm__maps_put(&maps, b, 10);
    flm__maps_clear(&maps);
    assert_int_equal(maps.bytes, 0);
    assert_null(flm__maps_get(&maps, fd, SIZE + 1, &e)); /* not as announced */
    assert_int_equal(e.code, FLM_EPROTO);
    flm__blob_unmap(map, SIZE);
    close(fd);
    close(same);
}

/* More of them than are remembered, all in use: those beyond are mapped as any other. */
static void more_than_remembered(void **state)
{
    struct flm__blob_maps maps = {0};
    const void *got[FLM__POOLED_MAX + 2];
    flm_error e;
    (void)state;
    for (unsigned i = 0; i < FLM__POOLED_MAX + 2; i++) {
        int fd = flm__blob_copy("some bytes", 11, &e);
        got[i] = flm__maps_get(&maps, fd, 11, &e);
        assert_string_equal(got[i], "some bytes");
        close(fd);
    }
    for (unsigned i = 0; i < FLM__POOLED_MAX + 2; i++)
        flm__maps_put(&maps, got[i], 11);
    assert_int_equal(maps.bytes, 11 * FLM__POOLED_MAX);
    flm__maps_clear(&maps);
    assert_int_equal(maps.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(used_again),
        cmocka_unit_test(bounded),
        cmocka_unit_test(mapped_once),
        cmocka_unit_test(more_than_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
