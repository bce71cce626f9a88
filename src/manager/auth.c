#define _GNU_SOURCE
#include "manager/auth.h"

#include "base/error.h"
#include "base/time.h"
#include "net/munge.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One thing that is done on another thread; all that it needs. */
struct auth_work {
    uv_work_t work;
    struct peer *peer; /* NULL: gone in the meantime */
    enum auth auth;
    bool peer_has_munge;
    const char *secret_file;
    unsigned char text[FLM__PROOF_TEXT]; /* that the credential is of */
    size_t text_size;
    char *credential; /* made for the challenge, or the peer's */
    struct flm__secret secret;
    flm_error no_munge, error;
};

int auth_prepare(struct manager *m, flm_error *error)
{
    const struct options *o = &m->options;
    if (o->auth == AUTH_MUNGE) {
        flm_error why;
        if (flm__munge_usable(&why) == 0)
            return 0;
        return flm__error_set(error, why.code, "--auth=munge: %.400s", why.text);
    }
    if (o->auth == AUTH_SECRET || flm__secret_named(o->secret_file) || flm__munge_usable(NULL) < 0)
        return flm__secret_make(o->secret_file, &m->secret, error);
    /* One is made when a peer comes without munge. */
    if (flm__secret_read(NULL, &m->secret, NULL) < 0)
        m->secret.size = 0;
    return 0;
}

static void refuse(struct peer *p, const char *text)
{
    p->manager->refused++;
    peer_refuse(p, FLM_EAUTH, text);
}

/* ---- work ------------------------------------------------------------------------------ */

static void work_free(struct auth_work *w)
{
    if (w->peer)
        w->peer->auth_work = NULL;
    free(w->credential);
    OPENSSL_cleanse(&w->secret, sizeof(w->secret));
    free(w);
}

void auth_forget(struct peer *p)
{
    if (p->auth_work)
        p->auth_work->peer = NULL;
}

static struct auth_work *work_new(struct peer *p, const char *label)
{
    struct manager *m = p->manager;
    struct auth_work *w = calloc(1, sizeof(*w));
    if (!w) {
        peer_refuse(p, FLM_ENOMEM, "the session manager has no memory for another connection");
        return NULL;
    }
    w->work.data = w;
    w->peer = p;
    w->auth = m->options.auth;
    w->secret_file = m->options.secret_file;
    w->secret = m->secret;
    w->text_size = flm__proof_text(label, m->instance, p->peer_nonce, p->my_nonce, w->text);
    p->auth_work = w;
    return w;
}

static void work_start(struct auth_work *w, uv_work_cb run, uv_after_work_cb done)
{
    struct peer *p = w->peer;
    if (uv_queue_work(&p->manager->uv, &w->work, run, done) == 0)
        return;
    work_free(w);
    peer_refuse(p, FLM_EINTERNAL, "the session manager cannot start a thread");
}

/* Whether the peer of the work is still there; the work ends otherwise. */
static bool still_there(struct auth_work *w)
{
    if (w->peer && w->peer->state != PEER_GONE && !w->peer->doomed) {
        w->peer->manager->now = flm__now_ns();
        return true;
    }
    work_free(w);
    return false;
}

/* ---- the challenge --------------------------------------------------------------------- */

static void send_challenge(struct peer *p, const struct auth_work *w)
{
    struct manager *m = p->manager;
    unsigned char proof[FLM__PROOF];
    Flm__Challenge c = FLM__CHALLENGE__INIT;
    c.instance = m->instance;
    c.nonce.data = p->my_nonce;
    c.nonce.len = FLM__NONCE;
    if (m->secret.size) {
        flm__proof(&m->secret, FLM__LABEL_SERVER, m->instance, p->peer_nonce, p->my_nonce, proof);
        c.proof.data = proof;
        c.proof.len = FLM__PROOF;
    }
    if (w && w->credential)
        c.munge = w->credential;
    FLM__MESSAGE(message, challenge, CHALLENGE, &c);
    p->state = PEER_CHALLENGED;
    peer_send(p, &message, NULL, 0);
}

