"""A gateway as its users have it: started from a configuration file, told things by signals,
asked by its log. Nothing here sleeps for luck: everything waits for a line, a byte or the end of
a process, with a deadline.

Where the programs are comes from the environment, set by CTest:

    SLUICE_BINARY     the gateway                   SLUICE_TOOLS   folder of the C test programs
    SLUICE_SHIMS      folder of the LD_PRELOAD shims
"""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SDK = ROOT / "workers" / "python"
PYTHON = "/usr/bin/python3"
NODE_JS = shutil.which("node")  # None: not installed, and its tests are left out
PATIENCE = float(os.environ.get("SLUICE_PATIENCE", "30"))
NODE = "e2e"


def program(name):
    return str(pathlib.Path(os.environ.get("SLUICE_TOOLS", ".")) / name)


def binary():
    return os.environ.get("SLUICE_BINARY", "sluice")


def shim(name):
    return str(pathlib.Path(os.environ.get("SLUICE_SHIMS", ".")) / f"{name}.so")


def sanitized():
    return os.environ.get("SLUICE_SANITIZE", "") != ""


def seeded():
    """The run's generator; its seed is printed and can be given again."""
    seed = int(os.environ.get("SLUICE_SEED", str(random.SystemRandom().randrange(1 << 32))))
    print(f"SLUICE_SEED={seed}", flush=True)
    return seed, random.Random(seed)


def wait_for(condition, what, seconds=None):
    """For conditions that no event announces: looks again every few milliseconds."""
    deadline = time.monotonic() + (seconds or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.005)


def fields(line):
    """key=value and key="value" of a log line."""
    return {k: quoted or plain
            for k, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|(\S*))', line)}


class Log:
    """Lines of the gateway's stderr as they come."""

    def __init__(self, stream, copy):
        self.lines = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(stream, copy), daemon=True)
        self._thread.start()

    def _read(self, stream, copy):
        with open(copy, "ab") as out:
            for raw in stream:
                out.write(raw)
                out.flush()
                with self._changed:
                    self.lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                    self._changed.notify_all()
        stream.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def mark(self):
        with self._changed:
            return len(self.lines)

    def wait(self, matches, since=0, seconds=None):
        """The first line from `since` on that matches, or None at the end of the log."""
        deadline = time.monotonic() + (seconds or PATIENCE)
        at = since
        with self._changed:
            while True:
                while at < len(self.lines):
                    if matches(self.lines[at]):
                        return self.lines[at]
                    at += 1
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    return None
                self._changed.wait(left)

    def join(self, seconds):
        self._thread.join(seconds)


def event_of(line):
    parts = line.split(" ", 3)
    return parts[2] if len(parts) > 2 else ""


