"""A producer that sends at full rate, loses its connection and goes on as its protocol says.
A process of its own: python3 producer.py PORTS_FILE JOURNAL NAME KIND [COUNT]

KIND    mqtt4.1 mqtt4.2 mqtt5.1 mqtt5.2 (version.qos), stomp
COUNT   so many messages; without it: until SIGTERM, then until all have their answer

The journal says, a line each: `sent UID`, `ok UID` (PUBACK, PUBCOMP, RECEIPT), `rec UID` (PUBREC),
`refused UID`, `told WHY` (the gateway said good-bye), `lost-session` (a session that had been acknowledged was gone), `resumed`.
A session is resumed exactly: what had no answer goes again with DUP under its packet id, what had
PUBREC goes on with PUBREL. Ends with 0 when nothing is open.
"""

import json
import os
import selectors
import signal
import socket
import sys
import time

import mqtt_raw
import stomp_raw

WINDOW = int(os.environ.get("PRODUCER_WINDOW", "100"))
PAD = int(os.environ.get("PRODUCER_PAD", "200"))
TOPIC = os.environ.get("PRODUCER_TOPIC", "work/e2e")
READ_BYTES = 65536
PATIENCE = float(os.environ.get("PRODUCER_PATIENCE", "120"))


class Journal:
    def __init__(self, path):
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lines = []

    def note(self, *words):
        self._lines.append(" ".join(words) + "\n")

    def flush(self):
        if self._lines:
            os.write(self._fd, "".join(self._lines).encode())
            self._lines = []


class Mqtt:
    """What is in flight, by packet id, in the order of sending: [uid, released]."""

    def __init__(self, name, version, qos):
        self.name, self.version, self.qos = name, version, qos
        self.open, self._next, self._acknowledged = {}, 0, False
        self._parser = None

    def hello(self):
        self._parser, self._greeted = mqtt_raw.Parser(), False
        return mqtt_raw.connect(self.name, self.version, clean=False, keep_alive=30)

    def packet(self, uid, packet_id, dup=False):
        return mqtt_raw.publish(TOPIC, payload_of(uid), self.qos, packet_id, self.version, dup)

    def send(self, uid):
        while True:
            self._next = self._next % 65535 + 1
            if self._next not in self.open:
                break
        self.open[self._next] = [uid, False]
        return self.packet(uid, self._next)

    def _resume(self, present, journal):
        if self._acknowledged and not present:
            journal.note("lost-session")
        out = []
        for packet_id, (uid, released) in self.open.items():
            if released:
                out.append(mqtt_raw.ack(mqtt_raw.PUBREL, packet_id))
            else:
                out.append(self.packet(uid, packet_id, dup=present))
        journal.note("resumed", "present" if present else "new", str(len(out)))
        return b"".join(out)

    def take(self, data, journal):
        """True when greeted, and bytes to send."""
        out = []
        for kind, _, body in self._parser.feed(data):
            if kind == mqtt_raw.CONNACK:
                if body[1] != 0:
                    raise ConnectionError(f"CONNACK {body[1]}")
                self._greeted = True
                out.append(self._resume(bool(body[0] & 1), journal))
            elif kind == mqtt_raw.DISCONNECT:
                journal.note("told", body.hex())
                raise ConnectionError("DISCONNECT")
            else:
                out.append(self._answer(kind, body, journal))
        return self._greeted, b"".join(out)

    def _answer(self, kind, body, journal):
        packet_id, reason = mqtt_raw.ack_of(body)
        uid = self.open.get(packet_id, ["?"])[0]
        self._acknowledged = True
        if reason >= 0x80 and kind != mqtt_raw.PUBCOMP:  # 0x92: our PUBREL came twice, all is done
            journal.note("refused", uid, hex(reason), str(kind))
            del self.open[packet_id]
            return b""
        if kind == mqtt_raw.PUBREC:
            journal.note("rec", uid)
            self.open[packet_id][1] = True
            return mqtt_raw.ack(mqtt_raw.PUBREL, packet_id)
        if kind not in (mqtt_raw.PUBACK, mqtt_raw.PUBCOMP):
            raise AssertionError(f"unexpected packet {kind}")
        journal.note("ok", uid)
        del self.open[packet_id]
        return b""

    @staticmethod
    def goodbye():
        return mqtt_raw.packet(mqtt_raw.DISCONNECT)


