/* Which objects go to files, who gets the room, and what becomes of what is on its way when its object
 * changes. The other parts of flmd are played here; the files and the threads that write them are real. */
#define _GNU_SOURCE
#include "manager/spill_file.h"
#include "manager/spill_inside.h"
#include "net/blob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include <cmocka.h>

enum { LETTERS = 8, LIMIT = 4, UNIT = 100000 };

/* Somebody who puts an object, gets one, or has one as an output. */
struct user {
    struct room_wait room;
    struct object_wait read;
    struct executor executor;
    uint64_t units;
    bool waits;
    struct blob *held;
};

static struct manager manager;
static struct session session;
static struct object objects[LETTERS];
static struct user users[LETTERS];
static struct executor *executors[LETTERS];
static char said[1000], directory[] = "/tmp/flm-test-spill-XXXXXX";

/* ---- flmd ---------------------------------------------------------------------------------------- */

uint64_t objects_limit(const struct manager *m)
{
    (void)m;
    return LIMIT * UNIT;
}

uint64_t object_more(const struct object *o, uint64_t size)
{
    (void)o;
    return size;
}

int object_check_room(const struct manager *m, const struct object *o, uint64_t size, flm_error *error)
{
    (void)o;
    (void)error;
    return spill_check(m, size);
}

void object_nodes_let_go(struct manager *m, struct object *o)
{
    (void)m;
    assert_non_null(o->blob);
}

void say_limited(struct say_limit *limit, int64_t now_ns, const char *format, ...)
{
    (void)limit;
    (void)now_ns;
    (void)format;
}

struct blob *blob_take(struct manager *m, int fd, uint64_t size, bool reused, flm_error *error)
{
    struct blob *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    assert_false(reused);
    *b = (struct blob){.size = size, .fd = fd, .refs = 1, .manager = m};
    b->map = flm__blob_map(fd, size, error);
    assert_non_null(b->map);
    return b;
}

bool blob_map(struct blob *b, flm_error *error)
{
    (void)error;
    return b->map != NULL;
}

struct blob *blob_hold(struct blob *b)
{
    b->refs++;
    return b;
}

void blob_release(struct blob *b)
{
    if (!b || --b->refs)
        return;
    flm__blob_unmap(b->map, b->size);
    close(b->fd);
    free(b);
}

/* ---- those who use it ---------------------------------------------------------------------------- */

static char letter_of(const struct object *o)
{
    return (char)('a' + (o - objects));
}

static void say_of(const struct object *o, const flm_error *error)
{
    size_t n = strlen(said);
    snprintf(said + n, sizeof(said) - n, " %c%s%s", letter_of(o), error ? ":" : "",
             error ? flm_error_name(error->code) : "");
}

/* In each version another byte. */
static char byte_of(const struct object *o)
{
    return (char)(letter_of(o) + 10 * o->version);
}

static void set(struct object *o, uint64_t units)
{
    struct object_wait *waits = spill_forget(&manager, o);
    char *data = malloc(units * UNIT);
    flm_error error = {0};
    assert_non_null(data);
    manager.object_bytes -= o->blob ? o->size : 0;
    blob_release(o->blob);
    o->version++;
    o->size = units * UNIT;
    memset(data, byte_of(o), o->size);
    int fd = flm__blob_copy(data, o->size, &error);
    assert_true(fd >= 0);
    free(data);
    o->blob = blob_take(&manager, fd, o->size, false, &error);
    manager.object_bytes += o->size;
    spill_keep(&manager, o);
    spill_wake(waits);
    say_of(o, NULL);
}

static void drop(struct object *o)
{
    struct object_wait *waits = spill_forget(&manager, o);
    manager.object_bytes -= o->blob ? o->size : 0;
    blob_release(o->blob);
    o->blob = NULL;
    o->size = 0;
    spill_wake(waits);
}

