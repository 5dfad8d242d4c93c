"""Five clients that people use, in MQTT 3.1.1 and 5: each publishes and receives at every QoS, comes
back to its session, has retained messages and a will, and shares a subscription."""

import unittest

import drivers
import harness
import mqtt_raw

BYTES = bytes(range(256)) + "grüße ☂".encode() + b"\0\0"
VERSIONS = {4: "3.1.1", 5: "5"}
QUEUED = 20


class ClientCase(harness.TestCase):
    kind = None  # a class of drivers.py

    def setUp(self):
        super().setUp()
        self.gw = self.gateway(harness.config()).start()

    def peer(self, name, version, **more):
        return self.kind(self, self.gw.mqtt, f"{name}{version}", version, **more)

    def raw(self, name="other", version=5, **more):
        c = mqtt_raw.Client(self.gw.mqtt, name, version, **more)
        self.addCleanup(c.close)
        return c

    def in_both(self, claim):
        for version, words in VERSIONS.items():
            with self.subTest(version=words):
                claim(version)

    def publishes_and_receives(self, version):
        """Its own messages, and those of another, arrive unaltered and with their QoS."""
        top = f"both/{version}"
        other, mine = self.raw(), self.peer("both", version)
        self.assertEqual(other.subscribe((top + "/#", 2)), [2])
        self.assertEqual(mine.subscribe(top + "/#", 2), 2)
        for qos in (0, 1, 2):
            mine.publish(f"{top}/mine/{qos}", BYTES, qos)
            m = other.get()
            self.assertEqual((m.topic, m.qos, m.payload, m.retain), (f"{top}/mine/{qos}", qos, BYTES, False))
            self.assertEqual(mine.messages(2 * qos + 1)[-1], (m.topic, qos, False, BYTES))
            other.put(f"{top}/other/{qos}", BYTES, qos)
            self.assertEqual(mine.messages(2 * qos + 2)[-1], (f"{top}/other/{qos}", qos, False, BYTES))
            other.get()
        mine.quit()

    def qos_is_lowered(self, version):
        """To what was granted."""
        other, mine = self.raw(), self.peer("low", version)
        self.assertEqual(mine.subscribe(f"low/{version}", 1), 1)
        for qos in (0, 1, 2):
            other.put(f"low/{version}", b"%d" % qos, qos)
        self.assertEqual([m.qos for m in mine.messages(3)], [0, 1, 1])
        mine.quit()

    def session_is_resumed(self, version):
        """With what was queued while nobody was there."""
        other, mine = self.raw(), self.peer("resumed", version, clean=False)
        self.assertIn(mine.session_present, (0, None))
        mine.subscribe(f"queued/{version}/+", 2)
        mine.quit()
        sent = [b"m%d" % i for i in range(QUEUED)]
        for payload in sent:
            other.put(f"queued/{version}/1", payload, 1)
            other.put(f"queued/{version}/2", payload, 2)
        mine = self.peer("resumed", version, clean=False)
        self.assertIn(mine.session_present, (1, None))
        got = mine.messages(2 * QUEUED)
        for qos in (1, 2):
            here = [m for m in got if m.topic.endswith(str(qos))]
            self.assertEqual([m.payload for m in here], sent)
            self.assertEqual({m.qos for m in here}, {qos})
        other.put(f"queued/{version}/1", b"last", 1)
        self.assertEqual(mine.messages(2 * QUEUED + 1)[-1].payload, b"last")
        mine.quit()
        mine = self.peer("resumed", version, clean=True)
        self.assertIn(mine.session_present, (0, None))
        mine.quit()

    def retained_messages(self, version):
        """Its own reach others, those of others reach it, and an empty one removes."""
        other, mine = self.raw(), self.peer("retained", version)
        topic = f"retained/{version}/"
        other.put(topic + "theirs", b"r1", 1, retain=True)
        mine.subscribe(topic + "theirs", 1)
        self.assertEqual(mine.messages(1)[0], (topic + "theirs", 1, True, b"r1"))
        mine.publish(topic + "mine", BYTES, 1, retain=True)
        other.subscribe((topic + "mine", 1))
        m = other.get()
        self.assertEqual((m.payload, m.retain), (BYTES, True))
        mine.publish(topic + "mine", b"", 1, retain=True)
        self.assertEqual(other.get().payload, b"")
        third = self.raw("third")
        third.subscribe((topic + "mine", 1))
        self.assertEqual(third.fence(), [])
        mine.quit()

    def will_is_published(self, version):
        """When the client dies, and not when it says good-bye."""
        other = self.raw()
        other.subscribe((f"will/{version}", 2))
        self.peer("dies", version, will=(f"will/{version}", 2, False, b"gone")).kill()
        m = other.get()
        self.assertEqual((m.payload, m.qos, m.retain), (b"gone", 2, False))
        self.peer("leaves", version, will=(f"will/{version}", 1, False, b"never")).quit()
        other.put(f"will/{version}", b"fence", 1)
        self.assertEqual(other.get().payload, b"fence")

    def group_shares(self, version):
        """Each message goes to one member of the group, and to the other group, too."""
        members = [self.peer(f"member{i}-", version) for i in range(2)]
        for m in members:
            m.subscribe(f"$share/g/shared/{version}", 1)
        alone = self.peer("alone", version)
        alone.subscribe(f"$share/h/shared/{version}", 1)
        other = self.raw()
        sent = [b"s%d" % i for i in range(2 * QUEUED)]
        for payload in sent:
            other.put(f"shared/{version}", payload, 1)
        self.assertEqual([m.payload for m in alone.messages(len(sent))], sent)
        harness.wait_for(lambda: sum(len(m.messages()) for m in members) >= len(sent), "all to arrive")
        got = [[m.payload for m in member.messages()] for member in members]
        self.assertEqual(sorted(got[0] + got[1]), sorted(sent))
        self.assertTrue(got[0] and got[1], "one member had all")
        for m in members + [alone]:
            m.quit()


class Claims:
    """What holds for each client; mixed into a class for each."""

    def test_publishes_and_receives_at_every_qos(self):
        self.in_both(self.publishes_and_receives)

    def test_a_delivery_has_the_qos_that_was_granted(self):
        self.in_both(self.qos_is_lowered)

    def test_a_session_is_resumed_with_what_was_queued(self):
        self.in_both(self.session_is_resumed)

    def test_retained_messages_reach_new_subscribers(self):
        self.in_both(self.retained_messages)

    def test_a_will_is_published_for_who_dies_and_not_for_who_leaves(self):
        self.in_both(self.will_is_published)

    def test_a_shared_subscription_gives_each_message_to_one(self):
        self.in_both(self.group_shares)


class MosquittoClients(Claims, ClientCase):
    kind = drivers.Mosquitto


class PahoCSync(Claims, ClientCase):
    kind = drivers.PahoSync


class PahoCAsync(Claims, ClientCase):
    kind = drivers.PahoAsync


class PahoPython(Claims, ClientCase):
    kind = drivers.PahoPython


class MqttJs(Claims, ClientCase):
    kind = drivers.MqttJs

    @classmethod
    def setUpClass(cls):
        drivers.MqttJs.installed()


if __name__ == "__main__":
    unittest.main()
