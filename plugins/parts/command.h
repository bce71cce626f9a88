/* parts/command.h - the programs of a batch system, and what they answer. A server that is cut off lets
 * them hang for a minute: each may have a time limit. */
#ifndef PLUGIN_PARTS_COMMAND_H
#define PLUGIN_PARTS_COMMAND_H

#include <flm/backend.h>

#include <stdbool.h>

struct answer {
    int status; /* of the process, as from wait(2); its exit status if exited */
    bool exited, too_late;
    char *out, *err; /* owned by whoever gives it; NUL-terminated; err is one line */
    size_t out_size;
};
void answer_free(struct answer *a);

/* Waits for it, at most so long. 0, or FLM_ENOTFOUND and others: it could not be started. */
int command_run(const char *const *argv, unsigned limit_ms, struct answer *out);

/* The same without waiting: fn(arg, answer) when it has ended, or was killed since it took too long. In
 * *running until then, for command_kill. */
struct command;
typedef void command_fn(void *arg, const struct answer *answer);
int command_start(const struct flm_backend_host *host, const char *const *argv,
                  const char *const *environment, unsigned limit_ms, command_fn *fn, void *arg,
                  struct command **running);
/* fn will not be called. */
void command_kill(struct command *c);

#endif
