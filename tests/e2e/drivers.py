"""The MQTT clients that people use, all moved by the same few verbs: each has a small driver in
clients/, which is told what to do on stdin and says what happens on stdout, a line each.

    argv    PORT VERSION CLIENT_ID CLEAN [WILL_TOPIC QOS RETAIN HEX]       VERSION 4 or 5
    stdin   sub FILTER QOS | pub TOPIC QOS RETAIN HEX | quit                HEX: `-` for none
    stdout  connected PRESENT | subscribed CODE | published 0 | message TOPIC QOS RETAIN HEX

`published` is said when the last answer was there. mosquitto_pub and mosquitto_sub have no driver:
their command lines are made here."""

import collections
import os
import pathlib
import shutil
import signal
import subprocess
import threading

import harness

CLIENTS = harness.HERE / "clients"
EXPIRY_S = 3600
Got = collections.namedtuple("Got", "topic qos retain payload")


def hexed(data):
    return data.hex() or "-"


def unhexed(word):
    return b"" if word == "-" else bytes.fromhex(word)


class Lines:
    """Lines of a child's stdout as they come."""

    def __init__(self, process):
        self.process, self._lines, self._ended = process, [], False
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for raw in self.process.stdout:
            with self._changed:
                self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        self.process.stdout.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self, begins, at=0, seconds=None):
        """The n-th line (from 0) that begins so, without that beginning."""
        def found():
            return [l for l in self._lines if l.startswith(begins)][at:at + 1]
        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, seconds or harness.PATIENCE)
            if found():
                return found()[0][len(begins):]
            raise AssertionError(f"{self.process.args}: no `{begins}` number {at}; status "
                                 f"{self.process.poll()}; it said {self._lines[-5:]}")

    def all(self, begins):
        with self._changed:
            return [l[len(begins):] for l in self._lines if l.startswith(begins)]


def npm_modules(folder):
    """What the lock file in clients/FOLDER says, installed once into the build tree."""
    place = pathlib.Path(os.environ["SLUICE_TOOLS"]) / folder  # never into the sources
    lock = CLIENTS / folder / "package-lock.json"
    mark = place / "installed-from"
    if not mark.exists() or mark.read_bytes() != lock.read_bytes():
        place.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(CLIENTS / folder / name, place)
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=place,
                              capture_output=True, timeout=harness.PATIENCE * 4)
        if done.returncode != 0:
            raise AssertionError(f"npm cannot install {folder}:\n" + done.stderr.decode())
        mark.write_bytes(lock.read_bytes())
    return place / "node_modules"


class Peer:
    """A connected client. `messages(n)` waits until n have come in all."""

    def __init__(self, test, port, name, version, clean=True, will=None):
        self.test, self.port, self.name, self.version = test, port, name, version
        self.clean, self.will = clean, will
        self.opened()

    def spawn(self, command, env=None):
        process = self.test.child(subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict(os.environ, **(env or {}))))
        self.test.addCleanup(process.stdin.close)
        return process, Lines(process)


class Driven(Peer):
    """By a driver of clients/."""

    def opened(self):
        self._published = self._subscribed = 0
        will = []
        if self.will:
            topic, qos, retain, payload = self.will
            will = [topic, qos, int(retain), hexed(payload)]
        command = [*self.program(), self.port, self.version, self.name, int(self.clean), *will]
        self.process, self.lines = self.spawn(command, self.environment())
        present = int(self.lines.wait("connected "))
        self.session_present = present if present >= 0 else None  # None: the client does not tell

    def environment(self):
        return {}

    def _say(self, *words):
        self.process.stdin.write((" ".join(str(w) for w in words) + "\n").encode())
        self.process.stdin.flush()

    def subscribe(self, topic_filter, qos):
        self._say("sub", topic_filter, qos)
        self._subscribed += 1
        return int(self.lines.wait("subscribed ", self._subscribed - 1))

    def publish(self, topic, payload, qos, retain=False):
        self._say("pub", topic, qos, int(retain), hexed(payload))
        self._published += 1
        self.lines.wait("published ", self._published - 1)

    def messages(self, n=0):
        if n:
            self.lines.wait("message ", n - 1)
        words = [l.split(" ") for l in self.lines.all("message ")]
        return [Got(w[0], int(w[1]), w[2] == "1", unhexed(w[3])) for w in words]

    def quit(self):
        self._say("quit")
        status = self.process.wait(harness.PATIENCE)
        if status != 0:
            raise AssertionError(f"{self.name} ended with {status}")

    def kill(self):
        self.process.kill()
        self.process.wait()


