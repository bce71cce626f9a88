/* base/signals.h - signals belong to the program, not to the libraries that it loads.
 *
 * Some libraries put handlers of their own on SIGINT and others while they are loaded or opened, and exit
 * the process from there (libinfinipath, which libfabric brings; libfabric's shm).
 */
#ifndef FLM_BASE_SIGNALS_H
#define FLM_BASE_SIGNALS_H

#include <signal.h>

struct flm__signals {
    struct sigaction of[NSIG];
    sigset_t mask;
};

/* Remembers all dispositions, and sets them again as they were. In between this thread takes no signals
 * that come from others: they are delivered afterwards, to the program's handlers. */
void flm__signals_keep(struct flm__signals *kept);
void flm__signals_put_back(const struct flm__signals *kept);

#endif
