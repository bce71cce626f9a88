/* Files for objects where the file system makes none without a name, as a kernel that has never heard of
 * O_TMPFILE says it: what is left is a flag for directories, and one cannot write to these. */
#define _GNU_SOURCE
#include <fcntl.h>
#undef O_TMPFILE
#define O_TMPFILE O_DIRECTORY
#include "base/file.c"
#include "manager/spill_file.c"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char directory[] = "/tmp/flm-test-spill-file-XXXXXX", data[PIECE + 1000];

static unsigned files(void)
{
    char pattern[100];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*", directory);
    unsigned n = glob(pattern, 0, NULL, &found) == 0 ? (unsigned)found.gl_pathc : 0;
    globfree(&found);
    return n;
}

static void test_bytes(void **state)
{
    atomic_bool stop = false;
    flm_error error = {0};
    (void)state;
    memset(data, 'x', sizeof(data));
    data[PIECE] = 'y';
    assert_int_equal(spill_file_try(directory, &error), 0);
    int file = spill_file_write(directory, data, sizeof(data), &stop, &error);
    assert_true(file >= 0);
    assert_int_equal(files(), 0);
    int fd = spill_file_read(directory, file, sizeof(data), &stop, &error);
    const void *map = flm__blob_map(fd, sizeof(data), &error);
    assert_non_null(map);
    assert_memory_equal(map, data, sizeof(data));
    flm__blob_unmap(map, sizeof(data));
    close(fd);
    close(file);
}

static void test_errors(void **state)
{
    atomic_bool stop = false, stopped = true;
    flm_error error = {0};
    (void)state;
    assert_int_equal(spill_file_try("/nowhere", &error), FLM_EIO);
    assert_int_equal(spill_file_write("/nowhere", data, 10, &stop, &error), -1);
    assert_int_equal(error.code, FLM_EIO);
    assert_int_equal(spill_file_write(directory, data, 10, &stopped, &error), -1);
    int file = spill_file_write(directory, data, 10, &stop, &error);
    assert_int_equal(spill_file_read(directory, file, 11, &stop, &error), -1);
    assert_non_null(strstr(error.text, directory));
    assert_int_equal(spill_file_read(directory, file, 10, &stopped, &error), -1);
    close(file);
    assert_int_equal(files(), 0);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
