#define _GNU_SOURCE
#include "tools/runtime_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool folder_is_ours_alone(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 077) == 0;
}

static enum runtime_choice judge(const char *xdg)
{
    if (!xdg || !*xdg)
        return RUNTIME_UNSET;
    if (*xdg != '/')
        return RUNTIME_RELATIVE;
    if (strlen(xdg) + sizeof("/flame") > RUNTIME_FOLDER_MAX)
        return RUNTIME_TOO_LONG;
    return folder_is_ours_alone(xdg) ? RUNTIME_XDG : RUNTIME_FOREIGN;
}

enum runtime_choice runtime_folder_choose(char path[RUNTIME_FOLDER_MAX])
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    enum runtime_choice choice = judge(xdg);
    if (choice == RUNTIME_XDG)
        snprintf(path, RUNTIME_FOLDER_MAX, "%s/flame", xdg);
    else
        snprintf(path, RUNTIME_FOLDER_MAX, "/tmp/flame-%u", (unsigned)geteuid());
    return choice;
}
