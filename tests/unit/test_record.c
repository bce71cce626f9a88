/* What a TASK says before its input: a deadline, objects, and the one that its output becomes. */
#include "wire/record.h"

#include <flm/client.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static _Alignas(8) char payload[4096];

/* Puts a reference there whose name has so many letters; returns its bytes. */
static uint32_t put_ref(char *at, unsigned letters, uint64_t version)
{
    struct flm__object_ref *ref = (struct flm__object_ref *)at;
    uint32_t bytes = (uint32_t)(sizeof(*ref) + letters + 8) & ~7u;
    memset(at, 0, bytes);
    ref->version = version;
    ref->bytes = bytes;
    memset(ref->name, 'n', letters);
    return bytes;
}

/* A list of n objects; returns its bytes. */
static uint32_t put_list(unsigned n, unsigned letters)
{
    struct flm__task_objects *o = (struct flm__task_objects *)payload;
    *o = (struct flm__task_objects){.bytes = sizeof(*o), .count = n};
    for (unsigned i = 0; i < n && o->bytes + sizeof(struct flm__object_ref) + letters + 8 < sizeof(payload);
         i++)
        o->bytes += put_ref(payload + o->bytes, letters, i);
    return o->bytes;
}

static void objects_before_the_input(void **state)
{
    struct flm__task_parts parts;
    (void)state;
    uint32_t bytes = put_list(FLM__OBJECTS, FLM_MAX_NAME);
    assert_int_equal(bytes, FLM__OBJECTS_MAX);
    strcpy(payload + bytes, "input");
    struct flm__record r = {.size = bytes + 5, .type = FLM__TASK, .flags = FLM__RECORD_OBJECTS};
    assert_true(flm__task_split(&r, payload, &parts));
    assert_ptr_equal(parts.input, payload + bytes);
    assert_int_equal(parts.size, 5);
    const struct flm__object_ref *at = NULL;
    uint64_t n = 0;
    while ((at = flm__task_object(parts.objects, at))) {
        assert_int_equal(at->version, n++);
        assert_int_equal(strlen(at->name), FLM_MAX_NAME);
    }
    assert_int_equal(n, FLM__OBJECTS);
    r.flags = 0;
    assert_true(flm__task_split(&r, payload, &parts));
    assert_null(parts.objects);
}

static struct flm__object_ref *first(void)
{
    return (struct flm__object_ref *)(payload + sizeof(struct flm__task_objects));
}

/* Nothing of this is believed; each begins from a sound list of two. */
static void what_makes_no_sense(void **state)
{
    static const char *const cases[] = {"sound",          "an empty list",      "too many",
                                        "more than told", "fewer than told",    "longer than the record",
                                        "odd length",     "a ref beyond",       "a ref of nothing",
                                        "no name",        "a name without end", "a long name",
                                        "half a list"};
    struct flm__task_objects *o = (struct flm__task_objects *)payload;
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct flm__task_parts parts;
        uint32_t size = put_list(i == 2 ? FLM__OBJECTS + 1 : 2, i == 11 ? FLM_MAX_NAME + 1 : 5);
        switch (i) {
        case 1:
            *o = (struct flm__task_objects){.bytes = size = sizeof(*o)};
            break;
        case 3:
            o->count = 1;
            break;
        case 4:
            o->count = 3;
            break;
        case 5:
            o->bytes += 8;
            break;
        case 6:
            o->bytes -= 4;
            break;
        case 7:
            first()->bytes = 4096;
            break;
        case 8:
            first()->bytes = 0;
            break;
        case 9:
            first()->name[0] = 0;
            break;
        case 10:
            memset(first()->name, 'n', first()->bytes - sizeof(struct flm__object_ref));
            break;
        case 12:
            size = 4;
            break;
        default:
            break;
        }
        struct flm__record r = {.size = size, .type = FLM__TASK, .flags = FLM__RECORD_OBJECTS};
        if (flm__task_split(&r, payload, &parts) != (i == 0))
            fail_msg("%s: %s", cases[i], i ? "was believed" : "was not believed");
    }
}

/* Behind the list, if there is one. */
static void object_of_the_output(void **state)
{
    (void)state;
    for (unsigned list = 0; list < 2; list++) {
        struct flm__task_parts parts;
        uint32_t before = list ? put_list(2, 5) : 0;
        struct flm__object_ref *ref = (struct flm__object_ref *)(payload + before);
        uint32_t bytes = put_ref(payload + before, FLM_MAX_NAME, 7);
        struct flm__record r = {.size = before + bytes + 3,
                                .type = FLM__TASK,
                                .flags = (uint8_t)(FLM__RECORD_OUTPUT | (list ? FLM__RECORD_OBJECTS : 0))};
        assert_int_equal(bytes, FLM__OBJECT_REF_MAX);
        assert_true(flm__task_split(&r, payload, &parts));
        assert_ptr_equal(parts.becomes, ref);
        assert_int_equal(parts.becomes->version, 7);
        assert_ptr_equal(parts.input, payload + before + bytes);
        assert_int_equal(parts.size, 3);
        assert_int_equal(parts.objects != NULL, list);
        r.size = before + bytes - 1;
        assert_false(flm__task_split(&r, payload, &parts));
        r.size = before;
        assert_false(flm__task_split(&r, payload, &parts));
        r.size = before + bytes;
        ref->bytes = sizeof(*ref);
        assert_false(flm__task_split(&r, payload, &parts));
        ref->bytes = bytes;
        memset(ref->name, 'n', bytes - sizeof(*ref));
        assert_false(flm__task_split(&r, payload, &parts));
        r.flags &= (uint8_t)~FLM__RECORD_OUTPUT;
        assert_true(flm__task_split(&r, payload, &parts));
        assert_null(parts.becomes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_before_the_input),
        cmocka_unit_test(what_makes_no_sense),
        cmocka_unit_test(object_of_the_output),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
