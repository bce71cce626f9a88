#!/usr/bin/python3
"""A PBS of one process, for tests where there is none: server, scheduler and the moms of pretended nodes.

It answers qsub, qstat, qselect, qdel, qalter, pbsnodes and pbsdsh as OpenPBS 23.06 does, in output and exit status,
as far as Flame looks at it. Jobs and tasks are processes of this machine, each task in a session of its own, as under a
real mom: what belongs to a job is known by its sessions. tests/pbs/cluster.sh starts it.

    pbs_mom DIR N CPUS        this: N nodes n1, n2, ... of so many CPUs; its state is in DIR
    qsub, qstat, ... ARG...   the programs are fake_command.py, by these names; $FAKE_PBS names DIR
    fake-pbs VERB ARG...      what tests do to it, see FakePbs.do_verb

In a job with the variable FAKE_HOLD pbsdsh starts nothing, and waits.
"""
import json
import os
import pwd
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time

KILL_DELAY = 3.0


class Refusal(Exception):
    def __init__(self, rc, text):
        super().__init__(text)
        self.rc = rc


def sessions():
    """Session of each process that is no zombie."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                state, _, _, session = file.read().rsplit(")", 1)[1].split()[:4]
        except (OSError, ValueError):
            continue
        if state != "Z":
            found.setdefault(int(session), []).append(int(pid))
    return found


def signal_sessions(wanted, number):
    known = sessions()
    for session in wanted:
        for pid in known.get(session, []):
            try:
                os.kill(pid, number)
            except OSError:
                pass


def seconds(text):
    if not re.fullmatch(r"\d+(:\d+){0,2}", text):
        raise Refusal(166, "Illegal attribute or resource value Resource_List.walltime")
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


def clock(total):
    return "%02d:%02d:%02d" % (total // 3600, total // 60 % 60, total % 60)


class Job:
    def __init__(self, number, server, who):
        self.id = f"{number}.{server}"
        self.who, self.user = who, pwd.getpwuid(who[0]).pw_name
        self.name, self.queue, self.owner = "STDIN", "workq", f"{self.user}@login"
        self.state, self.comment, self.substate = "Q", None, 10
        self.select, self.walltime, self.place = "1:ncpus=1", None, "pack"
        self.variables, self.output, self.join, self.rerunable = {}, None, False, True
        self.command, self.script = None, None
        self.placed = []        # (node, ncpus, mpiprocs or None)
        self.process, self.tasks = None, {}   # pid: (node, socket)
        self.status, self.start, self.kill_at, self.ends_at, self.killed_by = None, None, None, None, None
        self.held = self.ran = self.suspended = 0

    def chunks(self):
        for part in self.select.split("+"):
            words = part.split(":")
            values = dict(w.split("=", 1) for w in words[1:])
            for _ in range(int(words[0])):
                yield int(values.get("ncpus", 1)), values.get("mpiprocs"), values.get("host")

    def hosts(self):
        return list(dict.fromkeys(node for node, _, _ in self.placed))


class FakePbs:
    def __init__(self, home, nodes, cpus):
        self.home, self.cpus = home, cpus
        self.nodes = {f"n{i + 1}": "free" for i in range(nodes)}
        self.queues = {"workq": True, "stopped": False}
        self.jobs, self.number, self.history, self.deaf = {}, 0, True, False
        self.selector = selectors.DefaultSelector()
        self.never = self.drop = self.folders = 0
        self.host, self.cuts, self.asked = "head", False, 0
        for folder in ("aux", "spool"):
            os.makedirs(f"{home}/{folder}", exist_ok=True)
        self.listen()

    def listen(self):
        path = self.home + "/socket"
        if os.path.exists(path):
            os.unlink(path)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(64)
        os.chmod(path, 0o777)
        self.selector.register(self.server, selectors.EVENT_READ, None)

    # ---- the loop

    def run(self):
        while True:
            for key, _ in self.selector.select(0.02):
                if key.data is None:
                    peer, _ = self.server.accept()
                    _, uid, gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                    self.selector.register(peer, selectors.EVENT_READ,
                                           {"peer": peer, "text": b"", "task": None, "who": (uid, gid)})
                else:
                    self.read(key.data)
            self.reap()
            self.look()

    def read(self, peer):
        try:
            got = peer["peer"].recv(1 << 20)
        except OSError:
            got = b""
        if not got:
            self.close(peer)
            return
        peer["text"] += got
        while b"\n" in peer["text"]:
            line, peer["text"] = peer["text"].split(b"\n", 1)
            if peer["task"]:
                self.pbsdsh_signal(peer, int(line))
            else:
                self.request(peer, json.loads(line))

    def close(self, peer):
        self.selector.unregister(peer["peer"])
        peer["peer"].close()
        peer["closed"] = True

    def say(self, peer, **what):
        if not peer.get("closed"):
            try:
                peer["peer"].sendall(json.dumps(what).encode() + b"\n")
            except OSError:
                pass

    def request(self, peer, ask):
        name, argv = ask["name"], ask["argv"]
        try:
            if name == "pbsdsh":
                self.pbsdsh(peer, ask)
                return
            self.asked += name == "qstat"
            if self.deaf and name != "fake-pbs":  # the network is cut
                return
            ask["who"] = peer["who"]
            handler = getattr(self, "do_" + ("verb" if name == "fake-pbs" else name))
            rc, out, err = handler(argv, ask)
        except Refusal as refusal:
            rc, out, err = refusal.rc, "", f"{name}: {refusal}\n"
        self.say(peer, out=out, err=err, rc=rc)

    # ---- qsub

    def do_qsub(self, argv, ask):
        job = Job(self.number, self.host, ask["who"])
        words = list(argv)
        while words:
            word = words.pop(0)
            if word == "--":
                job.command = words
                break
            if not word.startswith("-"):
                with open(word, errors="surrogateescape") as file:
                    job.script = file.read()
                if job.name == "STDIN":
                    job.name = os.path.basename(word)
                break
            self.option(job, word, words, ask)
        if job.command is None and job.script is None:
            job.script = ask["stdin"]
        self.directives(job, ask)
        if job.queue not in self.queues:
            raise Refusal(170, "Unknown queue")
        if self.never:
            raise Refusal(159, "Unauthorized Request ")
        job.submitted_from = ask["cwd"]
        job.environment = {k: v for k, v in ask["env"].items()
                           if k.startswith("FLM_TEST") or k in ("HOME", "FAKE_PBS", "ASAN_OPTIONS", "LSAN_OPTIONS",
                                                               "UBSAN_OPTIONS")}
        job.environment.update({"PBS_O_WORKDIR": ask["cwd"], "PBS_O_HOST": "login", "PBS_O_QUEUE": job.queue})
        job.environment.update(job.variables)
        self.number += 1
        self.jobs[job.id] = job
        self.schedule()
        return 0, job.id + "\n", ""

    def directives(self, job, ask):
        for line in (job.script or "").split("\n"):
            if line.startswith("#PBS "):
                words = line[5:].split()
                while words:
                    self.option(job, words.pop(0), words, ask)
            elif line and not line.startswith("#"):
                return

    def option(self, job, word, words, ask):
        if word in ("-f", "-z"):
            return
        if word == "-V":
            job.variables.update(ask["env"])
            return
        if word == "-h":
            job.held = 1
            return
        if word[:2] not in ("-N", "-l", "-q", "-A", "-P", "-W", "-p", "-r", "-k", "-o", "-e", "-j", "-v", "-a", "-m", "-S"):
            raise Refusal(2, f"invalid option -- '{word[1:]}'\nusage: qsub [-a date_time] ...")
        value = word[2:] or (words.pop(0) if words else "")
        if word[:2] == "-N":
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+.-]{0,229}", value):
                raise Refusal(2, "illegal -N value\nusage: qsub [-a date_time] ...")
            job.name = value
        elif word[:2] == "-l":
            self.resources(job, value)
        elif word[:2] == "-q":
            job.queue = value
        elif word[:2] == "-o":
            job.output = value
        elif word[:2] == "-r":
            job.rerunable = value == "y"
        elif word[:2] == "-v":
            if "'" in value or '"' in value:
                raise Refusal(2, "illegal -v value")
            for pair in value.split(","):
                name, _, given = pair.partition("=")
                job.variables[name] = given if "=" in pair else ask["env"].get(name, "")

    def resources(self, job, value):
        for part in value.split(","):
            name, _, given = part.partition("=")
            if name == "select":
                if "nosuch=" in given:
                    raise Refusal(187, "Unknown resource: nosuch")
                if not re.fullmatch(r"\d+(:\w+=[\w.]+)*(\+\d+(:\w+=[\w.]+)*)*", given):
                    raise Refusal(166, "Illegal attribute or resource value Resource_List.select")
                job.select = given
            elif name == "walltime":
                job.walltime = seconds(given)
            elif name == "place":
                job.place = given
            elif name == "ncpus":
                job.select = f"1:ncpus={given}"
            elif name not in ("mem",):
                raise Refusal(187, f"Unknown resource Resource_List.{name}")

    # ---- the scheduler

    def free(self, node):
        running = [j for j in self.jobs.values() if j.state in "RE"]
        if any(node in j.hosts() and "excl" in j.place for j in running):
            return 0
        return self.cpus - sum(n for j in running for host, n, _ in j.placed if host == node)

    def place(self, job, nodes):
        placed, taken = [], {}
        for ncpus, ranks, host in job.chunks():
            for node in nodes:
                left = self.free(node) - taken.get(node, 0)
                other = any(node in j.hosts() for j in self.jobs.values() if j.state in "RE")
                if (left < ncpus or (host and host != node) or ("excl" in job.place and other) or
                        ("scatter" in job.place and node in taken)):
                    continue
                taken[node] = taken.get(node, 0) + ncpus
                placed.append((node, ncpus, ranks))
                break
            else:
                return None
        return placed

    def schedule(self):
        for job in self.jobs.values():
            if job.state != "Q":
                continue
            chunks = list(job.chunks())
            free = [n for n, s in self.nodes.items() if s in ("free", "job-busy")]
            if not self.queues[job.queue]:
                job.comment = "Not Running: Queue not started."
            elif job.held:
                job.state = "H"
            elif "scatter" in job.place and len(chunks) > len(self.nodes):
                job.comment = "Can Never Run: Not enough total nodes available"
            elif any(n > self.cpus for n, _, _ in chunks):
                job.comment = "Not Running: Insufficient amount of resource: ncpus "
            else:
                job.placed = self.place(job, free) or []
                if job.placed:
                    self.start_job(job)
                else:
                    job.comment = "Not Running: Not enough free nodes available"

    # ---- the moms

    def base(self, job, node):
        ncpus = next(n for host, n, _ in job.placed if host == node)
        return {"PATH": "/bin:/usr/bin", "LOGNAME": job.user, "USER": job.user, "LANG": "C",
                **job.environment, "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_JOBID": job.id, "PBS_JOBNAME": job.name,
                "PBS_NODEFILE": f"{self.home}/aux/{job.id}", "PBS_NODENUM": str(job.hosts().index(node)),
                "PBS_JOBCOOKIE": "0", "NCPUS": str(ncpus), "OMP_NUM_THREADS": str(ncpus),
                "ENVIRONMENT": "BATCH", "PBS_FAKE_NODE": node}

    def spawn(self, job, node, command, output, task=False):
        environment = self.base(job, node)
        if task:
            environment["TMPDIR"] = self.own_folder(job)
        if task and node == job.placed[0][0]:  # so it is
            del environment["PBS_NODEFILE"]
        # As root, who alone can, by the user who submitted it.
        become = {} if os.geteuid() else {"user": job.who[0], "group": job.who[1], "extra_groups": []}
        with open(output, "ab") as file:
            return subprocess.Popen(command, env=environment, cwd=environment.get("HOME", "/"), stdout=file,
                                    stderr=file, stdin=subprocess.DEVNULL, start_new_session=True, **become)

    def own_folder(self, job):
        """For a task: what MPI keeps in files of fixed names must not meet that of another node."""
        self.folders += 1
        path = f"{self.home}/tmp-{self.folders}"
        os.mkdir(path, 0o700)
        os.chown(path, *job.who)
        return path

    def start_job(self, job):
        job.state, job.substate, job.start, job.ran = "R", 42, time.time(), job.ran + 1
        job.suspended = 0
        job.status = job.kill_at = job.killed_by = None
        job.ends_at = None
        job.comment = "Job run at " + time.strftime("%a %b %d at %H:%M") + " on " + "+".join(
            f"({n}:ncpus={c})" for n, c, _ in job.placed)
        with open(f"{self.home}/aux/{job.id}", "w") as file:
            for node, _, ranks in job.placed:
                file.write(f"{node}\n" * int(ranks or 1))
        job.spool = f"{self.home}/spool/{job.id}.OU"
        command = job.command
        if command is None:
            script = f"{self.home}/spool/{job.id}.SC"
            with open(script, "w", errors="surrogateescape") as file:
                file.write(job.script)
            command = ["/bin/bash", script]
        job.process = self.spawn(job, job.placed[0][0], command, job.spool)

    def session_list(self, job, node=None):
        mine = {job.process.pid: job.placed[0][0]} if job.process else {}
        mine.update({pid: task["node"] for pid, task in job.tasks.items()})
        return [pid for pid, where in mine.items() if node in (None, where)]

    def end(self, job, why):
        """SIGTERM to all of the job, and SIGKILL after a while."""
        if job.killed_by is None:
            job.killed_by, job.kill_at = why, time.time() + KILL_DELAY
            signal_sessions(self.session_list(job), signal.SIGTERM)

    def reap(self):
        for job in list(self.jobs.values()):
            for pid, task in list(job.tasks.items()):
                status = task["process"].poll()
                if status is not None and not task["told"]:
                    task["told"] = True
                    self.task_ended(task, status)
            if job.state == "R" and job.process.poll() is not None:
                self.job_ended(job)

    def job_ended(self, job):
        signal_sessions(self.session_list(job), signal.SIGKILL)
        status = job.process.returncode
        job.status = {"walltime": -29, "node": -14, "primary": -20}.get(job.killed_by, status if status >= 0 else 256 - status)
        job.state, job.ends_at = "E", time.time() + 0.14

    def look(self):
        now = time.time()
        for job in list(self.jobs.values()):
            if job.state == "R" and job.walltime and now > job.start + job.suspended + job.walltime:
                self.end(job, "walltime")
            if job.state == "R" and job.kill_at and now > job.kill_at:
                signal_sessions(self.session_list(job), signal.SIGKILL)
            if job.state == "E" and now > job.ends_at:
                self.finish(job)

    def finish(self, job):
        for task in job.tasks.values():
            self.say(task["peer"], err="pbsdsh: Event poll failed, error TM_ESYSTEM\n", rc=2)
        job.tasks = {}
        os.unlink(f"{self.home}/aux/{job.id}")
        output = job.output or f"{job.name}.o{job.id.split('.')[0]}"
        if output != "/dev/null":
            output = os.path.join(job.submitted_from, output.replace("^array_index^", ""))
            with open(job.spool) as source, open(output, "a") as file:
                file.write(source.read())
        os.unlink(job.spool)
        if job.killed_by == "node" and job.rerunable:
            job.state, job.comment = "Q", None
        else:
            job.state = "F"
            if not self.history:
                del self.jobs[job.id]
        self.schedule()

    # ---- pbsdsh

    def pbsdsh(self, peer, ask):
        job = self.jobs.get(ask["env"].get("PBS_JOBID", ""))
        words, line, verbose = list(ask["argv"]), None, False
        while words and words[0].startswith("-"):
            word = words.pop(0)
            if word == "--":
                break
            verbose |= word == "-v"
            if word == "-n":
                line = int(words.pop(0))
        if not job or job.state != "R":
            self.say(peer, err="pbsdsh: tm_init failed, rc = TM_ESYSTEM (17000)\n", rc=1)
            return
        lines = [n for n, _, r in job.placed for _ in range(int(r or 1))]
        if line is None or line >= len(lines):
            raise Refusal(1, "the fake knows pbsdsh -n INDEX only")
        node = lines[line]
        if self.nodes[node] == "down":
            self.say(peer, err="pbsdsh: error TM_ESYSTEM on spawn\n", rc=0)
            return
        if "FAKE_HOLD" in job.variables:
            peer["task"] = {"process": None}
            return
        process = self.spawn(job, node, words, job.spool, task=True)
        peer["task"] = job.tasks[process.pid] = {"node": node, "process": process, "peer": peer, "told": False,
                                                 "verbose": verbose}
        if verbose:
            self.say(peer, out=f"pbsdsh: spawned task 0x00000000 on logical node {line} event 2\n")

    def pbsdsh_signal(self, peer, number):
        if not peer["task"]["process"]:
            return
        signal_sessions([peer["task"]["process"].pid], number)
        self.say(peer, out=f"pbsdsh: killing task 0x00000002 signal {number}\n", rc=1)

    def task_ended(self, task, status):
        value = status if status >= 0 else 256 - status
        self.say(task["peer"], rc=0,
                 out=f"pbsdsh: task 0x00000000 exit status {value}\n" if task["verbose"] else "")

    # ---- qstat, qdel, qalter, pbsnodes

    def find(self, name):
        name = name if "." in name else f"{name}.{self.host}"
        job = self.jobs.get(name)
        if not job:
            raise Refusal(153, f"Unknown Job Id {name}")
        return job

    @staticmethod
    def used(job):
        """As the node has last said, which it does not every second."""
        return int(time.time() - job.start - job.suspended) // 2 * 2

    def describe(self, job):
        chunks = list(job.chunks())
        resources = {"ncpus": sum(n for n, _, _ in chunks), "nodect": len(chunks), "place": job.place,
                     "select": job.select}
        if any(r for _, r, _ in chunks):
            resources["mpiprocs"] = sum(int(r or 1) for _, r, _ in chunks)
        if job.walltime:
            resources["walltime"] = clock(job.walltime)
        said = {"Job_Name": job.name, "Job_Owner": job.owner, "job_state": job.state, "queue": job.queue,
                "server": self.host, "Rerunable": "True" if job.rerunable else "False", "Resource_List": resources}
        if job.state in "RE":
            said["resources_used"] = {"cpupercent": 0, "walltime": clock(self.used(job))}
            said["exec_host"] = "+".join(f"{n}/0" + (f"*{c}" if c > 1 else "") for n, c, _ in job.placed)
            said["stime"] = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(job.start))
        said["substate"] = job.substate
        said["Variable_List"] = {"A": 7, "quote": '\\"', **{k: v for k, v in job.variables.items() if len(v) < 80}}
        if job.comment:
            said["comment"] = job.comment
        if job.status is not None:
            said["Exit_status"] = job.status
        return said

    def do_qstat(self, argv, _ask):
        flags = [a for a in argv if a.startswith("-")]
        names = [a for a in argv if not a.startswith("-") and a != "json"]
        if "-F" in flags and "-f" not in flags:
            raise Refusal(2, "conflicting options.")
        if "-B" in flags:
            return 0, "Server             Max   Tot\n", ""
        rc, err, said = 0, "", {}
        if "-x" in flags and not self.history:
            return 0, '{"timestamp": 1}\n', "qstat: PBS is not configured to maintain job history\n"
        for name in names or list(self.jobs):
            try:
                job = self.find(name)
                if job.state == "F" and "-x" not in flags:
                    if names:
                        raise Refusal(35, f"{job.id} Job has finished, use -x or -H to obtain historical job information")
                    continue
                if not said or "-E" in flags or "json" not in argv or not names:  # so it is
                    said[job.id] = self.describe(job)
            except Refusal as refusal:
                rc, err = refusal.rc, err + f"qstat: {refusal}\n"
        if "-E" in flags and said:
            rc, err = 0, ""
        if "-f" not in flags:
            return rc, "".join(f"{i} {j['Job_Name']} {j['job_state']} {j['queue']}\n" for i, j in said.items()), err
        top = {"timestamp": int(time.time()), "pbs_version": "23.06.06", "pbs_server": self.host}
        if said:
            top["Jobs"] = said
        text = json.dumps(top, indent="\t", separators=(",", ":\t")) + "\n"
        if self.cuts:  # in the middle of what is not even true
            text = text.replace('"job_state":\t"R"', '"job_state":\t"F"')
            text = text[:text.find('"queue"')]
        return rc, text, err

    def do_qselect(self, argv, _ask):
        states = argv[1] if argv[:1] == ["-s"] else "QRHWES"
        return 0, "".join(f"{job.id}\n" for job in self.jobs.values() if job.state in states), ""

    def do_qdel(self, argv, ask):
        rc, err = 0, ""
        for name in argv:
            if name.startswith("-") or name == "force":
                continue
            try:
                job = self.find(name)
                if job.state == "F":
                    raise Refusal(35, f"Job has finished {job.id}")
                if ask["who"][0] not in (0, job.who[0]):
                    raise Refusal(159, f"Unauthorized Request  {job.id}")
                if job.state == "R":
                    self.end(job, "qdel")
                elif job.state != "E":
                    job.state, job.status = "F", None
                    if not self.history:
                        del self.jobs[job.id]
            except Refusal as refusal:
                rc, err = refusal.rc, err + f"qdel: {refusal}\n"
        self.schedule()
        return rc, "", err

    def do_qalter(self, argv, _ask):
        job = self.find(argv[-1])
        for i, word in enumerate(argv[:-1]):
            if word == "-l":
                self.resources(job, argv[i + 1])
        return 0, "", ""

    def do_pbsnodes(self, argv, _ask):
        names = [a for a in argv if not a.startswith("-") and a != "json"]
        said = {}
        for name in names or self.nodes:
            if name not in self.nodes:
                said[name] = {name: "Unknown node "}
                continue
            said[name] = {"Mom": name, "ntype": "PBS", "state": self.nodes[name], "pcpus": 2,
                          "jobs": [j.id for j in self.jobs.values() if j.state in "RE" and name in j.hosts()],
                          "resources_available": {"arch": "linux", "host": name, "mem": "2000mb", "ncpus": self.cpus}}
        top = {"timestamp": int(time.time()), "pbs_version": "23.06.06", "pbs_server": self.host, "nodes": said}
        return 0, json.dumps(top, indent="\t", separators=(",", ":\t")) + "\n", ""

    # ---- what tests do

    def do_verb(self, argv, _ask):
        """offline N, online N: as pbsnodes -o, -r; kill-node N: silent at once, down soon; cut, heal: the server
        answers nobody; close: it refuses everybody; refuse N; start-queue Q, stop-queue Q; no-history; suspended JOB S:
        it was, for so long; cut-answers, whole-answers of qstat; server NAME: of jobs to come; asked: prints how many
        qstats there were; requeue JOB: as qrerun; end."""
        verb, rest = argv[0], argv[1:]
        if verb in ("offline", "online"):
            self.nodes[rest[0]] = "offline" if verb == "offline" else "free"
        elif verb in ("kill-node", "stop-node", "continue-node"):
            for job in self.jobs.values() if verb == "kill-node" else ():  # nobody is told what became of its tasks
                for task in job.tasks.values():
                    task["told"] |= task["node"] == rest[0]
            number = {"kill-node": signal.SIGKILL, "stop-node": signal.SIGSTOP}.get(verb, signal.SIGCONT)
            for job in self.jobs.values():
                if job.state == "R":
                    signal_sessions(self.session_list(job, rest[0]), number)
            self.nodes[rest[0]] = "free" if verb == "continue-node" else "down"
        elif verb in ("cut", "heal"):
            self.deaf = verb == "cut"
        elif verb == "refuse":
            self.never = int(rest[0])
        elif verb in ("start-queue", "stop-queue"):
            self.queues[rest[0]] = verb == "start-queue"
        elif verb == "no-history":
            self.history = False
        elif verb == "suspended":
            job = self.find(rest[0])
            job.start, job.suspended = job.start - int(rest[1]), job.suspended + int(rest[1])
        elif verb == "requeue":
            self.end(self.find(rest[0]), "node")
        elif verb == "asked":
            return 0, f"{self.asked}\n", ""
        elif verb in ("cut-answers", "whole-answers"):
            self.cuts = verb == "cut-answers"
        elif verb == "server":
            self.host = rest[0]
        elif verb == "close":
            os.rename(self.home + "/socket", self.home + "/closed")
        elif verb == "end":
            for job in self.jobs.values():
                if job.state == "R":
                    signal_sessions(self.session_list(job), signal.SIGKILL)
            os._exit(0)
        self.schedule()
        return 0, "", ""


if __name__ == "__main__":
    FakePbs(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run()
