"""What a server easily gets wrong, packet by packet and in both versions: when a will is published,
what gives quota back, what is told before a connection is closed, which retained messages come and
with which flag. Some of these Mosquitto 2.1 is known to miss."""

import signal
import time
import unittest

import harness
import mqtt_raw
from mqtt_raw import (DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, ack,
                      options, packet)

UNSPECIFIED, MALFORMED, PROTOCOL_ERROR = 0x80, 0x81, 0x82
SHUTTING_DOWN, KEEP_ALIVE_TIMEOUT, TAKEN_OVER, FILTER_INVALID = 0x8B, 0x8D, 0x8E, 0x8F
RECEIVE_MAXIMUM_EXCEEDED, QUOTA_EXCEEDED = 0x93, 0x97
VERSIONS = (4, 5)


class Raw(harness.TestCase):
    def start(self, **more):
        self.gw = self.gateway(harness.config(**more)).start()
        return self.gw

    def client(self, name, version=5, **more):
        c = mqtt_raw.Client(self.gw.mqtt, name, version, **more)
        self.addCleanup(c.close)
        self.assertEqual(c.code, 0)
        return c

    def subscriber(self, name, *filters, version=5, **more):
        c = self.client(name, version, **more)
        self.assertEqual(c.subscribe(*filters), [o & 3 for _, o in filters])
        return c

    def in_both(self, claim, **more):
        self.start(**more)
        for version in VERSIONS:
            with self.subTest(version=version):
                claim(version)


class Wills(Raw):
    """Each case leaves in its own way; `fence` is a message that comes behind a will."""

    WILL = {"payload": b"gone", "qos": 1}

    def leaver(self, name, version, **more):
        return self.client(name, version, will={"topic": f"wills/{name}", **self.WILL}, **more)

    def watcher(self):
        return self.subscriber("watcher", ("wills/#", 2))

    def published(self, watcher, name):
        m = watcher.get()
        self.assertEqual((m.topic, m.payload, m.qos, m.retain), (f"wills/{name}", b"gone", 1, False))

    def not_published(self, watcher):
        watcher.put("wills/fence", b"fence", 1)
        self.assertEqual(watcher.get().payload, b"fence")

    def test_a_will_is_not_published_after_a_normal_disconnect(self):
        def claim(version):
            watcher = self.watcher()
            c = self.leaver(f"clean{version}", version)
            c.send(packet(DISCONNECT))
            self.assertIsNone(c.closed())
            self.not_published(watcher)
            if version == 5:
                c = self.leaver("clean0", 5)
                c.send(packet(DISCONNECT, b"\x00\x00"))
                self.assertIsNone(c.closed())
                self.not_published(watcher)
        self.in_both(claim)

    def test_a_will_is_published_after_any_other_reason(self):
        """Every reason that a client may give."""
        self.start()
        watcher = self.watcher()
        for reason in (0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99):
            with self.subTest(reason=hex(reason)):
                c = self.leaver(f"r{reason:02x}", 5)
                c.send(packet(DISCONNECT, bytes([reason, 0])))
                self.assertIsNone(c.closed())
                self.published(watcher, f"r{reason:02x}")

    def test_a_will_is_published_on_loss(self):
        def claim(version):
            watcher = self.watcher()
            self.leaver(f"lost{version}", version).close()
            self.published(watcher, f"lost{version}")
        self.in_both(claim)

    def test_a_will_is_published_on_a_protocol_error(self):
        def claim(version):
            watcher = self.watcher()
            c = self.leaver(f"wrong{version}", version)
            c.send(mqtt_raw.connect("again", version))
            self.assertEqual(c.closed(), PROTOCOL_ERROR if version == 5 else None)
            self.published(watcher, f"wrong{version}")
            c = self.leaver(f"malformed{version}", version)
            c.send(packet(0))
            self.assertEqual(c.closed(), MALFORMED if version == 5 else None)
            self.published(watcher, f"malformed{version}")
        self.in_both(claim)

    def test_a_will_is_published_on_takeover(self):
        def claim(version):
            watcher = self.watcher()
            first = self.leaver(f"same{version}", version)
            self.client(f"same{version}", version)
            self.assertEqual(first.closed(), TAKEN_OVER if version == 5 else None)
            self.published(watcher, f"same{version}")
        self.in_both(claim)

    def test_a_will_waits_for_its_delay_and_no_longer_than_its_session(self):
        """With a delay, who comes back in time has none; when the session ends it comes at once."""
        self.start()
        watcher = self.watcher()
        will = {"topic": "wills/late", "payload": b"gone", "qos": 1, "will_delay": 3600}
        self.client("late", 5, clean=False, will=will).close()
        back = self.client("late", 5, clean=False, will=will)
        self.assertEqual(back.session_present, 1)
        self.not_published(watcher)
        back.close()
        self.client("late", 5, clean=True).disconnect()  # ends that session
        self.published(watcher, "late")
        self.client("ends", 5, will={"topic": "wills/ends", "payload": b"gone", "qos": 1, "will_delay": 3600}).close()
        self.published(watcher, "ends")
        will = {"topic": "wills/short", "payload": b"gone", "qos": 1, "will_delay": 1}
        begun = time.monotonic()
        self.client("short", 5, clean=False, will=will).close()
        self.published(watcher, "short")
        self.assertGreaterEqual(time.monotonic() - begun, 0.99)

    def test_a_will_is_published_with_its_properties_and_retained_as_asked(self):
        self.start()
        props = {"content_type": "text/plain", "response_topic": "back", "correlation": b"7",
                 "payload_format": 1, "user": [("a", "1"), ("b", "2"), ("a", "3")]}
        self.client("w", 5, will={"topic": "wills/r", "payload": b"gone", "retain": True, **props}).close()

        def retained():
            c = self.subscriber("late", ("wills/r", 0))
            found = [mqtt_raw.Message(f, b, 5) for k, f, b in c.fence() if k == PUBLISH]
            c.disconnect()
            return found
        m = harness.wait_for(retained, "the retained will")[0]
        self.assertEqual((m.payload, m.retain, m.properties), (b"gone", True, props))


