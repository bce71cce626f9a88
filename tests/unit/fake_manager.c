#define _GNU_SOURCE
#include "fake_manager.h"

#include "base/time.h"
#include "net/blob.h"
#include "net/ring.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A function for the manager's thread. */
struct command {
    void (*fn)(struct fake_manager *m, void *arg);
    void *arg;
};

static void mistake(struct fake_manager *m, const char *format, ...) FLM_PRINTF(2, 3);

static void mistake(struct fake_manager *m, const char *format, ...)
{
    va_list args;
    if (m->mistake[0])
        return;
    va_start(args, format);
    vsnprintf(m->mistake, sizeof(m->mistake), format, args);
    va_end(args);
    fprintf(stderr, "the fake manager: %s\n", m->mistake);
}

/* ---- the greeting --------------------------------------------------------- */

static int open_memory(uint32_t bytes)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    if (ftruncate(fd, 8192 + 2 * (off_t)bytes) < 0)
        return -1;
    return fd;
}

static void make_ring(struct fake_manager *m, Flm__Ready *ready, int *fds)
{
    uint32_t bytes = m->script.ring_bytes ? m->script.ring_bytes : FLM__RING_BYTES;
    ready->ring = true;
    ready->ring_bytes = bytes;
    if (flm__ring_create(bytes, &fds[0], NULL) < 0)
        mistake(m, "no ring");
    m->link = flm__ring_open(fds[0], bytes, true, m->peer_bell, NULL);
    if (m->script.greeting == FAKE_OPEN_MEMORY) {
        close(fds[0]);
        fds[0] = open_memory(bytes);
    }
    fds[1] = m->bell;
    fds[2] = m->peer_bell;
}

