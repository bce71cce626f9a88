#define _GNU_SOURCE
#include "net/handshake.h"

#include "base/error.h"
#include "base/time.h"
#include "net/munge.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int flm__random(void *out, size_t n)
{
    char *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return FLM_EINTERNAL;
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

size_t flm__proof_text(const char *label, const char *instance, const unsigned char *peer_nonce,
                       const unsigned char *server_nonce, unsigned char text[FLM__PROOF_TEXT])
{
    int n =
        snprintf((char *)text, FLM__PROOF_TEXT - 2 * (size_t)FLM__NONCE, "%.40s|%.200s|", label, instance);
    memcpy(text + n, peer_nonce, FLM__NONCE);
    memcpy(text + n + FLM__NONCE, server_nonce, FLM__NONCE);
    return (size_t)n + 2 * FLM__NONCE;
}

void flm__proof(const struct flm__secret *secret, const char *label, const char *instance,
                const unsigned char *peer_nonce, const unsigned char *server_nonce,
                unsigned char proof[FLM__PROOF])
{
    unsigned char text[FLM__PROOF_TEXT];
    size_t n = flm__proof_text(label, instance, peer_nonce, server_nonce, text);
    unsigned size = FLM__PROOF;
    HMAC(EVP_sha256(), secret->bytes, (int)secret->size, text, n, proof, &size);
}

bool flm__proof_equal(const unsigned char *a, const unsigned char *b)
{
    return CRYPTO_memcmp(a, b, FLM__PROOF) == 0;
}

bool flm__secret_named(const char *file)
{
    const char *named = file ? file : getenv("FLM_SECRET_FILE");
    return named && *named;
}

static int default_secret_file(char *path, size_t n)
{
    const char *base = getenv("FLM_SECRET_FILE");
    if (base && *base)
        return snprintf(path, n, "%s", base) < (int)n ? 0 : FLM_EINVAL;
    base = getenv("XDG_CONFIG_HOME");
    if (base && *base)
        return snprintf(path, n, "%s/flame/secret", base) < (int)n ? 0 : FLM_EINVAL;
    base = getenv("HOME");
    return snprintf(path, n, "%s/.config/flame/secret", base ? base : "") < (int)n ? 0 : FLM_EINVAL;
}

int flm__secret_read(const char *file, struct flm__secret *out, flm_error *error)
{
    char path[4096];
    if (!file && default_secret_file(path, sizeof(path)) < 0)
        return flm__error_set(error, FLM_EAUTH, "the path of the secret file is too long");
    if (!file)
        file = path;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return flm__error_errno(error, FLM_EAUTH, errno, "cannot read the secret file %s", file);
    struct stat st;
    ssize_t n = -1;
    if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077) || !S_ISREG(st.st_mode)) {
        close(fd);
        return flm__error_set(error, FLM_EAUTH, "the secret file %s must be yours and have mode 0600",
                              file);
    }
    n = read(fd, out->bytes, sizeof(out->bytes));
    close(fd);
    if (n < 16)
        return flm__error_set(error, FLM_EAUTH, "the secret file %s holds less than 16 bytes", file);
    out->size = (size_t)n;
    return 0;
}

/* mkdir of the directory that holds file, one level up at most. */
static void make_parents(const char *file)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s", file);
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        mkdir(path, 0700);
        *p = '/';
    }
}

int flm__secret_make(const char *file, struct flm__secret *out, flm_error *error)
{
    char path[4096];
    if (!file && default_secret_file(path, sizeof(path)) < 0)
        return flm__error_set(error, FLM_EAUTH, "the path of the secret file is too long");
    if (!file)
        file = path;
    if (access(file, F_OK) < 0) {
        unsigned char bytes[32];
        make_parents(file);
        int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 && errno != EEXIST)
            return flm__error_errno(error, FLM_EAUTH, errno, "cannot make the secret file %s", file);
        if (fd >= 0) {
            bool whole =
                flm__random(bytes, sizeof(bytes)) == 0 && write(fd, bytes, sizeof(bytes)) == sizeof(bytes);
            close(fd);
            if (!whole) {
                unlink(file);
                return flm__error_set(error, FLM_EIO, "cannot write the secret file %s", file);
            }
        }
    }
    return flm__secret_read(file, out, error);
}

/* ---- the side that connects ------------------------------------------------------------ */

struct greeting {
    struct flm__conn *conn;
    const char *secret_file;
    unsigned char nonce[FLM__NONCE];
    bool munge;         /* it can be used here */
    flm_error no_munge; /* else: why not */
};

/* What a Refused says. */
static int refused(const struct greeting *g, const Flm__Message *m, flm_error *error)
{
    int code = m->refused->code < 0 ? m->refused->code : FLM_EPERM;
    if (code == FLM_EAUTH && g->no_munge.code)
        return flm__error_set(error, code, "%.220s (munge here: %.220s)", m->refused->text,
                              g->no_munge.text);
    return flm__error_set(error, code, "%s", m->refused->text);
}

static int send_proof(struct greeting *g, Flm__Proof *proof, flm_error *error)
{
    FLM__MESSAGE(m, proof, PROOF, proof);
    int rc = flm__conn_send(g->conn, &m, NULL, 0);
    return rc < 0 ? flm__error_set(error, rc, "%s", flm_strerror(rc)) : 0;
}

