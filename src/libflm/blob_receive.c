/* Large outputs on their way to the callback (doc/protocol.md, "Large payloads").
 *
 * Over a ring the blob was announced on the control connection before its record was written, so it is
 * there or about to be read from the socket. Over fabric it is read into memory of ours first; the result
 * waits for that, later results do not. Nor do they wait for one whose input is still being read (in the
 * user's memory, which the callback gives back): such a result is late in the same way. In-process the
 * address is the output, and ours to unmap. */
#define _GNU_SOURCE
#include "libflm/handle.h"
#include "base/time.h"
#include "net/blob.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOKED_NS 2000000000 /* who waits looks at least so often */

/* Announced, and not asked for yet. */
struct flm__arrived_blob {
    uint64_t id; /* key of the hash */
    struct flm__result_blob blob;
    UT_hash_handle hh;
};

/* A result that is late: its output is being read, or its input. */
struct flm__blob_read {
    struct flm__blob_read *prev, *next; /* in client->reads, or reads_done (next only) */
    flm_client *client;
    bool reading;    /* the output */
    bool told;       /* the session manager has heard of the output */
    bool given_up;   /* the provider may write there still; the task is run again */
    bool held;       /* somebody may read the input: counted in client->n_held */
    uint64_t id;     /* of the output */
    uint64_t source; /* not 0: it is with this node; if it cannot be read there the task is run again */
    int64_t since_ns;
    void *copy;             /* of one that is not large; NULL: it is, or there is none */
    uint32_t slot, session; /* the task's */
    struct flm_result result;
    struct flm__result_blob blob;
    uint64_t number; /* of the result */
    int status;
    char message[FLM__MESSAGE_MAX + 1];
};

/* ---- announced ------------------------------------------------------- */

void flm__blob_say_done(flm_client *c, uint64_t id)
{
    flm__blob_say_unread(c, id, 0);
}

void flm__blob_say_unread(flm_client *c, uint64_t id, int code)
{
    Flm__BlobDone done = FLM__BLOB_DONE__INIT;
    done.id = id;
    done.code = code;
    FLM__MESSAGE(m, blob_done, BLOB_DONE, &done);
    flm__control_say(c, &m, NULL, 0, NULL);
}

void flm__result_blob_free(flm_client *c, struct flm__result_blob *blob)
{
    if (!blob->map)
        return;
    if (blob->room) {
        flm__pool_give(&c->pool, &(struct flm__room){
                                     .fd = -1, .map = (void *)(uintptr_t)blob->map, .size = blob->room});
        blob->map = NULL;
        return;
    }
    flm__maps_put(&c->maps, blob->map, blob->size);
    if (blob->id && !c->lost && blob->connections == c->connections)
        flm__blob_say_done(c, blob->id);
    blob->map = NULL;
}

int flm__blob_arrived(flm_client *c, const Flm__Blob *announced, int fd)
{
    struct flm__result_blob blob = {.size = (size_t)announced->size};
    flm_error error = {0};
    if (fd >= 0 && blob.size > 0 && blob.size <= FLM_MAX_PAYLOAD)
        blob.map = announced->reused ? flm__maps_get(&c->maps, fd, blob.size, &error)
                                     : flm__blob_map(fd, blob.size, &error);
    if (fd >= 0)
        close(fd);
    if (!blob.map && error.code != FLM_ENOMEM)
        return flm__client_lost(c, FLM_EPROTO,
                                "an output of the session manager is not what was announced");
    blob.id = announced->reused ? announced->id : 0;
    blob.connections = c->connections;
    struct flm__arrived_blob *a = calloc(1, sizeof(*a));
    if (a) {
        a->id = announced->id;
        a->blob = blob; /* map NULL: no memory */
        HASH_ADD(hh, c->arrived, id, sizeof(a->id), a);
        if (flm__hash_added(&a->hh))
            return 0;
    }
    free(a);
    flm__maps_put(&c->maps, blob.map, blob.size);
    return flm__client_lost(c, FLM_ENOMEM, "no memory for a large output");
}

