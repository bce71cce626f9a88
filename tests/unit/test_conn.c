/* Control connections: framing, descriptors, bounds, and what is not the protocol. */
#define _GNU_SOURCE
#include "base/time.h"
#include "net/blob.h"
#include "net/conn.h"
#include "net/handshake.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void two(struct flm__conn **a, struct flm__conn **b)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    *a = flm__conn_new_take(pair[0]);
    *b = flm__conn_new_take(pair[1]);
    assert_non_null(*a);
    assert_non_null(*b);
}

static int send_text(struct flm__conn *c, char *text, const int *fds, unsigned n)
{
    Flm__Shutdown s = FLM__SHUTDOWN__INIT;
    s.text = text;
    FLM__MESSAGE(m, shutdown, SHUTDOWN, &s);
    return flm__conn_send(c, &m, fds, n);
}

/* More than the socket takes, with descriptors on some: all arrive, each with its own. */
static void many_with_descriptors(void **state)
{
    (void)state;
    struct flm__conn *a, *b;
    two(&a, &b);
    enum { N = 300 };
    static char text[20000];
    memset(text, 'x', sizeof(text) - 1);
    for (int i = 0; i < N; i++) {
        int fd = -1;
        snprintf(text, 12, "%011d", i);
        text[11] = 'x';
        if (i % 3 == 0) {
            fd = flm__blob_copy(text, 16, NULL);
            assert_true(fd >= 0);
        }
        assert_int_equal(send_text(a, text, &fd, fd >= 0), 0);
        if (fd >= 0)
            close(fd);
    }
    assert_true(flm__conn_pending(a));
    for (int i = 0; i < N; i++) {
        Flm__Message *m;
        int fds[FLM__FRAME_FDS];
        unsigned n;
        int rc;
        while ((rc = flm__conn_take(b, &m, fds, &n)) == 0) {
            assert_int_equal(flm__conn_flush(a), 0);
            assert_int_equal(flm__conn_fill(b), 0);
        }
        assert_int_equal(rc, 1);
        assert_int_equal(atoi(m->shutdown->text), i);
        assert_int_equal(n, i % 3 == 0);
        if (n) {
            char content[17] = "";
            assert_int_equal(pread(fds[0], content, 16, 0), 16);
            assert_int_equal(atoi(content), i);
            flm__close_fds(fds, n);
        }
        flm__message__free_unpacked(m, NULL);
    }
    flm__conn_free(a);
    flm__conn_free(b);
}

/* What was said before the end can still be read. */
static void last_words(void **state)
{
    (void)state;
    struct flm__conn *a, *b;
    Flm__Message *m;
    int fds[FLM__FRAME_FDS];
    unsigned n;
    two(&a, &b);
    char bye[] = "bye";
    assert_int_equal(send_text(a, bye, NULL, 0), 0);
    flm__conn_free(a);
    assert_int_equal(flm__conn_wait_message(b, -1, &m, fds, &n), 1);
    assert_string_equal(m->shutdown->text, "bye");
    flm__message__free_unpacked(m, NULL);
    assert_int_equal(flm__conn_wait_message(b, -1, &m, fds, &n), FLM_EDISCONNECTED);
    flm__conn_free(b);
}

/* A frame that comes again, at once or later, is heard once. */
static void doubled(void **state)
{
    (void)state;
    static const int order[] = {0, 0, 1, 0, 1, 2, 2, 2, 1, 3};
    struct flm__conn *a, *b;
    int raw[2];
    Flm__Message *m;
    int fds[FLM__FRAME_FDS];
    unsigned n;
    unsigned char frames[4][64];
    ssize_t size[4];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, raw), 0);
    a = flm__conn_new_take(raw[0]);
    for (int i = 0; i < 4; i++) {
        char text[2] = {(char)('0' + i), 0};
        assert_int_equal(send_text(a, text, NULL, 0), 0);
        size[i] = read(raw[1], frames[i], sizeof(frames[i]));
        assert_true(size[i] > FLM__FRAME_HEADER);
    }
    flm__conn_free(a);
    close(raw[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, raw), 0);
    b = flm__conn_new_take(raw[0]);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        assert_int_equal(write(raw[1], frames[order[i]], (size_t)size[order[i]]), size[order[i]]);
    close(raw[1]);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(flm__conn_wait_message(b, -1, &m, fds, &n), 1);
        assert_int_equal(m->shutdown->text[0], '0' + i);
        flm__message__free_unpacked(m, NULL);
    }
    assert_int_equal(flm__conn_wait_message(b, -1, &m, fds, &n), FLM_EDISCONNECTED);
    flm__conn_free(b);
}

