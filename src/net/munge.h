/* net/munge.h - credentials of munge, with which a process proves to another of the same user who it is.
 *
 * libmunge is loaded when it is first needed, so that the same programs run where it is missing. The calls
 * talk to munged and wait for it: less than 1 ms, 2 s where it has died, 10 s where it hangs. Any thread.
 */
#ifndef FLM_NET_MUNGE_H
#define FLM_NET_MUNGE_H

#include <flm/error.h>

/* Whether munge can be used here: 0, or FLM_EAUTH and why not. munged is asked for at $FLM_MUNGE_SOCKET,
 * else where libmunge expects it. */
int flm__munge_usable(flm_error *error);

/* Makes a credential of ours that only processes of our own user can decode; the caller frees it. 0, or
 * FLM_EAUTH and *credential is NULL. */
int flm__munge_encode(const void *payload, size_t n, char **credential, flm_error *error);

/* Whether a process of our own user made this credential, of just this payload, and it is shown for the
 * first time: 0, or FLM_EAUTH and what is wrong with it. */
int flm__munge_check(const char *credential, const void *payload, size_t n, flm_error *error);

#endif
