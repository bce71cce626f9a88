/* Copies of descriptions of applications. All n live in one block, first the
 * structures, then the arrays of pointers, then the texts: freed by one free. */
#include "libflm/application_file.h"

#include <stdlib.h>
#include <string.h>

/* Where the next array and the next text go. In the first pass both are NULL
 * and only the sizes grow. */
struct packer {
    const char **array;
    char *text;
    size_t pointers, bytes;
};

static const char *pack_text(struct packer *p, const char *text)
{
    size_t n = strlen(text ? text : "") + 1;
    p->bytes += n;
    if (!p->text)
        return NULL;
    char *at = memcpy(p->text, text ? text : "", n);
    p->text += n;
    return at;
}

static const char *const *pack_array(struct packer *p, const char *const *list)
{
    const char **at = p->array;
    size_t n = 0;
    while (list && list[n])
        n++;
    p->pointers += n + 1;
    if (at)
        p->array += n + 1;
    for (size_t i = 0; i < n; i++) {
        const char *copy = pack_text(p, list[i]);
        if (at)
            at[i] = copy;
    }
    if (at)
        at[n] = NULL;
    return at;
}

static struct flm_application pack(struct packer *p, const struct flm_application *from)
{
    struct flm_application to = *from;
    to.size = sizeof(to);
    to.name = pack_text(p, from->name);
    to.working_directory = pack_text(p, from->working_directory);
    to.description = pack_text(p, from->description);
    to.output_type = pack_text(p, from->output_type);
    to.command = pack_array(p, from->command);
    to.environment = from->environment ? pack_array(p, from->environment) : NULL;
    return to;
}

struct flm_application *flm__application_copy(const struct flm_application *list, int n)
{
    struct packer p = {0};
    for (int i = 0; i < n; i++)
        pack(&p, &list[i]);
    size_t head = (size_t)(n > 0 ? n : 1) * sizeof(*list);
    char *block = malloc(head + p.pointers * sizeof(char *) + p.bytes);
    if (!block)
        return NULL;
    p.array = (const char **)(void *)(block + head);
    p.text = block + head + p.pointers * sizeof(char *);
    struct flm_application *copy = (struct flm_application *)(void *)block;
    for (int i = 0; i < n; i++)
        copy[i] = pack(&p, &list[i]);
    return copy;
}

void flm_free_applications(struct flm_application *list, int n)
{
    (void)n;
    free(list);
}
