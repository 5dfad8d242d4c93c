"""For the tests of the Python SDK: the recorded frames, and a gateway that lives in the test."""

import contextlib
import pathlib
import signal
import socket
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
SDK = HERE.parent.parent / "workers" / "python"
sys.path.insert(0, str(SDK))


def load(name):
    """Rows of frames.txt or faults.txt: {name: (who, bytes, what it says)}."""
    rows = {}
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            row, who, hexed, says = line.split(" | ", 3)
            rows[row] = who, bytes.fromhex(hexed), says
    return rows


FRAMES = {name: frame for name, (_, frame, _) in load("frames.txt").items()}


def deliver(tag, attempt=1, flags=0, payload=b"21.5"):
    frame = bytearray(FRAMES["deliver-bare"])
    frame[5:22] = struct.pack("<QIIB", tag, attempt, 5, flags)
    record_id, payload_length = 22 + 8, 22 + 60
    frame[record_id:record_id + 8] = struct.pack("<Q", tag)
    frame[payload_length:payload_length + 4] = struct.pack("<I", len(payload))
    frame += payload
    frame[0:4] = struct.pack("<I", len(frame) - 4)
    return bytes(frame)


def tagged(name, tag):
    """A frame whose body is, or begins with, a tag."""
    return FRAMES[name][:5] + struct.pack("<Q", tag) + FRAMES[name][13:]


def acks(*tags):
    return struct.pack(f"<IB{len(tags)}Q", 1 + 8 * len(tags), 0x0A, *tags)


def published(ref, code=0):
    return struct.pack("<IBIBH", 8, 0x47, ref, code, 0)


def welcome(name="welcome", **fields):
    """WELCOME with other numbers: prefetch, concurrency, time_limit, soft (ms)."""
    places = {"prefetch": 9, "concurrency": 13, "time_limit": 17, "soft": 21}
    frame = bytearray(FRAMES[name])
    for field, value in fields.items():
        frame[places[field]:places[field] + 4] = struct.pack("<I", value)
    return bytes(frame)


def hello(name="hello-plain", soft=False, gathers=False):
    """HELLO with other flags."""
    frame = bytearray(FRAMES[name])
    frame[6] = soft + 2 * gathers
    return bytes(frame)


def not_for_ever(test, seconds=25):
    """What waits for ever in this test fails it instead, in its cleanups, too."""
    def over(number, frame):
        raise TimeoutError(f"not done after {seconds} s")
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    test.addCleanup(signal.signal, signal.SIGALRM, before)
    test.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)


def as_bytes(frames):
    return b"".join(FRAMES[f] if isinstance(f, str) else f for f in frames)


class Gateway:
    """The other end of a socketpair, or of a connection that a worker has made."""

    def __init__(self, connected=None):
        self.worker_end = None
        self.socket = connected
        if connected is None:
            self.socket, self.worker_end = socket.socketpair()

    def send(self, *frames):
        self.socket.sendall(as_bytes(frames))

    def received(self):
        """What is there now."""
        data = b""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while True:
                got = self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
                if not got:
                    break
                data += got
        return data

    def read(self, count):
        """So many bytes, waited for."""
        data = b""
        while len(data) < count:
            got = self.socket.recv(count - len(data))
            if not got:
                raise EOFError(f"the worker has closed after {data!r}")
            data += got
        return data

    def close(self):
        self.socket.close()


class Listener:
    """A `worker_socket`: each worker that connects gets a Gateway of its own."""

    def __init__(self, folder):
        self.path = str(pathlib.Path(folder) / "w.sock")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen()

    def accept(self):
        return Gateway(self._socket.accept()[0])

    def close(self):
        self._socket.close()