class Quotas(Raw):
    """Outbound Receive Maximum, and what gives it back."""

    def test_a_refused_delivery_gives_its_quota_back(self):
        """PUBREC of 0x80 or above ends a QoS 2 exchange, PUBACK of it one of QoS 1."""
        self.start()
        for qos, kind in ((2, PUBREC), (1, PUBACK)):
            with self.subTest(qos=qos):
                c = self.subscriber(f"q{qos}", (f"quota/{qos}", qos), receive_maximum=2)
                sender = self.client("sender")
                for i in range(10):
                    sender.put(f"quota/{qos}", b"%d" % i, qos)
                for i in range(10):
                    m = c.take()
                    self.assertEqual((m.payload, m.qos, m.dup), (b"%d" % i, qos, False))
                    c.send(ack(kind, m.packet_id, (UNSPECIFIED, QUOTA_EXCEEDED)[i % 2]))
                self.assertEqual(c.fence(), [])
                sender.disconnect()

    def test_a_receive_maximum_is_never_passed_and_holds_back_nothing_else(self):
        self.start()
        c = self.subscriber("slow", ("flow/#", 2), receive_maximum=3)
        for i in range(10):
            c.put("flow/x", b"%d" % i, 1 + i % 2)
        c.put("flow/zero", b"qos 0", 0)
        here = [c.take() for _ in range(4)]
        self.assertEqual([m.payload for m in here if m.qos], [b"0", b"1", b"2"])
        self.assertEqual([m.payload for m in here if not m.qos], [b"qos 0"])
        self.assertEqual(c.subscribe(("flow/more", 0)), [0])
        self.assertEqual(c.fence(), [])
        for m in here:
            c.settle(m)
        self.assertEqual([c.get().payload for _ in range(7)], [b"%d" % i for i in range(3, 10)])

    def test_too_many_publishes_in_flight_are_told(self):
        """More unanswered QoS 2 publishes than the gateway's Receive Maximum."""
        self.start(listeners=[{"bind": "127.0.0.1:0", "protocol": "mqtt", "receive_maximum": 10},
                              {"bind": "127.0.0.1:0", "protocol": "stomp"}])
        c = self.client("flood")
        self.assertEqual(c.properties.get("receive_maximum"), 10)
        c.send(b"".join(mqtt_raw.publish("flood", b"x", 2, i, 5) for i in range(1, 11)))
        for i in range(1, 11):
            self.assertLess(c.answer(PUBREC, i), 0x80)
        c.publish("flood", b"x", 2, 11)
        self.assertEqual(c.closed(), RECEIVE_MAXIMUM_EXCEEDED)

    def test_as_many_as_allowed_may_be_in_flight(self):
        """PUBCOMP gives one back."""
        self.start(listeners=[{"bind": "127.0.0.1:0", "protocol": "mqtt", "receive_maximum": 2},
                              {"bind": "127.0.0.1:0", "protocol": "stomp"}])
        c = self.client("flow")
        for i in range(1, 20):
            c.publish("flood", b"x", 2, i)
            self.assertLess(c.answer(PUBREC, i), 0x80)
            if i > 1:
                c.send(ack(PUBREL, i - 1))
                self.assertEqual(c.answer(PUBCOMP, i - 1), 0)


