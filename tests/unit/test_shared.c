/* Data that a node shares, common data and objects: what it says of them to flmd, and to whom they matter
 * here, whatever comes late, twice or crossed. The node, its fabric and its slots are played here. */
#include "node/relay_inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include <cmocka.h>

enum { STEPS = 20, SIZE = 1000, LETTERS = 26 };

/* What happens, and what comes of it. Data have letters for names; the numbers of references and attempts
 * count up. Heard by flmd: "at a2" a was read, by the second attempt (it was given 2), "at a2:-5" it was
 * not, "gone a3", of the third reference. "read a" begins, "cut a" ends a read; "hidden a" nobody can read
 * it here any more; "there a", "none a": those who use it hear that. */
struct step {
    const char *what, *said;
};

static struct agent agent;
static struct relay relay;
static struct shared *uses[LETTERS];
static uint64_t numbers[LETTERS], attempts[LETTERS];
static char said[1000];
static unsigned pulls;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    size_t n = strlen(said);
    va_list args;
    va_start(args, format);
    vsnprintf(said + n, sizeof(said) - n, format, args);
    va_end(args);
}

/* ---- the node ---------------------------------------------------------------------------------- */

void agent_tell(struct agent *a, const Flm__Message *m, const int *fds, unsigned n_fds)
{
    (void)fds;
    assert_ptr_equal(a, &agent);
    assert_int_equal(n_fds, 0);
    if (m->body_case == FLM__MESSAGE__BODY_SHARED_GONE) {
        say(" gone %c%d", (char)m->shared_gone->id, (int)m->shared_gone->number);
        return;
    }
    const Flm__SharedAt *at = m->shared_at;
    assert_int_equal(m->body_case, FLM__MESSAGE__BODY_SHARED_AT);
    assert_true(at->code < 0 || (at->open && at->key == at->id));
    say(" at %c%d", (char)at->id, (int)at->attempt);
    if (at->code < 0)
        say(":%s", flm_error_name(at->code));
    else if (at->bytes != SIZE)
        say("(%d)", (int)at->bytes);
}

struct pull *relay_pull_from(struct relay *r, const struct pull_source *from, uint64_t size,
                             flm_error *error)
{
    struct pull *p = calloc(1, sizeof(*p));
    assert_true(r == &relay && size == SIZE);
    if (from->key == 'x') {
        free(p);
        snprintf(error->text, sizeof(error->text), "no memory");
        error->code = FLM_ENOMEM;
        return NULL;
    }
    p->from = *from;
    p->size = SIZE;
    p->room.map = &relay;
    pulls++;
    if (from->base)
        say(" read %d of %d", (int)from->offset, (int)from->bytes);
    else
        say(" read from %s", from->node_size ? (const char *)from->node : "flmd");
    return p;
}

struct pull *relay_pull_done(struct relay *r, int fd, size_t size)
{
    struct pull *p = calloc(1, sizeof(*p));
    assert_true(r == &relay && fd == 5 && size == SIZE);
    p->size = size;
    pulls++;
    return p;
}

void relay_pull_drop(struct pull *pull)
{
    if (!pull)
        return;
    pulls--;
    say(" cut");
    free(pull);
}

static int expose(struct flm__fabric *fabric, const void *memory, size_t size, struct flm__region **out,
                  uint64_t *address, uint64_t *key, flm_error *error)
{
    (void)fabric, (void)memory, (void)error;
    assert_true(size == SIZE && !*out);
    struct shared *s = (struct shared *)(void *)((char *)out - offsetof(struct shared, region));
    *out = (void *)s;
    *address = 1;
    *key = s->id;
    return 0;
}

static void conceal(struct flm__fabric *fabric, struct flm__region *region)
{
    (void)fabric, (void)region;
    say(" hidden");
}

static void use_ends(const struct shared *s)
{
    for (int i = 0; i < LETTERS; i++) {
        if (uses[i] != s || s->ready)
            continue;
        struct shared *was = uses[i];
        uses[i] = NULL;
        relay_shared_leave(was);
    }
}

void relay_common_arrived(struct shared *s)
{
    say(" %s", s->ready ? "there" : s->why);
}

void relay_objects_arrived(struct shared *s)
{
    use_ends(s);
}

/* ---- steps ------------------------------------------------------------------------------------- */

static Flm__BlobRef reference(char name)
{
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    ref.id = (uint64_t)name;
    ref.size = SIZE;
    ref.number = ++numbers[name - 'a'];
    return ref;
}

