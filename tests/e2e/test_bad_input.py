"""Nothing that a client sends can crash or hang the gateway: random bytes and damaged streams
against both listeners, while a good client gets its answers. SLUICE_SEED repeats a run."""

import socket
import unittest

import harness
import mqtt_raw
import stomp_raw

STREAMS = 200


def mqtt_stream(version):
    c = mqtt_raw
    props = b"\x26\x00\x01a\x00\x01b\x03\x00\x01t" if version == 5 else b""
    return (c.connect("bad", version, clean=False) + c.publish("work/x", b"a" * 50, 1, 1, version, props=props)
            + c.publish("work/x", b"b" * 50, 2, 2, version) + c.ack(c.PUBREL, 2) + c.packet(c.PINGREQ)
            + c.publish("work/x", b"", 0, 0, version) + c.packet(c.DISCONNECT))


def stomp_stream():
    s = stomp_raw
    return (s.frame("CONNECT", [("accept-version", "1.1,1.2"), ("host", "x"), ("heart-beat", "0,0")])
            + s.send("/topic/work/x", b"with\0nul", "r1", [("a", "b:c\\n")])
            + s.frame("BEGIN", [("transaction", "t")])
            + s.frame("SEND", [("destination", "/queue/work"), ("transaction", "t")], b"body")
            + s.frame("COMMIT", [("transaction", "t"), ("receipt", "r2")]) + s.frame("DISCONNECT"))


class BadInput(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.seed, self.dice = harness.seeded()
        self.gw = self.gateway(harness.config(limits={"partial_packet": "8KiB"})).start()
        self.good = mqtt_raw.Client(self.gw.mqtt, "good")
        self.good_stomp = stomp_raw.Client(self.gw.stomp)
        self.addCleanup(self.good.close)
        self.addCleanup(self.good_stomp.close)
        self.sent = 0

    def throw(self, port, data):
        """Sends it in random pieces, in the end closes or resets."""
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            s.settimeout(10)
            try:
                while data:
                    n = self.dice.choice((1, 2, 3, 7, 64, len(data)))
                    s.sendall(data[:n])
                    data = data[n:]
                if self.dice.random() < 0.5:
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
            except (ConnectionError, BrokenPipeError):
                pass  # The gateway has closed, as it should.

    def damage(self, data):
        data = bytearray(data)
        for _ in range(self.dice.randint(1, 4)):
            at = self.dice.randrange(len(data)) if data else 0
            fate = self.dice.randrange(4)
            if fate == 0 and data:
                data[at] = self.dice.randrange(256)
            elif fate == 1:
                del data[at:at + self.dice.randint(1, 8)]
            elif fate == 2:
                data[at:at] = self.dice.randbytes(self.dice.randint(1, 8))
            else:
                del data[max(at, 1):]
        return bytes(data)

    def still_good(self):
        self.sent += 1
        self.good.publish("work/good", b"good", 1, self.sent)
        self.assertEqual(self.good.expect(mqtt_raw.PUBACK, self.sent), 0)
        self.good_stomp.send(stomp_raw.send("/topic/work/good", b"good", f"g{self.sent}"))
        self.good_stomp.receipt(f"g{self.sent}")

    def finish(self, streams=0):
        self.still_good()
        self.assertGreaterEqual(self.gw.summary()[""]["connections_opened"], streams + 2)
        self.good.disconnect()
        self.good_stomp.send(stomp_raw.frame("DISCONNECT"))
        harness.wait_for(lambda: self.gw.summary()[""]["connections"] <= 1, "all others to be closed")
        self.good_stomp.close()
        self.assertIsNone(self.gw.process.poll(), "the gateway has died")
        self.assertEqual(self.gw.stop(), 0)

    def run_streams(self, make):
        for i in range(STREAMS):
            port = (self.gw.mqtt, self.gw.stomp)[i % 2]
            self.throw(port, make(i))
            if i % 10 == 0:
                self.still_good()
        self.finish(STREAMS)

    def test_random_bytes(self):
        self.run_streams(lambda i: self.dice.randbytes(self.dice.randint(1, 3000)))

    def test_damaged_streams(self):
        valid = [mqtt_stream(4), stomp_stream(), mqtt_stream(5), stomp_stream()]
        self.run_streams(lambda i: self.damage(valid[i % 4]))

    def test_streams_that_end_anywhere(self):
        valid = [mqtt_stream(4), stomp_stream(), mqtt_stream(5), stomp_stream()]
        self.run_streams(lambda i: valid[i % 4][:1 + i * len(valid[i % 4]) // STREAMS])

    def test_valid_greeting_and_random_rest(self):
        hello = [mqtt_raw.connect("x", 4), stomp_raw.frame("CONNECT", [("accept-version", "1.2"), ("host", "h")]),
                 mqtt_raw.connect("x", 5)]
        hello.append(hello[1])
        self.run_streams(lambda i: hello[i % 4] + self.dice.randbytes(self.dice.randint(1, 500)))

    def test_half_packets_before_connect_are_bounded(self):
        """A CONNECT that promises more than partial_packet is refused at once."""
        with socket.create_connection(("127.0.0.1", self.gw.mqtt), 10) as s:
            s.settimeout(10)
            s.sendall(b"\x10\xff\xff\x7f" + b"\0" * 100)
            try:
                while s.recv(1000):
                    pass
            except ConnectionError:
                pass
        with socket.create_connection(("127.0.0.1", self.gw.stomp), 10) as s:
            s.settimeout(10)
            got = b""
            try:
                s.sendall(b"CONNECT\nx:" + b"a" * 100000)
                while chunk := s.recv(1000):
                    got += chunk
            except (ConnectionError, BrokenPipeError):
                pass
        self.finish()


if __name__ == "__main__":
    unittest.main()