class Farewells(Raw):
    """What is told before the gateway closes a connection."""

    def test_keep_alive_expiry_is_noticed_in_time_and_told(self):
        """After 1.5 times the keep-alive, and not a second later."""
        self.start()
        silent = {v: self.client(f"silent{v}", v, keep_alive=2) for v in VERSIONS}
        begun = time.monotonic()
        told = {v: c.closed() for v, c in silent.items()}
        self.assertGreaterEqual(time.monotonic() - begun, 2.9)
        self.assertLess(time.monotonic() - begun, 4.0)
        self.assertEqual(told, {4: None, 5: KEEP_ALIVE_TIMEOUT})

    def test_a_will_is_published_on_keep_alive_expiry(self):
        self.start()
        watcher = self.subscriber("watcher", ("wills/#", 1))
        for v in VERSIONS:
            self.client(f"silent{v}", v, keep_alive=1, will={"topic": f"wills/{v}", "payload": b"gone"})
        self.assertEqual(sorted(watcher.get().topic for _ in VERSIONS), ["wills/4", "wills/5"])

    def test_deliveries_do_not_keep_a_silent_client_alive(self):
        """Only what it sends counts [MQTT-3.1.2-22]."""
        self.start()
        c = self.subscriber("silent", ("tick", 0), keep_alive=1)
        other, begun = self.client("other"), time.monotonic()
        with self.assertRaises(OSError):
            while time.monotonic() - begun < 10:
                other.put("tick", b"x", 0)
                if c.read(0.5)[0] == DISCONNECT:
                    break
                time.sleep(0.05)
            c.closed()
            raise OSError("closed")
        self.assertLess(time.monotonic() - begun, 2.5)

    def test_takeover_is_told(self):
        def claim(version):
            first = self.client("same", version)
            second = self.client("same", version)
            self.assertEqual(first.closed(), TAKEN_OVER if version == 5 else None)
            second.ping()
            second.expect(PINGRESP)
        self.in_both(claim)

    def test_a_takeover_moves_the_session(self):
        """Subscriptions and what was under way go on in the new connection."""
        def claim(version):
            first = self.subscriber(f"moves{version}", (f"moves/{version}", 1), version=version, clean=False)
            other = self.client("other")
            other.put(f"moves/{version}", b"unanswered")
            before = first.take()
            second = self.client(f"moves{version}", version, clean=False)
            self.assertEqual(second.session_present, 1)
            again = second.get()
            self.assertEqual((again.payload, again.packet_id, again.dup), (b"unanswered", before.packet_id, True))
            other.put(f"moves/{version}", b"new")
            self.assertEqual(second.get().payload, b"new")
        self.in_both(claim)

    def test_shutdown_is_told(self):
        self.start()
        clients = {v: self.client(f"v{v}", v) for v in VERSIONS}
        self.gw.signal(signal.SIGTERM)
        self.assertEqual({v: c.closed() for v, c in clients.items()}, {4: None, 5: SHUTTING_DOWN})
        self.gw.wait()

    def test_what_was_expected_of_a_share_and_is_none_is_refused(self):
        """Neither group nor filter may be missing, and a group has no wildcards."""
        self.start()
        for bad in ("$share//t", "$share/g/", "$share/g", "$share/+/t", "$share/#", "$share/g#/t", "$share/g+/t"):
            with self.subTest(filter=bad):
                c = self.client("shares")
                c.send(mqtt_raw.subscribe(1, [(bad, 0)], 5))
                kind, _, body = c.read()
                if kind == SUBACK:
                    self.assertEqual(body[-1], FILTER_INVALID)
                else:
                    self.assertEqual(kind, DISCONNECT)
                    self.assertIn(body[0], (MALFORMED, PROTOCOL_ERROR, FILTER_INVALID))

    def test_no_local_and_shared_exclude_each_other(self):
        self.start()
        c = self.client("shares")
        c.send(mqtt_raw.subscribe(1, [("$share/g/t", options(1, no_local=True))], 5))
        self.assertEqual(c.closed(), PROTOCOL_ERROR)


