"""Between clients and a gateway: writes down every byte as a pcap file, with IP and TCP headers of its
own making, so that it needs no rights and tshark reads it as traffic of port 1883."""

import collections
import itertools
import select
import socket
import struct
import threading
import time

MQTT_PORT = 1883
SEGMENT = 1400
SYN, FIN, PSH, ACK = 2, 1, 8, 16
CLIENT, SERVER = "127.0.0.1", "127.0.0.2"
LINKTYPE_RAW = 101

Chunk = collections.namedtuple("Chunk", "at connection up data")  # data: b"" is the end of that side


class Proxy:
    """Listens on a port of its own; `chunks` has what passed, in order."""

    def __init__(self, port):
        self.target, self.chunks, self._lock = port, [], threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads, self._numbers = [], itertools.count(1)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            t = threading.Thread(target=self._pass, args=(next(self._numbers), client, server), daemon=True)
            self._threads.append(t)
            t.start()

    def _note(self, connection, up, data):
        with self._lock:
            self.chunks.append(Chunk(time.time(), connection, up, data))

    def _pass(self, number, client, server):
        other = {client: server, server: client}
        open_sides = [client, server]
        while open_sides:
            for side in select.select(open_sides, [], [])[0]:
                try:
                    data = side.recv(65536)
                except OSError:
                    data = b""
                self._note(number, side is client, data)
                try:
                    other[side].sendall(data) if data else other[side].shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                if not data:
                    open_sides.remove(side)
        client.close()
        server.close()

    def finish(self, seconds=30):
        """Waits until every connection has ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        deadline = time.monotonic() + seconds
        for t in self._threads:
            t.join(max(0, deadline - time.monotonic()))
            if t.is_alive():
                raise AssertionError("a connection through the proxy is still open")
        return self.chunks


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source, target, tcp, payload):
    length = 20 + len(tcp) + len(payload)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 6, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + tcp + payload


class Pcap:
    """TCP conversations, one packet after another."""

    def __init__(self, path):
        self._file = open(path, "wb")
        self._file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_RAW))
        self._next = {}  # (connection, up): sequence number

    def close(self):
        self._file.close()

    def _packet(self, at, connection, up, flags, payload=b""):
        ports = (20000 + connection, MQTT_PORT) if up else (MQTT_PORT, 20000 + connection)
        ends = (CLIENT, SERVER) if up else (SERVER, CLIENT)
        mine, other = self._next[connection, up], self._next[connection, not up]
        tcp = struct.pack(">HHIIBBHHH", *ports, mine, other if flags & ACK else 0, 0x50, flags, 65535, 0, 0)
        data = ip_packet(*ends, tcp, payload)
        self._file.write(struct.pack("<IIII", int(at), int(at % 1 * 1e6), len(data), len(data)) + data)
        self._next[connection, up] += len(payload) + (1 if flags & (SYN | FIN) else 0)

    def _begin(self, at, connection):
        self._next[connection, True] = self._next[connection, False] = 1000
        self._packet(at, connection, True, SYN)
        self._packet(at, connection, False, SYN | ACK)
        self._packet(at, connection, True, ACK)

    def add(self, chunk):
        at, connection, up, data = chunk
        if (connection, up) not in self._next:
            self._begin(at, connection)
        if not data:
            self._packet(at, connection, up, FIN | ACK)
        for first in range(0, len(data), SEGMENT):
            self._packet(at, connection, up, PSH | ACK, data[first:first + SEGMENT])
        self._packet(at, connection, not up, ACK)


def write(path, chunks):
    pcap = Pcap(path)
    for chunk in chunks:
        pcap.add(chunk)
    pcap.close()
