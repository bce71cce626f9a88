/* A service that gets objects: input "NAME NEWER_THAN", output "VERSION SIZE FIRST-BYTES", or what is
 * wrong; input "NAME file", output: which file in memory it is, once another executor has it, too; input
 * "NAME later": gets it once the file $OBJECTS_MEET.go is there; input "inputs": "VERSION SIZE FIRST-BYTES"
 * of each object that the task names ("inputs whole": how many bytes are the same); "inputs file": which
 * file the first is; "inputs meet", "inputs wait": the same as "inputs" once another executor has come so
 * far, or the file $OBJECTS_MEET.go is there; input "output SIZE LETTER": so many letters ("... fails": of
 * a task that fails then; "... wait": as above, "... map": which file they are in, in the file
 * $OBJECTS_MEET.file). */
#include <flm/object.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The inode that is mapped there. */
static int find_file(char *text, size_t room, const void *data)
{
    char line[512];
    unsigned long begin, inode = 0, found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%*x %*s %*s %*s %lu", &begin, &inode) == 2 && begin == (uintptr_t)data)
            found = inode;
    if (maps)
        fclose(maps);
    return snprintf(text, room, "%lu", found);
}

/* Each executor makes a file with the prefix $OBJECTS_MEET, and waits for another one's. */
static void meet_another(void)
{
    char path[4096];
    size_t n = 0;
    snprintf(path, sizeof(path), "%s.%d", getenv("OBJECTS_MEET"), (int)getpid());
    fclose(fopen(path, "w"));
    snprintf(path, sizeof(path), "%s.*", getenv("OBJECTS_MEET"));
    while (n < 2) {
        glob_t found;
        n = glob(path, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
        globfree(&found);
        usleep(10000);
    }
}

static void make_file(const char *suffix)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s%s", getenv("OBJECTS_MEET"), suffix);
    fclose(fopen(path, "w"));
}

static void wait_to_go(void)
{
    char path[4096];
    make_file(".begun");
    snprintf(path, sizeof(path), "%s.go", getenv("OBJECTS_MEET"));
    while (access(path, F_OK) < 0)
        usleep(10000);
}

static int tell_whole(char *text, size_t room, const char *data, size_t size)
{
    size_t n = 0;
    while (n < size && data[n] == data[0])
        n++;
    return snprintf(text, room, "%zu of %zu are %c", n, size, data[0]);
}

static int tell_inputs(struct flm_task_context *task, const char *what)
{
    char text[2000];
    int n = 0;
    size_t size;
    uint64_t version;
    const char *data;
    if (strstr(what, "meet"))
        meet_another();
    if (strstr(what, "wait"))
        wait_to_go();
    if (strstr(what, "file"))
        n = find_file(text, sizeof(text), flm_task_input_object(task, 0, NULL, NULL));
    if (strstr(what, "whole") && (data = flm_task_input_object(task, 0, &size, NULL)))
        n = tell_whole(text, sizeof(text), data, size);
    for (unsigned i = 0; n == 0 || i; i++) {
        if (!(data = flm_task_input_object(task, i, &size, &version)))
            break;
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%lu %zu %.*s", i ? ", " : "",
                      (unsigned long)version, size, (int)(size < 20 ? size : 20), data);
    }
    return flm_task_set_output(task, text, (size_t)n);
}

static void note_file(const void *data)
{
    char path[4096], text[100];
    snprintf(path, sizeof(path), "%s.file", getenv("OBJECTS_MEET"));
    int n = find_file(text, sizeof(text), data);
    FILE *file = fopen(path, "w");
    fwrite(text, 1, (size_t)n, file);
    fclose(file);
}

static int put_output(struct flm_task_context *task, const char *what)
{
    size_t bytes = 0;
    char letter = 0;
    if (sscanf(what, "output %zu %c", &bytes, &letter) < 1)
        return 1;
    if (strstr(what, "wait"))
        wait_to_go();
    char *to = flm_task_output(task, bytes);
    if (!to)
        return 2;
    memset(to, letter, bytes);
    if (strstr(what, "map"))
        note_file(to);
    return strstr(what, "fails") ? flm_task_fail(task, 7, "as it was told") : 0;
}

static int invoke(struct flm_task_context *task, void *state)
{
    char text[600], name[200];
    unsigned long newer_than = 0;
    struct flm_object o;
    flm_error e = {0};
    size_t size;
    (void)state;
    const char *input = flm_task_input(task, &size);
    snprintf(text, sizeof(text), "%.*s", (int)size, input);
    if (strncmp(text, "inputs", 6) == 0)
        return tell_inputs(task, text);
    if (strncmp(text, "output", 6) == 0)
        return put_output(task, text);
    bool file = strstr(text, " file") != NULL;
    if (sscanf(text, file ? "%199s" : "%199s %lu", name, &newer_than) < 1)
        return flm_task_fail(task, 1, "what is '%s'?", text);
    bool later = strstr(text, " later") != NULL;
    if (later)
        wait_to_go();
    int rc = flm_task_object(task, name, newer_than, &o, &e);
    if (later)
        make_file(".answered");
    if (rc < 0)
        return flm_task_fail(task, -rc, "%s", e.text);
    int n = snprintf(text, sizeof(text), "%lu %zu %.*s", (unsigned long)o.version, o.size,
                     o.data ? (int)(o.size < 20 ? o.size : 20) : 1, o.data ? (const char *)o.data : "-");
    if (file) {
        meet_another();
        n = find_file(text, sizeof(text), o.data);
    }
    flm_release_object(&o);
    return flm_task_set_output(task, text, (size_t)n);
}

FLM_SERVICE = {.abi = FLM_SERVICE_ABI, .name = "objects", .on_task_invoke = invoke};
