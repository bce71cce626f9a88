/* flm/error.h - what can go wrong, as a number and as a sentence.
 *
 * Error rule of the whole library: a function that returns int returns 0 (or a
 * count) on success and a negative FLM_E* on failure; a constructor returns
 * NULL on failure. Many take an optional last argument `flm_error *`: NULL is
 * allowed; where given it is filled on failure with the code and one sentence
 * that says what happened, to what, and what to do. It is left alone on
 * success. The library never prints, never exits and never aborts.
 */
#ifndef FLM_ERROR_H
#define FLM_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FLM_API __attribute__((visibility("default")))
#define FLM_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define FLM_API
#define FLM_PRINTF(f, a)
#endif

/* X(name, value, sentence): the one list of error codes. Values never change
 * meaning and are never reused; they travel on the wire. */
#define FLM_ERRORS(X)                                                                      \
    X(EINVAL, -1, "an argument is out of range")                                           \
    X(ENOMEM, -2, "no memory")                                                             \
    X(EAGAIN, -3, "nothing can be done now without waiting")                               \
    X(ETIMEDOUT, -4, "the time given was not enough")                                      \
    X(ENOTFOUND, -5, "there is nothing of that name")                                      \
    X(EEXIST, -6, "there is already one of that name")                                     \
    X(ECLOSED, -7, "the session is closed")                                                \
    X(ECANCELLED, -8, "the task or session was cancelled")                                 \
    X(ECONNECT, -9, "no session manager answers at the endpoint")                          \
    X(EDISCONNECTED, -10, "the connection to the session manager is lost")                 \
    X(EVERSION, -11, "the two sides speak different versions of the protocol")             \
    X(EAUTH, -12, "the other side could not prove who it is")                              \
    X(EPROTO, -13, "the other side sent something that is not the protocol")               \
    X(ETOOBIG, -14, "larger than the limit")                                               \
    X(EFULL, -15, "a queue is full")                                                       \
    X(ESERVICE, -16, "the service reported an error")                                      \
    X(ELOAD, -17, "the service could not be loaded")                                       \
    X(EABI, -18, "built for another version of Flame")                                     \
    X(EBIND, -19, "no executor could enter the session")                                   \
    X(ELOST, -20, "the executor was lost")                                                 \
    X(ERETRY, -21, "the task was lost with its executor too often")                        \
    X(EDEADLINE, -22, "the deadline passed")                                               \
    X(EIO, -23, "an input or output operation failed")                                     \
    X(ENOTSUP, -24, "not supported here")                                                  \
    X(EBUSY, -25, "in use")                                                                \
    X(EPERM, -26, "not permitted")                                                         \
    X(EINTERNAL, -27, "a mistake in Flame itself; please report it")                       \
    X(ECOMMAND, -28, "the command failed")                                                 \
    X(ESTALE, -29, "there is another version by now")

enum flm_error_code {
    FLM_OK = 0,
#define FLM__ENUM(name, value, text) FLM_##name = value,
    FLM_ERRORS(FLM__ENUM)
#undef FLM__ENUM
};

/* An error as a person reads it. Plain data, owned by the caller. */
typedef struct flm_error {
    int code;       /* 0 or a negative FLM_E* */
    char text[500]; /* one sentence, no newline, always terminated */
} flm_error;

/* The general sentence for a code; never NULL. Any thread. */
FLM_API const char *flm_strerror(int code);

/* "FLM_EINVAL" for -1 and so on; "FLM_OK" for 0; never NULL. Any thread. */
FLM_API const char *flm_error_name(int code);

/* Version of the library that is running, "0.1.0". */
FLM_API const char *flm_version(void);

#ifdef __cplusplus
}
#endif
#endif
