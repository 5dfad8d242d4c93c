"""What broke once when somebody tried to break it: slow readers, acks that carry publishes, a
gateway that cannot listen, a nursery that stands still, queues that are no longer configured."""

import json
import os
import re
import signal
import socket
import threading
import time
import unittest

import harness
from mqtt_raw import PINGREQ, PUBACK, Client, connect, packet
from stomp_raw import Client as StompClient
from stomp_raw import send

# Larger than what is ever synced on the loop: its commit is still under way when the turn ends.
DERIVED_BYTES = 100_000
WORKER = f"""
from sluice_worker import worker
for m in worker.messages():
    m.publish("out/x", m.payload.replace(b"own", b"out") + b"." * {DERIVED_BYTES})
    m.ack()
"""


class AckWithPublishes(harness.TestCase):
    """An ack and its publishes are one: who is told "finished" is told that of both."""

    def test_no_answer_leaves_before_what_the_ack_published_is_stored(self):
        script, log = self.folder / "worker.py", self.folder / "trace"
        script.write_text(WORKER)
        bounded = {"max_messages": 8, "overflow": "drop_oldest"}
        cfg = harness.config({"work": {}, "out": {}, "noise": bounded}, {"p": {
            "queue": "work", "command": [harness.PYTHON, str(script)],
            "env": {"PYTHONPATH": str(harness.SDK), "PYTHONDONTWRITEBYTECODE": "1"}}})
        g = self.gateway(cfg, env={
            "LD_PRELOAD": harness.shim("powercut"), "POWERCUT_ROOT": str(self.folder / "data"),
            "POWERCUT_SHADOW": str(self.folder / "shadow"), "POWERCUT_LOG": str(log),
            "POWERCUT_WATCH": "w-", "POWERCUT_LOG_BYTES": "64",
            "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}).start()
        client, over = Client(g.mqtt), threading.Event()
        noise = threading.Thread(target=self.keep_busy, args=(g.mqtt, over))
        noise.start()
        for i in range(1, 41):
            client.publish("work/x", f"w-own-{i}.".encode(), 1, i)
            self.assertEqual(client.expect(PUBACK, i), 0)
        over.set()
        noise.join()
        client.disconnect()
        g.await_empty("work")
        g.stop()
        self.assertEqual(self.early(log.read_text(), g.process.pid), [])

    @staticmethod
    def keep_busy(port, over):
        """A commit is always under way, so that messages are worked before they are written."""
        client = Client(port, "noise")
        while not over.is_set():
            client.publish("noise/x", b"." * DERIVED_BYTES)
            client.ping()
            client.read()
        client.disconnect()

    @staticmethod
    def early(trace, pid):
        """Packet ids whose PUBACK was sent before the message or what it became was durable."""
        named, durable, sent, early = set(), set(), set(), []
        for line in trace.splitlines():
            words = line.split()
            if int(words[2]) != pid:
                continue
            if words[3] == "sync":
                named |= {int(w.rsplit("-", 1)[1]) for w in words[5:] if re.fullmatch(r"w-(own|out)-\d+", w)}
            elif words[3] == "dsync":
                durable |= named
            elif words[3] == "send" and words[-1].startswith("4002"):
                sent.add(int(words[-1][4:8], 16))
                early += [i for i in sent - durable if i not in early]
        if sent != set(range(1, 41)):
            raise AssertionError(f"the trace shows other answers: {sorted(sent)}")
        return early


class SlowReaders(harness.TestCase):
    def test_a_peer_that_never_reads_cannot_keep_its_connection(self):
        g = self.gateway(harness.config()).start()
        s = socket.socket()
        self.addCleanup(s.close)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.connect(("127.0.0.1", g.mqtt))
        s.sendall(connect("slow", keep_alive=1))
        s.settimeout(0.5)
        with self.assertRaises(OSError):
            while True: # until the gateway's answers fill its side, and it stops to read
                s.sendall(packet(PINGREQ) * 65536)
        self.assertEqual(g.summary()[""]["connections"], 1)
        harness.wait_for(lambda: g.summary()[""]["connections"] == 0, "the connection's end", 45)
        other = Client(g.mqtt, "other")
        other.ping()
        self.assertEqual(other.read()[0], 13)
        other.disconnect()
        self.assertEqual(g.stop(), 0)


class Starting(harness.TestCase):
    def test_a_gateway_that_cannot_listen_never_says_ready(self):
        cfg = harness.config()
        cfg["listeners"] = [{"bind": f"unix:{self.folder}/missing/mqtt.sock", "protocol": "mqtt"}]
        g = self.gateway(cfg).spawn()
        self.assertEqual(g.wait(), 1)
        self.assertTrue(g.has_event("listen_failed"))
        self.assertFalse(g.has_event("ready"))

    def test_a_queue_that_is_no_longer_configured_keeps_messages_and_name(self):
        cfg = harness.config({"work": {}, "gone": {}})
        g = self.gateway(cfg).start()
        client = Client(g.mqtt)
        for i in range(1, 6):
            client.publish("gone/x", b"x", 1, i)
            client.expect(PUBACK, i)
        client.disconnect()
        g.stop()
        g.config = harness.config({"work": {}})
        g.config_path.write_text(json.dumps(g.config))
        g.start()
        self.assertEqual(g.event("queue_orphaned")["messages"], "5")
        self.assertEqual(g.event("queue_orphaned")["queue"], "gone")
        stomp = StompClient(g.stomp)
        stomp.send(send("/queue/gone", b"x", receipt="1"))
        self.assertEqual(stomp.read()[0], "ERROR")
        stomp.close()
        g.stop()
        g.config = cfg
        g.config_path.write_text(json.dumps(cfg))
        g.start()
        self.assertEqual(g.counters("gone")["ready"], 5)

    def test_a_queue_with_messages_stays_durable(self):
        cfg = harness.config()
        g = self.gateway(cfg).start()
        client = Client(g.mqtt)
        client.publish("work/x", b"x", 1, 1)
        client.expect(PUBACK, 1)
        client.disconnect()
        g.stop()
        cfg["queues"]["work"]["durable"] = False
        g.config_path.write_text(json.dumps(cfg))
        g.spawn()
        self.assertEqual(g.wait(), 2)
        self.assertEqual(g.event("queue_not_empty")["queue"], "work")


class Stopping(harness.TestCase):
    def test_a_second_signal_ends_the_gateway_though_the_nursery_stands_still(self):
        g = self.gateway(harness.config(pools={"p": harness.recorder(self.folder)}, drain_timeout="1s")).start()
        nursery = g.nursery()
        os.kill(nursery, signal.SIGSTOP)
        try:
            g.signal(signal.SIGTERM)
            g.event("stopping")
            g.signal(signal.SIGTERM)
            self.assertEqual(g.process.wait(20), 1)
        finally:
            os.kill(nursery, signal.SIGCONT)
        harness.wait_for(lambda: not g.family(), "the nursery and its workers to go", 20)


class Overload(harness.TestCase):
    def test_a_backlog_beyond_the_memory_limit_comes_back_whole_and_in_order(self):
        cfg = harness.config(limits={"memory": "16MiB"})
        g = self.gateway(cfg).start()
        n, body = 3000, b"." * 12_000
        client = Client(g.mqtt)
        reader = threading.Thread(target=lambda: [client.expect(PUBACK) for _ in range(n)])
        reader.start()
        for i in range(1, n + 1):
            client.publish("work/x", f"{i:05} ".encode() + body, 1, i)
        reader.join()
        client.disconnect()
        self.assertGreater(g.summary()[""]["bodies_evicted"], 0)
        g.stop()
        cfg["pools"] = {"p": harness.recorder(self.folder, prefetch=64)}
        g.config = cfg
        g.config_path.write_text(json.dumps(cfg))
        g.start()
        g.await_empty("work")
        self.assertEqual([w[5] for w in self.worked() if w[0] == "S"], [f"{i:05}" for i in range(1, n + 1)])


if __name__ == "__main__":
    unittest.main()