class Retained(Raw):
    """By raw packets, in both versions."""

    def test_a_new_subscription_has_the_retained_message_with_its_flag(self):
        def claim(version):
            topic, sender = f"kept/{version}", self.client("sender", version)
            for payload in (b"first", b"second"):
                sender.put(topic, payload, 1, retain=True)
            sender.put(topic, b"passing", 1)
            c = self.subscriber("c", (topic, 1), version=version)
            m = c.get()
            self.assertEqual((m.payload, m.retain, m.qos, m.dup), (b"second", True, 1, False))
            sender.put(topic, b"third", 1, retain=True)
            m = c.get()
            self.assertEqual((m.payload, m.retain), (b"third", False))
            sender.put(topic, b"", 1, retain=True)
            m = c.get()
            self.assertEqual((m.payload, m.retain), (b"", False))
            late = self.subscriber("late", (topic, 1), version=version)
            self.assertEqual(late.fence(), [])
        self.in_both(claim)

    def test_subscribing_again_brings_the_retained_message_again(self):
        def claim(version):
            topic = f"again/{version}"
            self.client("sender", version).put(topic, b"r", 1, retain=True)
            c = self.subscriber("c", (topic, 0), version=version)
            self.assertEqual(c.get().payload, b"r")
            self.assertEqual(c.subscribe((topic, 1)), [1])
            m = c.get()
            self.assertEqual((m.payload, m.qos, m.retain), (b"r", 1, True))
        self.in_both(claim)

    def test_retain_handling_is_kept_to(self):
        self.start()
        self.client("sender").put("handled", b"r", 1, retain=True)
        for handling, first, second in ((0, 1, 1), (1, 1, 0), (2, 0, 0)):
            with self.subTest(handling=handling):
                c = self.client(f"h{handling}")
                for wanted in (first, second):
                    c.subscribe(("handled", options(0, handling=handling)))
                    self.assertEqual(len(c.fence()), wanted)

    def test_retain_as_published_leaves_the_flag(self):
        self.start()
        plain = self.subscriber("plain", ("rap", options(1)))
        asked = self.subscriber("asked", ("rap", options(1, as_published=True)))
        sender = self.client("sender")
        for retain in (True, False):
            sender.put("rap", b"x", 1, retain=retain)
            self.assertFalse(plain.get().retain)
            self.assertEqual(asked.get().retain, retain)

    def test_a_shared_subscription_has_no_retained_messages(self):
        self.start()
        self.client("sender").put("kept", b"r", 1, retain=True)
        c = self.subscriber("c", ("$share/g/kept", 1))
        self.assertEqual(c.fence(), [])