/* On another thread. */
static void make_challenge(uv_work_t *work)
{
    struct auth_work *w = work->data;
    if (w->peer_has_munge && flm__munge_encode(w->text, w->text_size, &w->credential, &w->no_munge) == 0)
        return;
    if (w->auth != AUTH_MUNGE && !w->secret.size &&
        flm__secret_make(w->secret_file, &w->secret, &w->error) < 0)
        w->secret.size = 0;
}

static void challenge_made(uv_work_t *work, int status)
{
    struct auth_work *w = work->data;
    char text[sizeof(w->error.text)];
    (void)status;
    if (!still_there(w))
        return;
    struct peer *p = w->peer;
    if (w->secret.size && !p->manager->secret.size)
        p->manager->secret = w->secret;
    if (w->credential || p->manager->secret.size) {
        send_challenge(p, w);
    } else {
        snprintf(text, sizeof(text), "this session manager can prove itself to nobody: %.200s%s%.200s",
                 w->no_munge.text, w->no_munge.code && w->error.code ? "; " : "", w->error.text);
        fprintf(stderr, "flmd: %s\n", text);
        refuse(p, text);
    }
    work_free(w);
}

void auth_challenge(struct peer *p)
{
    struct manager *m = p->manager;
    enum auth auth = m->options.auth;
    bool munge = p->hello->munge && auth != AUTH_SECRET;
    if (p->hello->nonce.len != FLM__NONCE || flm__random(p->my_nonce, sizeof(p->my_nonce)) < 0) {
        refuse(p, "a greeting over TCP has a nonce of 32 bytes");
        return;
    }
    memcpy(p->peer_nonce, p->hello->nonce.data, FLM__NONCE);
    if (auth == AUTH_MUNGE && !munge) {
        refuse(p, "this session manager lets in over TCP only who has munge (its --auth=munge)");
    } else if (!munge && m->secret.size) {
        send_challenge(p, NULL);
    } else {
        struct auth_work *w = work_new(p, FLM__LABEL_SERVER);
        if (!w)
            return;
        w->peer_has_munge = munge;
        work_start(w, make_challenge, challenge_made);
    }
}

/* ---- the proof --------------------------------------------------------------------------- */

/* On another thread. */
static void check_credential(uv_work_t *work)
{
    struct auth_work *w = work->data;
    flm__munge_check(w->credential, w->text, w->text_size, &w->error);
}

static void credential_checked(uv_work_t *work, int status)
{
    struct auth_work *w = work->data;
    char text[sizeof(w->error.text)];
    if (!still_there(w))
        return;
    struct peer *p = w->peer;
    if (status == 0 && w->error.code == 0) {
        peer_welcome(p);
    } else {
        snprintf(text, sizeof(text), "you did not prove that this session manager is yours: %.300s",
                 w->error.text);
        refuse(p, text);
    }
    work_free(w);
}

static void check_munge(struct peer *p, const char *credential)
{
    struct auth_work *w = work_new(p, FLM__LABEL_PEER);
    if (!w)
        return;
    w->credential = strdup(credential);
    if (!w->credential) {
        work_free(w);
        peer_refuse(p, FLM_ENOMEM, "the session manager has no memory for another connection");
        return;
    }
    work_start(w, check_credential, credential_checked);
}

void auth_answer(struct peer *p, const Flm__Proof *proof)
{
    struct manager *m = p->manager;
    unsigned char expected[FLM__PROOF];
    if (proof->munge[0] && p->hello->munge && m->options.auth != AUTH_SECRET) {
        check_munge(p, proof->munge);
        return;
    }
    flm__proof(&m->secret, FLM__LABEL_PEER, m->instance, p->peer_nonce, p->my_nonce, expected);
    if (m->secret.size && proof->proof.len == FLM__PROOF && flm__proof_equal(expected, proof->proof.data))
        peer_welcome(p);
    else
        refuse(p, "the secret is not the one of this session manager");
}
