/* Descriptions of applications in files: what is read, and what is refused how. */
#include "libflm/application_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/flm-application-XXXXXX";
static char file[100];

static void write_file(const char *text, size_t size)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static struct flm_application *read_text(const char *text, flm_error *error)
{
    write_file(text, strlen(text));
    return flm_read_application(file, error);
}

#define HEAD "[application]\nname = a\nshim = exec\ncommand = "

struct command_case {
    const char *line;
    const char *words[8];
};

static const struct command_case commands[] = {
    {"true", {"true"}},
    {"  sh   -c\t'a b' ", {"sh", "-c", "a b"}},
    {"sh -c 'a ; b # c' ; d", {"sh", "-c", "a ; b # c", ";", "d"}},
    {"a\\ b \\\\ \\'", {"a b", "\\", "'"}},
    {"\"x \\\" \\\\ \\n $y\" z''", {"x \" \\ \\n $y", "z"}},
    {"a '' \"\" b", {"a", "", "", "b"}},
    {"a'b'\"c\"d", {"abcd"}},
    {"a=b:c [d]", {"a=b:c", "[d]"}},
    {"one\n  two 'thr\n  ee'", {"one", "two", "thr ee"}},
    {"a\n  # a comment\n  b", {"a", "b"}},
};

static void test_command(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command_case *c = &commands[i];
        char text[500];
        flm_error error = {0};
        snprintf(text, sizeof(text), HEAD "%s\n", c->line);
        struct flm_application *a = read_text(text, &error);
        if (!a)
            fail_msg("case %zu: %s", i, error.text);
        size_t n = 0;
        for (; c->words[n]; n++) {
            assert_non_null(a->command[n]);
            assert_string_equal(a->command[n], c->words[n]);
        }
        assert_null(a->command[n]);
        flm_free_applications(a, 1);
    }
}

static void test_all_keys(void **state)
{
    (void)state;
    flm_error error = {0};
    struct flm_application *a = read_text("\xef\xbb\xbf; a comment\r\n"
                                          "# another\n\n"
                                          "[application]\n"
                                          "name: my-app@1.0\r\n"
                                          "description = what it does; and why\n"
                                          "shim = exec\n"
                                          "exec_mode = capture\n"
                                          "command = ./run --fast\n"
                                          "environment = A=1\n"
                                          "environment = B=two words; 'quotes' stay\n"
                                          "working_directory = sub dir\n"
                                          "min_instances = 1\n"
                                          "max_instances = 20\n"
                                          "delay_release_ms = 300\n"
                                          "deadline_ms = 4000\n"
                                          "ranks_per_task = 5",
                                          &error);
    if (!a)
        fail_msg("%s", error.text);
    assert_int_equal(a->size, sizeof(*a));
    assert_string_equal(a->name, "my-app@1.0");
    assert_string_equal(a->description, "what it does; and why");
    assert_int_equal(a->shim, FLM_SHIM_EXEC);
    assert_int_equal(a->exec_mode, FLM_EXEC_CAPTURE);
    assert_string_equal(a->environment[0], "A=1");
    assert_string_equal(a->environment[1], "B=two words; 'quotes' stay");
    assert_null(a->environment[2]);
    char expected[200];
    snprintf(expected, sizeof(expected), "%s/sub dir", folder);
    assert_string_equal(a->working_directory, expected);
    assert_int_equal(a->min_instances, 1);
    assert_int_equal(a->max_instances, 20);
    assert_int_equal(a->delay_release_ms, 300);
    assert_int_equal(a->deadline_ms, 4000);
    assert_int_equal(a->ranks_per_task, 5);
    flm_free_applications(a, 1);
}

