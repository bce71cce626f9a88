#define _GNU_SOURCE
#include "executor_fixture.h"

#include "base/time.h"
#include "net/blob.h"
#include "net/ring.h"

#include <flm/admin.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const int64_t patience_ns = 120 * 1000000000LL;
static const uint64_t token = 0xfeedc0ffee12345;

static int64_t patience(void)
{
    return flm__now_ns() + patience_ns;
}

static char **with_environment(const char *const *extra, char **texts, size_t n_texts)
{
    size_t n = 0, n_extra = 0;
    while (environ[n])
        n++;
    while (extra && extra[n_extra])
        n_extra++;
    char **all = calloc(n + n_extra + n_texts + 1, sizeof(*all));
    assert_non_null(all);
    size_t k = 0;
    for (size_t i = 0; i < n_texts; i++)
        all[k++] = texts[i];
    for (size_t i = 0; i < n_extra; i++)
        all[k++] = (char *)(uintptr_t)extra[i];
    for (size_t i = 0; i < n; i++)
        all[k++] = environ[i];
    return all;
}

void manager_spawn(struct manager *m, char *const *argv, const char *const *environment)
{
    char *const ours[] = {FLM_BUILDDIR "/bin/flm-executor", NULL};
    char texts[5][160];
    char *list[5];
    memset(m, 0, sizeof(*m));
    snprintf(m->directory, sizeof(m->directory), "/tmp/flm-test-XXXXXX");
    assert_non_null(mkdtemp(m->directory));
    snprintf(texts[0], sizeof(texts[0]), "unix:%s/agent", m->directory);
    m->listener = flm__listen(texts[0], m->endpoint, sizeof(m->endpoint), NULL);
    assert_true(m->listener >= 0);
    snprintf(texts[0], sizeof(texts[0]), "FLM_AGENT=%s", m->endpoint);
    snprintf(texts[1], sizeof(texts[1]), "FLM_LANE=%d", LANE);
    snprintf(texts[2], sizeof(texts[2]), "FLM_LIFE=%d", LIFE);
    snprintf(texts[3], sizeof(texts[3]), "FLM_TOKEN=%llu", (unsigned long long)token);
    snprintf(texts[4], sizeof(texts[4]), "FLM_AGENT_PID=%d", (int)getpid());
    for (int i = 0; i < 5; i++)
        list[i] = texts[i];
    char **all = with_environment(environment, list, 5);
    if (!argv)
        argv = ours;
    assert_int_equal(posix_spawnp(&m->pid, argv[0], NULL, NULL, argv, all), 0);
    free(all);
}

static void give_ring(struct manager *m, uint32_t bytes)
{
    m->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->executor_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(flm__ring_create(bytes, &m->memfd, NULL), 0);
    m->link = flm__ring_open(m->memfd, bytes, true, m->executor_bell, NULL);
    assert_non_null(m->link);
    int page = memfd_create("status", MFD_CLOEXEC);
    assert_int_equal(ftruncate(page, sizeof(*m->status)), 0);
    m->status = mmap(NULL, sizeof(*m->status), PROT_READ, MAP_SHARED, page, 0);
    assert_true(m->status != MAP_FAILED);
    Flm__ExecutorRing ring = FLM__EXECUTOR_RING__INIT;
    ring.lane = LANE;
    ring.life = LIFE;
    ring.bytes = bytes;
    ring.executor = EXECUTOR;
    FLM__MESSAGE(message, executor_ring, EXECUTOR_RING, &ring);
    manager_say(m, &message, (int[]){m->memfd, m->bell, m->executor_bell, page}, 4);
    close(page);
}

void manager_hear_hello(struct manager *m)
{
    struct pollfd p = {m->listener, POLLIN, 0};
    assert_int_equal(poll(&p, 1, (int)(patience_ns / 1000000)), 1);
    int fd = accept(m->listener, NULL, NULL);
    assert_true(fd >= 0);
    m->conn = flm__conn_new_take(fd);
    Flm__Message *hello = manager_hear(m, FLM__MESSAGE__BODY_HELLO, NULL, NULL);
    assert_int_equal(hello->hello->role, FLM__ROLE__ROLE_EXECUTOR);
    assert_non_null(hello->hello->slot);
    assert_int_equal(hello->hello->slot->lane, LANE);
    assert_int_equal(hello->hello->slot->life, LIFE);
    assert_true(hello->hello->slot->token == token);
    flm__message__free_unpacked(hello, NULL);
}

