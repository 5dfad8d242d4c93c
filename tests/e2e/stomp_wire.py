"""A STOMP connection as bytes: what is sent is written out, what comes is compared byte by byte."""

import socket
import time

import harness
import mqtt_raw
import stomp_raw

VERSIONS = ("1.0", "1.1", "1.2")
READER_ENV = {"ASAN_OPTIONS": "quarantine_size_mb=1"}  # freed memory is not memory in use


def connect(version="1.2", *headers, command="CONNECT"):
    lines = [command, f"accept-version:{version}", "host:e2e", *headers]
    return "\n".join(lines).encode() + b"\n\n\0"


def frame(text, body=b""):
    """As it is written: nothing is escaped for it."""
    return text.encode() + b"\n\n" + body + b"\0"


def receipts(*ids):
    return b"".join(b"RECEIPT\nreceipt-id:%s\n\n\0" % str(i).encode() for i in ids)


class Message:
    """A MESSAGE as it came: its header lines, still escaped, and its body."""

    def __init__(self, head, body):
        self.lines, self.body = head.decode().split("\n")[1:], body

    def all(self, name):
        return [line[len(name) + 1:] for line in self.lines if line.startswith(name + ":")]

    def __getitem__(self, name):
        values = self.all(name)
        if len(values) != 1:
            raise AssertionError(f"{name} is there {len(values)} times: {self.lines}")
        return values[0]

    def __contains__(self, name):
        return self.all(name) != []

    @property
    def name(self):
        """What an answer names it by, as the versions want it."""
        return self["ack"] if "ack" in self else self["message-id"]


class Wire:
    """A connection as bytes."""

    def __init__(self, port, version=None):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data, self.version = b"", version
        if version is not None:
            self.send(connect(version))
            self.connected = self.frame()
            if self.connected[0] != "CONNECTED":
                raise AssertionError(f"{self.connected}")

    def send(self, data):
        self.socket.sendall(data)

    def _more(self, timeout):
        self.socket.settimeout(max(0.001, timeout))
        got = self.socket.recv(65536)
        self.data += got
        return got != b""

    def take(self, n, timeout=30):
        """The next n bytes."""
        deadline = time.monotonic() + timeout
        while len(self.data) < n:
            if not self._more(deadline - time.monotonic()):
                raise AssertionError(f"the connection ended after {self.data!r}")
        got, self.data = self.data[:n], self.data[n:]
        return got

    def frame(self, timeout=30):
        """The next frame of any kind, parsed; its body may not hold a NUL."""
        deadline = time.monotonic() + timeout
        while b"\0" not in self.data:
            if not self._more(deadline - time.monotonic()):
                raise AssertionError(f"the connection ended after {self.data!r}")
        end = self.data.index(b"\0") + 1
        return stomp_raw.Parser().feed(self.take(end))[0]

    def message(self, timeout=30):
        """The next MESSAGE, whose length is told and true."""
        deadline = time.monotonic() + timeout
        while b"\n\n" not in self.data:
            if not self._more(deadline - time.monotonic()):
                raise AssertionError(f"the connection ended after {self.data!r}")
        head = self.take(self.data.index(b"\n\n") + 2)[:-2]
        if not head.startswith(b"MESSAGE\n"):
            raise AssertionError(f"{head!r}")
        m = Message(head, b"")
        n = int(m["content-length"]) if "content-length" in m else 0
        m.body = self.take(n + 1)[:-1]
        return m

    def messages(self, n, timeout=30):
        return [self.message(timeout) for _ in range(n)]

    def subscribe(self, destination, ack="auto", *headers, name="s"):
        self.send(frame("\n".join(["SUBSCRIBE", f"id:{name}", f"destination:{destination}", f"ack:{ack}",
                                   "receipt:subscribed", *headers])))
        want = receipts("subscribed")
        if self.take(len(want)) != want:
            raise AssertionError("no receipt")
        return self

    def answer(self, command, name, *headers, subscription="s"):
        """ACK or NACK, in the form of the version."""
        names = [f"id:{name}"] if self.version == "1.2" else [f"message-id:{name}", f"subscription:{subscription}"]
        self.send(frame("\n".join([command, *names, *headers])))

    def fence(self):
        """Nothing came, up to now."""
        self.send(frame("BEGIN\ntransaction:fence\nreceipt:fence") + frame("ABORT\ntransaction:fence"))
        want = receipts("fence")
        got = self.take(len(want))
        if got != want:
            raise AssertionError(f"{got!r} instead of nothing")

    def rest(self, timeout=20):
        """All that comes until the gateway ends the connection, which it has to in that time."""
        deadline = time.monotonic() + timeout
        while self._more(deadline - time.monotonic()):
            pass
        return self.data

    def frames(self, timeout=20):
        return stomp_raw.Parser().feed(self.rest(timeout))

    def close(self):
        self.socket.close()


class Raw(harness.TestCase):
    def start(self, queues=None, **more):
        self.gw = self.gateway(harness.config(queues, **more), env=READER_ENV).start()
        return self.gw

    def wire(self, version=None):
        w = Wire(self.gw.stomp, version)
        self.addCleanup(w.close)
        return w

    def accepted(self, queue="work"):
        return self.gw.counters(queue)["accepted"]

    def listener(self, *filters):
        """An MQTT 5 subscriber, whose deliveries show what the gateway made of a SEND."""
        c = mqtt_raw.Client(self.gw.mqtt, "listener", 5)
        self.addCleanup(c.close)
        c.subscribe(*[(f, 0) for f in filters])
        return c

    def error(self, w, message, timeout=20):
        """The one frame that is left is this ERROR, and then the connection ends."""
        left = w.frames(timeout)
        self.assertEqual([f[0] for f in left], ["ERROR"], left)
        self.assertEqual(left[0][1]["message"], message)
        return left[0]

    def in_all(self, claim, versions=VERSIONS):
        for version in versions:
            with self.subTest(version=version):
                claim(version)
