#!/usr/bin/env python3
"""What a reviewer should not have to look for: prints "FILE:LINE: what is wrong" for each.

    check_source.py ROOT FILE...      (files relative to ROOT)
"""
import os
import re
import sys

# Who may include what of src/, by folder. All may include <flm/...>.
LAYERS = {
    "src/base": ["base"],
    "src/wire": ["base", "wire"],
    "src/net": ["base", "wire", "net"],
    "src/store": ["base", "store"],
    "src/executor": ["base", "wire", "net", "libflm", "executor"],
    "src/libflm": ["base", "wire", "net", "store", "executor", "libflm"],
    "src/manager": ["base", "wire", "net", "store", "libflm", "manager"],
    "src/node": ["base", "wire", "net", "libflm", "node"],
    "src/tables": ["base", "wire", "net", "tables"],
    "src/results": ["base", "wire", "store", "results"],
    "src/backend": ["base", "wire", "net", "libflm", "backend"],
    "src/tools": ["tools"],
    "plugins": [],
    "examples": [],
    "mpi-shim": [],
    "include": [],
}
# Formats that two processes share, or a module and its host, where one of them owns the header.
SHARED = {"executor/status.h": ["src/node", "src/manager"], "executor/which_mpi.h": ["src/node"],
          "executor/world.h": ["mpi-shim"],
          "base/standard.h": ["src/tools"], "base/file.h": ["src/tools"], "base/clean_child.h": ["src/tools", "mpi-shim"]}
# Libraries that only some files may know: include, who may.
ONLY = [
    (r"rdma/", r"src/net/fabric[^/]*\.[ch]$"),
    (r"hwloc", r"(src/node/placement|examples/matmul/block)\.c$"),
    (r"mpi\.h", r"(mpi-shim|examples|tests/system/services|include/flm/mpi\.h)"),
    (r"slurm/|pbs_", r"plugins/"),
    (r"sqlite3", r"src/tables/"),
]
BANNED = "strcpy strcat sprintf vsprintf gets system alloca rand srand strtok mktemp tmpnam tempnam".split()
MAX_LINES, MAX_TEST_LINES = 700, 1000
BAD_NAME = re.compile(r"(^|[_.-])(utils?|misc|helpers?)([_.-]|$)")
# What only the machine or the workplace of its author has.
PRIVATE = [
    (re.compile(r"(^|[^\w.<])/(home|Users|wor[k]|root)/\w"), "a path of somebody's machine"),
    (re.compile(r"\.\./shar[e]d\b"), "a path of somebody's machine"),
    (re.compile(r"https?://[^\s/]*(mirror|registry|proxy)[^\s/]*"), "the address of a package mirror"),
]
SOURCE = (".c", ".h")
TEXT = SOURCE + (".py", ".sh", ".md", ".ac", ".am", ".inc", ".proto", ".in", ".txt", ".bash", ".map",
                 ".1", ".3", ".5", ".7", "")


def strip(text):
    """C without comments and with empty strings, lines kept."""
    def blank(match):
        what = match.group(0)
        if what[0] in "\"'":
            return what[0] * 2
        return re.sub(r"[^\n]", " ", what)
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def includes(text):
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', text, flags=re.M):
        yield text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


def layer_of(name):
    return next((folder for folder in LAYERS if name.startswith(folder + "/")), None)


def check_include(name, quote, what):
    for pattern, allowed in ONLY:
        if re.match(pattern, what) and not re.match(allowed, name):
            return f"includes {what}, which only {allowed} may"
    layer = layer_of(name)
    if layer is None or quote == "<":
        return None
    if layer in SHARED.get(what, []):
        return None
    parts = what.split("/")
    if len(parts) == 1:  # its own folder
        return None if layer not in ("include",) else f'includes "{what}"; public headers include <flm/...>'
    if ".." in parts:
        there = os.path.normpath(os.path.join(os.path.dirname(name), what))
        return None if there.startswith(layer + "/") else f'includes "{what}", which is outside {layer}'
    if parts[0] == "flm":
        return f'includes "{what}": write <{what}>'
    if parts[0] not in LAYERS[layer]:
        allowed = ", ".join(LAYERS[layer]) or "<flm/...> and its own folder"
        return f'includes "{what}", but {layer} may only include {allowed}'
    return None


def check_file(root, name):
    base = os.path.basename(name)
    if BAD_NAME.search(base):
        yield 1, "a file named so says nothing about what is in it"
    extension = os.path.splitext(base)[1]
    if extension not in TEXT:
        return
    with open(os.path.join(root, name), encoding="utf-8", errors="replace") as file:
        text = file.read()
    if "\0" in text:
        return
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, what in PRIVATE:
            if pattern.search(line):
                yield number, f"names {what}: {line.strip()[:80]}"
        if extension in SOURCE + (".sh", ".py") and line != line.rstrip():
            yield number, "ends with blanks"
    if extension in SOURCE + (".py", ".sh"):
        lines, most = text.count("\n"), MAX_TEST_LINES if name.startswith("tests/") else MAX_LINES
        if lines > most:
            yield lines, f"has {lines} lines, more than {most}: it does more than one thing"
    if extension in SOURCE and not name.startswith("tests/"):
        for number, quote, what in includes(text):
            wrong = check_include(name, quote, what)
            if wrong:
                yield number, wrong
        for number, line in enumerate(strip(text).split("\n"), 1):
            for call in re.findall(r"(?<![\w.>])(\w+)\s*\(", line):
                if call in BANNED:
                    yield number, f"calls {call}, which is banned"


def main():
    root, names = sys.argv[1], sys.argv[2:]
    wrong = 0
    for name in names:
        for number, what in check_file(root, name):
            print(f"{name}:{number}: {what}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
