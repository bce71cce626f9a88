/* Common data and objects on their way to nodes: who is told to read where, whatever is lost, late or
 * crossed on the way. What spread.c needs of flmd is played here. */
#include "manager/spread.h"

#include "manager/say.h"
#include "manager/verbs.h"

#include <flm/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NODES = 9, STEPS = 30 };

/* What happens to a node, a letter, and what flmd says then: "b:a" b is to read from a, "b:flmd", "b:none"
 * it cannot have it, "b:free" nobody reads it there. The last letter of a step is the node. */
struct step {
    const char *what, *said;
};

static struct manager manager;
static struct blob blob;
static struct node nodes[NODES];
static struct peer peers[NODES];
static uint64_t attempts[NODES], before[NODES], shown[NODES];
static char said[1000];
static int exposing;

/* ---- flmd -------------------------------------------------------------------------------------- */

int peer_send(struct peer *p, const Flm__Message *m, const int *fds, unsigned n_fds)
{
    const Flm__SharedSource *s = m->shared_source;
    char name = (char)('a' + (p - peers));
    size_t n = strlen(said);
    (void)fds;
    assert_int_equal(n_fds, 0);
    if (m->body_case == FLM__MESSAGE__BODY_SHARED_FREE) {
        assert_int_equal(m->shared_free->id, blob.id);
        snprintf(said + n, sizeof(said) - n, " %c:free", name);
        return 0;
    }
    assert_int_equal(m->body_case, FLM__MESSAGE__BODY_SHARED_SOURCE);
    assert_int_equal(s->id, blob.id);
    if (s->code < 0) {
        snprintf(said + n, sizeof(said) - n, " %c:none", name);
        return 0;
    }
    assert_int_not_equal(s->attempt, attempts[p - peers]);
    before[p - peers] = attempts[p - peers];
    attempts[p - peers] = s->attempt;
    assert_int_equal(s->key, s->node.len ? s->node.data[0] : 7);
    if (s->node.len)
        snprintf(said + n, sizeof(said) - n, " %c:%c", name, s->node.data[0]);
    else
        snprintf(said + n, sizeof(said) - n, " %c:flmd", name);
    return 0;
}

void say_limited(struct say_limit *limit, int64_t now_ns, const char *format, ...)
{
    (void)limit;
    (void)now_ns;
    (void)format;
}

struct blob *blob_hold(struct blob *b)
{
    assert_true(b->refs > 0);
    b->refs++;
    return b;
}

void blob_release(struct blob *b)
{
    assert_true(b->refs > 0);
    if (--b->refs == 0)
        spread_end(b);
}

int blob_expose(struct blob *b, flm_error *error)
{
    (void)error;
    b->key = 7;
    return exposing;
}

void *verbs_list(size_t n, size_t size, void ***pointers)
{
    char *all = calloc(n + 1, size + sizeof(void *));
    *pointers = (void **)(void *)(all + n * size);
    for (size_t i = 0; i < n; i++)
        (*pointers)[i] = all + i * size;
    return all;
}

/* ---- steps ------------------------------------------------------------------------------------- */

static void begin(void)
{
    manager = (struct manager){.options = {.loss_ms = 1000}, .now = 1};
    blob = (struct blob){.id = 99, .size = 1 << 20, .refs = 1, .manager = &manager};
    exposing = 0;
    memset(attempts, 0, sizeof(attempts));
    for (int i = 0; i < NODES; i++) {
        peers[i] = (struct peer){.manager = &manager};
        nodes[i] = (struct node){.number = (unsigned)i, .peer = &peers[i], .fabric_address_size = 1};
        nodes[i].fabric_address[0] = nodes[i].name[0] = (char)('a' + i);
    }
}

static void show(unsigned i)
{
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    spread_show(&blob, &nodes[i], &ref);
    assert_int_equal(ref.id, blob.id);
    assert_true(ref.size == blob.size && !ref.address && !ref.key);
    shown[i] = ref.number;
    spread_shown(&blob, &nodes[i]);
}

static void tell_read(unsigned i, int code, bool open, uint64_t attempt)
{
    Flm__SharedAt at = FLM__SHARED_AT__INIT;
    at.id = blob.id;
    at.attempt = attempt;
    at.code = code;
    at.open = open;
    at.bytes = blob.size;
    at.key = 'a' + i;
    spread_read(&nodes[i], &at);
}

static void tell_gone(unsigned i, uint64_t number)
{
    Flm__SharedGone gone = FLM__SHARED_GONE__INIT;
    gone.id = blob.id;
    gone.number = number;
    spread_unused(&nodes[i], &gone);
}