static void has_room(struct room_wait *w, const flm_error *error)
{
    struct user *u = (struct user *)((char *)w - offsetof(struct user, room));
    struct object *o = &objects[u - users];
    u->waits = false;
    if (error) {
        say_of(o, error);
        return;
    }
    assert_int_equal(spill_check(&manager, u->units * UNIT), 0);
    set(o, u->units);
}

static void put(struct user *u, struct object *o, uint64_t units)
{
    flm_error error = {0};
    u->units = units;
    u->room = (struct room_wait){
        .bytes = units * UNIT, .held = units * UNIT, .what = ROOM_FOR_PUT, .go = has_room};
    int rc = spill_check(&manager, units * UNIT);
    if (rc == 0) {
        set(o, units);
        return;
    }
    if (rc == FLM_EAGAIN && (rc = spill_await(&manager, &u->room, false, &error)) == 0)
        u->waits = true;
    if (rc < 0)
        say_of(o, &(flm_error){rc, ""});
}

static void look(struct object *o)
{
    const char *data = o->blob->map;
    for (uint64_t i = 0; i < o->size; i++)
        if (data[i] != byte_of(o))
            fail_msg("byte %lu of %c is wrong", (unsigned long)i, letter_of(o));
    say_of(o, NULL);
}

static void came(struct object_wait *w, const flm_error *error)
{
    struct user *u = (struct user *)((char *)w - offsetof(struct user, read));
    struct object *o = &objects[u - users];
    if (!error && o->blob)
        look(o);
    else
        say_of(o, error ? error : &(flm_error){FLM_ENOTFOUND, ""});
}

static void get(struct user *u, struct object *o)
{
    u->read.go = came;
    if (!o->blob) {
        spill_read(&manager, o, &u->read);
        return;
    }
    spill_touch(&manager, o);
    look(o);
}

static void ask_output(struct user *u, struct object *o, uint64_t units)
{
    flm_error error = {0};
    int rc = spill_output_room(&u->executor, o, units * UNIT, &error);
    if (rc == 0)
        set(o, units);
    else
        say_of(o, &(flm_error){rc, ""});
}

/* ---- steps ------------------------------------------------------------------------------------------ */

/* Until there is nothing to be written, read or closed. */
static void end_all(int64_t takes_ns)
{
    bool more;
    do {
        spill_turn(&manager);
        more = uv_run(&manager.uv, UV_RUN_ONCE);
        manager.now += takes_ns;
    } while (more || manager.spilling);
}

static void say_files(void)
{
    for (unsigned i = 0; i < LETTERS; i++)
        if (objects[i].size && !objects[i].blob)
            say_of(&objects[i], NULL);
    size_t n = strlen(said);
    snprintf(said + n, sizeof(said) - n, " %lu", (unsigned long)(spill_bytes(&manager) / UNIT));
}

static bool take_rest(const char *what, struct object *o)
{
    struct user *u = &users[o - objects];
    if (strncmp(what, "hold", 4) == 0)
        u->held = blob_hold(o->blob);
    else if (strncmp(what, "let go", 6) == 0)
        blob_release(u->held);
    else if (strncmp(what, "leave", 5) == 0)
        spill_await_not(&manager, &u->room), u->waits = false;
    else if (strncmp(what, "lost", 4) == 0)
        u->executor.birth++, manager.spilling = true;
    else if (strncmp(what, "do not read", 11) == 0)
        spill_read_not(o, &u->read);
    else if (strncmp(what, "break", 5) == 0)
        assert_int_equal(ftruncate(o->spill.file, 1), 0);
    else
        return false;
    return true;
}

