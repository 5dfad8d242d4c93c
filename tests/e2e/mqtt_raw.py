"""MQTT 3.1.1 and 5 as bytes: enough of a client to send at full rate, to resume a session
exactly, and to misbehave on purpose. Standard library only."""

import socket
import struct
import time

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14
FOREVER = 0xFFFFFFFF


def varint(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7F
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def packet(kind, body=b"", flags=0):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connect(client_id, version=4, clean=True, keep_alive=60, expiry=None, receive_maximum=None):
    props = b""
    if version == 5:
        if expiry is None and not clean:
            expiry = FOREVER
        if expiry is not None:
            props += b"\x11" + struct.pack(">I", expiry)
        if receive_maximum is not None:
            props += b"\x21" + struct.pack(">H", receive_maximum)
        props = varint(len(props)) + props
    return packet(CONNECT, text("MQTT") + bytes([version, 2 if clean else 0])
                  + struct.pack(">H", keep_alive) + props + text(client_id))


def publish(topic, payload, qos=0, packet_id=0, version=4, dup=False, retain=False, props=b""):
    body = text(topic) + (struct.pack(">H", packet_id) if qos else b"")
    if version == 5:
        body += varint(len(props)) + props
    return packet(PUBLISH, body + payload, (8 if dup else 0) | qos << 1 | (1 if retain else 0))


def ack(kind, packet_id):
    return packet(kind, struct.pack(">H", packet_id), 2 if kind == PUBREL else 0)


class Parser:
    """Bytes in, (kind, flags, body) out."""

    def __init__(self):
        self._data = bytearray()

    def feed(self, data):
        self._data += data
        at, out, data = 0, [], self._data
        while True:
            length, shift, i = 0, 0, at + 1
            while True:
                if i >= len(data):
                    del data[:at]
                    return out
                byte = data[i]
                length |= (byte & 0x7F) << shift
                shift += 7
                i += 1
                if byte < 0x80:
                    break
            if i + length > len(data):
                del data[:at]
                return out
            out.append((data[at] >> 4, data[at] & 15, bytes(data[i:i + length])))
            at = i + length


def ack_of(body):
    """Packet id and reason code of PUBACK, PUBREC, PUBREL, PUBCOMP."""
    return struct.unpack_from(">H", body)[0], body[2] if len(body) > 2 else 0


class Client:
    """Blocking; for tests that look at single packets."""

    def __init__(self, port, client_id="raw", version=4, timeout=30, **more):
        self.version = version
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser, self._ready = Parser(), []
        self.send(connect(client_id, version, **more))
        kind, _, body = self.read()
        if kind != CONNACK:
            raise ConnectionError(f"packet {kind} instead of CONNACK")
        self.session_present, self.code = body[0] & 1, body[1]

    def send(self, data):
        self.socket.sendall(data)

    def read(self, timeout=None):
        """The next packet; ConnectionError at the end, TimeoutError in vain."""
        deadline = time.monotonic() + (timeout if timeout is not None else 30)
        while not self._ready:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                raise TimeoutError("no packet came") from None
            if not data:
                raise ConnectionError("the gateway closed the connection")
            self._ready = self._parser.feed(data)
        return self._ready.pop(0)

    def publish(self, topic, payload, qos=0, packet_id=0, **more):
        self.send(publish(topic, payload, qos, packet_id, self.version, **more))

    def expect(self, kind, packet_id=None, timeout=None):
        """Reads one packet of that kind; its reason code, or its body without a packet id."""
        got, _, body = self.read(timeout)
        if got != kind:
            raise AssertionError(f"packet {got} {body!r} instead of {kind}")
        if packet_id is None:
            return body
        have, reason = ack_of(body)
        if have != packet_id:
            raise AssertionError(f"packet id {have} instead of {packet_id}")
        return reason

    def quiet(self, seconds):
        """True when nothing comes within that time."""
        try:
            got = self.read(seconds)
        except TimeoutError:
            return True
        self._ready.insert(0, got)
        return False

    def ping(self):
        self.send(packet(PINGREQ))

    def disconnect(self):
        try:
            self.send(packet(DISCONNECT))
        except OSError:
            pass
        self.close()

    def close(self):
        self.socket.close()