static void timeout(void **state)
{
    (void)state;
    struct flm__conn *a, *b;
    Flm__Message *m;
    int fds[FLM__FRAME_FDS];
    unsigned n;
    two(&a, &b);
    assert_int_equal(flm__conn_wait_message(b, flm__now_ns() + 20000000, &m, fds, &n), FLM_ETIMEDOUT);
    flm__conn_free(a);
    flm__conn_free(b);
}

/* A table of things that are not frames. */
static void hostile(void **state)
{
    (void)state;
    static const struct {
        uint32_t header[4];
        size_t send;
        int expected;
    } cases[] = {
        {{0x50545448, 4, 0, 1}, 16, FLM_EPROTO}, /* HTTP */
        {{FLM__FRAME_MAGIC, 0xffffffff, 0, 1}, 16, FLM_ETOOBIG},
        {{FLM__FRAME_MAGIC, FLM__FRAME_MAX + 1, 0, 1}, 16, FLM_ETOOBIG},
        {{FLM__FRAME_MAGIC, 4, 77, 1}, 20, FLM_EPROTO}, /* too many descriptors */
        {{FLM__FRAME_MAGIC, 4, 1, 1}, 20, FLM_EPROTO},  /* descriptors that did not come */
        {{FLM__FRAME_MAGIC, 4, 0, 1}, 20, FLM_EPROTO},  /* not protobuf */
        {{FLM__FRAME_MAGIC, 4, 0, 2}, 20, FLM_EPROTO},  /* the first one is missing */
        {{FLM__FRAME_MAGIC, 4, 0, 0}, 20, 0},           /* seen before: dropped */
        {{FLM__FRAME_MAGIC, 4, 0, 0xffffffff}, 20, 0},
        {{FLM__FRAME_MAGIC, 4, 1, 0}, 20, FLM_EPROTO}, /* seen before, with descriptors */
        {{FLM__FRAME_MAGIC, 4, 0, 1}, 18, 0},          /* truncated: wait */
        {{FLM__FRAME_MAGIC, 0, 0, 1}, 7, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int pair[2];
        unsigned char bytes[20];
        Flm__Message *m;
        int fds[FLM__FRAME_FDS];
        unsigned n;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        struct flm__conn *c = flm__conn_new_take(pair[0]);
        memcpy(bytes, cases[i].header, 16);
        memset(bytes + 16, 0xff, 4);
        assert_int_equal(write(pair[1], bytes, cases[i].send), (ssize_t)cases[i].send);
        assert_int_equal(flm__conn_fill(c), 0);
        assert_int_equal(flm__conn_take(c, &m, fds, &n), cases[i].expected);
        flm__conn_free(c);
        close(pair[1]);
    }
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* A peer of no good will sends more descriptors than a frame has: none stays open. */
static void too_many_descriptors(void **state)
{
    (void)state;
    unsigned before = open_descriptors();
    for (unsigned n = 1; n <= 20; n++) {
        int pair[2], fds[20];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        struct flm__conn *c = flm__conn_new_take(pair[0]);
        char control[CMSG_SPACE(sizeof(fds))] = {0};
        struct iovec iov = {control, 1};
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = CMSG_SPACE(n * sizeof(int))};
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(n * sizeof(int));
        for (unsigned i = 0; i < n; i++)
            fds[i] = pair[1];
        memcpy(CMSG_DATA(h), fds, n * sizeof(int));
        assert_int_equal(sendmsg(pair[1], &m, 0), 1);
        int rc = flm__conn_fill(c);
        assert_int_equal(rc, n <= FLM__FRAME_FDS + 1 ? 0 : FLM_EFULL);
        flm__conn_free(c);
        close(pair[1]);
        assert_int_equal(open_descriptors(), before);
    }
}

static void secrets(void **state)
{
    (void)state;
    char dir[] = "/tmp/flm-secret-XXXXXX", file[64];
    struct flm__secret a, b;
    flm_error error;
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/x/secret", dir);
    assert_int_equal(flm__secret_read(file, &a, &error), FLM_EAUTH);
    assert_int_equal(flm__secret_make(file, &a, &error), 0);
    assert_int_equal(flm__secret_make(file, &b, &error), 0); /* the second time it is read */
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
    unsigned char n1[32] = {1}, n2[32] = {2}, p1[32], p2[32];
    flm__proof(&a, FLM__LABEL_PEER, "i", n1, n2, p1);
    flm__proof(&b, FLM__LABEL_PEER, "i", n1, n2, p2);
    assert_true(flm__proof_equal(p1, p2));
    flm__proof(&b, FLM__LABEL_SERVER, "i", n1, n2, p2);
    assert_false(flm__proof_equal(p1, p2));
    flm__proof(&b, FLM__LABEL_PEER, "j", n1, n2, p2);
    assert_false(flm__proof_equal(p1, p2));
    chmod(file, 0640);
    assert_int_equal(flm__secret_read(file, &a, &error), FLM_EAUTH);
    assert_non_null(strstr(error.text, "0600"));
    unlink(file);
    snprintf(file, sizeof(file), "%s/x", dir);
    rmdir(file);
    rmdir(dir);
}

static void endpoints(void **state)
{
    (void)state;
    char bound[256];
    flm_error error;
    static const char *const bad[] = {
        "", "unix", "http://x", "tcp:", "tcp:localhost", "tcp:localhost:", "tcp:no.such.host.invalid:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(flm__dial(bad[i], flm__now_ns() + 1000000000, &error) < 0);
    int fd = flm__listen("tcp:127.0.0.1:0", bound, sizeof(bound), &error);
    assert_true(fd >= 0);
    assert_string_not_equal(bound, "tcp:127.0.0.1:0");
    int c = flm__dial(bound, flm__now_ns() + 1000000000, &error);
    assert_true(c >= 0);
    close(c);
    close(fd);
    assert_int_equal(flm__dial(bound, flm__now_ns() + 1000000000, &error), FLM_ECONNECT);
    char dir[] = "/tmp/flm-conn-XXXXXX", path[128];
    struct stat st;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "unix:%s/s", dir);
    fd = flm__listen(path, bound, sizeof(bound), &error);
    assert_true(fd >= 0);
    assert_int_equal(stat(path + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(flm__listen(path, bound, sizeof(bound), &error), FLM_EBUSY);
    close(fd);
    fd = flm__listen(path, bound, sizeof(bound), &error); /* a dead socket is replaced */
    assert_true(fd >= 0);
    close(fd);
    unlink(path + 5);
    rmdir(dir);
}

/* A session manager without memory turns away before it has heard a greeting: the reason arrives. */
static void turned_away_before_greeting(void **state)
{
    (void)state;
    struct flm__conn *a, *b;
    two(&a, &b);
    flm__conn_last_words(flm__conn_fd(b), FLM_ENOMEM, "no room");
    flm__conn_free(b);
    Flm__Hello hello = FLM__HELLO__INIT;
    hello.name = (char *)(uintptr_t) "test";
    Flm__Message *ready = NULL;
    flm_error error = {0};
    int fds[FLM__FRAME_FDS];
    unsigned n_fds = 0;
    int rc = flm__handshake(a, &hello, NULL, flm__now_ns() + 5000000000, &ready, fds, &n_fds, &error);
    assert_int_equal(rc, FLM_ENOMEM);
    assert_non_null(strstr(error.text, "no room"));
    flm__conn_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_with_descriptors),
        cmocka_unit_test(last_words),
        cmocka_unit_test(doubled),
        cmocka_unit_test(timeout),
        cmocka_unit_test(too_many_descriptors),
        cmocka_unit_test(hostile),
        cmocka_unit_test(secrets),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(turned_away_before_greeting),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