static void take(const char *what)
{
    size_t n = strlen(what);
    unsigned i = (unsigned)(what[n - 1] - 'a');
    if (strncmp(what, "show ", 5) == 0)
        show(i);
    else if (strncmp(what, "made by ", 8) == 0)
        attempts[i] = shown[i] = spread_keep(&blob, &nodes[i]);
    else if (strncmp(what, "has ", 4) == 0)
        tell_read(i, 0, true, attempts[i]);
    else if (strncmp(what, "has, closed ", 12) == 0)
        tell_read(i, 0, false, attempts[i]);
    else if (strncmp(what, "fails ", 6) == 0)
        tell_read(i, FLM_EDISCONNECTED, false, attempts[i]);
    else if (strncmp(what, "late failure of ", 16) == 0)
        tell_read(i, FLM_EDISCONNECTED, false, before[i]);
    else if (strncmp(what, "no memory ", 10) == 0)
        tell_read(i, FLM_ENOMEM, false, attempts[i]);
    else if (strncmp(what, "gone ", 5) == 0)
        tell_gone(i, shown[i]);
    else if (strncmp(what, "crossed ", 8) == 0)
        tell_gone(i, shown[i] - 1);
    else if (strncmp(what, "lost ", 5) == 0)
        spread_node_gone(&manager, &nodes[i]);
    else if (strcmp(what, "time") == 0)
        manager.now += 3000000000;
    else if (strcmp(what, "no fabric") == 0)
        exposing = FLM_ENOTSUP;
    else if (strcmp(what, "newer") == 0)
        blob_release(&blob); /* the session has another */
    else if (strcmp(what, "no blob") == 0)
        assert_int_equal(blob.refs, 0);
    else
        fail_msg("no step '%s'", what);
    if (blob.refs)
        spread_look(&manager);
}

static void run(const struct step *steps)
{
    begin();
    for (int i = 0; i < STEPS && steps[i].what; i++) {
        said[0] = 0;
        take(steps[i].what);
        const char *got = said[0] ? said + 1 : "";
        if (strcmp(got, steps[i].said) != 0)
            fail_msg("step %d, '%s': expected '%s', got '%s'", i + 1, steps[i].what, steps[i].said, got);
    }
    for (unsigned i = 0; i < NODES; i++)
        spread_node_gone(&manager, &nodes[i]);
    while (blob.refs) {
        assert_int_equal(blob.refs, 1); /* the session's: no place holds it any more */
        blob_release(&blob);
    }
    assert_null(manager.spreads);
    assert_null(manager.spreading);
}