class Ids(Raw):
    def test_assigned_client_ids_are_nobody_elses(self):
        """Each takes over from nobody and finds no session, also when the gateway was started anew."""
        self.start()
        given, clients = [], []
        for run in range(2):
            for i in range(100):
                c = self.client("", 5, clean=i % 2 == 0, expiry=3600)
                self.assertEqual(c.session_present, 0)
                given.append(c.properties["assigned_id"])
                clients.append(c)
            if run == 0:
                clients[0].subscribe(("stored", 1))  # behind it all of them are
                self.gw.kill()
                self.gw.start()
        self.assertEqual(len(set(given)), 200)
        for c in clients[100:]:
            self.assertEqual(c.fence(), [])
        old = [self.client("", 4) for _ in range(100)]
        for c in old:
            self.assertEqual(c.fence(), [])

    def test_behind_a_puback_the_same_id_is_a_new_message(self):
        """With DUP, too: the sender had his answer [MQTT-4.3.2-5]."""
        def claim(version):
            c = self.subscriber("c", (f"again/{version}", 1), version=version)
            sender = self.client("sender", version)
            for dup in (False, False, True):
                sender.publish(f"again/{version}", b"same", 1, 5, dup=dup)
                self.assertEqual(sender.answer(PUBACK, 5), 0)
                m = c.get()
                self.assertEqual((m.payload, m.dup), (b"same", False))
        self.in_both(claim)


