/* manager/output.h - large outputs on their way from executors. One on our node announces it by descriptor
 * on the control connection; from another node it is read, and waits as if it had been announced.
 */
#ifndef MANAGER_OUTPUT_H
#define MANAGER_OUTPUT_H

#include "manager/executor.h"

/* The output that a result refers to: false, it is not there yet; else *blob, NULL when it cannot be had.
 */
bool output_claim(struct executor *e, const struct flm__blob_ref *ref, struct blob **blob);

/* Asks for a remote output; the result waits for it in the link. becomes_object: it is left with who made
 * it until that is decided (blob_leave_origin, blob_adopt). False: no memory, try again. */
bool output_fetch(struct executor *e, const struct flm__blob_ref *ref, bool becomes_object);

#endif
