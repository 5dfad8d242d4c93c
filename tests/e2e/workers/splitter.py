"""A worker in nothing but frames (workers/PROTOCOL.md): each message "P uid" comes to as many children "C uid n" as
SPLIT_INTO says, published with its ack in one step. "R text" has a result, "G uid" tells its progress first."""

import os
import socket
import struct

HELLO, ACK, PROGRESS, PUBLISH, BYE = 0x01, 0x02, 0x06, 0x08, 0x09
WELCOME, DELIVER, DRAIN = 0x41, 0x42, 0x45
INTO = int(os.environ.get("SPLIT_INTO", "2"))
TO = os.environ.get("SPLIT_TO", "/queue/two")

gateway = socket.socket(fileno=int(os.environ["SLUICE_FD"]))
stream = gateway.makefile("rb")


def text(value):
    return struct.pack("<H", len(value)) + value


def frame(kind, body=b""):
    return struct.pack("<IB", len(body) + 1, kind) + body


def payload_of(record):
    head = 64 + sum(struct.unpack_from("<8H", record, 40)) + struct.unpack_from("<I", record, 56)[0]
    return record[head:]


def publish(tag, payload):
    return frame(PUBLISH, struct.pack("<IBQ", 0, 0, tag) + text(TO.encode()) + text(b"") + struct.pack("<HI", 0, 0) + payload)


def answer(tag, payload):
    word, _, rest = payload.partition(b" ")
    out = b""
    if word == b"P":
        out = b"".join(publish(tag, b"C %s %d" % (rest, n)) for n in range(INTO))
    if word == b"G":
        out = frame(PROGRESS, struct.pack("<QH", tag, 400))
    if word == b"R":
        return frame(ACK, struct.pack("<Q", tag) + text(b"text/plain") + rest.upper())
    return out + frame(ACK, struct.pack("<Q", tag))


gateway.sendall(frame(HELLO, struct.pack("<BBHI", 1, 0, 0, 0) + text(b"splitter")))
while head := stream.read(5):
    n, kind = struct.unpack("<IB", head)
    body = stream.read(n - 1)
    if kind == DELIVER:
        tag, = struct.unpack_from("<Q", body)
        gateway.sendall(answer(tag, payload_of(body[17:])))
    elif kind == DRAIN:
        gateway.sendall(frame(BYE))
        break
