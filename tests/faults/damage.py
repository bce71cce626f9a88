"""What the fault campaign does to the journal of a dead flmd. A part of the class Campaign."""
import os
import random
import shutil
import subprocess

import journal_file
from actors import Broken, read


class Damage:
    def spoil(self, inside):
        draw = random.Random(self.plan.random())
        segments = journal_file.segments(self.state)
        if not segments:
            return
        if draw.random() < 0.25:
            self.flip_copy(draw, segments)
        last = segments[-1]
        found = journal_file.frames(last)
        end = found[-1].end if found else journal_file.HEADER
        if inside == ["frame", "torn"]:
            self.torn = bool(read(last)[end:].strip(b"\0"))
            self.count("torn in the write")
        elif inside == ["frame", "after"] and found:
            self.cut_or_flip(draw, last, found[-1])
        elif draw.random() < 0.4 and os.path.getsize(last) >= journal_file.HEADER and found:
            self.half_frame(draw, last, found[-1], end)

    def cut_or_flip(self, draw, path, frame):
        """The frame was written, and nobody has been told."""
        with open(path, "r+b") as f:
            at = draw.randrange(frame.offset + 1, frame.end)
            if draw.random() < 0.5:
                f.truncate(at)
                self.count("tail cut")
            else:
                f.seek(at)
                byte = f.read(1)[0] ^ 1 << draw.randrange(8)
                f.seek(at)
                f.write(bytes([byte]))
                self.count("tail flipped")
        self.torn = True

    def half_frame(self, draw, path, frame, end):
        """The beginning of one more frame, as of a write that did not come to its end."""
        with open(path, "r+b", buffering=0) as f:
            f.seek(frame.offset)
            half = bytearray(f.read(draw.randrange(5, min(frame.size, 70000))))
            half[4] ^= 1  # a frame that ends in zeros is whole where zeros follow
            f.seek(end)
            try:
                if f.write(half) < 5:
                    f.truncate(end)
                    return
            except OSError:  # the disk is full
                return
        self.count("half a frame")
        self.torn = True

    def flip_copy(self, draw, segments):
        """One bit of what was acknowledged: flmd must name the file, and not start."""
        copy = os.path.join(self.top, "copy")
        shutil.copytree(self.state, copy, ignore=shutil.ignore_patterns("filler"))
        path = draw.choice(journal_file.segments(copy))
        found = journal_file.frames(path)
        # The last may only look whole, and then a flip in the one before it is a torn end to everybody.
        usable = found[:-2] if path.endswith(os.path.basename(segments[-1])) else found
        if usable:
            frame = draw.choice(usable)
            at = draw.randrange(frame.offset, frame.end)
            with open(path, "r+b") as f:
                f.seek(at)
                byte = f.read(1)[0] ^ 1 << draw.randrange(8)
                f.seek(at)
                f.write(bytes([byte]))
            self.refuses(copy, os.path.basename(path), at)
        shutil.rmtree(copy)

    def refuses(self, copy, name, at):
        os.makedirs(os.path.join(self.top, "run2"), mode=0o700, exist_ok=True)
        command = [self.o.flmd, "-e", f"unix:{self.run}/copy.sock", "--directory",
                   os.path.join(self.top, "run2"), "--backend", "none", "--state-dir", copy]
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=20,
                                  check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Broken(f"flmd took up a journal with a flipped bit in {name} at byte {at}") from None
        if done.returncode <= 0 or name not in done.stderr or "damaged" not in done.stderr:
            raise Broken(f"a flipped bit in {name} at byte {at}: status {done.returncode}, {done.stderr}")
        self.count("acknowledged flipped")