class Gateway:
    """One data directory and configuration; may be started many times, one after another."""

    def __init__(self, folder, config, env=None, args=()):
        self.folder = pathlib.Path(folder)
        self.config_path = self.folder / "sluice.json"
        self.data = self.folder / "data"
        self.config_path.write_text(json.dumps(config, indent=1))
        self.config = config
        self.env = dict(env or {})
        self.args = list(args)
        self.prefix = []  # what starts it, instead of this process: nsenter
        self.tag = uuid.uuid4().hex
        self.process = None
        self.log = None
        self.starts = 0
        self.ports = []
        self.ports_file = self.folder / "ports.json"

    # -- life

    def spawn(self):
        """Starts it and does not wait."""
        env = dict(os.environ, SLUICE_E2E_TAG=self.tag, **self.env)
        self.starts += 1
        self.process = subprocess.Popen(
            [*self.prefix, binary(), "run", "-c", str(self.config_path), *self.args],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
        self.log = Log(self.process.stderr, self.folder / "gateway.log")
        return self

    def start(self):
        self.spawn()
        self.event("ready")
        found = [fields(l)["port"] for l in list(self.log.lines) if event_of(l) == "listener_port"]
        self.ports = [int(p) for p in found]
        scratch = self.ports_file.with_suffix(".new")
        scratch.write_text(json.dumps(self.named_ports()))
        scratch.rename(self.ports_file)
        return self

    def named_ports(self):
        names = [l["protocol"] for l in self.config["listeners"] if l["bind"].endswith(":0")]
        return dict(zip(names, self.ports))

    @property
    def mqtt(self):
        return self.named_ports()["mqtt"]

    @property
    def stomp(self):
        return self.named_ports()["stomp"]

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=None):
        status = self.process.wait(seconds or PATIENCE)
        self.log.join(PATIENCE)
        return status

    def stop(self):
        """SIGTERM, drained; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()

    # -- what it says

    def event(self, name, since=0, seconds=None, **wanted):
        def matches(line):
            if event_of(line) != name:
                return False
            have = fields(line)
            return all(have.get(k) == str(v) for k, v in wanted.items())
        line = self.log.wait(matches, since, seconds)
        if line is None:
            raise AssertionError(f"no event {name} {wanted} in the log:\n" + self.tail())
        return fields(line)

    def has_event(self, name):
        return any(event_of(l) == name for l in list(self.log.lines))

    def tail(self, n=40):
        return "\n".join(self.log.lines[-n:])

    def summary(self):
        """Counters by SIGUSR1: {"": the gateway's, queue name: its}."""
        mark = self.log.mark()
        self.signal(signal.SIGUSR1)
        out = {}

        def numbers(line):
            return {k: int(v) if v.isdigit() else v for k, v in fields(line).items()}
        out[""] = numbers(self.log.wait(lambda l: event_of(l) == "summary", mark) or "")
        for name in self.config.get("queues", {}):
            line = self.log.wait(
                lambda l: event_of(l) == "summary_queue" and f" queue={name} " in l, mark)
            if line is None:
                raise AssertionError("no summary:\n" + self.tail())
            out[name] = numbers(line)
        return out

    def counters(self, queue):
        return self.summary()[queue]

    def await_queue(self, queue, condition, what, seconds=None):
        last = {}

        def look():
            last.update(self.counters(queue))
            return last if condition(last) else None
        try:
            return wait_for(look, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; last: {last}\n{self.tail()}") from None

    def await_empty(self, queue, seconds=None):
        return self.await_queue(
            queue, lambda c: c["ready"] + c["leased"] + c["delayed"] == 0, f"{queue} empty", seconds)

    # -- its processes

    def family(self):
        """Processes that carry this gateway's mark: {pid: command line}; zombies are none."""
        mark = f"SLUICE_E2E_TAG={self.tag}".encode()
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as f:
                    if mark not in f.read().split(b"\0"):
                        continue
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    found[int(entry)] = f.read().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue
        return found

    def nursery(self):
        """The gateway's child of that name; a worker that is being started has it too."""
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/stat") as f:
                    head, _, rest = f.read().rpartition(")")
                if head.endswith("(sluice-nursery") and int(rest.split()[1]) == self.process.pid:
                    return pid
            except (OSError, ValueError):
                continue
        raise AssertionError("there is no nursery")

    def workers(self):
        """Pids of the nursery's children."""
        nursery = self.nursery()
        found = []
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/stat") as f:
                    if int(f.read().rsplit(")", 1)[1].split()[1]) == nursery:
                        found.append(pid)
            except (OSError, ValueError):
                continue
        return found

    def end(self):
        """For clean-up: nothing of it may live afterwards. Returns what had to be killed."""
        if self.process is None:
            return {}
        if self.process.poll() is None:
            self.kill()
        try:
            wait_for(lambda: not self.family(), "the gateway's processes to go", 10)
        except AssertionError:
            left = self.family()
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return left
        return {}


# ---- configuration ----

def config(queues=None, pools=None, routes=None, **more):
    """The short form of what the tests need; every queue takes the topics below its name."""
    queues = queues if queues is not None else {"work": {}}
    base = {
        "node": NODE, "data_dir": "data", "drain_timeout": "10s",
        "listeners": [{"bind": "127.0.0.1:0", "protocol": "mqtt"},
                      {"bind": "127.0.0.1:0", "protocol": "stomp"}],
        "store": {"map_size": "1GiB"},
        "queues": queues,
        "routes": routes or [{"match": f"{q}/#", "queues": [q]} for q in queues],
        "pools": pools or {},
    }
    base.update(more)
    return base


def recorder(folder, queue="work", language="python", **more):
    """A pool whose workers write what they do to folder/worked (see workers/)."""
    env = {"RECORD_FILE": str(pathlib.Path(folder) / "worked"), "PYTHONPATH": str(SDK),
           "PYTHONDONTWRITEBYTECODE": "1"}
    env.update(more.pop("env", {}))
    commands = {"python": [PYTHON, str(HERE / "workers" / "recorder.py")], "c": [program("e2e_recorder")],
                "node": [NODE_JS, str(HERE / "workers" / "recorder.mjs")]}
    return {"queue": queue, "command": commands[language], "env": env,
            "restart": {"initial": "10ms", "factor": 1, "max": "50ms"}, **more}


def shell(script, queue="work", mode="exec", **more):
    return {"queue": queue, "command": ["/bin/sh", "-c", script], "mode": mode,
            "restart": {"initial": "10ms", "factor": 1, "max": "50ms"}, **more}


def dump(data):
    """What the store of a stopped gateway holds: dicts with queue, id, state, attempts, failures,
    topic, payload (bytes)."""
    done = subprocess.run([program("e2e_dump_store"), str(data), NODE], capture_output=True,
                          timeout=PATIENCE * 4)
    if done.returncode != 0:
        raise AssertionError(f"the store cannot be read: {done.stderr.decode()}")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    for e in entries:
        e["payload"] = bytes.fromhex(e["payload"])
    return entries


# ---- tests ----

class TestCase(unittest.TestCase):
    """Gives each test a folder and sees that nothing is left behind."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-e2e-"))
        self._gateways = []
        self._children = []
        self.addCleanup(self._clean)

    def gateway(self, cfg, **more):
        g = Gateway(self.folder, cfg, **more)
        self._gateways.append(g)
        return g

    def child(self, process):
        """A process of ours that must not outlive the test."""
        self._children.append(process)
        return process

    def worked(self):
        """Lines of the recorders, each a list of words."""
        path = self.folder / "worked"
        return [l.split() for l in path.read_text().splitlines()] if path.exists() else []

    def _log_lines(self):
        """Of all starts of all gateways of this test."""
        path = self.folder / "gateway.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def _clean(self):
        for p in self._children:
            if p.poll() is None:
                p.kill()
                p.wait()
        left = {}
        for g in self._gateways:
            left.update(g.end())
        result = self._outcome.result
        failed = any(t is self or getattr(t, "test_case", None) is self
                     for t, _ in getattr(result, "failures", []) + getattr(result, "errors", []))
        sane = [l for l in self._log_lines() if "Sanitizer:" in l or "runtime error:" in l
                or "assertion failed" in l]
        if failed or left or sane:
            for g in self._gateways:
                if g.log is not None:
                    print(f"--- the log's end ({g.folder}/gateway.log):\n{g.tail(60)}", flush=True)
        if os.environ.get("SLUICE_KEEP") is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.assertEqual(left, {}, "processes were left behind")
        self.assertEqual(sane, [], "a sanitizer or an assertion spoke")