bool flm__blob_take_arrived(flm_client *c, uint64_t id, struct flm__result_blob *out)
{
    struct flm__arrived_blob *a;
    HASH_FIND(hh, c->arrived, &id, sizeof(id), a);
    if (!a)
        return false;
    *out = a->blob;
    HASH_DEL(c->arrived, a);
    free(a);
    return true;
}

int flm__blob_wait_for(flm_client *c, uint64_t id, struct flm__result_blob *out)
{
    int64_t deadline = flm__client_deadline(c->timeout_ms);
    while (!flm__blob_take_arrived(c, id, out)) {
        int rc = flm__control_read(c);
        if (flm__blob_take_arrived(c, id, out))
            return 0;
        if (rc < 0)
            return rc;
        struct pollfd p = {.fd = flm__conn_fd(c->conn), .events = POLLIN};
        int64_t left = deadline - flm__now_ns();
        if (deadline != FLM__FOR_EVER && left <= 0)
            return flm__client_lost(c, FLM_EPROTO,
                                    "the session manager did not send an output that it announced");
        poll(&p, 1, deadline == FLM__FOR_EVER ? 1000 : (int)(left / 1000000) + 1);
    }
    return 0;
}

void flm__blob_free_arrived(flm_client *c)
{
    while (c->arrived) {
        struct flm__arrived_blob *a = c->arrived;
        HASH_DEL(c->arrived, a);
        flm__maps_put(&c->maps, a->blob.map, a->blob.size);
        free(a);
    }
}

/* ---- delivered --------------------------------------------------------- */

static void deliver_no_memory(flm_client *c, uint32_t slot)
{
    flm__deliver_made(c, slot, FLM_TASK_FAILED, FLM_REASON_OUT_OF_MEMORY, FLM_ENOMEM,
                      "the client had no memory for the output");
}

static void deliver(flm_client *c, uint32_t slot, const struct flm_result *result,
                    struct flm__result_blob *blob)
{
    struct flm_result r = *result;
    r.output = blob->map;
    r.size = blob->size;
    if (slot != FLM__NO_SLOT && blob->map)
        flm__deliver(c, slot, &r, blob);
    else if (slot != FLM__NO_SLOT)
        deliver_no_memory(c, slot);
    flm__result_blob_free(c, blob); /* unless somebody kept it */
}

/* ---- read by RMA --------------------------------------------------------- */

/* Runs inside the fabric's progress and where messages are read, so it only notes that. */
static void note_progress(struct flm__blob_read *b)
{
    flm_client *c = b->client;
    if (b->reading || b->held)
        return;
    DL_DELETE(c->reads, b);
    LL_APPEND(c->reads_done, b);
}

static void read_is_over(void *arg, int status)
{
    struct flm__blob_read *b = arg;
    b->status = status;
    b->reading = false;
    if (b->source)
        flm__source_done(&b->client->sources, b->source, b->blob.size);
    note_progress(b);
}

static void let_go(struct flm__blob_read *b)
{
    b->held = false;
    b->client->n_held--;
    note_progress(b);
}

void flm__blob_input_over(flm_client *c, uint32_t slot)
{
    struct flm__blob_read *b, *next;
    DL_FOREACH_SAFE(c->reads, b, next)
    {
        if (b->held && (b->slot == slot || slot == FLM__NO_SLOT))
            let_go(b);
    }
}

/* The provider does not write to it any more. */
static void free_read(struct flm__blob_read *b)
{
    flm__result_blob_free(b->client, &b->blob);
    b->client->n_held -= b->held;
    free(b->copy);
    free(b);
}

/* Memory of ours to read an output into. */
static bool make_room(flm_client *c, size_t size, struct flm__result_blob *out)
{
    struct flm__room room;
    if (!flm__pool_find(&c->pool, size, &room)) {
        room.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        room.size = size;
    } else if (room.fd >= 0) {
        close(room.fd); /* from when we had a ring */
    }
    if (room.map == MAP_FAILED)
        return false;
    *out = (struct flm__result_blob){.map = room.map, .size = size, .room = room.size};
    return true;
}

