/* base/output_type.h - what an application says of its outputs, for the columns of result files:
 *
 *     ""  or "bytes"                       anything
 *     "float64"  "int32[3]"                one number, or so many
 *     "energy:float64, steps:uint32[2]"    a structure, without padding
 *
 * The numbers are little endian: int8 .. int64, uint8 .. uint64, float32, float64.
 */
#ifndef FLM_BASE_OUTPUT_TYPE_H
#define FLM_BASE_OUTPUT_TYPE_H

#include <flm/error.h>

#include <stdbool.h>
#include <stddef.h>

enum {
    FLM__OUTPUT_FIELDS_MAX = 64,
    FLM__OUTPUT_NAME_MAX = 63,
    FLM__OUTPUT_BYTES_MAX = 1 << 20, /* of a typed output: larger ones are bytes */
};

enum flm__output_kind { FLM__OUTPUT_INT, FLM__OUTPUT_UINT, FLM__OUTPUT_FLOAT };

struct flm__output_field {
    char name[FLM__OUTPUT_NAME_MAX + 1]; /* "": the output is this one */
    enum flm__output_kind kind;
    unsigned size;  /* bytes of one number */
    unsigned count; /* of them; 0: one, and no array */
    size_t offset;
};

struct flm__output_type {
    unsigned n;   /* fields; 0: bytes */
    size_t bytes; /* of an output */
    struct flm__output_field fields[FLM__OUTPUT_FIELDS_MAX];
};

/* 0, or FLM_EINVAL with what is wrong. */
int flm__output_type_parse(const char *text, struct flm__output_type *type, flm_error *error);

#endif
