/* The types of a file of results. */
#include "results/sheet.h"

#include <flm/client.h>
#include <stddef.h>
#include <stdio.h>

enum { FIRST_LAST_REASON = FLM_REASON_DISCONNECTED }; /* that a released version knew */

static hid_t made(const struct sheet *s, hid_t id)
{
    if (id < 0)
        sheet_fail(s, "make a type for");
    return id;
}

static void insert(const struct sheet *s, hid_t to, const char *name, size_t offset, hid_t type)
{
    if (H5Tinsert(to, name, offset, type) < 0)
        sheet_fail(s, "make a type for");
}

static hid_t small_enum(const struct sheet *s, int first, int last, const char *(*name)(int))
{
    hid_t type = made(s, H5Tenum_create(H5T_STD_U8LE));
    for (int i = first; i <= last; i++) {
        uint8_t value = (uint8_t)i;
        if (H5Tenum_insert(type, name(i), &value) < 0)
            sheet_fail(s, "make a type for");
    }
    return type;
}

static hid_t number(const struct flm__output_field *f)
{
    if (f->kind == FLM__OUTPUT_FLOAT)
        return f->size == 4 ? H5T_IEEE_F32LE : H5T_IEEE_F64LE;
    if (f->kind == FLM__OUTPUT_INT)
        return f->size == 1   ? H5T_STD_I8LE
               : f->size == 2 ? H5T_STD_I16LE
               : f->size == 4 ? H5T_STD_I32LE
                              : H5T_STD_I64LE;
    return f->size == 1   ? H5T_STD_U8LE
           : f->size == 2 ? H5T_STD_U16LE
           : f->size == 4 ? H5T_STD_U32LE
                          : H5T_STD_U64LE;
}

static hid_t field_type(const struct sheet *s, const struct flm__output_field *f)
{
    hsize_t n = f->count;
    return f->count ? made(s, H5Tarray_create2(number(f), 1, &n)) : number(f);
}

static void insert_output(const struct sheet *s, hid_t to)
{
    const struct flm__output_type *t = &s->type;
    if (t->n == 0)
        return;
    if (!t->fields[0].name[0]) {
        insert(s, to, "output", sizeof(struct sheet_row), field_type(s, &t->fields[0]));
        return;
    }
    hid_t output = made(s, H5Tcreate(H5T_COMPOUND, t->bytes));
    for (unsigned i = 0; i < t->n; i++)
        insert(s, output, t->fields[i].name, t->fields[i].offset, field_type(s, &t->fields[i]));
    insert(s, to, "output", sizeof(struct sheet_row), output);
}

static hid_t row_type(const struct sheet *s, int last_reason)
{
    hid_t type = made(s, H5Tcreate(H5T_COMPOUND, s->row_bytes));
    const struct {
        const char *name;
        size_t offset;
        hid_t type;
    } columns[] = {
        {"task", offsetof(struct sheet_row, task), H5T_STD_U64LE},
        {"state", offsetof(struct sheet_row, state),
         small_enum(s, FLM_TASK_PENDING, FLM_TASK_CANCELLED, flm_task_state_name)},
        {"reason", offsetof(struct sheet_row, reason),
         small_enum(s, FLM_REASON_NONE, last_reason, flm_reason_name)},
        {"code", offsetof(struct sheet_row, code), H5T_STD_I32LE},
        {"attempts", offsetof(struct sheet_row, attempts), H5T_STD_U32LE},
        {"executor", offsetof(struct sheet_row, executor), H5T_STD_I32LE},
        {"node", offsetof(struct sheet_row, node), H5T_STD_U16LE},
        {"started", offsetof(struct sheet_row, started_ns), H5T_STD_I64LE},
        {"finished", offsetof(struct sheet_row, finished_ns), H5T_STD_I64LE},
        {"duration", offsetof(struct sheet_row, duration), H5T_IEEE_F64LE},
        {"bytes_start", offsetof(struct sheet_row, bytes_start), H5T_STD_U64LE},
        {"bytes_size", offsetof(struct sheet_row, bytes_size), H5T_STD_U64LE},
    };
    for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++)
        insert(s, type, columns[i].name, columns[i].offset, columns[i].type);
    insert_output(s, type);
    return type;
}

void sheet_prepare(struct sheet *s)
{
    s->row_bytes = sizeof(struct sheet_row) + s->type.bytes;
    s->new_type = s->row_type = row_type(s, FLM_REASON_OBJECT);
}

bool sheet_take_type(struct sheet *s, hid_t file)
{
    bool same = H5Tequal(file, s->new_type) > 0;
    s->row_type = s->new_type;
    for (int last = FLM_REASON_OBJECT - 1; !same && last >= FIRST_LAST_REASON; last--) {
        hid_t older = row_type(s, last);
        same = H5Tequal(file, older) > 0;
        if (same)
            s->row_type = older;
        else
            H5Tclose(older);
    }
    return same;
}
