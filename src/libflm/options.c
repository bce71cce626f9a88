#include "libflm/options.h"

#include <flm/client.h>
#include <string.h>

int flm__options_copy(void *to, size_t size, const void *from)
{
    size_t theirs;
    memcpy(&theirs, from, sizeof(theirs));
    /* Not set, or garbage from the stack: no structure is that large. */
    if (theirs < sizeof(theirs) || theirs > 4096)
        return FLM_EINVAL;
    for (size_t i = size; i < theirs; i++)
        if (((const char *)from)[i])
            return FLM_EINVAL;
    memset(to, 0, size);
    memcpy(to, from, theirs < size ? theirs : size);
    return 0;
}

bool flm__name_is_valid(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@+");
    return n > 0 && n <= FLM_MAX_NAME && !text[n];
}
