/* The journal where nothing fails: what was appended is there, in order, over restarts, wraps and rolls. */
#define _GNU_SOURCE
#include "store_fixture.h"

#include <sys/eventfd.h>
#include <sys/stat.h>

static int new_bell(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Appends [from, to), a commit after every `group`; returns the last position, written. */
static uint64_t append_all(struct flm__journal *j, int bell, uint64_t from, uint64_t to, size_t most,
                           unsigned group)
{
    uint64_t position = 0;
    for (uint64_t i = from; i < to; i++) {
        position = store_append_wait(j, bell, i, most);
        if (i % group == 0)
            flm__journal_commit(j, false);
    }
    flm__journal_commit(j, false);
    store_wait_written(j, bell, position);
    return position;
}

static uint64_t replay_all(const char *folder, struct store_log *log)
{
    struct flm__journal *j = store_open(folder, NULL);
    struct flm__journal_replayed told;
    flm_error error = {.text = ""};
    if (flm__journal_replay(j, store_check_record, log, &told, &error))
        fail_msg("%s", error.text);
    assert_int_equal(told.cut, 0);
    flm__journal_close(j);
    return told.records;
}

static void round_trip(void **state)
{
    char *folder = store_folder();
    struct flm__journal_options o = {.event_fd = new_bell()};
    uint64_t next, position = 0;
    (void)state;
    for (uint64_t run = 0; run < 4; run++) {
        struct flm__journal *j = store_start(folder, &o, &next);
        assert_int_equal(next, run * 1000);
        assert_int_equal(flm__journal_position(j), position);
        assert_int_equal(flm__journal_written(j), position);
        if (run != 2) /* one that appends nothing */
            position = append_all(j, o.event_fd, next, next + 1000, 300, 7);
        else
            for (uint64_t i = next; i < next + 1000; i++)
                position = store_append_wait(j, o.event_fd, i, 300);
        assert_int_equal(flm__journal_position(j), position);
        assert_int_equal(flm__journal_stop(j, NULL), 0); /* commits what was not */
        assert_int_equal(flm__journal_written(j), position);
        assert_null(flm__journal_reserve(j, 8));
        flm__journal_close(j);
    }
    for (int i = 0; i < 3; i++) { /* without a record, the same name again and again */
        struct flm__journal *j = store_start(folder, &o, &next);
        assert_int_equal(next, 4000);
        flm__journal_close(j);
    }
    assert_int_equal(store_segments(folder), 5);
    close(o.event_fd);
    store_folder_end(folder);
}

/* append with two parts is the same as reserve and put. */
static int two_parts(void *arg, const struct flm__journal_record *r, const void *payload, uint64_t position)
{
    unsigned *n = arg;
    assert_int_equal(r->size, *n);
    assert_int_equal(r->session, *n);
    assert_int_equal(position % 8, 0);
    for (unsigned k = 0; k < r->size; k++)
        assert_int_equal(((const unsigned char *)payload)[k], k);
    ++*n;
    return 0;
}

static void parts(void **state)
{
    char *folder = store_folder();
    unsigned char bytes[100];
    unsigned n = 0;
    (void)state;
    for (unsigned k = 0; k < sizeof(bytes); k++)
        bytes[k] = (unsigned char)k;
    struct flm__journal *j = store_start(folder, NULL, NULL);
    for (uint32_t size = 0; size < sizeof(bytes); size++) {
        uint32_t head = size / 3;
        struct flm__journal_record r = {.type = 1, .session = size};
        assert_true(flm__journal_append(j, &r, bytes, head, bytes + head, size - head));
    }
    flm__journal_close(j);
    j = store_open(folder, NULL);
    assert_int_equal(flm__journal_replay(j, two_parts, &n, NULL, NULL), 0);
    assert_int_equal(n, sizeof(bytes));
    flm__journal_close(j);
    store_folder_end(folder);
}

/* A ring of 64 KiB that is full again and again; both sides sleep whenever they can. */
static void wraps(void **state)
{
    enum { RECORDS = 40000 };
    char *folder = store_folder();
    struct flm__journal_options o = {.ring_bytes = RING, .event_fd = new_bell()};
    struct flm__journal *j = store_start(folder, &o, NULL);
    struct flm__journal_stats stats;
    (void)state;
    append_all(j, o.event_fd, 0, RECORDS, 600, 97);
    assert_int_equal(flm__journal_room(j), RING);
    flm__journal_stats(j, &stats);
    assert_int_equal(stats.records, RECORDS);
    assert_true(stats.frames > 1);
    assert_int_equal(stats.syncs, 0);
    assert_int_equal(stats.bytes, stats.live);
    flm__journal_close(j);
    assert_int_equal(replay_all(folder, &(struct store_log){.next = 0}), RECORDS);
    close(o.event_fd);
    store_folder_end(folder);
}

/* Records up to four times the ring between small ones. */
static void large(void **state)
{
    enum { RECORDS = 400 };
    char *folder = store_folder();
    struct flm__journal_options o = {.ring_bytes = RING, .segment_bytes = 1 << 20, .event_fd = new_bell()};
    struct flm__journal *j = store_start(folder, &o, NULL);
    (void)state;
    for (uint64_t i = 0; i < RECORDS; i++) {
        store_append_wait(j, o.event_fd, i, i % 3 ? 200 : 4 * RING);
        if (i % 5 == 0)
            flm__journal_commit(j, i % 2);
    }
    flm__journal_close(j);
    assert_int_equal(replay_all(folder, &(struct store_log){.next = 0}), RECORDS);
    assert_true(store_segments(folder) > 5);

    /* they are bounded: what is not taken away fills up */
    j = store_open(folder, &o);
    flm_error error;
    assert_int_equal(flm__journal_start(j, &error), 0);
    unsigned n = 0;
    while (flm__journal_append(j, &(struct flm__journal_record){.type = 1}, NULL, 0, "", 0) && n < 1 << 20)
        n++;
    assert_int_equal(n, RING / 16); /* nothing was committed */
    for (n = 0; n < 1000; n++) {
        struct flm__journal_record *r = flm__journal_reserve(j, RING);
        if (!r)
            break;
        memset(r + 1, 0, RING);
        assert_true(flm__journal_put(j, r));
    }
    assert_int_equal(n, 3);
    assert_null(flm__journal_reserve(j, FLM__JOURNAL_LARGEST + 1));
    assert_null(flm__journal_reserve(j, 10 * RING)); /* the limit is in bytes */
    flm__journal_close(j);
    close(o.event_fd);
    store_folder_end(folder);
}

/* An owner that keeps the journal short: at each new segment all that is alive (here: one record) again. */
static void rolls(void **state)
{
    enum { RECORDS = 20000, SEGMENT = 1 << 15 };
    char *folder = store_folder();
    struct flm__journal_options o = {.ring_bytes = RING, .segment_bytes = SEGMENT, .event_fd = new_bell()};
    struct flm__journal *j = store_start(folder, &o, NULL);
    struct flm__journal_stats stats;
    uint64_t first = 1, firsts = 0, expected = 0;
    (void)state;
    for (uint64_t i = 0; i < RECORDS; i++) {
        uint64_t before = flm__journal_position(j), position = store_append_wait(j, o.event_fd, i, 100);
        /* the wait may have committed, and so rolled */
        if (flm__journal_rolled(j, &first)) {
            assert_int_equal(first, before);
            assert_true(before == 0 || before - expected >= SEGMENT);
            expected = first;
            firsts++;
            flm__journal_drop_before(j, first, position);
            assert_false(flm__journal_rolled(j, &first));
        }
        if (i % 50 == 0)
            flm__journal_commit(j, i % 1000 == 0);
    }
    flm__journal_commit(j, true);
    uint64_t end = flm__journal_position(j);
    store_wait_synced(j, o.event_fd, end);
    assert_int_equal(flm__journal_stop(j, NULL), 0);
    flm__journal_stats(j, &stats);
    assert_in_range(firsts, end / SEGMENT / 3, end / SEGMENT + 1);
    assert_in_range(stats.segments, 1, 2);
    assert_true(stats.live < 2 * (SEGMENT + RING));
    assert_int_equal(store_segments(folder), stats.segments);
    uint64_t bytes = 0; /* no zeros are left at the end of any */
    for (unsigned i = 0; i < stats.segments; i++) {
        char *file = store_segment(folder, (int)i);
        struct stat st;
        assert_int_equal(stat(file, &st), 0);
        bytes += (uint64_t)st.st_size;
        free(file);
    }
    assert_int_equal(bytes, stats.live);
    flm__journal_close(j);
    struct store_log log = {.any = true};
    replay_all(folder, &log);
    assert_int_equal(log.next, RECORDS);
    assert_true(log.first > RECORDS / 2);
    assert_int_equal(log.position, end); /* positions go on, whatever was dropped */
    j = store_open(folder, NULL);
    assert_int_equal(flm__journal_start(j, NULL), 0);
    assert_int_equal(flm__journal_position(j), end);
    flm__journal_close(j);
    close(o.event_fd);
    store_folder_end(folder);
}

/* What replaces a segment must be written before it goes. */
static void drop_waits(void **state)
{
    char *folder = store_folder();
    struct flm__journal_options o = {.event_fd = new_bell()};
    struct flm__journal *j = store_start(folder, &o, NULL);
    uint64_t first;
    (void)state;
    append_all(j, o.event_fd, 0, 10, 10, 1);
    flm__journal_close(j);
    j = store_start(folder, &o, NULL);
    assert_true(flm__journal_rolled(j, &first));
    uint64_t position = store_append(j, 10, 10);
    flm__journal_drop_before(j, first, position + 16);
    flm__journal_drop_before(j, first + 1000, position + 16); /* never the current one */
    flm__journal_commit(j, true);
    store_wait_synced(j, o.event_fd, position);
    assert_int_equal(store_segments(folder), 2);
    struct flm__journal_record r = {.type = 1};
    assert_int_equal(flm__journal_append(j, &r, NULL, 0, NULL, 0), position + 16);
    flm__journal_commit(j, false); /* in a journal that syncs, this waits for a sync of its own accord */
    struct flm__journal_stats stats;
    do
        flm__journal_stats(j, &stats);
    while (stats.segments > 1);
    assert_int_equal(flm__journal_synced(j), position + 16);
    assert_int_equal(store_segments(folder), 1);
    flm__journal_close(j);
    close(o.event_fd);
    store_folder_end(folder);
}

static void locked(void **state)
{
    char *folder = store_folder(), text[40];
    struct flm__journal *j = store_open(folder, NULL);
    flm_error error;
    struct stat st;
    (void)state;
    assert_null(flm__journal_open(folder, NULL, &error));
    assert_int_equal(error.code, FLM_EBUSY);
    snprintf(text, sizeof(text), "in use by process %ld on ", (long)getpid());
    assert_non_null(strstr(error.text, text));
    assert_int_equal(flm__journal_check(folder, false, NULL, NULL, NULL, &error), FLM_EBUSY);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    flm__journal_close(j);
    flm__journal_close(store_open(folder, NULL));
    flm__journal_close(NULL);
    store_folder_end(folder);
}

static void bad_use(void **state)
{
    char *folder = store_folder(), missing[200];
    flm_error error;
    (void)state;
    for (size_t ring = 1; ring < 1 << 20; ring = ring * 3) {
        assert_null(flm__journal_open(folder, &(struct flm__journal_options){.ring_bytes = ring}, &error));
        assert_int_equal(error.code, FLM_EINVAL);
    }
    snprintf(missing, sizeof(missing), "%s/a/b", folder);
    assert_null(flm__journal_open(missing, NULL, &error));
    assert_int_equal(error.code, FLM_EIO);
    assert_non_null(strstr(error.text, missing));
    assert_int_equal(flm__journal_check(missing, false, NULL, NULL, NULL, &error), FLM_ENOTFOUND);
    struct flm__journal *j = store_open(folder, NULL);
    assert_null(flm__journal_reserve(j, 1)); /* not started */
    flm__journal_commit(j, true);
    assert_int_equal(flm__journal_start(j, &error), 0);
    assert_int_equal(flm__journal_start(j, &error), FLM_EINTERNAL);
    assert_int_equal(flm__journal_replay(j, NULL, NULL, NULL, &error), FLM_EINTERNAL);
    flm__journal_close(j);
    j = store_open(folder, NULL);
    flm__journal_close(j);
    store_folder_end(folder);
}

static int stop_at_3(void *arg, const struct flm__journal_record *r, const void *payload, uint64_t position)
{
    (void)r;
    (void)payload;
    (void)position;
    return ++*(int *)arg == 3 ? -77 : 0;
}

static void reader_stops(void **state)
{
    char *folder = store_folder();
    struct flm__journal *j = store_start(folder, NULL, NULL);
    int n = 0;
    (void)state;
    for (uint64_t i = 0; i < 5; i++)
        store_append(j, i, 10);
    flm__journal_close(j);
    j = store_open(folder, NULL);
    assert_int_equal(flm__journal_replay(j, stop_at_3, &n, NULL, NULL), -77);
    assert_int_equal(n, 3);
    assert_int_equal(flm__journal_start(j, NULL), FLM_EINTERNAL);
    flm__journal_close(j);
    store_folder_end(folder);
}

/* The bytes themselves, against the text in doc/journal.md. */
static void format(void **state)
{
    char *folder = store_folder();
    struct flm__journal *j = store_start(folder, NULL, NULL);
    struct flm__journal_record r = {
        .type = 0x0102, .flags = 0x0304, .session = 0x05060708, .value = 0x090a0b0c};
    size_t size;
    uint64_t u64;
    (void)state;
    assert_int_equal(flm__journal_append(j, &r, "abc", 3, "de", 2), 24);
    flm__journal_close(j);
    char *file = store_segment(folder, 0);
    assert_non_null(strstr(file, "/0000000000000000.flj"));
    unsigned char *b = store_read(file, &size);
    assert_int_equal(size, 64 + 40 + 24);
    assert_memory_equal(b, "FLMJRNL\0\2\0\0\0\x40\0\0\0", 16);
    uint64_t id, one = 1, zero = 0;
    memcpy(&id, b + 16, 8);
    assert_memory_equal(b + 24, &one, 8);
    assert_memory_equal(b + 32, &zero, 8);
    assert_memory_equal(b + 48, &zero, 8);
    u64 = XXH3_64bits(b, 56);
    assert_memory_equal(b + 56, &u64, 8);
    assert_memory_equal(b + 64, "FLMf", 4);
    uint64_t seed = id ^ 0x9e3779b97f4a7c15u;
    uint32_t check = (uint32_t)XXH3_64bits_withSeed(b + 72, 32, seed);
    assert_memory_equal(b + 68, &check, 4);
    assert_memory_equal(b + 72, &zero, 8);
    assert_memory_equal(b + 80, &zero, 8);
    assert_memory_equal(b + 88, "\x18\0\0\0\0\0\0", 8);
    u64 = XXH3_64bits_withSeed(b + 104, 24, seed);
    assert_memory_equal(b + 96, &u64, 8);
    assert_memory_equal(b + 104,
                        "\5\0\0\0\2\1\4\3\x8\7\6\5\xc\xb\xa\x9"
                        "abcde\0\0\0",
                        24);
    free(b);
    free(file);
    store_folder_end(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(parts),   cmocka_unit_test(wraps),
        cmocka_unit_test(large),      cmocka_unit_test(rolls),   cmocka_unit_test(drop_waits),
        cmocka_unit_test(locked),     cmocka_unit_test(bad_use), cmocka_unit_test(reader_stops),
        cmocka_unit_test(format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