static struct flm__blob_read *late_result(flm_client *c, uint32_t slot, const struct flm_result *result,
                                          bool held)
{
    struct flm__blob_read *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->client = c;
    b->slot = slot;
    b->session = c->slots[slot].session->number;
    b->number = c->result_number;
    b->result = *result;
    memcpy(b->message, c->message, sizeof(b->message));
    b->result.message = b->message;
    b->held = held && flm__blob_is_exposed(c, slot);
    c->n_held += b->held;
    return b;
}

static int begin_read(flm_client *c, struct flm__blob_read *b, const struct flm__blob_ref *ref,
                      flm_error *error)
{
    void *map = (void *)(uintptr_t)b->blob.map;
    if (!ref->source)
        return c->fabric_ops->read(c->link, map, (size_t)ref->size, ref->address, ref->key, read_is_over,
                                   b);
    if (!flm__source_known(&c->sources, ref->source))
        flm__control_read(c); /* we were told, and have not looked */
    return flm__source_read(&c->sources, ref->source, map, ref, read_is_over, b, error);
}

static int start_read(flm_client *c, uint32_t slot, const struct flm__blob_ref *ref,
                      const struct flm_result *result, bool held)
{
    struct flm__blob_read *b = late_result(c, slot, result, held);
    if (!b || !make_room(c, (size_t)ref->size, &b->blob)) {
        if (b)
            free_read(b);
        flm__blob_say_done(c, ref->id);
        deliver_no_memory(c, slot);
        return 0;
    }
    b->id = ref->id;
    b->source = ref->source;
    b->since_ns = ref->source ? flm__now_ns() : 0;
    b->reading = true;
    DL_APPEND(c->reads, b);
    flm_error error;
    int rc = begin_read(c, b, ref, &error);
    if (rc == 0)
        return 0;
    DL_DELETE(c->reads, b);
    free_read(b);
    if (ref->source) {
        flm__blob_say_unread(c, ref->id, rc);
        return 0;
    }
    return flm__client_lost(c, rc, "an output could not be read from the session manager: %s",
                            flm_strerror(rc));
}

bool flm__blob_hold_back(flm_client *c, uint32_t slot, const struct flm_result *result)
{
    struct flm__blob_read *b = flm__blob_is_exposed(c, slot) ? late_result(c, slot, result, true) : NULL;
    if (!b)
        return false;
    if (result->size) {
        b->copy = malloc(result->size);
        if (!b->copy) {
            free_read(b);
            return false;
        }
        b->result.output = memcpy(b->copy, result->output, result->size);
    }
    DL_APPEND(c->reads, b);
    return true;
}

/* The slot of the task still, unless it was given up meanwhile. */
static uint32_t slot_of(const flm_client *c, const struct flm__blob_read *b)
{
    struct flm__record r = {.cookie = b->slot, .session = b->session, .task = b->result.task};
    return flm__deliver_slot(c, &r);
}

/* Of an inherited task: it has a slot already when its result comes again. */
static void note_read(flm_client *c, const struct flm__blob_read *b)
{
    flm_session *s = flm__session_by_number(c, b->session);
    if (s && b->result.task <= s->inherited)
        s->reads_lost++;
}

/* Outputs that are here, or cannot be had, while their input is held: what holds that may be the task,
 * which ends once its output was read. */
static void tell_of_held(flm_client *c)
{
    struct flm__blob_read *b, *next;
    DL_FOREACH_SAFE(c->reads, b, next)
    {
        if (!b->held || !b->id || b->reading || b->told)
            continue;
        b->told = true;
        if (b->status == 0) {
            flm__blob_say_done(c, b->id);
        } else if (b->source) {
            DL_DELETE(c->reads, b); /* first: saying it may read messages, which take some from there */
            flm__blob_say_unread(c, b->id, b->status);
            free_read(b);
        }
    }
}

static void give_up(struct flm__blob_read *b)
{
    flm__blob_say_unread(b->client, b->id, FLM_ETIMEDOUT);
    b->told = b->given_up = true;
    b->client->n_held -= b->held;
    b->held = false;
}

