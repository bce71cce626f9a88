/* journal FOLDER RECORDS FRAMES - writes a journal for tests: records of 100 bytes, in so many frames, in a
 * segment of its own; says its position. */
#include "store/journal.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    flm_error error = {.text = "usage: journal FOLDER RECORDS FRAMES"};
    struct flm__journal *j = argc == 4 ? flm__journal_open(argv[1], NULL, &error) : NULL;
    if (!j || flm__journal_start(j, &error)) {
        fprintf(stderr, "journal: %s\n", error.text);
        flm__journal_close(j);
        return 1;
    }
    unsigned records = (unsigned)atoi(argv[2]), frames = (unsigned)atoi(argv[3]);
    for (unsigned f = 0; f < frames; f++) {
        uint64_t position = flm__journal_position(j);
        for (unsigned i = 0; i < records; i++) {
            struct flm__journal_record *r = flm__journal_reserve(j, 100);
            if (!r)
                break;
            memset(r + 1, (int)i, 100);
            r->type = 1;
            r->flags = 0;
            r->session = f;
            r->value = i;
            position = flm__journal_put(j, r);
        }
        flm__journal_commit(j, false);
        while (flm__journal_written(j) < position && flm__journal_state(j) == FLM__JOURNAL_GOOD)
            ;
    }
    printf("%llu\n", (unsigned long long)flm__journal_position(j));
    int status = flm__journal_stop(j, &error) ? 1 : 0;
    flm__journal_close(j);
    return status;
}