static void rules(void **state)
{
    static const struct step cases[][STEPS] = {
        /* Two copies of flmd, then each gives to two at a time. */
        {{"show a", "a:flmd"},
         {"show b", "b:flmd"},
         {"show c", ""},
         {"show d", ""},
         {"show e", ""},
         {"show f", ""},
         {"show g", ""},
         {"show h", ""},
         {"show i", ""},
         {"show a", ""},
         {"has a", "c:a d:a"},
         {"has b", "e:b f:b"},
         {"has c", "g:c h:a i:c"},
         {"has d", ""},
         {"has i", ""},
         {"has e", ""}},
        /* One after the other: they need one copy of flmd. */
        {{"show a", "a:flmd"},
         {"has a", ""},
         {"show b", "b:a"},
         {"has b", ""},
         {"show c", "c:a"},
         {"show d", "d:b"},
         {"show e", "e:a"},
         {"show f", "f:b"},
         {"show g", ""},
         {"has c", "g:c"}},
        /* The node that others read from is lost. */
        {{"show a", "a:flmd"},
         {"has a", ""},
         {"show b", "b:a"},
         {"show c", "c:a"},
         {"lost a", "b:flmd c:flmd"},
         {"late failure of b", ""},
         {"has b", ""},
         {"has c", ""},
         {"show d", "d:b"}},
        {{"show a", "a:flmd"}, {"show b", "b:flmd"}, {"show c", ""}, {"lost a", "c:flmd"}, {"has b", ""}},
        {{"show a", "a:flmd"}, {"show b", "b:flmd"}, {"show c", ""}, {"lost c", ""}, {"has b", ""}},
        /* It cannot be read there: elsewhere, then from flmd, whatever that has sent. */
        {{"show a", "a:flmd"},
         {"show b", "b:flmd"},
         {"has a", ""},
         {"has b", ""},
         {"show c", "c:a"},
         {"fails c", "c:b"},
         {"fails c", "c:flmd"},
         {"fails c", "c:none"},
         {"show c", "c:a"}},
        {{"show a", "a:flmd"}, {"has a", ""}, {"show b", "b:a"}, {"fails b", "b:flmd"}, {"has b", ""}},
        {{"show a", "a:flmd"}, {"fails a", "a:none"}, {"show b", "b:flmd"}},
        {{"show a", "a:flmd"}, {"has a", ""}, {"show b", "b:a"}, {"no memory b", "b:none"}, {"has b", ""}},
        {{"no fabric", ""}, {"show a", "a:none"}, {"show b", "b:none"}},
        /* A node that cannot show it is no source. */
        {{"show a", "a:flmd"},
         {"has, closed a", ""},
         {"show b", "b:flmd"},
         {"show c", "c:flmd"},
         {"show d", ""},
         {"has b", "d:b"}},
        /* A read from another node that takes too long; from flmd it may. */
        {{"show a", "a:flmd"},
         {"time", ""},
         {"has a", ""},
         {"show b", "b:a"},
         {"time", "b:flmd"},
         {"late failure of b", ""},
         {"time", ""},
         {"has b", ""}},
        /* It is needed no more: while it waits, is read, is there, is read by others there. */
        {{"show a", "a:flmd"},
         {"show b", "b:flmd"},
         {"show c", ""},
         {"gone c", "c:free"},
         {"gone b", ""},
         {"has b", "b:free"},
         {"gone a", ""},
         {"fails a", "a:free"},
         {"gone a", "a:free"}},
        {{"show a", "a:flmd"},
         {"has a", ""},
         {"show b", "b:a"},
         {"show c", "c:a"},
         {"gone a", ""},
         {"has b", ""},
         {"show d", "d:b"},
         {"fails c", "a:free c:b"},
         {"gone b", ""},
         {"lost c", ""},
         {"lost d", "b:free"}},
        /* A leaving reader whose source is lost. */
        {{"show a", "a:flmd"}, {"has a", ""}, {"show b", "b:a"}, {"gone b", ""}, {"lost a", "b:free"}},
        /* One that leaves counts for nothing. */
        {{"show a", "a:flmd"},
         {"show b", "b:flmd"},
         {"show c", ""},
         {"show d", ""},
         {"has a", "c:a d:a"},
         {"gone a", ""},
         {"gone b", ""},
         {"has c", ""},
         {"show e", "e:c"},
         {"has d", "a:free"}},
        /* Another reference is on its way when the node says that it needs it no more. */
        {{"show a", "a:flmd"},
         {"has a", ""},
         {"show a", ""},
         {"crossed a", ""},
         {"show b", "b:a"},
         {"gone a", ""},
         {"show a", ""},
         {"has b", ""},
         {"gone a", "a:free"}},
        {{"show a", "a:flmd"},
         {"show a", ""},
         {"crossed a", ""},
         {"has a", ""},
         {"gone a", "a:free"},
         {"show a", "a:flmd"}},
        /* A node has made it: flmd has it from there, and sends no more than it would otherwise. */
        {{"made by a", ""},
         {"has a", ""},
         {"show b", "b:a"},
         {"show c", "c:a"},
         {"show d", ""},
         {"has b", "d:b"}},
        {{"made by a", ""},
         {"show b", "b:flmd"},
         {"show c", ""},
         {"has a", "c:a"},
         {"gone a", ""},
         {"has c", "a:free"}},
        {{"made by a", ""}, {"gone a", ""}, {"has a", "a:free"}},
        {{"made by a", ""}, {"no memory a", "a:none"}, {"show a", "a:flmd"}},
        {{"made by a", ""}, {"show b", "b:flmd"}, {"show c", ""}, {"lost a", "c:flmd"}},
        {{"made by a", ""}, {"newer", ""}, {"has a", ""}, {"no blob", ""}, {"gone a", "a:free"}},
        /* There is a newer version: those that read this one still hold it. */
        {{"show a", "a:flmd"},
         {"show b", "b:flmd"},
         {"show c", ""},
         {"newer", ""},
         {"has a", "c:a"},
         {"has b", ""},
         {"has c", ""},
         {"no blob", ""},
         {"gone a", "a:free"},
         {"gone a", "a:free"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("case %zu\n", i + 1);
        run(cases[i]);
    }
}

static void views(void **state)
{
    static const struct step steps[STEPS] = {{"show a", "a:flmd"}, {"has a", ""}, {"show b", "b:a"}};
    Flm__CommonView v = FLM__COMMON_VIEW__INIT;
    (void)state;
    begin();
    for (int i = 0; steps[i].what; i++)
        take(steps[i].what);
    Flm__CommonPlace *list = spread_view(&blob, &v);
    assert_int_equal(v.n_places, 2);
    assert_true(v.size == blob.size && v.sent == blob.size);
    assert_string_equal(v.places[0]->node, "a");
    assert_string_equal(v.places[0]->state, "has");
    assert_string_equal(v.places[0]->from, "");
    assert_true(v.places[0]->bytes == blob.size);
    assert_string_equal(v.places[1]->state, "reads");
    assert_string_equal(v.places[1]->from, "a");
    assert_true(v.places[1]->bytes == 0);
    free(list);
    take("lost a");
    take("lost b");
    blob_release(&blob);
    list = spread_view(&blob, &v);
    assert_int_equal(v.n_places, 0);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rules), cmocka_unit_test(views)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
