/* Threads that patch the common data of one session at the same time, each its own four letters: none of it
 * is lost, and no two make the same version. They are more than flmd lets wait.
 *
 *     patches APPLICATION DURABILITY
 *
 * APPLICATION is the file of a command that prints the beginning of $FLM_COMMON. Prints "version N: THAT".
 */
#include <flm/admin.h>
#include <flm/client.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 24, EACH = 10, WIDTH = 4, SIZE = 1 << 20 };

static flm_session *session;
static unsigned char made[THREADS * EACH + 2]; /* by version, how often that was one's own */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int failed;

static void fail(const char *why)
{
    fprintf(stderr, "patches: %s\n", why);
    failed = 1;
}

static void note(int rc, uint64_t version, const flm_error *e)
{
    pthread_mutex_lock(&lock);
    if (rc < 0)
        fail(e->text);
    else if (version < 2 || version >= sizeof(made) || made[version]++)
        fail("two have made the same version, or one that cannot be");
    pthread_mutex_unlock(&lock);
}

static void *patch(void *arg)
{
    size_t at = (size_t)(uintptr_t)arg * WIDTH;
    for (int i = 1; i <= EACH; i++) {
        char text[16];
        uint64_t version = 0;
        flm_error e = {0};
        snprintf(text, sizeof(text), "%04d", i);
        int rc = flm_patch_common_data(session, at, text, WIDTH, &version, &e);
        note(rc, version, &e);
    }
    return NULL;
}

static void patch_all(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, patch, (void *)(uintptr_t)i) != 0)
            exit(1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void print(const struct flm_result *r, void *arg)
{
    (void)arg;
    printf("version %lu: %.*s%s\n", (unsigned long)flm_common_version(session), (int)r->size,
           (const char *)r->output, r->message);
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    struct flm_connect_options co = {.size = sizeof(co), .flags = FLM_SHARED};
    struct flm_application *a = argc == 3 ? flm_read_application(argv[1], &e) : NULL;
    flm_client *c = a ? flm_connect(NULL, &co, &e) : NULL;
    static const char first[SIZE];
    struct flm_session_options so = {.size = sizeof(so),
                                     .common = first,
                                     .common_size = SIZE,
                                     .durability = argc == 3 ? atoi(argv[2]) : 0};
    if (c && flm_register_application(c, a, 1, &e) == 0) {
        so.application = a->name;
        session = flm_create_session(c, &so, &e);
    }
    if (!session) {
        fail(e.text);
        return 1;
    }
    patch_all();
    if (flm_run_task(session, "", 0, print, NULL) < 0 || flm_wait(session, -1) < 0)
        fail("a task could not be run");
    if (flm_close_session(session, &e) < 0)
        fail(e.text);
    flm_disconnect(c);
    flm_free_applications(a, 1);
    return failed;
}