static void greet(struct fake_manager *m, const Flm__Hello *hello)
{
    Flm__Ready ready = FLM__READY__INIT;
    FLM__MESSAGE(answer, ready, READY, &ready);
    int fds[3] = {-1, -1, -1};
    unsigned n_fds = 0;
    enum fake_greeting greeting = m->script.greeting;
    if (hello->role != FLM__ROLE__ROLE_CLIENT || hello->version_max != FLM__PROTOCOL_VERSION ||
        hello->nonce.len != 32 || !hello->incarnation || !hello->name[0])
        mistake(m, "the hello is not as it should be");
    if (greeting == FAKE_SILENT)
        return;
    if (greeting == FAKE_GARBAGE) {
        fake_send_bytes(m, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
        return;
    }
    if (greeting == FAKE_REFUSES) {
        Flm__Refused r = FLM__REFUSED__INIT;
        r.code = m->script.refuse_code;
        r.text = (char *)(uintptr_t) "you are not welcome";
        FLM__MESSAGE(refused, refused, REFUSED, &r);
        flm__conn_send(m->conn, &refused, NULL, 0);
        return;
    }
    ready.version = greeting == FAKE_OTHER_VERSION ? 99 : FLM__PROTOCOL_VERSION;
    ready.instance = (char *)(uintptr_t) "fake";
    if (greeting != FAKE_NO_RING) {
        make_ring(m, &ready, fds);
        n_fds = greeting == FAKE_NO_DESCRIPTORS ? 0 : 3;
    }
    flm__conn_send(m->conn, &answer, fds, n_fds);
    if (fds[0] >= 0)
        close(fds[0]);
}

/* ---- tasks ------------------------------------------------------------------- */

static void drain_control(struct fake_manager *m);

static bool find_blob(struct fake_manager *m, uint64_t id, struct fake_blob *out)
{
    for (size_t i = 0; i < m->n_blobs; i++) {
        if (m->blobs[i].id != id)
            continue;
        *out = m->blobs[i];
        m->blobs[i] = m->blobs[--m->n_blobs];
        return true;
    }
    return false;
}

/* The client may have it still: its socket was full when it announced it. */
static bool take_blob(struct fake_manager *m, uint64_t id, struct fake_blob *out)
{
    int64_t deadline = flm__now_ns() + 20000000000;
    while (!find_blob(m, id, out)) {
        if (!m->conn || flm__now_ns() > deadline)
            return false;
        m->waits_for_blob = true;
        drain_control(m);
        m->waits_for_blob = false;
        sched_yield();
    }
    return true;
}

static uint64_t weight(const struct fake_task *t)
{
    uint32_t before = t->deadline_ms ? 8 : 0;
    if (t->record.flags & FLM__RECORD_BLOB)
        return flm__record_bytes(before + (uint32_t)sizeof(struct flm__blob_ref)) + t->size;
    return flm__record_bytes(before + (uint32_t)t->size);
}

static void keep_task(struct fake_manager *m, const struct fake_task *t)
{
    if (m->n_tasks == m->tasks_room) {
        m->tasks_room = m->tasks_room ? 2 * m->tasks_room : 64;
        m->tasks = realloc(m->tasks, m->tasks_room * sizeof(*m->tasks));
    }
    m->tasks[m->n_tasks++] = *t;
}

static void free_task(struct fake_task *t)
{
    free(t->input);
    t->input = NULL;
}

static void receive_task(struct fake_manager *m, const struct flm__record *r, const void *payload)
{
    struct flm__task_parts parts;
    struct fake_blob blob = {0};
    if (r->type == FLM__ACK) {
        m->acknowledged = r->task;
        return;
    }
    if (r->type != FLM__TASK || !flm__task_split(r, payload, &parts)) {
        mistake(m, "a record of type %u and %u bytes", r->type, r->size);
        return;
    }
    struct fake_task t = {.record = *r, .deadline_ms = parts.deadline_ms, .size = parts.size};
    const void *input = parts.input;
    if (parts.blob) {
        struct flm__blob_ref ref;
        memcpy(&ref, parts.input, sizeof(ref));
        if (!take_blob(m, ref.id, &blob) || blob.size != ref.size) {
            mistake(m, "task %lu refers to a blob that was not announced", (unsigned long)r->task);
            return;
        }
        input = blob.map;
        t.size = blob.size;
    }
    uint64_t *last_id = &m->last_id[r->session % 4096];
    if (r->task <= *last_id)
        mistake(m, "task %lu came after task %lu", (unsigned long)r->task, (unsigned long)*last_id);
    *last_id = r->task;
    t.input = malloc(t.size + 1);
    memcpy(t.input, input, t.size);
    flm__blob_unmap(blob.map, blob.size);
    m->n_received++;
    if (m->script.hold_tasks) {
        keep_task(m, &t);
        return;
    }
    if (m->script.on_task)
        m->script.on_task(m, &t);
    else
        fake_answer(m, &t, t.input, t.size);
    free_task(&t);
}

static unsigned drain_link(struct fake_manager *m)
{
    const void *data;
    size_t n = m->link && !m->script.deaf ? flm__link_peek(m->link, &data) : 0, at = 0;
    unsigned tasks = 0;
    while (at < n) {
        struct flm__record r;
        uint32_t bytes = flm__record_read((const char *)data + at, n - at, &r);
        if (!bytes) {
            mistake(m, "what came is no record");
            break;
        }
        receive_task(m, &r, (const char *)data + at + FLM__RECORD_HEADER);
        if (!m->link)
            return tasks;
        at += bytes;
        tasks++;
    }
    if (n)
        flm__link_consume(m->link, at);
    return tasks;
}

/* ---- answers -------------------------------------------------------------------- */

static void *await_room(struct fake_manager *m, uint32_t bytes)
{
    void *to;
    int64_t deadline = flm__now_ns() + 20000000000;
    while (!(to = flm__link_reserve(m->link, bytes))) {
        flm__link_flush(m->link);
        flm__conn_flush(m->conn);
        sched_yield();
        if (flm__now_ns() > deadline) {
            mistake(m, "the client does not read its results");
            return NULL;
        }
    }
    return to;
}

void fake_put(struct fake_manager *m, const struct flm__record *r, const void *payload, size_t n)
{
    uint32_t bytes = (uint32_t)(FLM__RECORD_HEADER + ((n + 7) & ~(size_t)7));
    char *to = await_room(m, bytes);
    if (!to)
        return;
    memset(to, 0, bytes);
    memcpy(to, r, sizeof(*r));
    if (n)
        memcpy(to + FLM__RECORD_HEADER, payload, n);
    flm__link_commit(m->link, bytes);
    flm__link_flush(m->link);
}

uint64_t fake_announce(struct fake_manager *m, const void *data, size_t size)
{
    Flm__Blob blob = FLM__BLOB__INIT;
    int fd = flm__blob_copy(data, size, NULL);
    blob.id = ++m->next_blob + 1000000;
    blob.size = size;
    FLM__MESSAGE(message, blob, BLOB, &blob);
    flm__conn_send(m->conn, &message, &fd, 1);
    close(fd);
    return blob.id;
}

void fake_credit(struct fake_manager *m, uint64_t credit)
{
    struct flm__record r = {.size = 8, .type = FLM__CREDIT, .session = 1};
    fake_put(m, &r, &credit, sizeof(credit));
}

static void answered(struct fake_manager *m, const struct fake_task *t)
{
    m->n_answered++;
    m->returned_bytes += weight(t);
    if (m->script.credit)
        fake_credit(m, m->script.credit + m->returned_bytes);
}

static void put_result(struct fake_manager *m, const struct fake_task *t,
                       const struct flm__outcome *outcome, const char *text, const void *output,
                       size_t size)
{
    static _Thread_local char payload[FLM__RECORD_MAX];
    struct flm__record r = {.type = FLM__RESULT,
                            .session = t->record.session,
                            .cookie = t->record.cookie,
                            .task = t->record.task,
                            .lane = 7};
    size_t n = 0;
    if (outcome) {
        struct flm__outcome o = *outcome;
        o.text = (uint16_t)strlen(text);
        memcpy(payload, &o, sizeof(o));
        memcpy(payload + sizeof(o), text, o.text);
        n = sizeof(o) + flm__record_padded(o.text);
        r.flags |= FLM__RECORD_OUTCOME;
    }
    if (size > FLM__INLINE_MAX) {
        struct flm__blob_ref ref = {.id = fake_announce(m, output, size), .size = size};
        memcpy(payload + n, &ref, sizeof(ref));
        n += sizeof(ref);
        r.flags |= FLM__RECORD_BLOB;
    } else {
        if (size)
            memcpy(payload + n, output, size);
        n += size;
    }
    r.size = (uint32_t)n;
    fake_put(m, &r, payload, n);
    answered(m, t);
}

void fake_answer(struct fake_manager *m, const struct fake_task *t, const void *output, size_t size)
{
    put_result(m, t, NULL, "", output, size);
}

void fake_answer_outcome(struct fake_manager *m, const struct fake_task *t,
                         const struct flm__outcome *outcome, const char *text, const void *output,
                         size_t size)
{
    put_result(m, t, outcome, text, output, size);
}

void fake_release(struct fake_manager *m, void *unused)
{
    (void)unused;
    m->script.hold_tasks = false;
    for (size_t i = 0; i < m->n_tasks; i++) {
        fake_answer(m, &m->tasks[i], m->tasks[i].input, m->tasks[i].size);
        free_task(&m->tasks[i]);
    }
    m->n_tasks = 0;
}

/* ---- requests ---------------------------------------------------------------------- */

void fake_send_bytes(struct fake_manager *m, const void *data, size_t size)
{
    if (write(flm__conn_fd(m->conn), data, size) != (ssize_t)size)
        mistake(m, "cannot write");
}

void fake_reply(struct fake_manager *m, Flm__Reply *reply)
{
    FLM__MESSAGE(message, reply, REPLY, reply);
    flm__conn_send(m->conn, &message, NULL, 0);
}

void fake_reply_code(struct fake_manager *m, uint64_t id, int code, const char *text)
{
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = id;
    r.code = code;
    r.text = (char *)(uintptr_t)text;
    fake_reply(m, &r);
}

static void keep_common(struct fake_manager *m, const Flm__BlobRef *ref, const int *fds, unsigned n_fds)
{
    if (n_fds != 1) {
        mistake(m, "common data with %u descriptors", n_fds);
        return;
    }
    const void *map = flm__blob_map(fds[0], ref->size, NULL);
    m->common = malloc(ref->size);
    m->common_size = ref->size;
    if (map)
        memcpy(m->common, map, ref->size);
    flm__blob_unmap(map, ref->size);
}

/* Number of the session that a request is about; 0: none. */
static uint32_t about(const Flm__Request *q)
{
    switch (q->verb_case) {
    case FLM__REQUEST__VERB_CLOSE_SESSION:
        return q->close_session;
    case FLM__REQUEST__VERB_CANCEL_SESSION:
        return q->cancel_session;
    case FLM__REQUEST__VERB_SYNC_SESSION:
        return q->sync_session;
    case FLM__REQUEST__VERB_CANCEL_TASK:
        return q->cancel_task->session;
    default:
        return 0;
    }
}

/* What was sent before the request has come, or is in the link. */
static void catch_up(struct fake_manager *m, const Flm__Request *q)
{
    const uint64_t *last_id = &m->last_id[about(q) % 4096];
    if (!about(q) || m->waits_for_blob)
        return;
    while (*last_id < q->submitted && drain_link(m))
        ;
    if (*last_id < q->submitted)
        mistake(m, "a request says that %lu tasks were sent, %lu came", (unsigned long)q->submitted,
                (unsigned long)*last_id);
}

static void answer_request(struct fake_manager *m, const Flm__Request *q, const int *fds, unsigned n_fds)
{
    Flm__Reply r = FLM__REPLY__INIT;
    r.id = q->id;
    catch_up(m, q);
    if (q->verb_case == FLM__REQUEST__VERB_CREATE_SESSION) {
        const Flm__SessionSpec *spec = q->create_session;
        if (spec->common)
            keep_common(m, spec->common, fds, n_fds);
        snprintf(m->session_id, sizeof(m->session_id), "%s", spec->id[0] ? spec->id : "made-up");
        snprintf(m->application, sizeof(m->application), "%s", spec->application);
        r.session = ++m->n_sessions;
        r.session_id = m->session_id;
        r.credit = m->script.credit ? m->script.credit : (uint64_t)1 << 40;
    } else if (q->verb_case == FLM__REQUEST__VERB_SYNC_SESSION) {
        r.task = m->last_id[q->sync_session % 4096];
    } else if (q->verb_case == FLM__REQUEST__VERB_CANCEL_SESSION) {
        struct flm__outcome o = {.state = FLM_TASK_CANCELLED, .reason = FLM_REASON_CANCELLED};
        for (size_t i = 0; i < m->n_tasks; i++) {
            fake_answer_outcome(m, &m->tasks[i], &o, "by its client", NULL, 0);
            free_task(&m->tasks[i]);
        }
        m->n_tasks = 0;
    }
    fake_reply(m, &r);
}

/* True: the message is kept. */
static bool handle_message(struct fake_manager *m, Flm__Message *message, const int *fds, unsigned n_fds)
{
    switch (message->body_case) {
    case FLM__MESSAGE__BODY_HELLO:
        greet(m, message->hello);
        if (m->script.greeting == FAKE_HANGS_UP || m->script.greeting == FAKE_REFUSES)
            fake_hang_up(m, NULL);
        break;
    case FLM__MESSAGE__BODY_BLOB:
        if (n_fds != 1 || m->n_blobs == 4096) {
            mistake(m, "a blob with %u descriptors", n_fds);
            break;
        }
        m->blobs[m->n_blobs++] = (struct fake_blob){
            message->blob->id, flm__blob_map(fds[0], message->blob->size, NULL), message->blob->size};
        break;
    case FLM__MESSAGE__BODY_REQUEST:
        m->n_requests++;
        if (m->script.on_request && m->script.on_request(m, message->request))
            break;
        if (m->script.hold_requests) {
            if (m->held_message)
                flm__message__free_unpacked(m->held_message, NULL);
            m->held_message = message;
            m->held = message->request;
            return true;
        }
        answer_request(m, message->request, fds, n_fds);
        break;
    default:
        mistake(m, "a message of kind %d", (int)message->body_case);
    }
    return false;
}

static void drain_control(struct fake_manager *m)
{
    Flm__Message *message;
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    if (!m->conn)
        return;
    flm__conn_flush(m->conn);
    int lost = flm__conn_fill(m->conn);
    while (m->conn && !(m->waits_for_blob && m->n_blobs) &&
           flm__conn_take(m->conn, &message, fds, &n_fds) > 0) {
        bool kept = handle_message(m, message, fds, n_fds);
        flm__close_fds(fds, n_fds);
        if (!kept)
            flm__message__free_unpacked(message, NULL);
    }
    if (lost < 0 && !m->waits_for_blob) {
        while (drain_link(m)) /* what it sent before it went counts */
            ;
        fake_hang_up(m, NULL);
    }
}

void fake_hang_up(struct fake_manager *m, void *unused)
{
    (void)unused;
    flm__conn_free(m->conn);
    m->conn = NULL;
    flm__link_destroy(m->link);
    m->link = NULL;
    memset(m->last_id, 0, sizeof(m->last_id));
    m->n_sessions = 0;
    m->acknowledged = 0;
}

/* ---- the thread ------------------------------------------------------------------------ */

static void accept_client(struct fake_manager *m)
{
    int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (m->conn)
        fake_hang_up(m, NULL);
    m->conn = flm__conn_new_take(fd);
}

static void sleep_a_while(struct fake_manager *m)
{
    if (m->link && !m->script.deaf && !flm__link_arm(m->link, false)) {
        flm__link_disarm(m->link);
        return;
    }
    short events = (short)(POLLIN | (m->conn && flm__conn_pending(m->conn) ? POLLOUT : 0));
    struct pollfd p[] = {{m->commands[0], POLLIN, 0},
                         {m->listener, POLLIN, 0},
                         {m->conn ? flm__conn_fd(m->conn) : -1, events, 0},
                         {m->link && !m->script.deaf ? m->bell : -1, POLLIN, 0}};
    poll(p, 4, -1);
    if (m->link && !m->script.deaf)
        flm__link_disarm(m->link);
    if (p[3].revents) {
        uint64_t count;
        ssize_t n = read(m->bell, &count, sizeof(count));
        (void)n;
    }
    if (p[1].revents)
        accept_client(m);
    if (p[0].revents) {
        struct command c;
        if (read(m->commands[0], &c, sizeof(c)) == sizeof(c)) {
            c.fn(m, c.arg);
            if (write(m->commands[0], "x", 1) != 1)
                m->stop = true;
        }
    }
}

static void *run(void *arg)
{
    struct fake_manager *m = arg;
    while (!m->stop) {
        sleep_a_while(m);
        drain_control(m);
        for (int i = 0; i < 100; i++) {
            drain_link(m);
            flm__relax();
        }
    }
    return NULL;
}

static void stop(struct fake_manager *m, void *unused)
{
    (void)unused;
    m->stop = true;
}

void fake_do(struct fake_manager *m, void (*fn)(struct fake_manager *m, void *arg), void *arg)
{
    struct command c = {fn, arg};
    char done;
    assert_int_equal(write(m->commands[1], &c, sizeof(c)), sizeof(c));
    assert_int_equal(read(m->commands[1], &done, 1), 1);
}

struct counts {
    uint64_t tasks, requests;
};

static void read_counts(struct fake_manager *m, void *arg)
{
    *(struct counts *)arg = (struct counts){m->n_received, m->n_requests};
}

static void await(struct fake_manager *m, uint64_t tasks, uint64_t requests)
{
    struct counts c = {0};
    int64_t deadline = flm__now_ns() + 20000000000;
    do {
        fake_do(m, read_counts, &c);
        assert_true(flm__now_ns() < deadline);
        sched_yield();
    } while (c.tasks < tasks || c.requests < requests);
}

void fake_await_tasks(struct fake_manager *m, uint64_t n)
{
    await(m, n, 0);
}

void fake_await_requests(struct fake_manager *m, uint64_t n)
{
    await(m, 0, n);
}

struct fake_manager *fake_start(const struct fake_script *script)
{
    struct fake_manager *m = calloc(1, sizeof(*m));
    char endpoint[100];
    flm_error error = {0};
    assert_non_null(m);
    if (script)
        m->script = *script;
    strcpy(m->directory, "/tmp/flm-test-XXXXXX");
    assert_non_null(mkdtemp(m->directory));
    snprintf(endpoint, sizeof(endpoint), "unix:%s/s", m->directory);
    m->listener = flm__listen(endpoint, m->endpoint, sizeof(m->endpoint), &error);
    assert_true(m->listener >= 0);
    m->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->peer_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, m->commands), 0);
    assert_int_equal(pthread_create(&m->thread, NULL, run, m), 0);
    return m;
}

void fake_stop(struct fake_manager *m)
{
    char text[sizeof(m->mistake)];
    fake_do(m, stop, NULL);
    pthread_join(m->thread, NULL);
    drain_control(m);
    fake_hang_up(m, NULL);
    for (size_t i = 0; i < m->n_tasks; i++)
        free_task(&m->tasks[i]);
    for (size_t i = 0; i < m->n_blobs; i++)
        flm__blob_unmap(m->blobs[i].map, m->blobs[i].size);
    if (m->held_message)
        flm__message__free_unpacked(m->held_message, NULL);
    free(m->tasks);
    free(m->common);
    close(m->listener);
    close(m->bell);
    close(m->peer_bell);
    close(m->commands[0]);
    close(m->commands[1]);
    unlink(m->endpoint + 5);
    rmdir(m->directory);
    memcpy(text, m->mistake, sizeof(text));
    free(m);
    assert_string_equal(text, "");
}
