/* hdf5_map SERVICE WHAT FILE SET [rows=N] [chunks] [columns=N] [out=FILE] [outset=SET]
 * [remove | swap]: maps a
 * session over a data set, prints the number of pieces and of elements that were seen, and what
 * flm_hdf5_finish says. "remove": the file goes before tasks can run; "swap": swap.h5 takes its
 * place, and then there is a file named gate. "plain": submits a task that is none
 * of a map. */
#define _GNU_SOURCE
#include <flm/admin.h>
#include <flm/hdf5.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t elements;

static void on_slab(const struct flm_hdf5_slab *slab, const struct flm_result *r, void *arg)
{
    uint64_t n = 1;
    (void)arg;
    for (unsigned i = 0; i < slab->rank; i++)
        n *= slab->count[i];
    elements += r->state == FLM_TASK_SUCCEED ? n : 0;
}

static int fail(const char *doing, const flm_error *e)
{
    printf("%s: %s %s\n", doing, flm_error_name(e->code), e->text);
    return 1;
}

static void plain(flm_session *session)
{
    struct flm_result r;
    if (flm_invoke(session, "no piece", 8, -1, &r) == 0)
        printf("%s\n", r.message);
}

static void parse(struct flm_hdf5_options *o, char **argv)
{
    for (; *argv; argv++) {
        if (strncmp(*argv, "rows=", 5) == 0)
            o->rows = strtoull(*argv + 5, NULL, 10);
        else if (strncmp(*argv, "columns=", 8) == 0)
            o->output_columns = strtoull(*argv + 8, NULL, 10);
        else if (strncmp(*argv, "out=", 4) == 0)
            o->output = *argv + 4;
        else if (strncmp(*argv, "outset=", 7) == 0)
            o->output_dataset = *argv + 7;
        else if (strcmp(*argv, "chunks") == 0)
            o->by_chunk = 1;
    }
}

int main(int argc, char **argv)
{
    flm_error e = {0};
    const char *last = argv[argc - 1];
    struct flm_hdf5_options o = {
        .size = sizeof(o), .file = argv[3], .dataset = argv[4], .on_slab = on_slab};
    const char *command[] = {argv[1], NULL};
    struct flm_application a = {
        .size = sizeof(a), .name = "hdf5_map", .shim = FLM_SHIM_SO, .command = command};
    struct flm_session_options s = {.size = sizeof(s),
                                    .application = "hdf5_map",
                                    .common = argv[2],
                                    .common_size = strlen(argv[2]) + 1};
    parse(&o, argv + 5);
    flm_client *client = flm_connect(NULL, NULL, &e);
    if (!client || flm_register_application(client, &a, 1, &e) < 0)
        return fail("connect", &e);
    flm_session *session = flm_create_session(client, &s, &e);
    if (!session)
        return fail("session", &e);
    if (strcmp(last, "plain") == 0)
        plain(session);
    flm_hdf5_map *map = flm_map_hdf5(session, &o, &e);
    if (!map) {
        flm_disconnect(client);
        return fail("map", &e);
    }
    if (strcmp(last, "remove") == 0)
        unlink(argv[3]);
    if (strcmp(last, "swap") == 0 && (rename("swap.h5", argv[3]) < 0 || mkdir("gate", 0700) < 0))
        printf("cannot swap\n");
    uint64_t n = flm_hdf5_slabs(map);
    int rc = flm_hdf5_finish(map, &e);
    printf("%lu pieces, %lu elements\n", (unsigned long)n, (unsigned long)elements);
    rc = rc < 0 ? fail("finish", &e) : 0;
    flm_disconnect(client);
    return rc;
}
