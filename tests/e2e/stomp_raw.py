"""STOMP 1.0 to 1.2 as bytes, for full-rate producers and for misbehaviour. Standard library only."""

import socket
import time


def escape(value):
    return (value.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
            .replace(":", "\\c"))


def unescape(value):
    out, i = [], 0
    while i < len(value):
        if value[i] == "\\" and i + 1 < len(value):
            out.append({"n": "\n", "r": "\r", "c": ":", "\\": "\\"}[value[i + 1]])
            i += 2
        else:
            out.append(value[i])
            i += 1
    return "".join(out)


def frame(command, headers=(), body=b""):
    pairs = headers.items() if isinstance(headers, dict) else headers
    quote = str if command in ("CONNECT", "STOMP") else escape
    head = "".join(f"{quote(k)}:{quote(str(v))}\n" for k, v in pairs)
    return f"{command}\n{head}\n".encode() + body + b"\0"


def send(destination, body, receipt=None, headers=()):
    pairs = [("destination", destination), ("content-length", len(body)), *headers]
    if receipt is not None:
        pairs.append(("receipt", receipt))
    return frame("SEND", pairs, body)


class Parser:
    """Bytes in, (command, headers, body) out; heart-beats are skipped."""

    def __init__(self):
        self._data = bytearray()

    def feed(self, data):
        self._data += data
        out = []
        while True:
            while self._data[:1] in (b"\n", b"\r"):
                del self._data[:1]
            got = self._one()
            if got is None:
                return out
            out.append(got)

    def _one(self):
        end = self._data.find(b"\n\n")
        if end < 0:
            return None
        lines = self._data[:end].decode("utf-8").split("\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.setdefault(unescape(name), unescape(value))
        at = end + 2
        stop = (at + int(headers["content-length"]) if "content-length" in headers
                else self._data.find(b"\0", at))
        if stop < 0 or stop >= len(self._data):
            return None
        body = bytes(self._data[at:stop])
        del self._data[:stop + 1]
        return lines[0], headers, body


class Message:
    """A MESSAGE that came."""

    def __init__(self, headers, body):
        self.headers, self.body = headers, body

    def __getitem__(self, name):
        return self.headers.get(name)

    def __repr__(self):
        return f"<{self.headers} {self.body[:40]!r}>"


class Client:
    """Blocking; for tests that look at single frames."""

    def __init__(self, port, version="1.2", timeout=30, heart_beat=None, receive_buffer=None, **more):
        self.version, self._receipts = version, 0
        self.socket = socket.socket()
        if receive_buffer is not None:  # before the connection is made: it bounds the window
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self._parser, self._ready = Parser(), []
        try:
            self._connect(port, heart_beat, more)
        except BaseException:
            self.close()
            raise

    def _connect(self, port, heart_beat, more):
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = [("accept-version", self.version), ("host", "e2e"), *pairs(more)]
        if heart_beat:
            headers.append(("heart-beat", heart_beat))
        self.send(frame("CONNECT", headers))
        self.connected = self.read()
        if self.connected[0] != "CONNECTED":
            raise ConnectionError(f"{self.connected}")

    def send(self, data):
        self.socket.sendall(data)

    def _receive(self, deadline):
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            raise TimeoutError("no frame came") from None
        if not data:
            raise ConnectionError("the gateway closed the connection")
        self._ready += self._parser.feed(data)

    def read(self, timeout=None):
        deadline = time.monotonic() + (timeout if timeout is not None else 30)
        while not self._ready:
            self._receive(deadline)
        return self._ready.pop(0)

    def receipt(self, wanted, timeout=None):
        got = self.read(timeout)
        if got[0] != "RECEIPT" or got[1].get("receipt-id") != wanted:
            raise AssertionError(f"{got} instead of RECEIPT {wanted}")

    def next(self, command, timeout=None):
        """The next frame of that kind: (headers, body). Others keep their places: a MESSAGE and a
        RECEIPT come in either order. An ERROR is the end of all waiting."""
        deadline = time.monotonic() + (timeout if timeout is not None else 30)
        seen = 0
        while True:
            for at in range(seen, len(self._ready)):
                if self._ready[at][0] == command:
                    return self._ready.pop(at)[1:]
                if self._ready[at][0] == "ERROR":
                    raise ConnectionError(f"{self._ready[at]}")
            seen = len(self._ready)
            self._receive(deadline)

    # -- frames that are answered

    def ask(self, command, headers=(), body=b""):
        """Sends it with a receipt, and has that."""
        self.answered(self.begin_to_ask(command, headers, body))

    def begin_to_ask(self, command, headers=(), body=b""):
        self._receipts += 1
        name = f"ask-{self._receipts}"
        self.send(frame(command, [*pairs(headers), ("receipt", name)], body))
        return name

    def answered(self, name):
        headers, _ = self.next("RECEIPT")
        if headers["receipt-id"] != name:
            raise AssertionError(f"receipt {headers} instead of {name}")

    def put(self, destination, body, **headers):
        self.ask("SEND", [("destination", destination), ("content-length", len(body)), *pairs(headers)], body)

    def subscribe(self, destination, id="1", ack="auto", **headers):
        self.ask("SUBSCRIBE", [("destination", destination), ("id", id), ("ack", ack), *pairs(headers)])

    def unsubscribe(self, id="1"):
        self.ask("UNSUBSCRIBE", [("id", id)])

    def answer(self, command, message, headers=()):
        """ACK or NACK as the version has it, at once; the bytes."""
        if self.version == "1.2":
            names = [("id", message["ack"])]
        else:
            names = [("message-id", message["message-id"]), ("subscription", message["subscription"])]
        return frame(command, [*names, *pairs(headers)])

    def ack(self, message, **headers):
        self.settle("ACK", message, headers)

    def nack(self, message, **headers):
        self.settle("NACK", message, headers)

    def settle(self, command, message, headers=()):
        """With a receipt: the answer is stored, or received in a transaction."""
        self._receipts += 1
        name = f"settle-{self._receipts}"
        self.send(self.answer(command, message, [*pairs(headers), ("receipt", name)]))
        self.answered(name)

    def begin(self, name):
        self.ask("BEGIN", [("transaction", name)])

    def commit(self, name):
        self.ask("COMMIT", [("transaction", name)])

    def abort(self, name):
        self.ask("ABORT", [("transaction", name)])

    # -- what comes

    def take(self, timeout=None):
        """The next message, with nothing answered."""
        return Message(*self.next("MESSAGE", timeout))

    def get(self, timeout=None):
        """The next message, acknowledged."""
        m = self.take(timeout)
        self.ack(m)
        return m

    def fence(self):
        """The messages that came before the receipt of a frame of ours: whatever the gateway had for
        this client when it read that is among them."""
        self.put("/topic/e2e/fence", b"")
        waiting = [Message(*f[1:]) for f in self._ready if f[0] == "MESSAGE"]
        self._ready = [f for f in self._ready if f[0] != "MESSAGE"]
        return waiting

    def closed(self, timeout=30):
        """Reads to the end, and closes; headers and text of the ERROR that came last, or None."""
        told = None
        try:
            while True:
                command, headers, body = self.read(timeout)
                if told is not None:
                    raise AssertionError(f"{command} behind ERROR")
                told = (headers, body.decode()) if command == "ERROR" else None
        except TimeoutError:
            raise AssertionError("the connection is still open") from None
        except OSError:
            self.close()
            return told

    def disconnect(self):
        self.ask("DISCONNECT")
        self.close()

    def close(self):
        self.socket.close()


def pairs(headers):
    """Of a dict or a list; `_` stands for the `-` that a name of Python cannot have."""
    if isinstance(headers, dict):
        return [(k.replace("_", "-"), v) for k, v in headers.items()]
    return list(headers)
