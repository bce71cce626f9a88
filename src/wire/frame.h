/* wire/frame.h - how control messages are framed, and how they are packed.
 *
 * A frame: uint32_t magic "FLM2", uint32_t bytes of the message, uint32_t number of file
 * descriptors that came with its first byte (Unix sockets only), uint32_t its number among the frames of
 * this sender on this connection (1, 2, 3, ..., and on from 0 after 2^32), then the message (protobuf,
 * wire/flame.proto). Little endian. A frame whose number was seen before is dropped, whoever sent it
 * again; a gap, or anything else, ends the connection.
 */
#ifndef FLM_WIRE_FRAME_H
#define FLM_WIRE_FRAME_H

#include "wire/flame.pb-c.h"

#include <stddef.h>
#include <stdint.h>

enum {
    FLM__FRAME_MAGIC = 0x324d4c46, /* "FLM2" */
    FLM__FRAME_HEADER = 16,
    FLM__FRAME_MAX = 8 << 20, /* largest message, bytes */
    FLM__FRAME_FDS = 5,       /* most descriptors with one message */
    FLM__PROTOCOL_VERSION = 6,
};

struct flm__frame {
    uint32_t magic, bytes, fds, number;
};

/* Checks a header. 0 or FLM_EPROTO / FLM_ETOOBIG. */
int flm__frame_check(const struct flm__frame *header);

/* Unpacks a message, NULL when it is not one. Freed by flm__message__free_unpacked(m, NULL). */
Flm__Message *flm__message_read(const void *data, size_t n);

/* `FLM__MESSAGE(body, BODY, m)`: a Message on the stack whose oneof is `body`. */
#define FLM__MESSAGE(name, field, CASE, pointer)                                                           \
    Flm__Message name = FLM__MESSAGE__INIT;                                                                \
    name.body_case = FLM__MESSAGE__BODY_##CASE;                                                            \
    name.field = (pointer)

#endif
