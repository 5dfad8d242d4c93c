"""MQTT 3.1.1 and 5 as bytes: enough of a client to send at full rate, to resume a session
exactly, and to misbehave on purpose. Standard library only."""

import socket
import struct
import time

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)
FOREVER = 0xFFFFFFFF

# Name: identifier and form. B, H, I: numbers of 1, 2, 4 bytes; v: of variable length; s: text;
# b: bytes; p: a list of pairs; l: a list of numbers of variable length.
PROPERTIES = {
    "payload_format": (0x01, "B"), "message_expiry": (0x02, "I"), "content_type": (0x03, "s"),
    "response_topic": (0x08, "s"), "correlation": (0x09, "b"), "subscription_id": (0x0B, "l"),
    "session_expiry": (0x11, "I"), "assigned_id": (0x12, "s"), "server_keep_alive": (0x13, "H"),
    "auth_method": (0x15, "s"), "auth_data": (0x16, "b"), "problem_information": (0x17, "B"),
    "will_delay": (0x18, "I"), "response_requested": (0x19, "B"), "response_information": (0x1A, "s"),
    "server_reference": (0x1C, "s"), "reason": (0x1F, "s"), "receive_maximum": (0x21, "H"),
    "alias_maximum": (0x22, "H"), "alias": (0x23, "H"), "maximum_qos": (0x24, "B"),
    "retain_available": (0x25, "B"), "user": (0x26, "p"), "maximum_packet": (0x27, "I"),
    "wildcards_available": (0x28, "B"), "ids_available": (0x29, "B"), "shared_available": (0x2A, "B"),
}
NAMES = {number: (name, form) for name, (number, form) in PROPERTIES.items()}


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


def properties(**values):
    """With their length, as they stand in a packet."""
    out = bytearray()
    for name, value in values.items():
        number, form = PROPERTIES[name]
        many = value if form in "pl" and isinstance(value, (list, tuple)) else [value]
        for one in many:
            out.append(number)
            if form == "p":
                out += text(one[0]) + text(one[1])
            elif form in "vl":
                out += varint(one)
            else:
                out += text(one) if form in "sb" else struct.pack(">" + form, one)
    return varint(len(out)) + bytes(out)


def connect(client_id, version=4, clean=True, keep_alive=60, expiry=None, receive_maximum=None,
            will=None, **more):
    """will: a dict of topic, payload, qos, retain; what else it holds are its properties."""
    flags, tail = 2 if clean else 0, b""
    if will is not None:
        will = {"payload": b"", "qos": 0, "retain": False, **will}
        topic, payload, qos = will.pop("topic"), will.pop("payload"), will.pop("qos")
        flags |= 4 | qos << 3 | (32 if will.pop("retain") else 0)
        tail = (properties(**will) if version == 5 else b"") + text(topic) + text(payload)
    props = b""
    if version == 5:
        if expiry is None and not clean:
            expiry = FOREVER
        if expiry is not None:
            more["session_expiry"] = expiry
        if receive_maximum is not None:
            more["receive_maximum"] = receive_maximum
        props = properties(**more)
    return packet(CONNECT, text("MQTT") + bytes([version, flags])
                  + struct.pack(">H", keep_alive) + props + text(client_id) + tail)


def options(qos=0, no_local=False, as_published=False, handling=0):
    """The byte behind a filter."""
    return qos | (4 if no_local else 0) | (8 if as_published else 0) | handling << 4


def subscribe(packet_id, filters, version=4, **props):
    """filters: of (filter, options byte); a QoS is an options byte, too."""
    body = struct.pack(">H", packet_id) + (properties(**props) if version == 5 else b"")
    return packet(SUBSCRIBE, body + b"".join(text(f) + bytes([o]) for f, o in filters), 2)


def unsubscribe(packet_id, filters, version=4, **props):
    body = struct.pack(">H", packet_id) + (properties(**props) if version == 5 else b"")
    return packet(UNSUBSCRIBE, body + b"".join(text(f) for f in filters), 2)


def publish(topic, payload, qos=0, packet_id=0, version=4, dup=False, retain=False, props=b""):
    body = text(topic) + (struct.pack(">H", packet_id) if qos else b"")
    if version == 5:
        body += varint(len(props)) + props
    return packet(PUBLISH, body + payload, (8 if dup else 0) | qos << 1 | (1 if retain else 0))


def ack(kind, packet_id, reason=0):
    body = struct.pack(">H", packet_id) + (bytes([reason]) if reason else b"")
    return packet(kind, body, 2 if kind == PUBREL else 0)


