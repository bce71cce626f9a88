/* executor/shim_stdio.h - one process per session, framed messages on its stdin
 * and stdout. doc/stdio-shim.md tells it to those who write such services.
 *
 * All numbers are little endian, nothing is padded.
 *
 *   hello    executor -> service, once    "FLM1"
 *                                         u32 length of the session's id
 *                                         u32 length of the application's name
 *                                         the two texts
 *   request  executor -> service          u32 length of the rest (8 + input)
 *                                         u64 task, never 0
 *                                         input
 *   reply    service -> executor          u32 length of the rest (12 + output)
 *                                         u64 task of the request
 *                                         i32 code, 0: success
 *                                         output, or with another code a message
 *
 * The service answers the hello by a reply for task 0: code 0 says that it is
 * ready, another that it cannot serve this session. Then requests and replies
 * alternate. End of file on stdin: the session is over, end. The environment is
 * as for the shim exec, without FLM_TASK_ID.
 *
 * A service that ends in the middle of a task fails it (FLM_REASON_EXIT,
 * _SIGNAL, _OUT_OF_MEMORY), one that breaks the protocol is killed and fails it
 * with FLM_REASON_SERVICE, FLM_EPROTO; the next task finds it started anew. A
 * task that is cancelled or passes its deadline costs its service the same.
 */
#ifndef FLM_EXECUTOR_SHIM_STDIO_H
#define FLM_EXECUTOR_SHIM_STDIO_H

#include "executor/shim.h"

enum {
    FLM__STDIO_HELLO = 12,        /* bytes before the texts */
    FLM__STDIO_REQUEST = 12,      /* before the input */
    FLM__STDIO_REPLY = 16,        /* before the output */
    FLM__STDIO_START_MS = 300000, /* from start to ready: a cold file system may take minutes */
    FLM__STDIO_LEAVE_MS = 2000,   /* from end of file to SIGTERM */
};

#endif