static void test_defaults(void **state)
{
    (void)state;
    struct flm_application *a = read_text(HEAD "true", NULL);
    assert_non_null(a);
    assert_string_equal(a->description, "");
    assert_string_equal(a->working_directory, "");
    assert_null(a->environment);
    assert_int_equal(a->exec_mode, FLM_EXEC_STDIN);
    assert_int_equal(a->max_instances, 0);
    flm_free_applications(a, 1);
    /* The command may be in the input. */
    a = read_text("[application]\nname = a\nshim = exec\nexec_mode = capture\n", NULL);
    assert_non_null(a);
    assert_null(a->command[0]);
    flm_free_applications(a, 1);
}

/* Lines far longer than what inih takes at once, of every length around it. */
static void test_long_lines(void **state)
{
    (void)state;
    for (int n = 150; n < 650; n++) {
        char text[4096], word[1024];
        for (int i = 0; i < n; i++)
            word[i] = "ab ;'c"[i % 6] == '\'' ? 'x' : "ab ;'c"[i % 6];
        word[n] = 0;
        snprintf(text, sizeof(text), "# %0700d\n" HEAD "run '%s' last\nenvironment = X=y\n", 0, word);
        flm_error error = {0};
        struct flm_application *a = read_text(text, &error);
        if (!a)
            fail_msg("%d: %s", n, error.text);
        assert_string_equal(a->command[1], word);
        assert_string_equal(a->command[2], "last");
        assert_string_equal(a->environment[0], "X=y");
        flm_free_applications(a, 1);
    }
}

struct bad_case {
    const char *text;
    int line; /* 0: no line in the message */
    const char *message;
};

#define LONG_NAME "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static const struct bad_case bad[] = {
    {"", 0, "no section [application]"},
    {"# only a comment\n", 0, "no section [application]"},
    {"name = a\n", 1, "outside of a section"},
    {"[app]\nname = a\n", 2, "no section app"},
    {"[application]\nshim = so\ncommand = x\n", 0, "name is missing"},
    {"[application]\nname = a\ncommand = x\n", 0, "shim is missing"},
    {"[application]\nname = a\nshim = so\n", 0, "command is missing"},
    {"[application]\nname = a\nshim = exec\nexec_mode = stdin\n", 0, "command is missing"},
    {HEAD "''\nexec_mode = args\n", 0, "command is missing"},
    {HEAD "x\nsize = 3\n", 5, "no key 'size'"},
    {HEAD "x\nNAME = b\n", 5, "no key 'NAME'"},
    {HEAD "x\nname = b\n", 5, "given twice"},
    {HEAD "\n", 4, "no value"},
    {HEAD "'x\n", 4, "close the quote"},
    {HEAD "x\\\n", 4, "close the quote"},
    {HEAD "x\n\nmin_instances = three\n", 6, "not 'three'"},
    {HEAD "x\nmin_instances = -1\n", 5, "not '-1'"},
    {HEAD "x\nmin_instances = 1 000\n", 5, "not '1 000'"},
    {HEAD "x\nmin_instances = 99999999999999999999\n", 5, "number from 0"},
    {HEAD "x\nmin_instances = 3\nmax_instances = 2\n", 0, "larger than"},
    {HEAD "x\nenvironment = =x\n", 5, "NAME=VALUE"},
    {HEAD "x\nenvironment = x\n", 5, "NAME=VALUE"},
    {HEAD "x\nexec_mode = pipe\n", 5, "no exec_mode 'pipe'"},
    {"[application]\nname = a\nshim = so\ncommand = x\nexec_mode = args", 0, "shims exec and mpi only"},
    {"[application]\nname = a b\n", 2, "not ' b'"},
    {"[application]\nname = " LONG_NAME LONG_NAME "\n", 2, "at most 127"},
    {"[application]\nshim = mpx\n", 2, "no shim 'mpx'"},
    {"[application]\nnothing\n", 2, "neither"},
    {"[application\n", 1, "neither"},
    {HEAD "\x01\n", 4, "control character"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        flm_error error = {0};
        struct flm_application *a = read_text(bad[i].text, &error);
        assert_null(a);
        assert_true(error.code < 0);
        char where[150];
        if (bad[i].line)
            snprintf(where, sizeof(where), "%s:%d: ", file, bad[i].line);
        else
            snprintf(where, sizeof(where), "%s: ", file);
        if (strncmp(error.text, where, strlen(where)) || !strstr(error.text, bad[i].message))
            fail_msg("case %zu: '%s' is not '%s...%s'", i, error.text, where, bad[i].message);
        assert_null(read_text(bad[i].text, NULL));
    }
}

