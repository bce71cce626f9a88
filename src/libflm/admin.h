/* libflm/admin.h - one request of <flm/admin.h>. */
#ifndef FLM_LIBFLM_ADMIN_H
#define FLM_LIBFLM_ADMIN_H

#include "libflm/handle.h"
#include "libflm/views.h"

#include <flm/admin.h>

/* Locks, asks, unlocks. reply NULL: only whether it went well. */
int flm__admin_request(flm_client *c, Flm__Request *request, Flm__Message **reply, flm_error *error);

/* Names travel as char *, and protobuf-c only reads them. */
static inline char *flm__admin_text(const char *text)
{
    return (char *)(uintptr_t)(text ? text : "");
}

int flm__admin_no_memory(flm_error *error);

#endif
