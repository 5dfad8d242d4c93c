"""The clients that people use, as packaged: each gets its acknowledgement, and a worker has the
message within a second, unaltered."""

import json
import os
import subprocess
import threading
import time
import unittest
import warnings

import harness

warnings.filterwarnings("ignore", category=DeprecationWarning)
import paho.mqtt.client as paho  # noqa: E402
import paho.mqtt.properties as paho_properties  # noqa: E402
import stomp  # noqa: E402

BYTES = bytes(range(256)) + "grüße ☂".encode() + b"\0\0"
SOON = 1.0 if not harness.sanitized() else 5.0


class FirstMessage(harness.TestCase):
    """One gateway for all of it; what its worker wrote is read from `after` on."""

    def setUp(self):
        super().setUp()
        pool = harness.recorder(self.folder, env={"RECORD_FULL": "1"})
        self.gw = self.gateway(harness.config(pools={"p": pool})).start()

    def message(self, topic, seconds=None):
        """The worker's view of the message with that topic, and that it was soon."""
        begun = time.monotonic()

        def look():
            for words in self.worked():
                if words[0] == "S":
                    m = json.loads(words[5])
                    if m["topic"] == topic:
                        return m
            return None
        m = harness.wait_for(look, f"a message on {topic}")
        self.assertLess(time.monotonic() - begun, seconds or SOON)
        m["payload"] = bytes.fromhex(m["payload"])
        m["correlation"] = bytes.fromhex(m["correlation"])
        return m

    def run_client(self, *command, data=None):
        done = subprocess.run([str(c) for c in command], input=data, capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr).decode("utf-8", "replace"))
        return done


class MosquittoPub(FirstMessage):
    def pub(self, version, qos, topic):
        more = []
        if version == "mqttv5":
            more = ["-D", "publish", "user-property", "site", "north",
                    "-D", "publish", "user-property", "site", "süd",
                    "-D", "publish", "content-type", "application/octet-stream",
                    "-D", "publish", "response-topic", "answers/7",
                    "-D", "publish", "correlation-data", "job 7"]
        self.run_client("mosquitto_pub", "-h", "127.0.0.1", "-p", self.gw.mqtt, "-V", version,
                        "-i", "mp", "-q", qos, "-t", topic, "-s", *more, data=BYTES)

    def test_every_version_and_qos_reaches_a_worker_unaltered(self):
        for version in ("mqttv311", "mqttv5"):
            for qos in (0, 1, 2):
                with self.subTest(version=version, qos=qos):
                    topic = f"work/{version}/{qos}"
                    self.pub(version, qos, topic)
                    m = self.message(topic)
                    self.assertEqual(m["payload"], BYTES)
                    self.assertEqual((m["qos"], m["protocol"], m["client_id"]), (qos, "mqtt", "mp"))
                    if version == "mqttv5":
                        self.assertEqual(m["headers"], [["site", "north"], ["site", "süd"]])
                        self.assertEqual(m["content_type"], "application/octet-stream")
                        self.assertEqual(m["reply_to"], "answers/7")
                        self.assertEqual(m["correlation"], b"job 7")
                    else:
                        self.assertEqual(m["headers"], [])

    def test_an_empty_payload_is_a_message(self):
        self.run_client("mosquitto_pub", "-h", "127.0.0.1", "-p", self.gw.mqtt, "-q", 1,
                        "-t", "work/empty", "-n")
        self.assertEqual(self.message("work/empty")["payload"], b"")


class PahoPython(FirstMessage):
    def publish(self, version, qos, topic, properties=None):
        extra = {} if version == paho.MQTTv5 else {"clean_session": True}
        client = paho.Client(client_id="pp", protocol=version, **extra)
        client.connect("127.0.0.1", self.gw.mqtt, 20)
        client.loop_start()
        try:
            info = client.publish(topic, BYTES, qos, properties=properties)
            info.wait_for_publish(20)
            self.assertTrue(info.is_published())
        finally:
            client.disconnect()
            client.loop_stop()

    def test_every_version_and_qos_reaches_a_worker_unaltered(self):
        for version in (paho.MQTTv311, paho.MQTTv5):
            for qos in (0, 1, 2):
                with self.subTest(version=version, qos=qos):
                    topic, props = f"work/paho/{version}/{qos}", None
                    if version == paho.MQTTv5:
                        props = paho_properties.Properties(paho_properties.PacketTypes.PUBLISH)
                        props.UserProperty = [("a", "1"), ("b", "2"), ("a", "3")]
                        props.ContentType = "image/png"
                        props.ResponseTopic = "back/here"
                        props.CorrelationData = bytes(range(16))
                    self.publish(version, qos, topic, props)
                    m = self.message(topic)
                    self.assertEqual((m["payload"], m["qos"]), (BYTES, qos))
                    if props:
                        self.assertEqual(m["headers"], [["a", "1"], ["b", "2"], ["a", "3"]])
                        self.assertEqual((m["content_type"], m["reply_to"]), ("image/png", "back/here"))
                        self.assertEqual(m["correlation"], bytes(range(16)))


