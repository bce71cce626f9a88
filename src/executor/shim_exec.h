/* executor/shim_exec.h - one process per task.
 *
 * Input and output are as enum flm_exec_mode in <flm/admin.h> says. In every
 * mode:
 *  - the command is looked up once, on enter; where an application has none,
 *    the first argument in the task's input is the command (not for
 *    FLM_EXEC_STDIN);
 *  - FLM_TASK_ID, FLM_SESSION_ID and FLM_EXECUTOR are set; with common data also
 *    FLM_COMMON (a file to open; do not read descriptor 3 itself, tasks share
 *    its position) and FLM_COMMON_SIZE;
 *  - the task ends when the command has ended: what it leaves behind in its
 *    process group is killed, after a short grace when it holds stdout open;
 *  - status not 0: FLM_REASON_EXIT. Ended by a signal: FLM_REASON_SIGNAL, or
 *    FLM_REASON_OUT_OF_MEMORY when the kernel did it for lack of memory. A
 *    command that cannot be started: FLM_REASON_EXIT with 127 (no such file) or
 *    126, and in FLM_EXEC_CAPTURE an output with that status. A failed task has
 *    its output, too.
 *  - more output than the limit: the command is ended and the task fails with
 *    FLM_REASON_SERVICE, FLM_ETOOBIG.
 */
#ifndef FLM_EXECUTOR_SHIM_EXEC_H
#define FLM_EXECUTOR_SHIM_EXEC_H

#include "executor/shim.h"

#endif
