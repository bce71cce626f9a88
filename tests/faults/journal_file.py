"""The journal of a state directory as doc/journal.md tells it: where its frames and records are, without
looking at checksums. For tests that cut and flip."""
import os
import struct

HEADER, FRAME, RECORD = 64, 40, 16
MAGIC = b"FLMf"


class Frame:
    def __init__(self, offset, size, synced, records):
        self.offset, self.size, self.synced, self.records = offset, size, synced, records

    @property
    def end(self):
        return self.offset + self.size


class Record:
    def __init__(self, offset, kind, flags, session, payload):
        self.offset, self.kind, self.flags, self.session = offset, kind, flags, session
        self.payload = payload


def segments(state):
    """Paths of the segments, oldest first."""
    folder = os.path.join(state, "journal")
    names = sorted(n for n in os.listdir(folder) if n.endswith(".flj"))
    return [os.path.join(folder, n) for n in names]


def padded(size):
    return (size + 7) & ~7


def records_of(data, at, end):
    records = []
    while at + RECORD <= end:
        size, kind, flags, session, _value = struct.unpack_from("<IHHII", data, at)
        records.append(Record(at, kind, flags, session, data[at + RECORD:at + RECORD + size]))
        at += RECORD + padded(size)
    return records


def frames(path, with_records=False):
    """The frames of a segment that look whole, in order; stops at what does not."""
    with open(path, "rb") as f:
        data = f.read()
    found, at = [], HEADER
    while at + FRAME <= len(data) and data[at:at + 4] == MAGIC:
        _check, _position, synced, size, _sum = struct.unpack_from("<IQQQQ", data, at + 4)
        end = at + FRAME + size
        if size == 0 or end > len(data):
            break
        found.append(Frame(at, FRAME + size, synced,
                           records_of(data, at + FRAME, end) if with_records else []))
        at = end
    return found