class Stomp:
    def __init__(self, name):
        self.name, self.open, self._parser, self._greeted = name, {}, None, False

    def hello(self):
        self._parser, self._greeted = stomp_raw.Parser(), False
        return stomp_raw.frame("CONNECT", [("accept-version", "1.2"), ("host", "e2e")])

    def send(self, uid):
        self.open[uid] = True
        return stomp_raw.send("/topic/" + TOPIC, payload_of(uid), uid)

    def take(self, data, journal):
        out = b""
        for command, headers, body in self._parser.feed(data):
            if command == "CONNECTED":
                self._greeted = True
                journal.note("resumed", "new", str(len(self.open)))
                out = b"".join(self.send(uid) for uid in list(self.open))
            elif command == "RECEIPT":
                journal.note("ok", headers["receipt-id"])
                self.open.pop(headers["receipt-id"], None)
            else:
                kind = "refused" if "receipt-id" in headers else "told"
                journal.note(kind, command, headers.get("message", "").replace(" ", "_"))
                raise ConnectionError(command)
        return self._greeted, out

    @staticmethod
    def goodbye():
        return stomp_raw.frame("DISCONNECT")


def payload_of(uid):
    return uid.encode() + b" " + b"." * PAD


class Producer:
    def __init__(self, ports, journal, protocol, count):
        self.ports, self.journal, self.protocol, self.count = ports, journal, protocol, count
        self.made, self.stopping = 0, False
        self.door = "stomp" if isinstance(protocol, Stomp) else "mqtt"

    def finished(self):
        done = self.stopping or (self.count is not None and self.made >= self.count)
        return done and not self.protocol.open

    def _fill(self):
        out = []
        while (len(self.protocol.open) < WINDOW and not self.stopping
               and (self.count is None or self.made < self.count)):
            self.made += 1
            uid = f"{self.protocol.name}-{self.made}"
            self.journal.note("sent", uid)
            out.append(self.protocol.send(uid))
        return b"".join(out)

    def _connection(self):
        with open(self.ports) as f:
            port = json.load(f)[self.door]
        sock = socket.create_connection(("127.0.0.1", port), 5)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _talk(self, sock, poll):
        """Until all is done (True) or the connection ends (False)."""
        out, greeted = bytearray(self.protocol.hello()), False
        silent_since = time.monotonic()
        while True:
            if greeted and not out:
                out += self._fill()
            self.journal.flush()
            if greeted and self.finished() and not out:
                return True
            poll.modify(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0))
            events = poll.select(0.5)
            if time.monotonic() - silent_since > PATIENCE:
                raise SystemExit(f"{self.protocol.name}: no answer in {PATIENCE} s; "
                                 f"{len(self.protocol.open)} open")
            for _, mask in events:
                if mask & selectors.EVENT_READ:
                    data = sock.recv(READ_BYTES)
                    if not data:
                        return False
                    silent_since = time.monotonic()
                    greeted, more = self.protocol.take(data, self.journal)
                    out += more
                if mask & selectors.EVENT_WRITE and out:
                    del out[:sock.send(out)]

    def _once(self):
        sock = self._connection()
        with selectors.DefaultSelector() as poll:
            poll.register(sock, selectors.EVENT_READ)
            try:
                done = self._talk(sock, poll)
                if done:
                    sock.setblocking(True)
                    sock.sendall(self.protocol.goodbye())
                return done
            finally:
                sock.close()

    def run(self):
        deadline = time.monotonic() + PATIENCE
        while not self.finished():
            try:
                if self._once():
                    break
                deadline = time.monotonic() + PATIENCE
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)
        self.journal.flush()


def main():
    ports, journal, name, kind = sys.argv[1:5]
    count = int(sys.argv[5]) if len(sys.argv) > 5 else None
    if kind == "stomp":
        protocol = Stomp(name)
    else:
        version, qos = kind[len("mqtt"):].split(".")
        protocol = Mqtt(name, int(version), int(qos))
    producer = Producer(ports, Journal(journal), protocol, count)

    def stop(number, frame):
        producer.stopping = True
    signal.signal(signal.SIGTERM, stop)
    producer.run()


if __name__ == "__main__":
    main()
