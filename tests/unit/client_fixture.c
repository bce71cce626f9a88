#include "client_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void fixture_open(struct fixture *f, const struct fake_script *script,
                  const struct flm_connect_options *options, unsigned flags)
{
    flm_error error = {0};
    f->m = fake_start(script);
    f->c = flm_connect(f->m->endpoint, options, &error);
    assert_string_equal(error.text, "");
    assert_non_null(f->c);
    f->s = flm_create_session(f->c,
                              &(struct flm_session_options){.size = sizeof(struct flm_session_options),
                                                            .application = "app",
                                                            .flags = flags},
                              &error);
    assert_string_equal(error.text, "");
    assert_non_null(f->s);
}

void fixture_close(struct fixture *f)
{
    flm_error error = {0};
    if (f->s && flm_close_session(f->s, &error) < 0)
        fail_msg("closing: %s", error.text);
    flm_disconnect(f->c);
    fake_stop(f->m);
}

void seen_result(const struct flm_result *r, void *arg)
{
    struct seen *seen = arg;
    seen->n++;
    seen->succeed += r->state == FLM_TASK_SUCCEED;
    seen->failed += r->state == FLM_TASK_FAILED;
    seen->cancelled += r->state == FLM_TASK_CANCELLED;
    seen->bytes += r->size;
    seen->sum += r->task;
    if (!r->message || (r->size == 0) != (r->output == NULL) || ((uintptr_t)r->output & 7))
        seen->wrong++;
    seen->last = *r;
    snprintf(seen->message, sizeof(seen->message), "%s", r->message);
}

void pattern_fill(void *data, size_t size, uint64_t seed)
{
    unsigned char *p = data;
    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)((seed + i) * 2654435761u >> 13);
}

bool pattern_is(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i++)
        if (p[i] != (unsigned char)((seed + i) * 2654435761u >> 13))
            return false;
    return true;
}