static void take(const char *what)
{
    struct object *o = &objects[(unsigned char)(what[strlen(what) - 1] - 'a') % LETTERS];
    struct user *u = &users[o - objects];
    uint64_t units = strtoull(what + strcspn(what, "0123456789"), NULL, 10);
    if (strncmp(what, "put", 3) == 0)
        put(u, o, units);
    else if (strncmp(what, "get", 3) == 0)
        get(u, o);
    else if (strncmp(what, "output", 6) == 0)
        ask_output(u, o, units);
    else if (strncmp(what, "drop", 4) == 0)
        drop(o);
    else if (strcmp(what, "begin") == 0)
        spill_turn(&manager);
    else if (strcmp(what, "end") == 0)
        end_all(0);
    else if (strcmp(what, "slow end") == 0)
        end_all(1100000000);
    else if (strcmp(what, "in files") == 0)
        say_files();
    else if (strcmp(what, "no directory") == 0)
        assert_int_equal(rmdir(directory), 0);
    else if (strcmp(what, "a directory") == 0)
        assert_int_equal(mkdir(directory, 0700), 0);
    else if (strcmp(what, "limit") == 0)
        manager.options.object_spill_mib = 1;
    else if (strcmp(what, "time") == 0)
        manager.now += 1100000000, manager.spilling = true;
    else if (!take_rest(what, o))
        fail_msg("no step '%s'", what);
}

static void begin(void)
{
    flm_error error = {0};
    manager = (struct manager){.now = 1000000000000};
    manager.options.object_spill = directory;
    manager.executors = executors;
    manager.n_executors = LETTERS;
    session.manager = &manager;
    assert_int_equal(uv_loop_init(&manager.uv), 0);
    assert_int_equal(spill_open(&manager, &error), 0);
    for (unsigned i = 0; i < LETTERS; i++) {
        objects[i] = (struct object){.spill = {.file = -1}};
        users[i] = (struct user){.executor = {.id = i, .birth = 1, .session = &session}};
        executors[i] = &users[i].executor;
    }
}

/* As flmd does. */
static void end(void)
{
    manager.stopping = true;
    for (unsigned i = 0; i < LETTERS; i++) {
        if (users[i].waits)
            spill_await_not(&manager, &users[i].room);
        spill_job_leave(&objects[i]);
    }
    while (uv_run(&manager.uv, UV_RUN_NOWAIT))
        ;
    for (unsigned i = 0; i < LETTERS; i++)
        drop(&objects[i]);
    assert_int_equal(spill_bytes(&manager), 0);
    assert_int_equal(manager.object_bytes, 0);
    spill_free(&manager);
    assert_int_equal(uv_loop_close(&manager.uv), 0);
}

/* A step is what happens to the object whose letter comes last, in units, and what is said then: "a", it is
 * there, "a:FLM_EFULL", it is not. "begin" starts what can be started, "end" waits for all of that; "in
 * files" says which are in files alone, and how many units there are. */
#define FOUR "put 1 a -> a; put 1 b -> b; put 1 c -> c; put 1 d -> d; "

