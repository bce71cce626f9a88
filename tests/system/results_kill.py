#!/usr/bin/env python3
"""Kills the writer of a file of results while it has the file open for writing, again and again.

    results_kill.py FLMD-PID FILE SECONDS

Prints how often. Ends after so many seconds, or when the writer has ended for good.
"""
import os
import random
import signal
import sys
import time


def writer(flmd):
    """The pid of flmd's flm-results; None: there is none now."""
    for task in os.listdir(f"/proc/{flmd}/task"):
        with open(f"/proc/{flmd}/task/{task}/children") as file:
            for pid in file.read().split():
                try:
                    with open(f"/proc/{pid}/comm") as name:
                        if name.read().strip() == "flm-results":
                            return int(pid)
                except OSError:
                    pass
    return None


def marked(path):
    """HDF5 says in byte 11 of the superblock who has the file open for writing."""
    try:
        with open(path, "rb") as file:
            return file.read(12)[11:] not in (b"", b"\0")
    except OSError:
        return False


def main():
    flmd, path, end = int(sys.argv[1]), sys.argv[2], time.monotonic() + float(sys.argv[3])
    kills, missing = 0, 0
    while time.monotonic() < end and missing < 50:
        pid = writer(flmd)
        missing = missing + 1 if pid is None else 0
        wanted = time.monotonic() + random.random() * 0.3
        while pid and time.monotonic() < end:
            if time.monotonic() > wanted and marked(path):
                time.sleep(random.random() * 0.004)
                try:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                except OSError:
                    pass
                break
            if not os.path.exists(f"/proc/{pid}"):
                break
            time.sleep(0.0002)
        time.sleep(0.01)
    print(kills)


if __name__ == "__main__":
    main()