class PahoSync(Driven):
    def program(self):
        return [harness.program("e2e_drive_paho_sync")]


class PahoAsync(Driven):
    def program(self):
        return [harness.program("e2e_drive_paho_async")]


class PahoPython(Driven):
    def program(self):
        return [harness.PYTHON, "-B", CLIENTS / "drive_paho.py"]


class MqttJs(Driven):
    @staticmethod
    def installed():
        return npm_modules("mqttjs")

    def environment(self):
        return {"NODE_PATH": str(self.installed())}

    def program(self):
        return ["node", CLIENTS / "drive_mqttjs.js"]


class Mosquitto(Peer):
    """mosquitto_sub is there from the first subscription on; each publish is a mosquitto_pub."""

    def opened(self):
        self.process, self.filters = None, []
        self.session_present = None
        if not self.clean or self.will:
            self._sub([])

    def _common(self, name):
        command = ["-h", "127.0.0.1", "-p", self.port, "-i", name,
                   "-V", "mqttv5" if self.version == 5 else "mqttv311"]
        return command

    def _sub(self, filters):
        """A program without a subscription does not start: its own session is told by one that
        gets nothing."""
        command = ["mosquitto_sub", *self._common(self.name), "-d", "-F", "message %t %q %r %x"]
        if not self.clean:
            command += ["-c"] + (["-x", EXPIRY_S] if self.version == 5 else [])
        if self.will:
            topic, qos, retain, payload = self.will
            command += ["--will-topic", topic, "--will-qos", qos, "--will-payload", payload.decode()]
            command += ["--will-retain"] if retain else []
            command += ["-C", 1, "-t", self._leave()]
        qos = max([q for _, q in filters], default=0)
        command += ["-q", qos]
        for topic_filter in [f for f, _ in filters] or ["nothing/comes/here"]:
            command += ["-t", topic_filter]
        self.process, self.lines = self.spawn(["stdbuf", "-oL", *command])
        return int(self.lines.wait("Subscribed (mid: 1): ").split(",")[0])

    def _leave(self):
        """It says DISCONNECT 0x00 only after the last message that it waited for; to a signal 0x04."""
        return f"leave/{self.name}"

    def subscribe(self, topic_filter, qos):
        """Those before, too: all of them by one program of one QoS."""
        if self.process is not None:
            self.quit()
        self.filters.append((topic_filter, qos))
        return self._sub(self.filters)

    def publish(self, topic, payload, qos, retain=False):
        command = ["mosquitto_pub", *self._common(self.name + "-pub"), "-q", qos, "-t", topic]
        command += (["-r"] if retain else []) + ["-s" if payload else "-n"]
        done = subprocess.run([str(c) for c in command], input=payload, capture_output=True,
                              timeout=harness.PATIENCE)
        if done.returncode != 0:
            raise AssertionError(f"mosquitto_pub: {done.stderr.decode()}")

    def messages(self, n=0):
        if self.process is None:
            return []
        if n:
            self.lines.wait("message ", n - 1)
        words = [l.split(" ") for l in self.lines.all("message ")]
        return [Got(w[0], int(w[1]), w[2] == "1", bytes.fromhex(w[3])) for w in words]

    def quit(self):
        if self.process is not None:
            if self.will:
                self.publish(self._leave(), b"now", 1)
            else:
                self.process.send_signal(signal.SIGTERM)
            self.process.wait(harness.PATIENCE)
            self.process = None

    def kill(self):
        self.process.kill()
        self.process.wait()


KINDS = {"mosquitto": Mosquitto, "paho_c_sync": PahoSync, "paho_c_async": PahoAsync,
         "paho_python": PahoPython, "mqttjs": MqttJs}