static void test_hostile(void **state)
{
    (void)state;
    flm_error error = {0};
    size_t size = 2 << 20;
    char *big = malloc(size);
    assert_non_null(big);
    memset(big, 'x', size);
    write_file(big, size);
    assert_null(flm_read_application(file, &error));
    assert_int_equal(error.code, FLM_ETOOBIG);
    write_file(big, 1000000); /* one line */
    assert_null(flm_read_application(file, &error));
    assert_non_null(strstr(error.text, ":1: "));
    /* More arguments than a command may have. */
    memcpy(big, HEAD, sizeof(HEAD) - 1);
    for (size_t i = sizeof(HEAD) - 1; i < 20000; i++)
        big[i] = i % 2 ? ' ' : 'x';
    write_file(big, 20000);
    assert_null(flm_read_application(file, &error));
    assert_non_null(strstr(error.text, "too many arguments"));
    free(big);
    write_file("[application]\nname\0 = x\n", 24);
    assert_null(flm_read_application(file, &error));
    assert_null(flm_read_application("/nonexistent/file", &error));
    assert_int_equal(error.code, FLM_EIO);
    assert_null(flm_read_application(folder, &error));
    assert_int_equal(error.code, FLM_EIO);
}

static void test_copy(void **state)
{
    (void)state;
    const char *command[] = {"a", "b", NULL}, *environment[] = {"X=1", NULL}, *nothing[] = {NULL};
    struct flm_application list[] = {
        {.name = "one", .command = command, .environment = environment, .shim = 2},
        {.name = "two", .command = nothing, .environment = nothing, .deadline_ms = 7},
        {.name = NULL},
    };
    struct flm_application *copy = flm__application_copy(list, 3);
    assert_non_null(copy);
    assert_string_equal(copy[0].name, "one");
    assert_ptr_not_equal(copy[0].name, list[0].name);
    assert_string_equal(copy[0].command[1], "b");
    assert_null(copy[0].command[2]);
    assert_string_equal(copy[0].environment[0], "X=1");
    assert_null(copy[1].command[0]);
    assert_null(copy[1].environment[0]);
    assert_int_equal(copy[1].deadline_ms, 7);
    assert_string_equal(copy[2].name, "");
    assert_null(copy[2].command[0]);
    assert_null(copy[2].environment);
    flm_free_applications(copy, 3);
    copy = flm__application_copy(NULL, 0);
    assert_non_null(copy);
    flm_free_applications(copy, 0);
    flm_free_applications(NULL, 0);
}

static void test_shims(void **state)
{
    (void)state;
    for (int i = FLM_SHIM_SO; i <= FLM_SHIM_MPI; i++)
        assert_int_equal(flm_shim_parse(flm_shim_name(i)), i);
    assert_int_equal(flm_shim_parse("SO"), FLM_EINVAL);
    assert_int_equal(flm_shim_parse(NULL), FLM_EINVAL);
    assert_string_equal(flm_shim_name(0), "unknown");
    assert_string_equal(flm_shim_name(-3), "unknown");
    assert_string_equal(flm_shim_name(99), "unknown");
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(file, sizeof(file), "%s/app.ini", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command),    cmocka_unit_test(test_all_keys), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_long_lines), cmocka_unit_test(test_bad),      cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_copy),       cmocka_unit_test(test_shims),
    };
    return cmocka_run_group_tests_name("application_file", tests, make_folder, remove_folder);
}
