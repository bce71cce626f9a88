#!/usr/bin/env python3
"""A service for the shim stdio: answers each task with its input in capitals.

The protocol is told in doc/stdio-shim.md. Only `serve` is particular to this
service; the rest can be kept.
"""
import os, struct, sys

requests = sys.stdin.buffer
replies = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # print() now goes to the logs, not into the protocol


def take(n):
    data = requests.read(n)
    if len(data) < n:
        sys.exit(0)  # the session is over
    return data


def reply(task, code, data):
    replies.write(struct.pack("<IQi", 12 + len(data), task, code) + data)
    replies.flush()


def serve(data):
    return data.decode().upper().encode()


if sys.stdin.isatty():
    sys.exit("upper.py: this is a service; 'flmctl register upper.app' makes it known to Flame")
magic, session, application = struct.unpack("<4sII", take(12))
if magic != b"FLM1":
    sys.exit("upper.py: what comes on standard input is not the protocol of the shim stdio")
take(session + application)  # the names: not needed here
reply(0, 0, b"")  # ready
while True:
    size, task = struct.unpack("<IQ", take(12))
    try:
        code, output = 0, serve(take(size - 8))
    except UnicodeDecodeError as error:
        code, output = 1, f"the input is no UTF-8 text: byte {error.start} of it".encode()
    except Exception as error:
        code, output = 1, str(error).encode()
    reply(task, code, output)
