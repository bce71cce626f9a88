/* libflm/application_file.h - descriptions of applications, inside the library. */
#ifndef FLM_LIBFLM_APPLICATION_FILE_H
#define FLM_LIBFLM_APPLICATION_FILE_H

#include <flm/admin.h>

/* A deep copy of n descriptions in one allocation, for flm_free_applications.
 * Texts that are NULL become "", a command that is NULL an empty one; an
 * environment that is NULL stays so. NULL: no memory. */
struct flm_application *flm__application_copy(const struct flm_application *list, int n);

#endif
