/* manager/blob_patch.h - a copy of a blob with other bytes at one place. */
#ifndef MANAGER_BLOB_PATCH_H
#define MANAGER_BLOB_PATCH_H

#include "manager/blob_store.h"

/* Gets the copy (to own), which knows of what it is one, or NULL and why there is none. */
typedef void blob_patched_fn(void *arg, struct blob *blob, const flm_error *error);

/* Makes a copy of base with the bytes of patch from offset on, which fit, on another thread: that may take
 * a second. 0: done is called later, from the loop; or an error. */
int blob_patch(struct blob *base, struct blob *patch, uint64_t offset, blob_patched_fn *done, void *arg,
               flm_error *error);

#endif