class Reader:
    """The parts of a packet, one after another."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def number(self, form):
        value, = struct.unpack_from(">" + form, self.body, self.at)
        self.at += struct.calcsize(form)
        return value

    def varint(self):
        value, shift = 0, 0
        while True:
            byte = self.number("B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def data(self):
        length = self.number("H")
        self.at += length
        return self.body[self.at - length:self.at]

    def text(self):
        return self.data().decode()

    def properties(self):
        found, end = {}, self.varint()
        end += self.at
        while self.at < end:
            name, form = NAMES[self.varint()]
            if form == "p":
                found.setdefault(name, []).append((self.text(), self.text()))
            elif form == "l":
                found.setdefault(name, []).append(self.varint())
            elif name in found:
                raise AssertionError(f"{name} stands twice")
            else:
                found[name] = {"s": self.text, "b": self.data}.get(form, lambda: self.number(form))()
        return found

    def rest(self):
        return self.body[self.at:]


class Message:
    """A PUBLISH that came."""

    def __init__(self, flags, body, version):
        r = Reader(body)
        self.qos, self.dup, self.retain = flags >> 1 & 3, bool(flags & 8), bool(flags & 1)
        self.topic = r.text()
        self.packet_id = r.number("H") if self.qos else 0
        self.properties = r.properties() if version == 5 else {}
        self.payload = r.rest()

    def __repr__(self):
        return (f"<{self.topic} qos={self.qos} id={self.packet_id} dup={self.dup} retain={self.retain} "
                f"{self.properties} {self.payload[:40]!r}>")


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

    def __init__(self, port, client_id="raw", version=4, timeout=30, receive_buffer=None, **more):
        self.version, self._next_id = version, 0
        self.socket = socket.socket()
        if receive_buffer is not None:  # before the connection is made: it bounds the window
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser, self._ready = Parser(), []
        self.send(connect(client_id, version, **more))
        kind, _, body = self.read()
        if kind != CONNACK:
            raise ConnectionError(f"packet {kind} instead of CONNACK")
        self.session_present, self.code = body[0] & 1, body[1]
        self.properties = Reader(body[2:]).properties() if version == 5 else {}

    def send(self, data):
        self.socket.sendall(data)

    def _receive(self, deadline):
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            raise TimeoutError("no packet came") from None
        if not data:
            raise ConnectionError("the gateway closed the connection")
        self._ready += self._parser.feed(data)

    def read(self, timeout=None):
        """The next packet; ConnectionError at the end, TimeoutError in vain."""
        deadline = time.monotonic() + (timeout if timeout is not None else 30)
        while not self._ready:
            self._receive(deadline)
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

    def next(self, kind, timeout=None):
        """The next packet of that kind: (flags, body). Others keep their places: a delivery and an
        answer come in either order."""
        deadline = time.monotonic() + (timeout if timeout is not None else 30)
        seen = 0
        while True:
            for at in range(seen, len(self._ready)):
                if self._ready[at][0] == kind:
                    return self._ready.pop(at)[1:]
            seen = len(self._ready)
            self._receive(deadline)

    def new_id(self):
        self._next_id = self._next_id % 65535 + 1
        return self._next_id

    def subscribe(self, *filters, **props):
        """Reason codes, one for each (filter, options)."""
        packet_id = self.new_id()
        self.send(subscribe(packet_id, filters, self.version, **props))
        return self._codes(SUBACK, packet_id)

    def unsubscribe(self, *filters):
        packet_id = self.new_id()
        self.send(unsubscribe(packet_id, filters, self.version))
        return self._codes(UNSUBACK, packet_id)

    def _codes(self, kind, packet_id):
        r = Reader(self.next(kind)[1])
        if r.number("H") != packet_id:
            raise AssertionError("an answer to another request")
        if self.version == 5:
            r.properties()
        return list(r.rest())

    def put(self, topic, payload, qos=1, retain=False, **props):
        """Publishes and has its answers; the reason code of the last."""
        packet_id = self.new_id() if qos else 0
        encoded = properties(**props) if self.version == 5 else b""
        head = text(topic) + (struct.pack(">H", packet_id) if qos else b"")
        self.send(packet(PUBLISH, head + encoded + payload, qos << 1 | (1 if retain else 0)))
        if qos == 0:
            return 0
        reason = self.answer(PUBACK if qos == 1 else PUBREC, packet_id)
        if qos == 2 and reason < 0x80:
            self.send(ack(PUBREL, packet_id))
            self.answer(PUBCOMP, packet_id)
        return reason

    def answer(self, kind, packet_id, timeout=None):
        """The next answer of that kind, which must be to that id; its reason code."""
        have, reason = ack_of(self.next(kind, timeout)[1])
        if have != packet_id:
            raise AssertionError(f"packet id {have} instead of {packet_id}")
        return reason

    def take(self, timeout=None):
        """The next message, with nothing answered."""
        return Message(*self.next(PUBLISH, timeout), self.version)

    def get(self, timeout=None):
        """The next message, answered to its end."""
        m = self.take(timeout)
        self.settle(m)
        return m

    def settle(self, m):
        if m.qos == 1:
            self.send(ack(PUBACK, m.packet_id))
        elif m.qos == 2:
            self.send(ack(PUBREC, m.packet_id))
            self.answer(PUBREL, m.packet_id)
            self.send(ack(PUBCOMP, m.packet_id))

    def closed(self, timeout=10):
        """Reads to the end, and closes; the reason code of the DISCONNECT that came last, or None."""
        told = None
        try:
            while True:
                kind, _, body = self.read(timeout)
                told = (body[0] if body else 0) if kind == DISCONNECT else told
        except TimeoutError:
            raise AssertionError("the connection is still open") from None
        except OSError:
            self.close()
            return told

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

    def fence(self):
        """What came before our PINGRESP; packets as (kind, flags, body). Whatever the gateway had
        for this client when it read the PINGREQ is among them."""
        self.ping()
        out = []
        while True:
            got = self.read()
            if got[0] == PINGRESP:
                return out
            out.append(got)

    def disconnect(self):
        try:
            self.send(packet(DISCONNECT))
        except OSError:
            pass
        self.close()

    def close(self):
        self.socket.close()
