"""A subscriber with a lasting session that loses its connection and goes on as its protocol says.
A process of its own: python3 subscriber.py PORTS_FILE JOURNAL NAME VERSION QOS FILTER…

The journal says, a line each: `got UID ID DUP QOS` (a message that is new to it), `again UID ID DUP QOS`
(QoS 2 whose id it holds still), `subscribed`, `resumed`, `lost-session`, `told WHY`. A message is in
the journal before its answer leaves. SIGUSR1 drops the connection with its answers unsent. Ends
with 0 when it has had the message `end` and holds nothing open. SUBSCRIBER_WINDOW is its Receive Maximum,
in version 5.
"""

import json
import os
import random
import signal
import socket
import sys
import time

import mqtt_raw
from producer import PATIENCE, READ_BYTES, Journal

END = "end"
WINDOW = int(os.environ.get("SUBSCRIBER_WINDOW", "65535"))


class Dropped(Exception):
    """On request."""


class Subscriber:
    def __init__(self, ports, journal, name, version, qos, filters):
        self.ports, self.journal = ports, journal
        self.name, self.version, self.qos, self.filters = name, version, qos, filters
        self.open = {}  # QoS 2 that was taken and not released: packet id to uid
        self.subscribed = self.ended = self.drop = False
        self.dice = random.Random(name)

    def finished(self):
        return self.ended and not self.open

    def _connection(self):
        with open(self.ports) as f:
            port = json.load(f)["mqtt"]
        sock = socket.create_connection(("127.0.0.1", port), 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _greeted(self, body):
        if body[1] != 0:
            raise ConnectionError(f"CONNACK {body[1]}")
        present = bool(body[0] & 1)
        if self.subscribed and not present:
            self.journal.note("lost-session")
        if not present:
            self.open.clear()
        self.journal.note("resumed", "present" if present else "new", str(len(self.open)))
        if self.subscribed and present:
            return b""
        return mqtt_raw.subscribe(1, [(f, self.qos) for f in self.filters], self.version)

    def _message(self, flags, body):
        m = mqtt_raw.Message(flags, body, self.version)
        uid = m.payload.split(b" ")[0].decode()
        words = [uid, str(m.packet_id), str(int(m.dup)), str(m.qos)]
        if m.qos == 2 and m.packet_id in self.open:
            self.journal.note("again", *words)
            return mqtt_raw.ack(mqtt_raw.PUBREC, m.packet_id)
        self.journal.note("got", *words)
        self.ended = self.ended or uid == END
        if m.qos == 2:
            self.open[m.packet_id] = uid
            return mqtt_raw.ack(mqtt_raw.PUBREC, m.packet_id)
        return mqtt_raw.ack(mqtt_raw.PUBACK, m.packet_id) if m.qos == 1 else b""

    def _take(self, kind, flags, body):
        if kind == mqtt_raw.CONNACK:
            return self._greeted(body)
        if kind == mqtt_raw.PUBLISH:
            return self._message(flags, body)
        if kind == mqtt_raw.PUBREL:
            packet_id = mqtt_raw.ack_of(body)[0]
            self.open.pop(packet_id, None)
            return mqtt_raw.ack(mqtt_raw.PUBCOMP, packet_id)
        if kind == mqtt_raw.SUBACK:
            self.journal.note("subscribed")
            self.subscribed = True
            return b""
        self.journal.note("told", body.hex())
        raise ConnectionError(f"packet {kind}")

    def _once(self):
        """Until all is done (True) or the connection ends (False)."""
        parser = mqtt_raw.Parser()
        with self._connection() as sock:
            sock.settimeout(PATIENCE)
            sock.sendall(mqtt_raw.connect(self.name, self.version, clean=False, keep_alive=0,
                                          receive_maximum=WINDOW))
            while not self.finished():
                data = sock.recv(READ_BYTES)
                if not data:
                    return False
                out = b"".join(self._take(*p) for p in parser.feed(data))
                self.journal.flush()
                if self.drop:
                    raise Dropped
                sock.sendall(out)
            sock.sendall(mqtt_raw.packet(mqtt_raw.DISCONNECT))
            return True

    def run(self):
        deadline = time.monotonic() + PATIENCE
        while not self.finished():
            try:
                if self._once():
                    break
                deadline = time.monotonic() + PATIENCE
            except Dropped:
                self.drop = False
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    raise
            self.journal.flush()
            time.sleep(self.dice.uniform(0.01, 0.2))  # away for a while, so that messages wait for it
        self.journal.flush()


def main():
    ports, journal, name, version, qos, *filters = sys.argv[1:]
    subscriber = Subscriber(ports, Journal(journal), name, int(version), int(qos), filters)

    def drop(number, frame):
        subscriber.drop = True
    signal.signal(signal.SIGUSR1, drop)
    subscriber.run()


if __name__ == "__main__":
    main()