class Subscriptions(Raw):
    def test_no_local_is_for_the_publisher_alone(self):
        self.start()
        mine = self.subscriber("mine", ("local", options(1, no_local=True)))
        other = self.subscriber("other", ("local", options(1, no_local=True)))
        mine.put("local", b"by mine")
        self.assertEqual(other.get().payload, b"by mine")
        other.put("local", b"by other")
        self.assertEqual(mine.get().payload, b"by other")

    def test_a_delivery_names_every_subscription_that_it_is_for(self):
        self.start()
        c = self.client("ids")
        for number, topic_filter in ((1, "a/b"), (268435455, "a/+"), (128, "a/#"), (7, "other")):
            self.assertEqual(c.subscribe((topic_filter, 1), subscription_id=[number]), [1])
        c.put("a/b", b"all")
        m = c.get()
        ids = set(m.properties["subscription_id"])
        while len(ids) < 3:  # one copy with all, or one copy for each
            ids |= set(c.get().properties["subscription_id"])
        self.assertEqual(ids, {1, 128, 268435455})
        c.put("a/x", b"two")
        ids = set()
        while len(ids) < 2:
            ids |= set(c.get().properties["subscription_id"])
        self.assertEqual(ids, {128, 268435455})
        self.assertEqual(c.subscribe(("a/#", 1)), [1])  # replaces, without a number
        c.put("a/y", b"one")
        self.assertIn(c.get().properties.get("subscription_id", []), ([268435455], []))

    def test_overlapping_subscriptions_have_the_best_qos_in_one_copy(self):
        def claim(version):
            top = f"over/{version}"
            c = self.subscriber("c", (top + "/#", 0), (top + "/+", 2), (top + "/x", 1), version=version)
            c.put(top + "/x", b"one", 2)
            m = c.get()
            self.assertEqual((m.payload, m.qos), (b"one", 2))
            self.assertEqual(c.fence(), [])
        self.in_both(claim)

    def test_unsubscribing_ends_new_deliveries(self):
        def claim(version):
            topic = f"ends/{version}"
            c = self.subscriber("c", (topic, 1), (f"stays/{version}", 1), version=version)
            self.assertEqual(c.unsubscribe(topic, "never"), [0, 0x11] if version == 5 else [])
            c.put(topic, b"no")
            c.put(f"stays/{version}", b"yes")
            self.assertEqual(c.get().payload, b"yes")
        self.in_both(claim)

    def test_wildcards_do_not_match_the_gateways_own_topics(self):
        self.start()
        c = self.subscriber("c", ("#", 0), ("+/x", 0))
        c.put("$own/x", b"hidden", 1)
        c.put("seen/x", b"seen", 1)
        self.assertEqual(c.get().topic, "seen/x")
        own = self.subscriber("own", ("$own/#", 0))
        own.put("$own/x", b"asked for", 1)
        self.assertEqual(own.get().topic, "$own/x")

    def test_a_session_comes_back_with_original_ids_and_dup_in_order(self):
        """QoS 1 and 2 that had no answer, PUBREL that had no PUBCOMP, then what was queued."""
        def claim(version):
            name, topic = f"back{version}", f"back/{version}"
            c = self.subscriber(name, (topic, 2), version=version, clean=False)
            other = self.client("other")
            for i, qos in enumerate((1, 2, 2, 1)):
                other.put(topic, b"%d" % i, qos)
            sent = [c.take() for _ in range(4)]
            c.send(ack(PUBREC, sent[1].packet_id))
            c.answer(PUBREL, sent[1].packet_id)
            c.close()
            other.put(topic, b"4", 1)
            c = self.client(name, version, clean=False)
            self.assertEqual(c.session_present, 1)
            again = []
            for _ in range(5):
                kind, flags, body = c.read()
                if kind == PUBREL:
                    again.append(("released", mqtt_raw.ack_of(body)[0]))
                else:
                    m = mqtt_raw.Message(flags, body, version)
                    again.append((m.payload, m.packet_id, m.qos, m.dup))
            wanted = [(m.payload, m.packet_id, m.qos, True) for m in sent]
            self.assertEqual([a for a in again if a[0] == "released"], [("released", sent[1].packet_id)])
            self.assertEqual([a for a in again if a[0] != "released"][:3], [wanted[0], wanted[2], wanted[3]])
            self.assertEqual((again[-1][0], again[-1][3]), (b"4", False))
        self.in_both(claim)

    def test_message_expiry_is_forwarded_as_what_is_left_and_ends_what_waits(self):
        self.start()
        c = self.subscriber("c", ("e", 1), clean=False)
        c.put("e", b"now", 1, message_expiry=100)
        self.assertIn(c.get().properties["message_expiry"], (99, 100))
        c.disconnect()
        other = self.client("other")
        other.put("e", b"short", 1, message_expiry=1)
        other.put("e", b"long", 1, message_expiry=100)
        begun = time.monotonic()
        while time.monotonic() - begun < 2.1:  # real time is what expires
            time.sleep(0.05)
        c = self.client("c", 5, clean=False)
        m = c.get()
        self.assertEqual(m.payload, b"long")
        self.assertTrue(95 <= m.properties["message_expiry"] <= 98, m)

    def test_what_a_receiver_cannot_take_is_dropped_for_it_alone(self):
        self.start()
        small = self.subscriber("small", ("big", 1), maximum_packet=200)
        large = self.subscriber("large", ("big", 1))
        large.put("big", b"." * 1000)
        large.put("big", b"fits")
        self.assertEqual(small.get().payload, b"fits")
        self.assertEqual([len(large.get().payload) for _ in range(2)], [1000, 4])

    def test_topic_aliases_go_out_only_as_far_as_the_client_allows(self):
        self.start()
        none = self.subscriber("none", ("alias/#", 0))
        some = self.subscriber("some", ("alias/#", 0), alias_maximum=2)
        names, short = {}, 0
        for i in range(8):
            topic = f"alias/{i % 4}"
            none.put(topic, b"%d" % i, 1)
            m = none.get()
            self.assertEqual((m.topic, m.properties), (topic, {}))
            m = some.get()
            alias = m.properties.get("alias")
            if alias is not None:
                self.assertTrue(1 <= alias <= 2, m)
                if m.topic:
                    names[alias] = m.topic
                short += not m.topic
                self.assertEqual(names[alias], topic)
            else:
                self.assertEqual(m.topic, topic)
        for i in range(3):
            none.put("alias/again", b"x")
            short += some.get().topic == ""
        self.assertGreater(short, 0)


if __name__ == "__main__":
    unittest.main()