/* While nobody makes progress nothing can come. */
static void forgive(flm_client *c, int64_t now_ns)
{
    int64_t away = now_ns - c->reads_seen_ns - LOOKED_NS;
    struct flm__blob_read *b;
    c->reads_seen_ns = now_ns;
    if (away <= 0)
        return;
    flm__sources_forgive(&c->sources, away);
    DL_FOREACH(c->reads, b)
    b->since_ns += away;
}

bool flm__blob_give_up_silent(flm_client *c, int64_t now_ns)
{
    bool any = false;
    uint64_t silent = 0;
    struct flm__blob_read *b;
    forgive(c, now_ns);
    DL_FOREACH(c->reads, b)
    {
        if (!b->source || !b->reading || b->given_up)
            continue;
        any = true;
        if (flm__source_silent(&c->sources, b->source, b->since_ns, now_ns)) {
            give_up(b);
            silent = b->source;
        }
    }
    if (silent)
        flm__source_cut(&c->sources, silent); /* the next one in a second */
    return any;
}

unsigned flm__blob_deliver_reads(flm_client *c)
{
    unsigned n = 0;
    if (c->n_held)
        tell_of_held(c);
    if (c->lost && c->n_held)
        flm__blob_input_over(c, FLM__NO_SLOT); /* nobody will say it */
    if (c->orphans)
        flm__blob_free_orphans(c, false);
    while (c->reads_done) {
        struct flm__blob_read *b = c->reads_done;
        uint32_t slot = slot_of(c, b);
        LL_DELETE(c->reads_done, b);
        if (b->given_up) {
            free_read(b);
            continue;
        }
        if (!b->id) {
            c->result_number = b->number;
            if (slot != FLM__NO_SLOT)
                flm__deliver(c, slot, &b->result, NULL);
        } else if (b->status == 0) {
            if (!b->told)
                flm__blob_say_done(c, b->id);
            c->result_number = b->number;
            deliver(c, slot, &b->result, &b->blob);
            b->blob.map = NULL;
        } else if (b->source) {
            flm__blob_say_unread(c, b->id, b->status); /* its result comes again */
        } else {
            flm__client_lost(c, b->status, "an output could not be read from the session manager: %s",
                             flm_strerror(b->status));
            note_read(c, b);
        }
        free_read(b);
        n++;
    }
    return n;
}

void flm__blob_note_reads(flm_client *c)
{
    const struct flm__blob_read *b;
    DL_FOREACH(c->reads, b)
    note_read(c, b);
    LL_FOREACH(c->reads_done, b)
    note_read(c, b);
}

void flm__blob_free_reads(flm_client *c)
{
    flm__blob_free_orphans(c, true);
    while (c->reads) {
        struct flm__blob_read *b = c->reads;
        DL_DELETE(c->reads, b);
        free_read(b);
    }
    while (c->reads_done) {
        struct flm__blob_read *b = c->reads_done;
        LL_DELETE(c->reads_done, b);
        free_read(b);
    }
}

/* ---- all of it ------------------------------------------------------------- */

int flm__blob_result(flm_client *c, uint32_t slot, const struct flm__blob_ref *ref,
                     const struct flm_result *result, bool held)
{
    struct flm__result_blob blob = {0};
    int rc = 0;
    if (ref->size == 0 || ref->size > FLM_MAX_PAYLOAD)
        return flm__client_lost(c, FLM_EPROTO, "an output of the session manager has an impossible size");
    if (c->fabric && slot != FLM__NO_SLOT)
        return start_read(c, slot, ref, result, held);
    if (c->fabric) {
        flm__blob_say_done(c, ref->id);
        return 0;
    }
    if (c->inproc)
        blob = (struct flm__result_blob){.map = (const void *)(uintptr_t)ref->address,
                                         .size = (size_t)ref->size};
    else
        rc = flm__blob_wait_for(c, ref->id, &blob);
    if (rc == 0 && blob.size != ref->size) {
        flm__result_blob_free(c, &blob);
        return flm__client_lost(c, FLM_EPROTO,
                                "an output of the session manager is not as large as announced");
    }
    if (rc == 0)
        deliver(c, slot, result, &blob);
    return rc;
}
