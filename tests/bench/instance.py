"""A private session manager for measuring, and what processes cost."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time


def cpu_ns(pid):
    """CPU time of a process with all its threads, 0 when it is gone."""
    total = 0
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat") as f:
                total += int(f.read().split()[0])
    return total


def memory_bytes(pid, what="VmRSS"):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
    return 0


def proportional_bytes(pid, what="Pss"):
    """Its share of memory (Pss; Pss_Shmem: of shared memory alone); 0 when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
    return 0


class Instance:
    """flmd with n executors in a folder of its own, FOLDER in options; a context manager."""

    def __init__(self, bindir, n, *options):
        self.bindir, self.n, self.options = bindir, n, options
        self.started, self.nodes = [], []

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="flm-bench-")
        endpoint = f"unix:{self.folder}/flmd.sock"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("FLM_")}
        self.env.update(FLM_ENDPOINT=endpoint, XDG_RUNTIME_DIR=self.folder)
        self.log = open(f"{self.folder}/log", "w+")
        self.start()
        end = time.monotonic() + 20
        while len(self.executors()) < self.n:
            if self.flmd.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                text = self.log.read()
                self.__exit__(None, None, None)
                raise RuntimeError(f"flmd did not start: {text.strip()}")
            time.sleep(0.02)
        return self

    def start(self):
        options = [str(o).replace("FOLDER", self.folder) for o in self.options]
        self.flmd = subprocess.Popen(
            [f"{self.bindir}/flmd", "-n", str(max(self.n, 1)), "--endpoint", self.env["FLM_ENDPOINT"], *options],
            env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def restart(self):
        """After SIGKILL: seconds until it answers again."""
        self.flmd.kill()
        self.flmd.wait()
        begin = time.perf_counter()
        self.start()
        while self.ctl("status") is None:
            if self.flmd.poll() is not None or time.perf_counter() > begin + 60:
                raise RuntimeError("flmd did not start again")
        return time.perf_counter() - begin

    def __exit__(self, *_):
        for client in self.started:  # one that was stopped would outlive us
            if client.poll() is None:
                client.kill()
                client.communicate()
        if self.flmd.poll() is None:
            self.flmd.terminate()
            try:
                self.flmd.wait(10)
            except subprocess.TimeoutExpired:
                self.flmd.kill()
                self.flmd.wait()
        for node in self.nodes:  # they end with flmd
            node.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_node(self, provider):
        """One more executor, whose agent talks to flmd by this provider."""
        n = len(self.executors())
        folder = f"{self.folder}/node{n}"
        os.mkdir(folder, 0o700)
        command = [f"{self.bindir}/flm-node", "--endpoint", self.env["FLM_ENDPOINT"], "--provider", provider, "--slots",
                   "1", "--directory", folder]
        node = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.nodes.append(node)
        end = time.monotonic() + 20
        while len(self.executors()) <= n:
            if node.poll() is not None or time.monotonic() > end:
                raise RuntimeError("flm-node did not start")
            time.sleep(0.02)

    def ctl(self, *args):
        """What flmctl says, None where it failed or said nothing."""
        done = subprocess.run([f"{self.bindir}/flmctl", "-o", "json", *args], env=self.env,
                              stdin=subprocess.DEVNULL, capture_output=True)
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else None

    def executors(self):
        return self.ctl("list", "-e") or []

    def processes(self):
        """{name: [pids]} of the instance."""
        nodes = self.ctl("list", "-n") or []
        return {
            "flmd": [self.flmd.pid],
            "flm-node": [n["pid"] for n in nodes],
            "flm-executor": [e["pid"] for e in self.executors()],
        }

    def cpu(self):
        return {name: sum(map(cpu_ns, pids)) for name, pids in self.processes().items()}

    def all_pids(self):
        """flmd and all below it, flm-backend too."""
        children = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError, IndexError), open(f"/proc/{entry}/stat") as f:
                    children.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
        found, todo = [], [self.flmd.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def ping(self, *args, check=True):
        """The JSON of a run of flmping, with the CPU time of each process."""
        before = self.cpu()
        client = subprocess.Popen([f"{self.bindir}/flmping", "--json", "-q", *map(str, args)], env=self.env,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # Read first: wait4 takes the status away from Popen.
        out, err = client.stdout.read(), client.stderr.read()
        _, status, usage = os.wait4(client.pid, 0)
        client.returncode = os.waitstatus_to_exitcode(status)
        client.stdout.close()
        client.stderr.close()
        result = json.loads(out) if out else {"error": err.decode().strip(), "failures": []}
        if check and client.returncode:
            raise RuntimeError(f"flmping {' '.join(map(str, args))}: {result['error'] or result['failures']}")
        after = self.cpu()
        result["cpu_ns"] = {name: after[name] - before.get(name, 0) for name in after}
        result["cpu_ns"]["client"] = int((usage.ru_utime + usage.ru_stime) * 1e9)
        return result

    def start_ping(self, *args):
        """A flmping that goes on; it ends with us at the latest."""
        client = subprocess.Popen([f"{self.bindir}/flmping", "--json", "-q", *map(str, args)], env=self.env,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.started.append(client)
        return client


def stop(process):
    """Ctrl-C, then harder."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
