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


class Client:
    """Blocking; for tests that look at single frames."""

    def __init__(self, port, version="1.2", timeout=30, heart_beat=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._parser, self._ready = Parser(), []
        headers = [("accept-version", version), ("host", "e2e")]
        if heart_beat:
            headers.append(("heart-beat", heart_beat))
        self.send(frame("CONNECT", headers))
        self.connected = self.read()
        if self.connected[0] != "CONNECTED":
            raise ConnectionError(f"{self.connected}")

    def send(self, data):
        self.socket.sendall(data)

    def read(self, timeout=None):
        deadline = time.monotonic() + (timeout if timeout is not None else 30)
        while not self._ready:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                raise TimeoutError("no frame came") from None
            if not data:
                raise ConnectionError("the gateway closed the connection")
            self._ready = self._parser.feed(data)
        return self._ready.pop(0)

    def receipt(self, wanted, timeout=None):
        got = self.read(timeout)
        if got[0] != "RECEIPT" or got[1].get("receipt-id") != wanted:
            raise AssertionError(f"{got} instead of RECEIPT {wanted}")

    def close(self):
        self.socket.close()
