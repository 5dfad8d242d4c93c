"""Subscribers that do not read, and clients that ask for too much: nobody else is slowed, memory
stays bounded, and what is dropped for whom is counted by name."""

import os
import unittest

import harness
import mqtt_raw

MIB = 1 << 20
QUOTA_EXCEEDED, PACKET_TOO_LARGE = 0x97, 0x95
SMALL_BUFFER = 4096  # of the slow readers' sockets
READER_ENV = {"ASAN_OPTIONS": "quarantine_size_mb=1"}  # freed memory is not memory in use


class SlowCase(harness.TestCase):
    def start(self, **limits):
        self.gw = self.gateway(harness.config({}, limits=limits), env=READER_ENV).start()
        return self.gw

    def client(self, name, version=5, **more):
        c = mqtt_raw.Client(self.gw.mqtt, name, version, **more)
        self.addCleanup(c.close)
        self.assertEqual(c.code, 0)
        return c

    def slow(self, name, *filters, version=5, **more):
        c = self.client(name, version, receive_buffer=SMALL_BUFFER, **more)
        c.subscribe(*filters)
        return c

    def rss(self):
        with open(f"/proc/{self.gw.process.pid}/status") as f:
            return next(int(l.split()[1]) << 10 for l in f if l.startswith("VmRSS"))

    def counter(self, name):
        return self.gw.summary()[""][name]

    def sys_value(self, name):
        c = self.client("sys")
        c.subscribe((f"$SYS/broker/{name}", 0))
        value = float(c.get().payload.split()[0])
        c.disconnect()
        return value


class Slow(SlowCase):
    def test_who_does_not_read_does_not_slow_others(self):
        """A reader has every message of every QoS in order while others stand still beside it."""
        self.start()
        for version in (4, 5):
            for qos in (0, 1, 2):
                self.slow(f"slow{version}{qos}", ("stream/#", qos), version=version, clean=qos == 0)
        reader, sender = self.client("reader"), self.client("sender")
        reader.subscribe(("stream/#", 2))
        pad = b"." * 4000
        for i in range(1500):
            sender.put("stream/x", b"%d " % i + pad, i % 3)
            self.assertEqual(int(reader.get().payload.split()[0]), i)

    def test_memory_is_bounded_while_a_hundred_do_not_read_large_messages(self):
        """A stream of 50 MiB to 100 subscribers: copied for each it would be 5 GiB."""
        self.start(memory="128MiB")
        reader, sender = self.client("reader"), self.client("sender")
        reader.subscribe(("large", 1))
        for i in range(100):
            self.slow(f"slow{i}", ("large", i % 2), version=4 + i % 2, clean=i % 4 < 2)
        before, body = self.rss(), os.urandom(1024) * 256
        peak = used = 0
        for i in range(200):
            self.assertEqual(sender.put("large", b"%06d" % i + body[6:], 1), 0)
            self.assertEqual(reader.get().payload[:6], b"%06d" % i)
            if i % 20 == 0:
                peak, used = max(peak, self.rss()), max(used, self.counter("memory_bytes"))
        print({"rss_before": before, "rss_peak": peak, "memory_bytes": used}, flush=True)
        self.assertLess(used, 128 * MIB)
        self.assertLess(peak - before, 192 * MIB)

    def test_who_reads_slowly_may_ping_behind_all_that_may_wait(self):
        self.start(session_output="16MiB", session_queue={"bytes": "64MiB"})
        c, sender = self.slow("slow", ("ping", 1), clean=False), self.client("sender")
        for i in range(600):
            sender.put("ping", b"%d " % i + b"." * 20000, 1)
        c.ping()
        self.assertEqual([int(c.take().payload.split()[0]) for _ in range(600)], list(range(600)))
        self.assertEqual(c.read()[0], mqtt_raw.PINGRESP)

    def test_qos_0_is_dropped_first_and_counted(self):
        """The oldest of it; what remains comes in order."""
        self.start(session_queue={"messages": 100, "bytes": "64MiB"})
        c = self.slow("slow", ("drop/#", 1), receive_maximum=10)
        sender, pad = self.client("sender"), b"." * 20000
        for i in range(1000):
            sender.put("drop/zero", b"%d " % i + pad, 0)
        for i in range(60):
            self.assertEqual(sender.put("drop/one", b"%d " % i + pad, 1), 0)
        s = self.gw.summary()[""]
        self.assertGreater(s["deliveries_dropped_qos0"], 100)
        self.assertEqual(s["deliveries_dropped_full"] + s["deliveries_dropped_memory"], 0)
        self.assertEqual(self.sys_value("publish/messages/dropped"), s["deliveries_dropped_qos0"])
        zero, one = [], []
        while len(one) < 60:
            m = c.get()
            (zero if m.qos == 0 else one).append(int(m.payload.split()[0]))
        self.assertEqual(one, list(range(60)))
        self.assertEqual(zero, sorted(zero))
        self.assertEqual(len(zero) + s["deliveries_dropped_qos0"], 1000)
        c.close()

    def test_a_full_session_drops_the_new_message_and_counts_it(self):
        """What was accepted for it before stays."""
        self.start(session_queue={"messages": 50, "bytes": "1MiB"})
        for version in (4, 5):
            self.slow(f"away{version}", ("full/#", 1), version=version, clean=False).disconnect()
        sender = self.client("sender")
        for i in range(80):
            self.assertEqual(sender.put("full/x", b"%d" % i, 1), 0)
        self.assertEqual(self.counter("deliveries_dropped_full"), 60)
        for version in (4, 5):
            c = self.client(f"away{version}", version, clean=False)
            self.assertEqual([int(c.get().payload) for _ in range(50)], list(range(50)))
            self.assertEqual(c.fence(), [])

    def test_nothing_of_qos_0_waits_for_the_absent(self):
        self.start()
        self.slow("away", ("absent", 2), clean=False).disconnect()
        sender = self.client("sender")
        for qos in (0, 1, 0, 2):
            sender.put("absent", b"%d" % qos, qos)
        c = self.client("away", clean=False)
        self.assertEqual([c.get().payload for _ in range(2)], [b"1", b"2"])
        self.assertEqual(c.fence(), [])


