#define _GNU_SOURCE
#include "store_fixture.h"

#include <dirent.h>
#include <poll.h>
#include <sys/stat.h>

/* ---- Folders ---- */

char *store_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path;
    if (!access("/dev/shm", W_OK)) /* thousands of syncs: what they do to a disk is not the matter here */
        tmp = "/dev/shm";
    assert_true(asprintf(&path, "%s/flm-store-XXXXXX", tmp && *tmp ? tmp : "/tmp") > 0);
    assert_non_null(mkdtemp(path));
    assert_int_equal(rmdir(path), 0);
    return path;
}

static void empty(const char *folder)
{
    DIR *d = opendir(folder);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

void store_folder_end(char *folder)
{
    empty(folder);
    rmdir(folder);
    free(folder);
}

static int is_segment(const struct dirent *e)
{
    return strstr(e->d_name, ".flj") != NULL;
}

static char *path_of(const char *folder, const char *name)
{
    char *path;
    assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
    return path;
}

void store_folder_copy(const char *from, const char *to)
{
    mkdir(to, 0700);
    empty(to);
    struct dirent **list;
    int n = scandir(from, &list, is_segment, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        size_t size;
        char *a = path_of(from, list[i]->d_name), *b = path_of(to, list[i]->d_name);
        unsigned char *bytes = store_read(a, &size);
        store_write(b, bytes, size);
        free(bytes);
        free(a);
        free(b);
        free(list[i]);
    }
    free(list);
}

unsigned store_segments(const char *folder)
{
    struct dirent **list;
    int n = scandir(folder, &list, is_segment, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
    return (unsigned)n;
}

char *store_segment(const char *folder, int which)
{
    struct dirent **list;
    char *path = NULL;
    int n = scandir(folder, &list, is_segment, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        if (i == which || (which < 0 && i + 1 == n))
            path = path_of(folder, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    assert_non_null(path);
    return path;
}

unsigned char *store_read(const char *file, size_t *size)
{
    FILE *f = fopen(file, "rbe");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

void store_write(const char *file, const void *bytes, size_t size)
{
    FILE *f = fopen(file, "wbe");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* ---- Records ---- */

size_t store_size(uint64_t i, size_t most)
{
    return (size_t)((i * 2654435761u >> 9) % (most + 1));
}

static unsigned char content(uint64_t i, size_t k)
{
    return (unsigned char)(i * 31 + k);
}

uint64_t store_append(struct flm__journal *j, uint64_t i, size_t most)
{
    size_t size = store_size(i, most);
    struct flm__journal_record *r = flm__journal_reserve(j, size + sizeof(i));
    if (!r)
        return 0;
    r->type = (uint16_t)(i % 7);
    r->flags = (uint16_t)(i % 5);
    r->session = (uint32_t)i;
    r->value = (uint32_t)~i;
    memcpy(r + 1, &i, sizeof(i));
    unsigned char *to = (unsigned char *)(r + 1) + sizeof(i);
    for (size_t k = 0; k < size; k++)
        to[k] = content(i, k);
    return flm__journal_put(j, r);
}

int store_check_record(void *arg, const struct flm__journal_record *r, const void *payload,
                       uint64_t position)
{
    struct store_log *log = arg;
    uint64_t i;
    assert_true(r->size >= sizeof(i));
    assert_int_equal((uintptr_t)payload & 7, 0);
    memcpy(&i, payload, sizeof(i));
    if (log->any) {
        log->next = log->first = i;
        log->any = false;
    }
    assert_int_equal(i, log->next);
    assert_int_equal(r->type, i % 7);
    assert_int_equal(r->flags, i % 5);
    assert_int_equal(r->session, (uint32_t)i);
    assert_int_equal(r->value, (uint32_t)~i);
    const unsigned char *from = (const unsigned char *)payload + sizeof(i);
    for (size_t k = 0; k < r->size - sizeof(i); k++)
        if (from[k] != content(i, k))
            fail_msg("byte %zu of record %lu", k, (unsigned long)i);
    assert_true(position > log->position);
    log->position = position;
    log->next++;
    return 0;
}

/* ---- Journals ---- */

struct flm__journal *store_open(const char *folder, const struct flm__journal_options *options)
{
    flm_error error = {.text = ""};
    struct flm__journal *j = flm__journal_open(folder, options, &error);
    if (!j)
        fail_msg("%s", error.text);
    return j;
}

struct flm__journal *store_start(const char *folder, const struct flm__journal_options *options,
                                 uint64_t *next)
{
    struct flm__journal *j = store_open(folder, options);
    struct store_log log = {.next = 0};
    struct flm__journal_replayed told;
    flm_error error = {.text = ""};
    if (flm__journal_replay(j, store_check_record, &log, &told, &error) || flm__journal_start(j, &error))
        fail_msg("%s", error.text);
    assert_int_equal(told.records, log.next);
    assert_int_equal(told.end, log.position);
    if (next)
        *next = log.next;
    return j;
}

void store_sleep(struct flm__journal *j, int event_fd)
{
    uint64_t count;
    if (flm__journal_arm(j)) {
        struct pollfd p = {event_fd, POLLIN, 0};
        assert_int_equal(poll(&p, 1, 60000), 1); /* a lost wake-up ends here */
    }
    flm__journal_disarm(j);
    if (read(event_fd, &count, sizeof(count)) < 0)
        return;
}

uint64_t store_append_wait(struct flm__journal *j, int event_fd, uint64_t i, size_t most)
{
    uint64_t position;
    for (;;) {
        flm__journal_written(j); /* what is news from here on: */
        flm__journal_synced(j);
        flm__journal_state(j);
        position = store_append(j, i, most);
        if (position)
            return position;
        flm__journal_commit(j, false);
        store_sleep(j, event_fd);
    }
}

void store_wait_written(struct flm__journal *j, int event_fd, uint64_t position)
{
    while (flm__journal_written(j) < position) {
        flm__journal_synced(j);
        flm__journal_state(j);
        store_sleep(j, event_fd);
    }
}

void store_wait_synced(struct flm__journal *j, int event_fd, uint64_t position)
{
    while (flm__journal_synced(j) < position) {
        flm__journal_written(j);
        flm__journal_state(j);
        store_sleep(j, event_fd);
    }
}

void store_wait_state(struct flm__journal *j, int event_fd, enum flm__journal_state state)
{
    while (flm__journal_state(j) != state) {
        flm__journal_written(j);
        flm__journal_synced(j);
        store_sleep(j, event_fd);
    }
}