void manager_greet(struct manager *m, uint32_t ring_bytes)
{
    manager_hear_hello(m);
    Flm__Ready ready = FLM__READY__INIT;
    ready.version = FLM__PROTOCOL_VERSION;
    ready.instance = (char *)"test";
    FLM__MESSAGE(answer, ready, READY, &ready);
    manager_say(m, &answer, NULL, 0);
    give_ring(m, ring_bytes);
}

void manager_start(struct manager *m, char *const *argv, const char *const *environment,
                   uint32_t ring_bytes)
{
    manager_spawn(m, argv, environment);
    manager_greet(m, ring_bytes);
}

void manager_stop(struct manager *m)
{
    Flm__Shutdown shutdown = FLM__SHUTDOWN__INIT;
    FLM__MESSAGE(message, shutdown, SHUTDOWN, &shutdown);
    manager_say(m, &message, NULL, 0);
    int status = manager_reap(m);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int manager_reap(struct manager *m)
{
    int status;
    assert_int_equal(waitpid(m->pid, &status, 0), m->pid);
    flm__link_destroy(m->link);
    flm__conn_free(m->conn);
    if (m->status)
        munmap(m->status, sizeof(*m->status));
    if (m->memfd > 0)
        close(m->memfd);
    if (m->bell > 0)
        close(m->bell);
    if (m->executor_bell > 0)
        close(m->executor_bell);
    close(m->listener);
    char path[128];
    snprintf(path, sizeof(path), "%s/agent", m->directory);
    unlink(path);
    rmdir(m->directory);
    memset(m, 0, sizeof(*m));
    return status;
}

void manager_say(struct manager *m, Flm__Message *message, const int *fds, unsigned n_fds)
{
    assert_int_equal(flm__conn_send(m->conn, message, fds, n_fds), 0);
    assert_int_equal(flm__conn_wait_sent(m->conn, patience()), 0);
}

Flm__Message *manager_hear(struct manager *m, int body_case, int *fds, unsigned *n_fds)
{
    int mine[FLM__FRAME_FDS];
    unsigned n = 0;
    Flm__Message *message = NULL;
    int rc = flm__conn_wait_message(m->conn, patience(), &message, fds ? fds : mine, n_fds ? n_fds : &n);
    assert_int_equal(rc, 1);
    if (message->body_case == FLM__MESSAGE__BODY_BIND_FAILED && body_case != FLM__MESSAGE__BODY_BIND_FAILED)
        fail_msg("it did not bind: %s", message->bind_failed->text);
    assert_int_equal(message->body_case, body_case);
    return message;
}

Flm__Message *manager_hear_now(struct manager *m)
{
    int fds[FLM__FRAME_FDS];
    unsigned n;
    Flm__Message *message = NULL;
    flm__conn_fill(m->conn);
    return flm__conn_take(m->conn, &message, fds, &n) == 1 ? message : NULL;
}

static char **array(const char *const *texts, const char *first, size_t *n)
{
    *n = first != NULL;
    while (texts && texts[*n - (first != NULL)])
        ++*n;
    char **copy = calloc(*n + 1, sizeof(*copy));
    if (first)
        copy[0] = (char *)(uintptr_t)first;
    for (size_t i = first != NULL; i < *n; i++)
        copy[i] = (char *)(uintptr_t)texts[i - (first != NULL)];
    return copy;
}

void manager_send_bind(struct manager *m, const struct binding_spec *spec)
{
    Flm__Application app = FLM__APPLICATION__INIT;
    app.name = (char *)"app";
    app.shim = spec->shim ? spec->shim : FLM_SHIM_SO;
    app.command = array(spec->arguments, spec->file ? spec->file : FLM_TEST_SERVICE, &app.n_command);
    app.environment = array(spec->environment, NULL, &app.n_environment);
    if (spec->directory)
        app.working_directory = (char *)(uintptr_t)spec->directory;
    Flm__BlobRef common = FLM__BLOB_REF__INIT;
    Flm__Bind bind = FLM__BIND__INIT;
    bind.lane = LANE;
    bind.life = LIFE;
    bind.session = SESSION;
    bind.session_id = (char *)"s-77";
    bind.application = &app;
    bind.deadline_ms = spec->deadline_ms;
    bind.executor = EXECUTOR;
    bind.ranks = spec->ranks;
    int fd = -1;
    if (spec->common_size) {
        common.size = spec->common_size;
        common.version = 1;
        bind.common = &common;
        fd = flm__blob_copy(spec->common, spec->common_size, NULL);
        assert_true(fd >= 0);
    }
    FLM__MESSAGE(message, bind, BIND, &bind);
    manager_say(m, &message, &fd, fd >= 0);
    if (fd >= 0)
        close(fd);
    free(app.command);
    free(app.environment);
}

void manager_bind(struct manager *m, const struct binding_spec *spec)
{
    static const struct binding_spec plain;
    manager_send_bind(m, spec ? spec : &plain);
    Flm__Message *bound = manager_hear(m, FLM__MESSAGE__BODY_BOUND, NULL, NULL);
    assert_int_equal(bound->bound->lane, LANE);
    assert_int_equal(bound->bound->life, LIFE);
    assert_int_equal(bound->bound->session, SESSION);
    flm__message__free_unpacked(bound, NULL);
}

int manager_bind_fails(struct manager *m, const struct binding_spec *spec, char **text)
{
    manager_send_bind(m, spec);
    Flm__Message *failed = manager_hear(m, FLM__MESSAGE__BODY_BIND_FAILED, NULL, NULL);
    int code = failed->bind_failed->code;
    assert_int_equal(failed->bind_failed->session, SESSION);
    *text = strdup(failed->bind_failed->text);
    flm__message__free_unpacked(failed, NULL);
    return code;
}

void manager_unbind(struct manager *m)
{
    Flm__Unbind unbind = FLM__UNBIND__INIT;
    unbind.lane = LANE;
    unbind.life = LIFE;
    unbind.session = SESSION;
    FLM__MESSAGE(message, unbind, UNBIND, &unbind);
    manager_say(m, &message, NULL, 0);
    flm__message__free_unpacked(manager_hear(m, FLM__MESSAGE__BODY_UNBOUND, NULL, NULL), NULL);
}

int manager_update(struct manager *m, int fd, size_t size, uint64_t version)
{
    Flm__Common common = FLM__COMMON__INIT;
    Flm__BlobRef ref = FLM__BLOB_REF__INIT;
    common.lane = LANE;
    common.life = LIFE;
    common.session = SESSION;
    common.common = &ref;
    ref.size = size;
    ref.version = version;
    FLM__MESSAGE(message, common, COMMON, &common);
    manager_say(m, &message, &fd, fd >= 0);
    if (fd >= 0)
        close(fd);
    Flm__Message *answer = manager_hear(m, FLM__MESSAGE__BODY_COMMON_TAKEN, NULL, NULL);
    int code = answer->common_taken->code;
    assert_int_equal(answer->common_taken->version, version);
    assert_int_equal(answer->common_taken->session, SESSION);
    assert_true((code < 0) == (answer->common_taken->text[0] != 0));
    flm__message__free_unpacked(answer, NULL);
    return code;
}

static void *wait_for_room(struct manager *m, uint32_t bytes)
{
    int64_t until = patience();
    void *p;
    while (!(p = flm__link_reserve(m->link, bytes))) {
        assert_true(flm__now_ns() < until);
        sched_yield();
    }
    return p;
}

void manager_record(struct manager *m, const struct flm__record *r, const void *payload)
{
    char *p = wait_for_room(m, flm__record_bytes(r->size));
    memset(p, 0, flm__record_bytes(r->size));
    memcpy(p, r, sizeof(*r));
    if (r->size)
        memcpy(p + FLM__RECORD_HEADER, payload, r->size);
    flm__link_commit(m->link, flm__record_bytes(r->size));
    flm__link_flush(m->link);
}

static struct flm__record next_record(struct manager *m, size_t size, uint8_t flags)
{
    m->sent++;
    return (struct flm__record){.size = (uint32_t)size,
                                .type = FLM__TASK,
                                .flags = flags,
                                .lane = WIRE_LANE,
                                .session = SESSION,
                                .cookie = (uint32_t)m->sent * 3,
                                .task = 1000 + m->sent};
}

uint64_t manager_task(struct manager *m, const void *input, size_t size, uint64_t deadline_ms)
{
    if (!deadline_ms) {
        struct flm__record r = next_record(m, size, 0);
        manager_record(m, &r, input);
        return m->sent;
    }
    char *payload = malloc(size + 8);
    memcpy(payload, &deadline_ms, 8);
    memcpy(payload + 8, input, size);
    struct flm__record r = next_record(m, size + 8, FLM__RECORD_DEADLINE);
    manager_record(m, &r, payload);
    free(payload);
    return m->sent;
}

void manager_large_task(struct manager *m, const void *input, size_t size, uint64_t id)
{
    struct flm__blob_ref ref = {.id = id, .size = size};
    Flm__Blob blob = FLM__BLOB__INIT;
    blob.lane = LANE;
    blob.life = LIFE;
    blob.id = id;
    blob.size = size;
    int fd = flm__blob_copy(input, size, NULL);
    assert_true(fd >= 0);
    FLM__MESSAGE(message, blob, BLOB, &blob);
    manager_say(m, &message, &fd, 1);
    close(fd);
    struct flm__record r = next_record(m, sizeof(ref), FLM__RECORD_BLOB);
    manager_record(m, &r, &ref);
}

void manager_cancel(struct manager *m, uint64_t number)
{
    Flm__Cancel cancel = FLM__CANCEL__INIT;
    cancel.lane = LANE;
    cancel.life = LIFE;
    cancel.number = number;
    FLM__MESSAGE(message, cancel, CANCEL, &cancel);
    manager_say(m, &message, NULL, 0);
}

void manager_recall(struct manager *m, uint64_t upto)
{
    Flm__Recall recall = FLM__RECALL__INIT;
    recall.lane = LANE;
    recall.life = LIFE;
    recall.upto = upto;
    FLM__MESSAGE(message, recall, RECALL, &recall);
    manager_say(m, &message, NULL, 0);
}

static void fetch(struct manager *m, struct answer *a, const struct flm__blob_ref *ref)
{
    int fds[FLM__FRAME_FDS];
    unsigned n_fds;
    Flm__Message *message = manager_hear(m, FLM__MESSAGE__BODY_BLOB, fds, &n_fds);
    assert_int_equal(n_fds, 1);
    assert_true(message->blob->id == ref->id);
    assert_true(message->blob->size == ref->size);
    const void *map = flm__blob_map(fds[0], ref->size, NULL);
    assert_non_null(map);
    a->size = ref->size;
    a->output = malloc(ref->size);
    memcpy(a->output, map, ref->size);
    flm__blob_unmap(map, ref->size);
    close(fds[0]);
    flm__message__free_unpacked(message, NULL);
}

bool manager_answer_now(struct manager *m, struct answer *a)
{
    const void *data;
    size_t n = flm__link_peek(m->link, &data);
    if (n == 0)
        return false;
    memset(a, 0, sizeof(*a));
    uint32_t bytes = flm__record_read(data, n, &a->record);
    assert_true(bytes > 0);
    assert_int_equal(a->record.type, FLM__RESULT);
    assert_int_equal(a->record.lane, WIRE_LANE);
    assert_int_equal(a->record.session, SESSION);
    assert_int_equal(a->record.cookie, (uint32_t)(a->record.task - 1000) * 3);
    const unsigned char *payload = flm__record_payload(data);
    for (uint32_t i = a->record.size; i < flm__record_padded(a->record.size); i++)
        assert_int_equal(payload[i], 0);
    struct flm__result_parts parts;
    assert_true(flm__result_split(&a->record, payload, &parts));
    a->outcome = parts.outcome;
    memcpy(a->text, parts.text, parts.outcome.text);
    if (parts.blob) {
        struct flm__blob_ref ref;
        memcpy(&ref, parts.output, sizeof(ref));
        fetch(m, a, &ref);
    } else {
        a->size = parts.size;
        a->output = malloc(parts.size + 1);
        memcpy(a->output, parts.output, parts.size);
    }
    flm__link_consume(m->link, bytes);
    return true;
}

void manager_answer(struct manager *m, struct answer *a)
{
    int64_t until = patience();
    while (!manager_answer_now(m, a)) {
        if (flm__now_ns() > until)
            fail_msg("no result came; %llu tasks sent, %llu begun", (unsigned long long)m->sent,
                     (unsigned long long)atomic_load(&m->status->began));
        if (flm__link_arm(m->link, false)) {
            struct pollfd p = {m->bell, POLLIN, 0};
            uint64_t count;
            if (poll(&p, 1, 1000) > 0)
                assert_int_equal(read(m->bell, &count, sizeof(count)), sizeof(count));
        }
        flm__link_disarm(m->link);
    }
}

void answer_free(struct answer *a)
{
    free(a->output);
    a->output = NULL;
}