static void source(char name, const char *node, uint64_t key, int code, uint64_t before)
{
    Flm__SharedSource s = FLM__SHARED_SOURCE__INIT;
    s.id = (uint64_t)name;
    s.attempt = code < 0 ? 0 : ++attempts[name - 'a'];
    s.node.data = (uint8_t *)(uintptr_t)node;
    s.node.len = node ? strlen(node) + 1 : 0;
    s.key = key;
    s.code = code;
    s.before = before;
    s.offset = 30;
    s.bytes = 40;
    relay_shared_source(&relay, &s);
}

static void done(char name, int status)
{
    struct shared *s = uses[name - 'a'];
    s->pull->status = status;
    s->pull->done = true;
    s->pull->on_done(s->pull);
}

static void keep(char name, int fd)
{
    Flm__BlobDone d = FLM__BLOB_DONE__INIT;
    d.blob = (uint64_t)name;
    d.number = ++numbers[name - 'a'];
    uses[name - 'a'] = relay_shared_keep(&relay, &d, fd, SIZE);
}

static void leave(char name)
{
    struct shared *s = uses[name - 'a'];
    if (s->users == 1)
        uses[name - 'a'] = NULL;
    relay_shared_leave(s);
}

static void take(const char *what)
{
    char name = what[strlen(what) - 1];
    Flm__BlobRef ref;
    if (strncmp(what, "show ", 5) == 0)
        ref = reference(name), uses[name - 'a'] = relay_shared_get(&relay, &ref);
    else if (strncmp(what, "decline ", 8) == 0)
        ref = reference(name), relay_shared_decline(&relay, &ref);
    else if (strncmp(what, "flmd has ", 9) == 0)
        source(name, NULL, 1, 0, 0);
    else if (strncmp(what, "node n has ", 11) == 0)
        source(name, "n", 1, 0, 0);
    else if (strncmp(what, "no memory for ", 14) == 0)
        source(name, NULL, 'x', 0, 0);
    else if (strncmp(what, "nobody has ", 11) == 0)
        source(name, NULL, 0, FLM_EIO, 0);
    else if (strncmp(what, "a has but 40 of ", 16) == 0)
        source(name, NULL, 1, 0, 'a');
    else if (strncmp(what, "done ", 5) == 0)
        done(name, 0);
    else if (strncmp(what, "fails ", 6) == 0)
        done(name, FLM_EIO);
    else if (strncmp(what, "made elsewhere ", 15) == 0)
        keep(name, -1);
    else if (strncmp(what, "made ", 5) == 0)
        keep(name, 5);
    else if (strncmp(what, "leave ", 6) == 0)
        leave(name);
    else if (strncmp(what, "free ", 5) == 0)
        relay_shared_free(&relay, (uint64_t)name);
    else if (strcmp(what, "conceal") == 0)
        relay_shared_conceal(&relay);
    else if (strcmp(what, "flmd is lost") == 0)
        relay_shared_retire(&relay);
    else
        fail_msg("no step '%s'", what);
}

static void run(const struct step *steps)
{
    static const struct flm__fabric_ops ops = {.expose = expose, .conceal = conceal};
    relay = (struct relay){.agent = &agent, .ops = &ops};
    memset(uses, 0, sizeof(uses));
    memset(numbers, 0, sizeof(numbers));
    memset(attempts, 0, sizeof(attempts));
    for (int i = 0; i < STEPS && steps[i].what; i++) {
        said[0] = 0;
        take(steps[i].what);
        const char *got = said[0] ? said + 1 : "";
        if (strcmp(got, steps[i].said) != 0)
            fail_msg("step %d, '%s': expected '%s', got '%s'", i + 1, steps[i].what, steps[i].said, got);
    }
    relay_shared_retire(&relay);
    for (int i = 0; i < LETTERS; i++)
        while (uses[i])
            leave((char)('a' + i));
    assert_null(relay.shared);
    assert_int_equal(pulls, 0);
}

