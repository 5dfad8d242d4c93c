"""What goes over the wire, in both versions, as tshark reads it: every packet is one that it knows,
nothing is malformed, and nothing is remarked on. The exchange has every packet type that the gateway
sends and every property."""

import subprocess
import unittest

import harness
import mqtt_raw
import wire_capture
from mqtt_raw import (CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK,
                      UNSUBACK, ack, options, packet)

WARNING = 0x600000  # the severity from which on a remark counts; a note is that a connection ends
SENT = {CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP}
# Where the gateway sends which property. Maximum QoS and the three about subscriptions have their
# defaults and are left out; there is no other server to refer to, and no AUTH exchange.
PROPERTIES = {
    CONNACK: {"receive_maximum", "maximum_packet", "alias_maximum", "assigned_id", "server_keep_alive",
              "response_information", "reason"},
    PUBLISH: {"payload_format", "message_expiry", "content_type", "response_topic", "correlation",
              "subscription_id", "alias", "user"},
    PUBACK: {"reason"}, PUBREC: {"reason"}, PUBCOMP: {"reason"},
    DISCONNECT: {"reason"},
}
# Text, since tshark takes correlation data for a string and remarks on other bytes.
MEANING = {"payload_format": 1, "message_expiry": 1000, "content_type": "text/plain",
           "response_topic": "back/here", "correlation": b"c-17",
           "user": [("a", "1"), ("b", "2"), ("a", "3")]}
LISTENERS = [{"bind": "127.0.0.1:0", "protocol": "mqtt", "receive_maximum": 10, "max_keep_alive": "600s",
              "response_information": "back/%c"},
             {"bind": "127.0.0.1:0", "protocol": "stomp"}]


def tshark(path, *fields, only=None):
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=a", "-E", "separator=/t"]
    command += ["-Y", only] if only else []
    for f in fields:
        command += ["-e", f]
    done = subprocess.run(command, capture_output=True, text=True, timeout=harness.PATIENCE * 2)
    if done.returncode != 0:
        raise AssertionError(f"tshark: {done.stderr}")
    return [line.split("\t") for line in done.stdout.splitlines()]


def remarks(path):
    """Everything that tshark found wrong, doubtful or unknown."""
    return tshark(path, "frame.number", "_ws.expert.message",
                  only=f"_ws.expert.severity >= {WARNING} || _ws.malformed || mqtt.prop_unknown")


def packets_of(chunks, up):
    """By our own parser: connection to its packets."""
    parsers, out = {}, {}
    for c in chunks:
        if c.up == up:
            parser = parsers.setdefault(c.connection, mqtt_raw.Parser())
            out.setdefault(c.connection, []).extend(parser.feed(c.data))
    return out


def properties_of(kind, body):
    """Names; of a packet of version 5 that the gateway sent."""
    r = mqtt_raw.Reader(body)
    if kind == PUBLISH:
        return set(mqtt_raw.Message(2, body, 5).properties)  # QoS 1 or 2: all of ours are
    skip = {CONNACK: 2, DISCONNECT: 1, SUBACK: 2, UNSUBACK: 2}.get(kind, 3)
    r.at = skip
    return set(r.properties()) if len(body) > skip and kind != PINGRESP else set()


