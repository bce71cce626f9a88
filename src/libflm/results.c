/* Results of tasks without a callback: copied into chunks until flm_take_results hands them out, and kept
 * from then until its next call. Bounded by what the user submits and does not take. */
#include "libflm/handle.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10 };

/* One result; its message and output follow. */
struct kept {
    struct flm_result result;
    struct flm__kept_blob *blob; /* NULL: the output is here */
    uint64_t number;             /* as session->taken counts */
    size_t bytes;                /* of all this */
};

struct flm__kept_chunk {
    struct flm__kept_chunk *next;
    size_t room, written, read; /* bytes of data */
    _Alignas(8) char data[];
};

struct flm__kept_blob {
    struct flm__kept_blob *next;
    struct flm__result_blob blob;
};

static size_t padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static void *chunk_room(flm_session *s, size_t bytes)
{
    struct flm__kept_chunk *k = s->kept_last;
    if (!k || k->room - k->written < bytes) {
        size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        k = malloc(sizeof(*k) + room);
        if (!k)
            return NULL;
        *k = (struct flm__kept_chunk){.room = room};
        if (s->kept_last)
            s->kept_last->next = k;
        else
            s->kept_first = k;
        s->kept_last = k;
    }
    void *at = k->data + k->written;
    k->written += bytes;
    return at;
}

static bool keep(flm_session *s, const struct flm_result *result, struct flm__result_blob *blob,
                 bool placed)
{
    size_t text = result->message[0] ? strlen(result->message) + 1 : 0;
    bool large = !placed && blob && blob->map;
    size_t output = large || placed ? 0 : result->size;
    size_t bytes = sizeof(struct kept) + padded(output) + padded(text);
    struct flm__kept_blob *b = large ? malloc(sizeof(*b)) : NULL;
    if (large && !b)
        return false;
    struct kept *k = chunk_room(s, bytes);
    if (!k) {
        free(b);
        return false;
    }
    *k = (struct kept){.result = *result, .blob = b, .number = s->client->result_number, .bytes = bytes};
    if (large) {
        *b = (struct flm__kept_blob){.blob = *blob};
        blob->map = NULL;
    } else if (output) {
        k->result.output = memcpy(k + 1, result->output, output);
    }
    k->result.message = text ? memcpy((char *)(k + 1) + padded(output), result->message, text) : "";
    s->kept++;
    if (s->first_held && k->number < s->first_held)
        s->out_of_order = true;
    if (!s->first_held || k->number < s->first_held)
        s->first_held = k->number;
    return true;
}

void flm__results_keep(flm_session *s, const struct flm_result *result, struct flm__result_blob *blob,
                       bool placed)
{
    if (keep(s, result, blob, placed))
        return;
    struct flm_result small = {
        .task = result->task,
        .state = FLM_TASK_FAILED,
        .reason = FLM_REASON_OUT_OF_MEMORY,
        .code = FLM_ENOMEM,
        .attempts = result->attempts,
        .executor = result->executor,
        .message = "the client had no memory to keep the output",
    };
    if (!keep(s, &small, NULL, false))
        flm__client_lost(s->client, FLM_ENOMEM, "no memory to keep the results of session %s", s->id);
}

static void free_blobs(flm_client *c, struct flm__kept_blob *list)
{
    while (list) {
        struct flm__kept_blob *next = list->next;
        flm__result_blob_free(c, &list->blob);
        free(list);
        list = next;
    }
}

static void free_chunks(struct flm__kept_chunk *list)
{
    while (list) {
        struct flm__kept_chunk *next = list->next;
        free(list);
        list = next;
    }
}

/* What the user got by the last call. */
static void free_given(flm_session *s)
{
    free_blobs(s->client, s->given_blobs);
    free_chunks(s->given);
    s->given_blobs = NULL;
    s->given = NULL;
}

static struct kept *next_kept(flm_session *s)
{
    struct flm__kept_chunk *k = s->kept_first;
    while (k && k->read == k->written) {
        s->kept_first = k->next;
        if (!s->kept_first)
            s->kept_last = NULL;
        k->next = s->given;
        s->given = k;
        k = s->kept_first;
    }
    return k ? (struct kept *)(k->data + k->read) : NULL;
}

static int give(flm_session *s, struct flm_result *results, int n)
{
    int i = 0;
    struct kept *k;
    while (i < n && (k = next_kept(s))) {
        results[i++] = k->result;
        if (k->blob) {
            k->blob->next = s->given_blobs;
            s->given_blobs = k->blob;
            k->blob = NULL;
        }
        s->kept_first->read += k->bytes;
        s->kept--;
    }
    return i;
}

void flm__results_free(flm_session *s)
{
    struct kept *k;
    while ((k = next_kept(s))) {
        if (k->blob) {
            flm__result_blob_free(s->client, &k->blob->blob);
            free(k->blob);
        }
        s->kept_first->read += k->bytes;
    }
    free_given(s);
}

static bool some_kept(struct flm__wait *wait)
{
    const flm_session *s = wait->arg;
    return s->kept || !s->uncollected;
}

/* What was given by the last call is done with. */
static void hold_from_oldest(flm_session *s)
{
    struct kept *oldest = next_kept(s);
    if (!oldest)
        s->out_of_order = false;
    if (!s->out_of_order)
        s->first_held = oldest ? oldest->number : 0;
}

/* Results up to this one have all been given to callbacks or handed out. */
static uint64_t handed_out(flm_session *s)
{
    const flm_client *c = s->client;
    if (c->reads || c->reads_done) /* these come out of order */
        return s->released;
    if (!s->kept)
        return s->taken;
    return s->out_of_order ? s->released : next_kept(s)->number - 1;
}

static int acknowledge(flm_session *s)
{
    flm_client *c = s->client;
    uint64_t done = handed_out(s);
    if (done <= s->released)
        return c->lost ? FLM_EDISCONNECTED : 0;
    s->released = done;
    if (c->own_thread)
        flm__wait_notify(c);
    else if (s->acknowledges)
        flm__acknowledge(c);
    return c->lost ? FLM_EDISCONNECTED : 0;
}

int flm_acknowledge(flm_session *s)
{
    if (!s)
        return FLM_EINVAL;
    flm__client_lock(s->client);
    int rc = acknowledge(s);
    flm__client_unlock(s->client);
    return rc;
}

static int take(flm_session *s, struct flm_result *results, int n, int timeout_ms)
{
    flm_client *c = s->client;
    struct flm__wait wait = {FLM__WAIT_DATA, some_kept, s, flm__client_deadline(timeout_ms)};
    int rc = 0;
    free_given(s);
    hold_from_oldest(s);
    if (c->own_thread && s->acknowledges && flm__done_with(s) != s->acknowledged)
        flm__wait_notify(c); /* it says so; the manager may wait for that */
    if (!s->kept && !c->in_callback)
        rc = flm__wait_until(c, &wait);
    if (s->kept)
        return give(s, results, n);
    if (rc == FLM_ETIMEDOUT)
        return 0;
    return flm__session_is_lost(s) ? FLM_EDISCONNECTED : rc;
}

int flm_take_results(flm_session *s, struct flm_result *results, int n, int timeout_ms)
{
    if (!s || !results || n < 1)
        return FLM_EINVAL;
    flm__client_lock(s->client);
    int rc = take(s, results, n, timeout_ms);
    flm__client_unlock(s->client);
    return rc;
}
