#define _GNU_SOURCE
#include "net/handshake.h"

#include "base/error.h"
#include "base/time.h"

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

void flm__proof(const struct flm__secret *secret, const char *label, const char *instance,
                const unsigned char *peer_nonce, const unsigned char *server_nonce,
                unsigned char proof[FLM__PROOF])
{
    unsigned char text[64 + 256 + 2 * FLM__NONCE];
    int n = snprintf((char *)text, 64 + 256, "%.40s|%.200s|", label, instance);
    memcpy(text + n, peer_nonce, FLM__NONCE);
    memcpy(text + n + FLM__NONCE, server_nonce, FLM__NONCE);
    unsigned size = FLM__PROOF;
    HMAC(EVP_sha256(), secret->bytes, (int)secret->size, text, (size_t)n + 2 * FLM__NONCE, proof, &size);
}

bool flm__proof_equal(const unsigned char *a, const unsigned char *b)
{
    return CRYPTO_memcmp(a, b, FLM__PROOF) == 0;
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

/* What a Refused says. */
static int refused(const Flm__Message *m, flm_error *error)
{
    int code = m->refused->code < 0 ? m->refused->code : FLM_EPERM;
    return flm__error_set(error, code, "%s", m->refused->text);
}

static int answer_challenge(struct flm__conn *conn, const Flm__Challenge *c, const unsigned char *nonce,
                            const char *secret_file, flm_error *error)
{
    struct flm__secret secret;
    int rc = flm__secret_read(secret_file, &secret, error);
    if (rc < 0)
        return rc;
    unsigned char proof[FLM__PROOF];
    if (c->nonce.len != FLM__NONCE || c->proof.len != FLM__PROOF)
        return flm__error_set(error, FLM_EPROTO, "the challenge of the session manager is malformed");
    flm__proof(&secret, FLM__LABEL_SERVER, c->instance, nonce, c->nonce.data, proof);
    if (!flm__proof_equal(proof, c->proof.data))
        return flm__error_set(error, FLM_EAUTH,
                              "the session manager does not know our secret: its secret file is "
                              "another one");
    flm__proof(&secret, FLM__LABEL_PEER, c->instance, nonce, c->nonce.data, proof);
    Flm__Proof p = FLM__PROOF__INIT;
    p.proof.data = proof;
    p.proof.len = FLM__PROOF;
    FLM__MESSAGE(m, proof, PROOF, &p);
    rc = flm__conn_send(conn, &m, NULL, 0);
    OPENSSL_cleanse(&secret, sizeof(secret));
    return rc < 0 ? flm__error_set(error, rc, "%s", flm_strerror(rc)) : 0;
}

int flm__handshake(struct flm__conn *conn, Flm__Hello *hello, const char *secret_file, int64_t deadline_ns,
                   Flm__Message **ready, int *fds, unsigned *n_fds, flm_error *error)
{
    unsigned char nonce[FLM__NONCE];
    if (flm__random(nonce, sizeof(nonce)) < 0)
        return flm__error_set(error, FLM_EINTERNAL, "no random numbers");
    hello->version_min = hello->version_max = FLM__PROTOCOL_VERSION;
    hello->nonce.data = nonce;
    hello->nonce.len = sizeof(nonce);
    FLM__MESSAGE(m, hello, HELLO, hello);
    int rc = flm__conn_send(conn, &m, NULL, 0);
    while (rc >= 0) {
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
            rc = answer_challenge(conn, got->challenge, nonce, secret_file, error);
        else if (got->body_case == FLM__MESSAGE__BODY_REFUSED)
            rc = refused(got, error);
        else
            rc =
                flm__error_set(error, FLM_EPROTO, "the session manager answered with something unexpected");
        flm__message__free_unpacked(got, NULL);
        if (rc < 0)
            return rc;
    }
    return flm__error_set(error, rc, "while greeting the session manager: %s", flm_strerror(rc));
}
