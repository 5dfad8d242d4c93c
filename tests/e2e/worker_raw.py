"""One connection to a worker_socket, byte by byte: what no SDK would do can be done with it."""

import socket
import struct

HELLO, ACK, RETRY, RELEASE, DEAD, EXTEND, PUBLISH, BYE = 0x01, 0x02, 0x03, 0x04, 0x05, 0x07, 0x08, 0x09
WELCOME, DELIVER, STALE, DRAIN, ERROR, PUBLISHED = 0x41, 0x42, 0x44, 0x45, 0x46, 0x47
PAYLOAD_AT = 64  # of a record: behind come the ten texts and bytes


def text(value):
    raw = value.encode()
    return struct.pack("<H", len(raw)) + raw


def frame(kind, body=b""):
    return struct.pack("<IB", len(body) + 1, kind) + body


def publish(ref, topic, payload=b""):
    return frame(PUBLISH, struct.pack("<IBQ", ref, 0, 0) + text(topic) + text("") + struct.pack("<HI", 0, 0) + payload)


GATHERS = 2  # a flag of HELLO


def hello(name="raw", token=None, prefetch=0, flags=0):
    return frame(HELLO, struct.pack("<BBHI", 1, flags, 0, prefetch) + text(name) + (text(token) if token else b""))


class Delivery:
    def __init__(self, body):
        self.tag, self.attempt, self.max_attempts, self.flags = struct.unpack_from("<QIIB", body)
        record = body[17:]
        lengths = struct.unpack_from("<8HII", record, 40)
        self.payload = record[PAYLOAD_AT + sum(lengths[:-1]):]


class Raw:
    def __init__(self, path, seconds=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.unread = b""

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def frame(self):
        """(kind, body), or None at the end."""
        while True:
            if len(self.unread) >= 4:
                n = struct.unpack_from("<I", self.unread)[0]
                if len(self.unread) >= 4 + n:
                    whole, self.unread = self.unread[4:4 + n], self.unread[4 + n:]
                    return whole[0], whole[1:]
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self.unread += more

    def join(self, **more):
        """Says HELLO; the WELCOME's flags and time limit."""
        self.send(hello(**more))
        kind, body = self.frame()
        assert kind == WELCOME, (kind, body)
        return {"flags": body[1], "prefetch": struct.unpack_from("<I", body, 4)[0],
                "time_limit": struct.unpack_from("<I", body, 12)[0]}

    def deliver(self):
        kind, body = self.frame()
        assert kind == DELIVER, (kind, body)
        return Delivery(body)

    def error(self):
        """The ERROR that must be next, and the end behind it."""
        got = self.frame()
        assert got is not None and got[0] == ERROR, got
        assert self.frame() is None
        return struct.unpack_from("<H", got[1])[0], got[1][4:].decode()

    def answer(self, kind, tag, body=b""):
        self.send(frame(kind, struct.pack("<Q", tag) + body))

    def ack(self, tag):
        self.answer(ACK, tag)
