/* tools/flmexec_template.h - the command with its places for arguments.
 *
 * A place is {} (all arguments), {N} (the Nth; {-1} the last) or {#} (the number
 * of the job). {} and {N} may be shortened: {.} without the extension, {/}
 * without the folder, {//} the folder alone, {/.} both; {N.} and so on alike.
 * What is not a place stays as it is.
 */
#ifndef FLM_TOOLS_FLMEXEC_TEMPLATE_H
#define FLM_TOOLS_FLMEXEC_TEMPLATE_H

#include "flmexec_text.h"

#include <stdint.h>

/* The arguments of one job, in order. */
struct flmexec_arguments {
    const char **item; /* zero-terminated texts */
    size_t *size;
    int n;
};

enum flmexec_place_kind { PLACE_LITERAL, PLACE_ALL, PLACE_ONE, PLACE_NUMBER };
enum flmexec_place_part { PART_WHOLE, PART_NO_EXTENSION, PART_FILE, PART_FOLDER, PART_FILE_NO_EXTENSION };

struct flmexec_piece {
    int kind, part;
    int position;     /* PLACE_ONE: 1.. from the start, -1.. from the end */
    const char *text; /* PLACE_LITERAL: points into the command line */
    size_t size;
};

struct flmexec_word {
    struct flmexec_piece *piece;
    int n;
};

struct flmexec_template {
    struct flmexec_word *word;
    int n;
    const char *shell; /* NULL: executed directly; else the words are one line for this shell */
    bool raw;          /* arguments are put in unquoted: they are commands themselves */
};

/* Cuts the command (n words, which must live on) into pieces; a {} is added when
 * it has no place at all. Gives up on places that GNU parallel knows and we do not. */
void flmexec_template_make(struct flmexec_template *t, char *const *words, int n);
void flmexec_template_free(struct flmexec_template *t);

/* Whether the literal text asks for a shell. */
bool flmexec_template_needs_shell(const struct flmexec_template *t);

/* Replaces *out by the arguments for execve, each ended by a zero byte. */
void flmexec_template_expand(const struct flmexec_template *t, const struct flmexec_arguments *a,
                             uint64_t number, struct flmexec_text *out);

/* What a person would type to run these arguments (as flmexec_template_expand
 * gives them), on one line. */
void flmexec_command_line(const char *argv, size_t size, bool shell, struct flmexec_text *out);

#endif