@unittest.skipUnless(os.path.exists(harness.program("e2e_paho_sync")), "Paho C is not installed")
class PahoC(FirstMessage):
    def test_the_synchronous_client_is_acknowledged(self):
        for version in (4, 5):
            for qos in (0, 1, 2):
                with self.subTest(version=version, qos=qos):
                    topic = f"work/c/{version}/{qos}"
                    self.run_client(harness.program("e2e_paho_sync"), self.gw.mqtt, version, qos, topic,
                                    "from C")
                    m = self.message(topic)
                    self.assertEqual((m["payload"], m["qos"]), (b"from C", qos))
                    if version == 5:
                        self.assertEqual(m["headers"], [["site", "north"], ["site", "south"]])
                        self.assertEqual((m["content_type"], m["reply_to"], m["correlation"]),
                                         ("text/plain", "answers/1", b"c-17"))

    def test_the_asynchronous_client_has_many_in_flight(self):
        for qos in (0, 1, 2):
            with self.subTest(qos=qos):
                topic = f"work/async/{qos}"
                self.run_client(harness.program("e2e_paho_async"), self.gw.mqtt, qos, topic, 500)

                def all_here():
                    mine = [json.loads(w[5]) for w in self.worked() if w[0] == "S"]
                    return sorted(bytes.fromhex(m["payload"]) for m in mine if m["topic"] == topic)
                want = sorted(f"pa-{i}".encode() for i in range(1, 501))
                harness.wait_for(lambda: all_here() == want, f"500 messages of QoS {qos}")


class Receipts(stomp.ConnectionListener):
    def __init__(self):
        self.changed, self.ids, self.errors, self.beats = threading.Condition(), set(), [], 0

    def on_receipt(self, frame):
        with self.changed:
            self.ids.add(frame.headers["receipt-id"])
            self.changed.notify_all()

    def on_error(self, frame):
        with self.changed:
            self.errors.append(frame)
            self.changed.notify_all()

    def on_heartbeat(self):
        with self.changed:
            self.beats += 1
            self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            return self.changed.wait_for(lambda: condition() or self.errors, 20) and not self.errors


class StompPy(FirstMessage):
    def connection(self, version, **more):
        kind = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}[version]
        c = kind([("127.0.0.1", self.gw.stomp)], **more)
        c.receipts = Receipts()
        c.set_listener("", c.receipts)
        c.connect(wait=True)
        self.addCleanup(lambda: c.is_connected() and c.disconnect())
        return c

    def test_every_version_gets_its_receipt_and_the_worker_the_message(self):
        for version in ("1.0", "1.1", "1.2"):
            with self.subTest(version=version):
                c = self.connection(version)
                name = f"m-{version}"
                headers = {"receipt": name, "colour": "blue", "reply-to": "answers/s",
                           "correlation-id": "corr-1", "content-length": str(len(BYTES))}
                if version != "1.0":
                    headers["colour"] = "blue: \\ and\nmore"
                    headers["content-type"] = "application/x-thing"
                c.send(f"/topic/work/stomp/v{version[2:]}", BYTES, headers=headers)
                self.assertTrue(c.receipts.wait(lambda: name in c.receipts.ids), c.receipts.errors)
                m = self.message(f"work/stomp/v{version[2:]}")
                self.assertEqual((m["payload"], m["protocol"]), (BYTES, "stomp"))
                self.assertIn(["colour", headers["colour"]], m["headers"])
                self.assertEqual((m["reply_to"], m["correlation"]), ("answers/s", b"corr-1"))
                if version != "1.0":
                    self.assertEqual(m["content_type"], "application/x-thing")
                c.disconnect()

    def test_a_queue_is_addressed_directly(self):
        c = self.connection("1.2")
        c.send("/queue/work", b"direct", headers={"receipt": "q"})
        self.assertTrue(c.receipts.wait(lambda: "q" in c.receipts.ids))
        harness.wait_for(lambda: any(json.loads(w[5])["payload"] == b"direct".hex()
                                     for w in self.worked() if w[0] == "S"), "the message", SOON)

    def test_dots_in_a_topic_are_levels(self):
        c = self.connection("1.2")
        c.send("/topic/work.with.dots", b"x", headers={"receipt": "d"})
        self.assertTrue(c.receipts.wait(lambda: "d" in c.receipts.ids))
        self.assertEqual(self.message("work/with/dots")["payload"], b"x")

    def test_heart_beats_keep_a_silent_connection(self):
        """The gateway beats every 10 s at most, so both versions wait for it side by side."""
        connections = [self.connection(v, heartbeats=(1000, 10000)) for v in ("1.1", "1.2")]
        for c in connections:
            self.assertTrue(c.receipts.wait(lambda: c.receipts.beats >= 1))
        for c in connections:
            c.send("/topic/work/beat", b"b", headers={"receipt": "b"})
            self.assertTrue(c.receipts.wait(lambda: "b" in c.receipts.ids))


if __name__ == "__main__":
    unittest.main()
