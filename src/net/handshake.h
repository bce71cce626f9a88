/* net/handshake.h - the beginning of a connection, for the side that connects.
 *
 * Unix sockets: the server checks SO_PEERCRED, HELLO is answered by READY. TCP: HELLO, CHALLENGE (the
 * server proves itself), PROOF, READY. What is proven is a text of this one connection, label | instance |
 * peer's nonce | server's nonce: by a munge credential of it where both sides have munge, else by its
 * HMAC-SHA256 with the secret, which is never sent.
 */
#ifndef FLM_NET_HANDSHAKE_H
#define FLM_NET_HANDSHAKE_H

#include "net/conn.h"

enum { FLM__NONCE = 32, FLM__PROOF = 32, FLM__PROOF_TEXT = 384, FLM__SECRET_MAX = 256 };

struct flm__secret {
    unsigned char bytes[FLM__SECRET_MAX];
    size_t size; /* 0: none */
};

/* Reads a secret; refuses a file that others can read or that is not ours. file NULL: $FLM_SECRET_FILE,
 * then the file "secret" in the configuration directory of the user ($XDG_CONFIG_HOME/flame,
 * ~/.config/flame). */
int flm__secret_read(const char *file, struct flm__secret *out, flm_error *error);

/* Makes a secret file (mode 0600) with fresh random bytes if there is none, then reads it. */
int flm__secret_make(const char *file, struct flm__secret *out, flm_error *error);

/* Whether the user names a secret file: here or by $FLM_SECRET_FILE. */
bool flm__secret_named(const char *file);

/* Says hello (version, nonce, munge are filled here) and sees it through to READY. *ready is freed by
 * flm__message__free_unpacked; its descriptors are the caller's. secret_file as above, used on TCP
 * only. FLM_EAUTH, FLM_EVERSION, FLM_EDISCONNECTED, FLM_ETIMEDOUT, FLM_EPROTO and what the server
 * refused with. */
int flm__handshake(struct flm__conn *conn, Flm__Hello *hello, const char *secret_file, int64_t deadline_ns,
                   Flm__Message **ready, int *fds, unsigned *n_fds, flm_error *error);

/* Both sides: the text that a munge credential is of. Returns its size. */
size_t flm__proof_text(const char *label, const char *instance, const unsigned char *peer_nonce,
                       const unsigned char *server_nonce, unsigned char text[FLM__PROOF_TEXT]);
/* Both sides: fills proof. */
void flm__proof(const struct flm__secret *secret, const char *label, const char *instance,
                const unsigned char *peer_nonce, const unsigned char *server_nonce,
                unsigned char proof[FLM__PROOF]);
bool flm__proof_equal(const unsigned char *a, const unsigned char *b); /* in constant time */
#define FLM__LABEL_SERVER "flame 1 server"
#define FLM__LABEL_PEER   "flame 1 peer"

int flm__random(void *out, size_t n); /* cryptographic random bytes; 0 or FLM_EINTERNAL */

#endif
