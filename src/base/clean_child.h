/* base/clean_child.h - attributes for posix_spawn of a child that inherits nothing of our signals: none is
 * blocked or ignored in it. */
#ifndef FLM_BASE_CLEAN_CHILD_H
#define FLM_BASE_CLEAN_CHILD_H

#include <signal.h>
#include <spawn.h>

/* `apart`: POSIX_SPAWN_SETSID or POSIX_SPAWN_SETPGROUP; its number is that of its session or group, so that
 * a Ctrl-C is not for it and all of it can be signalled. The attributes are initialized. 0 or an errno
 * value. */
static inline int flm__clean_child(posix_spawnattr_t *attributes, int apart)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawnattr_setflags(attributes,
                                      (short)(apart | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    if (!rc)
        rc = posix_spawnattr_setpgroup(attributes, 0);
    if (!rc)
        rc = posix_spawnattr_setsigmask(attributes, &none);
    if (!rc)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    return rc;
}

#endif
