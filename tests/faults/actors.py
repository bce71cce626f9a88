"""What all of the fault campaign uses, and its clients."""
import os
import signal
import sys
import time

SIZES = [16, 100, 1000, 8000, 30000, 40000, 100000]


class Broken(Exception):
    """What must hold does not."""


def say(text):
    print(f"[{time.monotonic() - BEGAN:6.2f}] {text}", file=sys.stderr, flush=True)


BEGAN = time.monotonic()


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def marked(mark):
    """Living processes of this campaign: pid -> name."""
    found = {}
    for pid in os.listdir("/proc"):
        if pid.isdigit() and mark in read(f"/proc/{pid}/environ").split(b"\0"):
            found[int(pid)] = read(f"/proc/{pid}/comm").decode().strip()
    return found


def signal_to(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


class Client:
    """One session, and the processes that come one after the other to work on it."""

    def __init__(self, camp, name, draw):
        self.camp, self.name = camp, name
        self.input = draw.choice(SIZES)
        self.output = draw.choice(SIZES)
        self.durability = draw.choice(["journal", "sync"])
        self.take = draw.random() < 0.3
        self.us = draw.choice([0, 0, 0, 20, 200])
        largest = max(self.input, self.output)
        share = 1 if largest <= 1000 else 8 if largest <= 8000 else 50 if largest <= 30000 else 100
        self.tasks = max(camp.o.tasks // share, 20)
        self.lives, self.process, self.done, self.kill_after = 0, None, False, 0
        self.fault = None
        # Goes on with another flmd by opening the session again, or leaves that to the library.
        self.goes_on = draw.choice(["-r", "-y"])

    def log(self, life):
        return os.path.join(self.camp.top, f"{self.name}.{life}")

    def start(self):
        self.lives += 1
        command = [self.camp.steady, "-I", self.name, "-l", self.camp.library, "-D", self.durability,
                   "-n", str(self.tasks), "-s", str(self.input), "-o", str(self.output),
                   "-u", str(self.us), self.goes_on, "60", "-m", "200", "-L", self.log(self.lives)]
        if self.take:
            command.append("-T")
        if self.kill_after:
            command += ["-k", str(self.kill_after)]
        self.kill_after = 0
        extra = self.camp.fault_environment(self.fault) if self.fault else None
        self.fault = None
        self.process = self.camp.spawn(command, f"{self.name}.out", extra)

    def look(self):
        """After a death the next life begins."""
        if self.done or self.process is None:
            return
        status = self.process.poll()
        if status is None:
            return
        if status == -signal.SIGKILL:
            self.start()
            return
        self.done = True
        if status:
            words = read(os.path.join(self.camp.top, f"{self.name}.out")).decode(errors="replace")
            raise Broken(f"the client of {self.name} ended with status {status}: {words[-300:].strip()}")

    def check(self):
        """What its logs say. Returns (delivered, refused)."""
        delivered, refused, durable = set(), set(), 0
        for life in range(1, self.lives + 1):
            seen, opened = set(), None
            for line in read(self.log(life)).decode().splitlines():
                word, _, rest = line.partition(" ")
                if word == "open":
                    opened, seen = int(rest), set()
                    if opened < max(durable, max(delivered, default=0)):
                        raise Broken(f"{self.name}: task {max(durable, max(delivered, default=0))} was "
                                     f"acknowledged, and life {life} finds only {opened}")
                elif word == "durable":
                    durable = max(durable, int(rest))
                elif word == "refused":
                    refused.add(int(rest))
                elif word in ("failed", "wrong"):
                    self.camp.wrong += 1
                    say(f"{self.name}: task {rest} {word}")
                elif word.isdigit():
                    if int(word) in seen:
                        self.camp.duplicated += 1
                        say(f"{self.name}: result {word} came twice in life {life}")
                    seen.add(int(word))
                    delivered.add(int(word))
        return delivered, refused