static const char *const cases[] = {
    /* Those that were used least recently go. */
    FOUR "put 1 e; end -> e; in files -> a 1; get b -> b; put 1 f; end -> f; in files -> a c "
         "2; get a; end -> a; in files -> c d 3",
    /* As many as are needed. */
    FOUR "put 3 e; end -> e; in files -> a b c 3",
    /* What was read back keeps its file, until it has another version. */
    FOUR "put 1 e; end -> e; get a; end -> a; in files -> b 2; put 3 f; end -> f; in files -> "
         "b c d e 5; put 1 a; end -> a; in files -> b c d e 4",
    /* Who is being read is passed over, unless there is nobody else. */
    FOUR "hold a; put 1 e; end -> e; in files -> b 1; hold c; hold d; hold e; put 1 f; end -> "
         "f; in files -> a b 2; let go a; let go c; let go d; let go e",
    /* The object is dropped, or has another version, while it is written, or read. */
    FOUR "put 1 e; begin; drop a; end -> e; in files -> 0",
    FOUR "put 2 e; begin; drop a; put 1 a; end -> e a; in files -> b c 2",
    FOUR "put 1 e; end -> e; get a; begin; drop a -> a:FLM_ENOTFOUND; end",
    FOUR "put 1 e; end -> e; get a; drop a -> a:FLM_ENOTFOUND; end; in files -> 0",
    FOUR "put 1 e; end -> e; drop b; get a; begin; drop c; put 1 a -> a a; end; get a -> a; in "
         "files -> 0",
    /* Nobody waits any more. */
    FOUR "put 1 e; begin; leave e; end; in files -> 1",
    FOUR "put 1 e; end -> e; get a; begin; do not read a; end",
    /* All is left as it is. */
    FOUR "put 1 e; begin; put 1 f; get a -> a",
    FOUR "put 1 e; end -> e; put 1 f; get a; begin",
    /* In turn, also those for whom there would be room. */
    "put 2 a -> a; put 1 b -> b; put 2 c; put 1 d; end -> c d; in files -> a 2",
    /* No more wait than there is memory for. */
    FOUR "put 3 e; put 1 f; put 1 g -> g:FLM_EAGAIN; end -> e f; put 5 g -> g:FLM_EFULL",
    /* Outputs ask until they have room; if nobody asks any more others get it. */
    FOUR "output 1 e -> e:FLM_EAGAIN; end; put 1 f; output 1 e -> e; end -> f; in files -> a b "
         "2",
    FOUR "output 4 e -> e:FLM_EAGAIN; end; in files -> a b c d 4; put 4 f; end; time; end -> f",
    FOUR "output 4 e -> e:FLM_EAGAIN; output 4 e -> e:FLM_EAGAIN; begin; time; end; in files "
         "-> 1",
    FOUR "output 4 e -> e:FLM_EAGAIN; end; put 4 f; end; lost e; end -> f",
    FOUR "output 4 e -> e:FLM_EAGAIN; begin; put 1 f; lost e; end -> f; in files -> a 1",
    /* What cannot be written stays; what is in files can be read, one beyond the limit. */
    FOUR "put 1 e; end -> e; no directory; put 1 f; output 1 g -> g:FLM_EAGAIN; end -> "
         "f:FLM_EIO; output 1 g -> g:FLM_EIO; get a; end -> a; in files -> a 1; put 1 f; end "
         "-> f:FLM_EIO; a directory; put 1 f; end -> f:FLM_EIO; time; put 1 f; end -> f; in "
         "files -> a b 2; get a; end -> a",
    /* Writing fails after a long time. */
    FOUR "no directory; put 1 e; slow end -> e:FLM_EIO; a directory",
    /* When something is deleted it is tried again at once. */
    FOUR "no directory; put 1 e; end -> e:FLM_EIO; a directory; drop d; put 2 e; end -> e; in "
         "files -> a 1",
    /* A limit, of 10 units. */
    "limit; put 4 a -> a; put 4 b; end -> b; put 4 c; end -> c; in files -> a b 8; put 4 "
    "d; end -> d:FLM_EFULL; drop a; put 4 d; end -> d; in files -> b c 8",
    /* A file that cannot be read. */
    FOUR "put 2 e; end -> e; break a; get a; end -> a:FLM_EIO; get b; end -> b; put 1 a; end "
         "-> a; get a -> a",
};

static void run_step(size_t which, char *step)
{
    char *expected = strstr(step, " -> ");
    said[0] = 0;
    if (expected)
        *expected = 0;
    expected = expected ? expected + 4 : "";
    take(step + strspn(step, " "));
    const char *got = said[0] ? said + 1 : "";
    if (strcmp(got, expected) != 0)
        fail_msg("case %zu, '%s': expected '%s', got '%s'", which + 1, step, expected, got);
}

static void run(size_t which)
{
    char steps[1000], *next = steps, *step;
    begin();
    assert_true(snprintf(steps, sizeof(steps), "%s", cases[which]) < (int)sizeof(steps));
    while ((step = strsep(&next, ";")))
        run_step(which, step);
    end();
}

static void test_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        run(i);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory); /* nothing is left there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
