#include "wire/frame.h"

#include <flm/error.h>

int flm__frame_check(const struct flm__frame *header)
{
    if (header->magic != FLM__FRAME_MAGIC || header->fds > FLM__FRAME_FDS)
        return FLM_EPROTO;
    if (header->bytes > FLM__FRAME_MAX)
        return FLM_ETOOBIG;
    return 0;
}

Flm__Message *flm__message_read(const void *data, size_t n)
{
    return flm__message__unpack(NULL, n, data);
}
