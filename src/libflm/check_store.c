/* The checker of the journal, for people: flmctl fsck. */
#include "store/journal.h"

#include <flm/admin.h>
#include <stdio.h>
#include <sys/stat.h>

struct teller {
    flm_store_damage_fn *fn;
    void *arg;
};

static void tell(void *arg, const struct flm__journal_damage *d)
{
    const struct teller *t = arg;
    t->fn(&(struct flm_store_damage){.file = d->file,
                                     .what = d->what,
                                     .offset = d->offset,
                                     .bytes = d->bytes,
                                     .repaired = d->repaired},
          t->arg);
}

int flm_check_store(const char *folder, int repair, flm_store_damage_fn *fn, void *arg,
                    struct flm_store_state *found, flm_error *error)
{
    struct teller teller = {fn, arg};
    struct flm__journal_checked c;
    struct stat st;
    char path[4096];
    /* in the manager's state directory, or the folder itself */
    int n = snprintf(path, sizeof(path), "%s/" FLM__JOURNAL_FOLDER, folder);
    if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) || !S_ISDIR(st.st_mode))
        snprintf(path, sizeof(path), "%s", folder);
    int status = flm__journal_check(path, repair != 0, fn ? tell : NULL, &teller, &c, error);
    if (status < 0)
        return status;
    if (found)
        *found = (struct flm_store_state){.segments = c.segments,
                                          .frames = c.frames,
                                          .records = c.records,
                                          .bytes = c.bytes,
                                          .damages = c.damages,
                                          .repaired = c.repaired};
    return 0;
}