static int prove_by_munge(struct greeting *g, const Flm__Challenge *c, flm_error *error)
{
    unsigned char text[FLM__PROOF_TEXT];
    flm_error why = {0};
    size_t n = flm__proof_text(FLM__LABEL_SERVER, c->instance, g->nonce, c->nonce.data, text);
    int rc = flm__munge_check(c->munge, text, n, &why);
    if (rc < 0)
        return flm__error_set(error, rc, "the session manager did not prove that it is yours: %.300s",
                              why.text);
    Flm__Proof proof = FLM__PROOF__INIT;
    n = flm__proof_text(FLM__LABEL_PEER, c->instance, g->nonce, c->nonce.data, text);
    char *credential;
    rc = flm__munge_encode(text, n, &credential, error);
    if (rc < 0)
        return rc;
    proof.munge = credential;
    rc = send_proof(g, &proof, error);
    free(credential);
    return rc;
}

static int prove_by_secret(struct greeting *g, const Flm__Challenge *c, flm_error *error)
{
    struct flm__secret secret;
    int rc = flm__secret_read(g->secret_file, &secret, error);
    if (rc < 0)
        return rc;
    unsigned char bytes[FLM__PROOF];
    Flm__Proof proof = FLM__PROOF__INIT;
    flm__proof(&secret, FLM__LABEL_SERVER, c->instance, g->nonce, c->nonce.data, bytes);
    if (flm__proof_equal(bytes, c->proof.data)) {
        flm__proof(&secret, FLM__LABEL_PEER, c->instance, g->nonce, c->nonce.data, bytes);
        proof.proof.data = bytes;
        proof.proof.len = FLM__PROOF;
        rc = send_proof(g, &proof, error);
    } else {
        rc = flm__error_set(error, FLM_EAUTH,
                            "the session manager does not know our secret: its secret file is another one");
    }
    OPENSSL_cleanse(&secret, sizeof(secret));
    return rc;
}

/* By munge if that works, else by the secret. */
static int answer_challenge(struct greeting *g, const Flm__Challenge *c, flm_error *error)
{
    flm_error by_munge = {0}, by_secret = {0};
    if (c->nonce.len != FLM__NONCE || (c->proof.len && c->proof.len != FLM__PROOF) ||
        (!c->proof.len && !c->munge[0]))
        return flm__error_set(error, FLM_EPROTO, "the challenge of the session manager is malformed");
    if (!c->munge[0])
        by_munge = g->no_munge;
    else if (!g->munge)
        flm__error_set(&by_munge, FLM_EAUTH,
                       "the session manager wants munge, which is not to be had: %.200s", g->no_munge.text);
    else if (prove_by_munge(g, c, &by_munge) == 0)
        return 0;
    if (!c->proof.len)
        return flm__error_set(error, by_munge.code, "%s", by_munge.text);
    int rc = prove_by_secret(g, c, &by_secret);
    if (rc < 0 && by_munge.code)
        return flm__error_set(error, rc, "%.260s (without munge: %.200s)", by_secret.text, by_munge.text);
    return rc < 0 ? flm__error_set(error, rc, "%s", by_secret.text) : 0;
}

static int say_hello(struct greeting *g, Flm__Hello *hello, flm_error *error)
{
    if (flm__random(g->nonce, sizeof(g->nonce)) < 0)
        return flm__error_set(error, FLM_EINTERNAL, "no random numbers");
    g->munge = !flm__conn_is_unix(g->conn) && flm__munge_usable(&g->no_munge) == 0;
    hello->version_min = hello->version_max = FLM__PROTOCOL_VERSION;
    hello->nonce.data = g->nonce;
    hello->nonce.len = sizeof(g->nonce);
    hello->munge = g->munge;
    FLM__MESSAGE(m, hello, HELLO, hello);
    return flm__conn_send(g->conn, &m, NULL, 0);
}

int flm__handshake(struct flm__conn *conn, Flm__Hello *hello, const char *secret_file, int64_t deadline_ns,
                   Flm__Message **ready, int *fds, unsigned *n_fds, flm_error *error)
{
    struct greeting g = {.conn = conn, .secret_file = secret_file};
    int rc = say_hello(&g, hello, error);
    if (rc == FLM_EINTERNAL)
        return rc;
    /* Who turned us away before we had said anything has said why: that can still be read. */
    while (rc >= 0 || rc == FLM_EDISCONNECTED) {
        Flm__Message *got = NULL;
        rc = flm__conn_wait_message(conn, deadline_ns, &got, fds, n_fds);
        if (rc < 0)
            break;
        if (got->body_case == FLM__MESSAGE__BODY_READY) {
            *ready = got;
            return 0;
        }
        flm__close_fds(fds, *n_fds);
        if (got->body_case == FLM__MESSAGE__BODY_CHALLENGE)
            rc = answer_challenge(&g, got->challenge, error);
        else if (got->body_case == FLM__MESSAGE__BODY_REFUSED)
            rc = refused(&g, got, error);
        else
            rc =
                flm__error_set(error, FLM_EPROTO, "the session manager answered with something unexpected");
        flm__message__free_unpacked(got, NULL);
        if (rc < 0 && rc != FLM_EDISCONNECTED)
            return rc;
    }
    return flm__error_set(error, rc, "while greeting the session manager: %s", flm_strerror(rc));
}