class Stuck(SlowCase):
    """A connection whose output nobody takes is still one that the gateway can end."""

    def stuck(self, name, version=5, **more):
        """Its output is full, and its queue, too."""
        c = self.slow(name, ("stuck/#", 1), version=version, **more)
        sender = self.client("sender")
        for _ in range(30):
            self.assertEqual(sender.put("stuck/x", b"." * 100000, 1), 0)
        sender.disconnect()
        return c

    def test_a_stuck_connection_is_taken_over_and_loses_nothing(self):
        self.start(session_queue={"messages": 1000, "bytes": "64MiB"})
        for version in (4, 5):
            with self.subTest(version=version):
                self.stuck(f"same{version}", version, clean=False)
                c = self.client(f"same{version}", version, clean=False)
                self.assertEqual(c.session_present, 1)
                for _ in range(30):
                    self.assertEqual(len(c.get().payload), 100000)
                self.assertEqual(c.fence(), [])
                c.disconnect()

    def test_who_publishes_to_himself_and_does_not_read_harms_only_himself(self):
        """He is answered, dropped for or closed; memory stays bounded, and the next one is served."""
        self.start(memory="64MiB")
        before = self.rss()
        c = self.slow("narcissus", ("me", 0))
        c.socket.settimeout(2)
        packet = mqtt_raw.publish("me", b"." * 100000, 0, 0, 5)
        try:
            for _ in range(2000):
                c.send(packet)
        except OSError:
            pass  # the gateway no longer reads, or has closed
        self.assertLess(self.rss() - before, 128 * MIB)
        self.assertLess(self.counter("memory_bytes"), 64 * MIB)
        other = self.client("other")
        other.subscribe(("other", 1))
        other.put("other", b"x")
        self.assertEqual(other.get().payload, b"x")

    def test_twenty_thousand_retained_messages_for_who_does_not_read(self):
        """They come at the reader's pace, and do not stand in memory once more for it."""
        self.start()
        sender, n = self.client("sender"), 20000
        for first in range(1, n, 1000):
            sender.send(b"".join(mqtt_raw.publish(f"many/{i}", b"." * 200, 1, i, 5, retain=True)
                                 for i in range(first, first + 1000)))
            for i in range(first, first + 1000):
                sender.answer(mqtt_raw.PUBACK, i)
        before = self.counter("memory_bytes")
        readers = [self.slow(f"slow{i}", ("many/#", i % 2), clean=i < 2) for i in range(4)]
        self.assertLess(self.counter("memory_bytes") - before, 8 * MIB)
        for c in readers:
            found = set()
            while len(found) < n:
                m = c.get()
                self.assertTrue(m.retain and m.topic not in found, m)
                found.add(m.topic)


