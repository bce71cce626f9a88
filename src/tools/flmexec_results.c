#define _GNU_SOURCE 1
#include "flmexec_results.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES = 200 };

static void add_name(struct flmexec_text *out, const char *s, size_t size, uint64_t seq)
{
    size_t begin = out->size;
    char number[32];
    for (size_t i = 0; i < size && out->size - begin < NAME_BYTES; i++) {
        if (s[i] == '/' || s[i] == '\\' || s[i] == '\t')
            flmexec_text_str(out, s[i] == '/' ? "\\_" : s[i] == '\t' ? "\\t" : "\\\\");
        else
            flmexec_text_char(out, s[i]);
    }
    const char *name = out->data + begin;
    if (out->size - begin >= NAME_BYTES) {
        snprintf(number, sizeof(number), "~%" PRIu64, seq);
        flmexec_text_str(out, number);
    } else if (out->size == begin || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        flmexec_text_str(out, "\\"); /* no name of a file: an empty one, this folder, the one above */
    }
}

void flmexec_results_folder(const char *dir, const struct flmexec_arguments *a, uint64_t seq,
                            struct flmexec_text *out)
{
    char number[32];
    out->size = 0;
    flmexec_text_str(out, dir);
    for (int i = 0; i < a->n; i++) {
        snprintf(number, sizeof(number), "/%d/", i + 1);
        flmexec_text_str(out, number);
        add_name(out, a->item[i], a->size[i], seq);
    }
    if (a->n == 0) {
        snprintf(number, sizeof(number), "/%" PRIu64, seq);
        flmexec_text_str(out, number);
    }
}

static int make_folders(char *path)
{
    for (char *at = path + 1;; at++) {
        char c = *at;
        if (c && c != '/')
            continue;
        *at = 0;
        int rc = mkdir(path, 0777) < 0 && errno != EEXIST ? errno : 0;
        *at = c;
        if (rc || !c)
            return rc;
    }
}

static int write_file(const char *folder, const char *name, const char *data, size_t size)
{
    char path[8192];
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
        return ENAMETOOLONG;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), rc = 0;
    if (fd < 0)
        return errno;
    while (size && !rc) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno != EINTR)
            rc = errno;
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    if (close(fd) < 0 && !rc)
        rc = errno;
    return rc;
}

int flmexec_results_write(const char *folder, uint64_t seq, const char *data, size_t out, size_t err)
{
    char path[8192], number[32];
    if ((size_t)snprintf(path, sizeof(path), "%s", folder) >= sizeof(path))
        return ENAMETOOLONG;
    int n = snprintf(number, sizeof(number), "%" PRIu64, seq);
    int rc = make_folders(path);
    if (!rc)
        rc = write_file(folder, "stdout", data, out);
    if (!rc)
        rc = write_file(folder, "stderr", data + out, err);
    return rc ? rc : write_file(folder, "seq", number, (size_t)n);
}
