/* Files of results of older versions, which knew fewer reasons, are gone on with. */
#include "results/sheet.h"

#include <flm/client.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void sheet_fail(const struct sheet *s, const char *doing)
{
    fprintf(stderr, "cannot %s %s\n", doing, s->path);
    exit(1);
}

static void prepare(struct sheet *s, const char *path)
{
    *s = (struct sheet){
        .path = path, .session = "s", .application = "a", .output_type = "", .journal = 5, .serial = 1};
    sheet_prepare(s);
}

/* The type of a file's column `reason` with names for no more than those up to `last`. */
static hid_t with_reasons(const struct sheet *s, int last)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, s->row_bytes);
    for (int i = 0; i < H5Tget_nmembers(s->new_type); i++) {
        char *name = H5Tget_member_name(s->new_type, (unsigned)i);
        hid_t of = H5Tget_member_type(s->new_type, (unsigned)i);
        if (strcmp(name, "reason") == 0)
            of = H5Tenum_create(H5T_STD_U8LE);
        for (uint8_t value = 0; strcmp(name, "reason") == 0 && value <= last; value++)
            assert_true(H5Tenum_insert(of, flm_reason_name(value), &value) >= 0);
        assert_true(H5Tinsert(type, name, H5Tget_member_offset(s->new_type, (unsigned)i), of) >= 0);
        H5Tclose(of);
        H5free_memory(name);
    }
    return type;
}

static void append(struct sheet *s, uint64_t task, int reason)
{
    struct sheet_row row = {.task = task, .duration = NAN, .state = FLM_TASK_FAILED};
    row.reason = (uint8_t)reason;
    sheet_open(s);
    sheet_append_rows(s, &row, 1);
    sheet_close(s);
}

/* As the next process finds the file. */
static void start_again(struct sheet *s, const char *path)
{
    free(s->nodes);
    prepare(s, path);
}

static void is_gone_on_with(int last, bool can)
{
    char path[] = "/tmp/flm-sheet-XXXXXX";
    struct sheet s;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    prepare(&s, path);
    s.new_type = with_reasons(&s, last);
    sheet_create(&s);
    append(&s, 1, FLM_REASON_SERVICE);
    start_again(&s, path);
    const char *wrong = sheet_repair(&s, 1, 0);
    if (can) {
        assert_null(wrong);
        append(&s, 2, FLM_REASON_OBJECT);
        start_again(&s, path);
        assert_null(sheet_repair(&s, 2, 0)); /* two rows that can be read */
        struct sheet_row rows[2];
        sheet_open(&s);
        assert_true(H5Dread(s.rows, s.row_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
        sheet_close(&s);
        assert_int_equal(rows[1].reason, FLM_REASON_OBJECT);
    } else {
        assert_string_equal(wrong, "its columns are others");
    }
    free(s.nodes);
    unlink(path);
}

static void all_reasons_have_names(void **state)
{
    struct sheet s;
    (void)state;
    prepare(&s, "/nowhere");
    int reasons = 0;
    while (strcmp(flm_reason_name(reasons), flm_reason_name(-1)) != 0)
        reasons++;
    hid_t type = H5Tget_member_type(s.new_type, (unsigned)H5Tget_member_index(s.new_type, "reason"));
    assert_int_equal(H5Tget_nmembers(type), reasons);
    H5Tclose(type);
}

static void older_files(void **state)
{
    (void)state;
    is_gone_on_with(FLM_REASON_OBJECT, true);
    is_gone_on_with(FLM_REASON_REFUSED, true);
    is_gone_on_with(FLM_REASON_DISCONNECTED, true);
    is_gone_on_with(FLM_REASON_BIND, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_reasons_have_names),
        cmocka_unit_test(older_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
