#include "base/signals.h"

#include <stddef.h>

void flm__signals_keep(struct flm__signals *kept)
{
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t others;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++)
        sigdelset(&others, own_faults[i]);
    pthread_sigmask(SIG_BLOCK, &others, &kept->mask);
    for (int i = 1; i < NSIG; i++)
        if (sigaction(i, NULL, &kept->of[i]) < 0)
            kept->of[i].sa_handler = SIG_ERR;
}

void flm__signals_put_back(const struct flm__signals *kept)
{
    for (int i = 1; i < NSIG; i++)
        if (kept->of[i].sa_handler != SIG_ERR && i != SIGKILL && i != SIGSTOP)
            sigaction(i, &kept->of[i], NULL);
    pthread_sigmask(SIG_SETMASK, &kept->mask, NULL);
}