class WireCaptures(harness.TestCase):
    maxDiff = None

    def capture(self, **more):
        self.gw = self.gateway(harness.config({}, **more)).start()
        self.proxy = wire_capture.Proxy(self.gw.mqtt)
        return self.proxy

    def client(self, name, version, **more):
        c = mqtt_raw.Client(self.proxy.port, name, version, **more)
        self.addCleanup(c.close)
        return c

    # -- the exchange

    def publish_and_receive(self, version):
        """Each QoS both ways, retained, shared, overlapping, from an alias, in one connection."""
        props = dict(MEANING) if version == 5 else {}
        more = {"alias_maximum": 5, "receive_maximum": 20, "response_requested": 1} if version == 5 else {}
        c = self.client(f"all{version}", version, clean=False, keep_alive=60000,
                        will={"topic": "w/x", "payload": b"will", "qos": 1,
                              **({"will_delay": 0, **props} if version == 5 else {})}, **more)
        ids = {"subscription_id": [7]} if version == 5 else {}
        c.subscribe((f"exchange/{version}/#", 2), ("exchange/+/y", 1), **ids)
        if version == 5:
            c.subscribe(("exchange/5/y", options(2, as_published=True, handling=1)), subscription_id=[300])
        c.subscribe((f"$share/g/s/{version}", 1))
        for qos in (0, 1, 2):
            c.put(f"exchange/{version}/y", b"payload %d" % qos, qos, retain=qos == 1, **props)
            c.get()
        c.put(f"s/{version}", b"shared")
        c.get()
        c.put(f"exchange/{version}/y", b"." * 100000, 1)
        c.get()
        for _ in range(3):
            c.put(f"exchange/{version}/y", b"again", 1)
            c.get()
        c.ping()
        c.next(PINGRESP)
        c.unsubscribe(f"exchange/{version}/#", "never/was")
        return c

    def resume(self, version):
        c = self.client(f"back{version}", version, clean=False)
        c.subscribe((f"back/{version}", 2))
        for qos in (1, 2, 2):
            c.put(f"back/{version}", b"unanswered", qos)
        taken = [c.take() for _ in range(3)]
        c.send(ack(PUBREC, taken[1].packet_id))
        c.answer(PUBREL, taken[1].packet_id)
        c.close()
        c = self.client(f"back{version}", version, clean=False)
        self.assertEqual(c.session_present, 1)
        c.send(ack(mqtt_raw.PUBCOMP, c_id := mqtt_raw.ack_of(c.next(PUBREL)[1])[0]))
        self.assertEqual(c_id, taken[1].packet_id)
        self.assertEqual([c.get().dup for _ in range(2)], [True, True])
        c.disconnect()

    def refusals(self, version):
        """Words that come with what went wrong."""
        c = self.client(f"same{version}", version)
        self.client(f"same{version}", version).disconnect()  # takes over
        c.closed()
        c = self.client(f"wrong{version}", version)
        c.send(mqtt_raw.connect("again", version))
        c.closed()
        c = self.client(f"share{version}", version)
        c.send(mqtt_raw.subscribe(1, [("$share//t", 0)], version))
        c.closed() if version == 4 else c.disconnect()
        if version == 5:
            c = self.client("refused", 5)
            c.put("$SYS/x", b"x", 1)
            c.publish("$SYS/x", b"x", 2, 77)
            self.assertGreaterEqual(c.answer(PUBREC, 77), 0x80)
            c.send(ack(PUBREL, 999))
            self.assertGreaterEqual(c.answer(PUBCOMP, 999), 0x80)
            c.put("nobody/listens", b"x", 1)
            c.send(packet(DISCONNECT, b"\x04\x00"))
            c.closed()
            c = self.client("", 5)
            self.assertTrue(c.properties["assigned_id"])
            c.send(packet(DISCONNECT, b"\0" + mqtt_raw.properties(session_expiry=0, reason="done", user=[("a", "b")])))
            c.closed()
            c = self.client("auth", 5, auth_method="unknown", auth_data=b"x")
            self.assertGreaterEqual(c.code, 0x80)
            c.closed()

    def mosquitto(self, version):
        """A foreign client's packets and ours to it."""
        args = ["-h", "127.0.0.1", "-p", str(self.proxy.port), "-V", {4: "mqttv311", 5: "mqttv5"}[version], "-q", "2"]
        subprocess.run(["mosquitto_pub", *args, "-t", f"m/{version}", "-m", "kept", "-r"], check=True)
        done = subprocess.run(["mosquitto_sub", *args, "-t", f"m/{version}", "-C", "1"], capture_output=True,
                              check=True, timeout=harness.PATIENCE)
        self.assertEqual(done.stdout, b"kept\n")

    # -- what tshark says

    def dissected(self, chunks):
        path = self.folder / "wire.pcap"
        wire_capture.write(path, chunks)
        self.assertEqual(remarks(path), [])
        rows = tshark(path, "tcp.srcport", "tcp.dstport", "mqtt.msgtype", only="mqtt")
        for up in (True, False):
            found = {}
            for source, target, kinds in rows:
                if (target == "1883") == up:
                    number = int(source if up else target) - 20000
                    found.setdefault(number, []).extend(int(k) for k in kinds.split(",") if k)
            ours = {n: [p[0] for p in packets] for n, packets in packets_of(chunks, up).items() if packets}
            self.assertEqual(found, ours)
        return path

    def check(self, version, chunks):
        path = self.dissected(chunks)
        sent = [p for packets in packets_of(chunks, False).values() for p in packets]
        self.assertEqual(SENT - {kind for kind, _, _ in sent}, set())
        if version == 4:
            return
        have = {}
        for kind, _, body in sent:
            have.setdefault(kind, set()).update(properties_of(kind, body))
        self.assertEqual({k: v for k, v in have.items() if v}, PROPERTIES)
        rows = tshark(path, "mqtt.property_id", only="mqtt && tcp.srcport == 1883")
        numbers = {int(n, 0) for row in rows for n in row[0].split(",") if n}
        self.assertEqual(numbers, {mqtt_raw.PROPERTIES[n][0] for names in PROPERTIES.values() for n in names})

    def exchange(self, version):
        proxy = self.capture(listeners=LISTENERS)
        c = self.publish_and_receive(version)
        self.resume(version)
        self.refusals(version)
        self.mosquitto(version)
        self.assertEqual(self.gw.stop(), 0)  # what is open is told
        c.closed()
        c.close()
        self.check(version, proxy.finish())

    def test_tshark_has_no_remark_on_version_3_1_1(self):
        self.exchange(4)

    def test_tshark_has_no_remark_on_version_5(self):
        self.exchange(5)

    def test_a_gateway_that_retains_nothing_says_so(self):
        proxy = self.capture(limits={"retained": {"messages": 0}})
        for version in (4, 5):
            c = self.client("none", version)
            if version == 5:
                self.assertEqual(c.properties["retain_available"], 0)
                c.send(mqtt_raw.publish("x", b"x", 1, 1, 5, retain=True))
                self.assertEqual(c.closed(), 0x9A)
            c.close()
        self.dissected(proxy.finish())

    def test_tshark_remarks_on_what_is_wrong(self):
        """So that silence means something: one byte of each of some packets is damaged."""
        hello = mqtt_raw.connect("x", 5)
        for name, data in (("property", b"\x30\x07\x00\x01t\x02\x7f\x00x"), ("length", b"\x30\x03\x00\x09t"),
                           ("string", b"\x82\x05\x00\x01\x00\x00\x09")):
            with self.subTest(what=name):
                path = self.folder / "damaged.pcap"
                wire_capture.write(path, [wire_capture.Chunk(1.0, 1, True, hello),
                                          wire_capture.Chunk(1.0, 1, True, data)])
                self.assertNotEqual(remarks(path), [])


if __name__ == "__main__":
    unittest.main()