class Hostile(SlowCase):
    def served(self):
        """Somebody else, at once."""
        c = self.client("other")
        c.subscribe(("other/+", 2))
        for qos in (0, 1, 2):
            self.assertEqual(c.put("other/x", b"still here", qos), 0)
            self.assertEqual(c.get().payload, b"still here")
        c.disconnect()

    def test_a_hundred_thousand_filters_of_one_client_hurt_nobody(self):
        """Refused by name over the limit, and nothing of them is left afterwards."""
        self.start()
        before = self.rss()
        c = self.client("greedy")
        granted = refused = 0
        for first in range(0, 100000, 1000):
            codes = c.subscribe(*((f"f{i}/+/x/{i % 7}/#", 1) for i in range(first, first + 1000)))
            granted += codes.count(1)
            refused += codes.count(QUOTA_EXCEEDED)
        self.assertEqual(granted + refused, 100000)
        print({"granted": granted, "rss_growth": self.rss() - before}, flush=True)
        self.assertLess(self.rss() - before, 128 * MIB)
        self.served()
        self.assertEqual(c.put("f7/a/x/0/b", b"mine", 1), 0)
        self.assertEqual(c.get().payload, b"mine")
        c.disconnect()
        harness.wait_for(lambda: self.sys_value("subscriptions/count") <= 1, "the subscriptions to go")
        self.served()

    def test_deep_filters_and_topics_hurt_nobody(self):
        """As many levels as a string can have, with wildcards on each: such filters are refused, and such topics are not."""
        self.start()
        before = self.rss()
        deep = 32000
        for name, level in (("plain", "a"), ("wild", "+"), ("empty", "")):
            c = self.client(f"deep-{name}")
            for i in range(8):
                codes = c.subscribe(("/".join([str(i)] + [level] * deep), 1), ("/".join([level] * deep) + "/#", 1), (f"{name}/{i}", 1))
                self.assertEqual(list(codes), [QUOTA_EXCEEDED, QUOTA_EXCEEDED, 1])
            self.served()
        sender = self.client("sender")
        for level in ("a", ""):
            self.assertIn(sender.put("/".join([level] * deep), b"deep", 1), (0, 0x10))
        self.served()
        self.assertLess(self.rss() - before, 64 * MIB)

    def test_wildcards_that_multiply_do_not_stop_the_gateway(self):
        """Each level of the topic may go two ways in the tree of filters."""
        self.start()
        c = self.client("branches")
        depth = 12
        filters = ["/".join("a" if n >> bit & 1 else "+" for bit in range(depth)) for n in range(1 << depth)]
        for first in range(0, len(filters), 512):
            c.subscribe(*((f, 0) for f in filters[first:first + 512]))
        sender = self.client("sender")
        for _ in range(20):
            self.assertEqual(sender.put("/".join("a" * depth), b"many", 1), 0)
            self.assertEqual(c.get().payload, b"many")
        self.served()

    def test_a_flood_of_retained_messages_stops_at_its_limits(self):
        """Refused by name, counted, and what is kept is what was accepted."""
        self.start(retained={"messages": 100, "bytes": "1MiB"})
        before, kept = self.rss(), {}
        sender, body = self.client("flood"), os.urandom(1000)
        for i in range(1000):
            topic = f"flood/{i}"
            if sender.put(topic, body * (1 + i % 20), 1, retain=True) < 0x80:
                kept[topic] = len(body) * (1 + i % 20)
        self.assertTrue(0 < len(kept) <= 100, len(kept))
        self.assertLessEqual(sum(kept.values()), MIB)
        self.assertEqual(self.counter("retained_refused"), 1000 - len(kept))
        self.assertLess(self.rss() - before, 64 * MIB)
        reader = self.client("reader")
        reader.subscribe(("flood/#", 0))
        found = {m.topic: len(m.payload) for m in (reader.get() for _ in kept)}
        self.assertEqual(found, kept)
        self.assertEqual(reader.fence(), [])
        topic = next(iter(kept))
        self.assertLess(sender.put(topic, b"", 1, retain=True), 0x80)  # makes room
        self.assertLess(sender.put("flood/new", b"new", 1, retain=True), 0x80)
        self.served()


if __name__ == "__main__":
    unittest.main()
