/* flm-results: writes the file of results of one session, as flmd's journal has them. flmd starts it;
 * manager/results.h tells what they say to each other, over descriptor 3.
 *
 *     flm-results STATE-DIR SERIAL COUNTED FILE SESSION APPLICATION OUTPUT-TYPE
 */
#define _GNU_SOURCE
#include "base/time.h"
#include "results/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    FLMD = 3,
    PAUSE_MS = 200, /* between two times that the file is open */
    IDLE_MS = 1000, /* when nothing has come for long */
    IDLE_ROUNDS = 50,
    SAVE_MS = 3000,
    SAVE_BYTES = 64 << 20, /* of the journal */
    SPACE = 8 << 20,       /* left free: metadata */
    NICE = 5,
};

static bool ended, hurried; /* flmd is gone; somebody waits */

void tell(const char *format, ...)
{
    char line[560];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (n > (int)sizeof(line) - 2)
        n = sizeof(line) - 2;
    for (int i = 0; i < n; i++)
        if (line[i] == '\n')
            line[i] = ' ';
    line[n++] = '\n';
    if (send(FLMD, line, (size_t)n, MSG_NOSIGNAL) < 0)
        ended = true;
}

/* The innermost words of HDF5. */
static herr_t innermost(unsigned n, const H5E_error2_t *e, void *arg)
{
    (void)n;
    snprintf(arg, 200, "%s", e->desc ? e->desc : "");
    return 1;
}

void sheet_fail(const struct sheet *s, const char *doing)
{
    char words[200] = "", *at;
    int why = errno;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, words);
    if ((at = strstr(words, "error message = '"))) {
        memmove(words, at + 17, strlen(at + 17) + 1);
        words[strcspn(words, "'")] = 0;
    }
    tell("trouble cannot %s the file of results %s: %s; it is tried again, and nothing is lost", doing,
         s->path, words[0] ? words : strerror(why));
    _exit(1);
}

/* Reads what flmd says, waiting for it. */
static void listen_to_flmd(int ms)
{
    char text[100];
    struct pollfd p = {.fd = FLMD, .events = POLLIN};
    if (poll(&p, 1, ms) <= 0)
        return;
    ssize_t n = recv(FLMD, text, sizeof(text), MSG_DONTWAIT);
    if (n > 0)
        hurried = true;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        ended = true;
}

void wait_for_space(const struct sheet *s, uint64_t bytes)
{
    struct statvfs v;
    bool told = false;
    while (statvfs(s->path, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < bytes + SPACE) {
        if (!told)
            tell("trouble cannot write the file of results %s: its disk is full (less than %d MiB would be "
                 "left): make room; nothing is lost",
                 s->path, SPACE >> 20);
        told = true;
        if (ended) {
            fprintf(
                stderr,
                "flm-results: the file of results %s lacks what came last, since its disk is full; it is "
                "in the "
                "journal: make room, and the next session manager with that state directory writes it\n",
                s->path);
            _exit(1);
        }
        listen_to_flmd(PAUSE_MS);
    }
    if (told)
        tell("trouble");
}

static void run(struct writer *w)
{
    int64_t saved_ns = flm__now_ns();
    unsigned idle = 0;
    while (!w->closed) {
        uint64_t before = w->progress.position;
        bool last = ended, hurry = hurried, more;
        int64_t began_ns = flm__now_ns();
        hurried = false;
        do
            more = writer_take(w);
        while (more && (last || flm__now_ns() - began_ns < PAUSE_MS * 1000000LL));
        bool save = last || hurry || w->closed || flm__now_ns() - saved_ns > SAVE_MS * 1000000LL ||
                    w->progress.position - w->saved > SAVE_BYTES;
        writer_finish(w, save);
        if (save)
            saved_ns = flm__now_ns();
        if (last)
            return;
        idle = w->progress.position == before ? idle + 1 : 0;
        if (!w->closed && !ended)
            listen_to_flmd(idle > IDLE_ROUNDS ? IDLE_MS : PAUSE_MS);
    }
    writer_finish(w, true);
    tell("done %" PRIu64, w->progress.rows);
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
    static struct writer w;
    flm_error error = {0};
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        puts("Usage: flm-results STATE-DIR SERIAL COUNTED FILE SESSION APPLICATION OUTPUT-TYPE\n"
             "Writes the file of results of one session. flmd starts it: see flm-results(1).");
        return 0;
    }
    if (argc == 2 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))) {
        puts("flm-results (Flame) " FLM_VERSION);
        return 0;
    }
    if (argc != 8) {
        fprintf(stderr, "flm-results is started by flmd (flmd(1))\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    fcntl(FLMD, F_SETFD, FD_CLOEXEC);
    if (nice(NICE) < 0)
        errno = 0;
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1); /* who reads the file must not keep us from writing it */
    H5dont_atexit();
    H5open();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    w.serial = (uint32_t)number(argv[2]);
    w.counted = number(argv[3]);
    w.sheet = (struct sheet){.path = argv[4],
                             .session = argv[5],
                             .application = argv[6],
                             .output_type = argv[7],
                             .serial = w.serial};
    if (flm__output_type_parse(argv[7], &w.sheet.type, &error) < 0 ||
        progress_open(&w.file, argv[1], argv[2], &error) < 0) {
        tell("trouble %s", error.text);
        return 1;
    }
    sheet_prepare(&w.sheet);
    writer_begin(&w, argv[1]);
    run(&w);
    follow_close(&w.follow);
    progress_close(&w.file);
    free(w.rows);
    free(w.bytes);
    free(w.sheet.nodes);
    return 0;
}
