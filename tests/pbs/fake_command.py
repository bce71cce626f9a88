#!/usr/bin/python3 -IS
"""The programs of the fake PBS, by the name they are called by: they hand what they were given to fake_pbs.py, and
print what it says. Tests start hundreds of them, so they are a file of their own, which is soon read."""
import json
import os
import socket
import sys
import time


def client(name, argv):
    home = os.environ.get("FAKE_PBS", "")
    delay = float(os.environ.get("FAKE_PBS_DELAY", "0"))
    if delay:
        time.sleep(delay)
    if argv == ["--version"]:
        print("pbs_version = 23.06.06")
        return 0
    if name == "pbsdsh" and "PBS_ENVIRONMENT" not in os.environ:
        print("pbsdsh: not executing under PBS", file=sys.stderr)
        return 1
    where = socket.socket(socket.AF_UNIX)
    try:
        where.connect(home + "/socket")
    except OSError:
        return refused(name)
    ask = {"name": name, "argv": argv, "env": dict(os.environ), "cwd": os.getcwd(), "stdin": ""}
    if name == "qsub" and "--" not in argv and not sys.stdin.isatty():
        ask["stdin"] = "" if any(os.path.exists(a) for a in argv[-1:]) else sys.stdin.read()
    where.sendall(json.dumps(ask).encode() + b"\n")
    if name == "pbsdsh":
        forward_signals(where)
    for line in where.makefile():
        answer = json.loads(line)
        sys.stdout.write(answer.get("out", ""))
        sys.stderr.write(answer.get("err", ""))
        sys.stdout.flush()
        if "rc" in answer:
            return answer["rc"]
    return refused(name)


def refused(name):
    print("Connection refused", file=sys.stderr)
    if name == "qdel":
        print("Couldn't connect to cluster: head", file=sys.stderr)
    elif name == "pbsnodes":
        print("pbsnodes: cannot connect to server head, error=15010", file=sys.stderr)
    else:
        print(f"{name}: cannot connect to server head (errno=15010)", file=sys.stderr)
    if name in ("qstat",) and "json" in sys.argv:
        print('{\n\t"timestamp":\t1,\n\t"pbs_version":\t"23.06.06",\n\t"pbs_server":\t"head"\n}')
    return {"qstat": 255, "pbsnodes": 1, "pbsdsh": 1}.get(name, 162)


def forward_signals(where):
    import signal  # the others do without

    def forward(number, _frame):
        where.sendall(b"%d\n" % number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)


if __name__ == "__main__":
    try:
        sys.exit(client(os.path.basename(sys.argv[0]), sys.argv[1:]))
    except BrokenPipeError:
        os._exit(1)