static void rules(void **state)
{
    static const struct step cases[][STEPS] = {
        /* Two use it; it stays until flmd says that nobody reads it here. */
        {{"show a", ""},
         {"flmd has a", "read from flmd"},
         {"show a", ""},
         {"done a", "at a1 there"},
         {"leave a", ""},
         {"free a", ""},
         {"leave a", "gone a2"},
         {"free a", "hidden cut"}},
        /* flmd says where to read before and after another reference has come. */
        {{"show a", ""},
         {"flmd has a", "read from flmd"},
         {"done a", "at a1 there"},
         {"leave a", "gone a1"},
         {"show a", ""},
         {"leave a", "gone a2"},
         {"free a", "hidden cut"},
         {"free a", ""}},
        /* A source that is too slow: what comes of it is of no interest. */
        {{"show a", ""},
         {"node n has a", "read from n"},
         {"flmd has a", "cut read from flmd"},
         {"done a", "at a2 there"}},
        /* A source that comes late: we have it, and flmd has not heard so yet, or does not believe it. */
        {{"show a", ""},
         {"node n has a", "read from n"},
         {"done a", "at a1 there"},
         {"flmd has a", "hidden at a2"},
         {"node n has a", "hidden at a3"},
         {"leave a", "gone a1"},
         {"flmd has a", "hidden at a4"},
         {"free a", "hidden cut"}},
        /* It was made here, and shown before we hear so: who waits has it at once, also when we had it. */
        {{"show a", ""},
         {"flmd has a", "read from flmd"},
         {"made a", "cut at a2(0) there"},
         {"leave a", ""},
         {"leave a", "gone a2"},
         {"free a", "hidden cut"}},
        {{"show a", ""},
         {"flmd has a", "read from flmd"},
         {"done a", "at a1 there"},
         {"made a", "cut hidden at a2"},
         {"leave a", ""},
         {"leave a", "gone a2"},
         {"free a", "hidden cut"}},
        /* It could not be read: from one, from all. */
        {{"show a", ""},
         {"node n has a", "read from n"},
         {"fails a", "cut at a1:FLM_EIO"},
         {"flmd has a", "read from flmd"},
         {"done a", "at a2 there"}},
        {{"show a", ""},
         {"flmd has a", "read from flmd"},
         {"fails a", "cut at a1:FLM_EIO"},
         {"nobody has a", "could not be read: an input or output operation failed"}},
        {{"show a", ""},
         {"no memory for a", "at a1:FLM_ENOMEM"},
         {"nobody has a", "could not be read: no memory"},
         {"show a", ""},
         {"flmd has a", "read from flmd"},
         {"done a", "at a2 there"}},
        {{"show a", ""}, {"nobody has a", "could not be read"}},
        /* flmd gives it up while we say that we have it: who has it keeps it. */
        {{"show a", ""},
         {"flmd has a", "read from flmd"},
         {"done a", "at a1 there"},
         {"nobody has a", ""},
         {"leave a", "hidden cut"}},
        {{"show a", ""},
         {"flmd has a", "read from flmd"},
         {"done a", "at a1 there"},
         {"leave a", "gone a1"},
         {"nobody has a", "hidden cut"}},
        /* Nobody here needs it: before and after flmd says where it is. */
        {{"decline a", "gone a1"}, {"flmd has a", "read from flmd"}, {"free a", "cut"}},
        {{"show a", ""}, {"leave a", "gone a1"}, {"free a", ""}, {"flmd has a", "at a1:FLM_ENOTFOUND"}},
        {{"free a", ""}, {"nobody has a", ""}},
        /* Of a version like one that is here what differs is read. */
        {{"show a", ""},
         {"a has but 40 of b", "at b1:FLM_ENOTFOUND"},
         {"show b", ""},
         {"a has but 40 of b", "read from flmd"},
         {"flmd has a", "read from flmd"},
         {"a has but 40 of b", "cut read from flmd"},
         {"done a", "at a1 there"},
         {"a has but 40 of b", "cut read 30 of 40"},
         {"done b", "at b4(40) there"}},
        /* It was made here. */
        {{"made a", "at a1(0)"},
         {"show a", ""},
         {"leave a", ""},
         {"leave a", "gone a2"},
         {"free a", "hidden cut"}},
        {{"made elsewhere a", "at a1:FLM_ENOTFOUND"}, {"nobody has a", ""}},
        /* The connection to flmd is lost. */
        {{"show a", ""},
         {"flmd has a", "read from flmd"},
         {"done a", "at a1 there"},
         {"show b", ""},
         {"flmd has b", "read from flmd"},
         {"leave b", "gone b1"},
         {"conceal", "hidden"},
         {"flmd is lost", "cut"},
         {"leave a", "cut"},
         {"show a", ""},
         {"flmd has a", "read from flmd"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("case %zu\n", i + 1);
        run(cases[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
