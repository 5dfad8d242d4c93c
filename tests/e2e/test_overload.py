"""Overload in each protocol's own words: what a full queue that blocks, refuses or drops means to MQTT 5,
MQTT 3.1.1 and STOMP, to whom it means nothing, and that it ends by itself; memory and connections at
their limits; accepts that are spread. gateway/hub/RULES.md has the numbers."""

import shutil
import threading
import time
import unittest

import harness
import mqtt_raw
import stomp_raw
import test_limits
from mqtt_raw import PINGRESP, PUBACK, PUBREC

QUOTA_EXCEEDED = 0x97
VERSIONS = (4, 5)
ROUTES = [{"match": "work/#", "queues": ["work"]}, {"match": "jobs/#", "queues": ["jobs"]}]
SMALL = 4  # publishes that a connection may park


def listeners(**more):
    own = {"receive_maximum": SMALL, **more}
    return [{"bind": "127.0.0.1:0", "protocol": p, **own} for p in ("mqtt", "stomp")]


class OverloadCase(test_limits.LimitsCase):
    def full(self, overflow, n=3, **more):
        """A gateway whose queue `work` has no room, beside `jobs`, which has."""
        queue = {"max_messages": n, "overflow": overflow, "reject_grace": "200ms"}
        gw = self.start({"work": queue, "jobs": {}}, **more)
        self.fill(gw, n)
        return gw

    def worker(self, gw, queue="work", **more):
        """Takes one message at a time, when it is told to."""
        c = self.stomp(gw)
        c.subscribe(f"/queue/{queue}", ack="client-individual", prefetch_count=1, **more)
        return c

    def parked(self, gw, n):
        harness.wait_for(lambda: gw.summary()[""]["publishes_parked"] >= n, f"{n} to be parked")

    def over(self, gw):
        """The next one starts with nothing."""
        gw.end()
        shutil.rmtree(gw.data)

    def assertNoFrame(self, stomp, seconds=0.2):
        self.assertRaises(TimeoutError, stomp.read, seconds)

    def assertServed(self, gw):
        """Somebody else, in each protocol, and another queue."""
        for version in VERSIONS:
            other = self.mqtt(gw, version, f"other{version}")
            for qos in (1, 2):
                self.assertEqual(other.put("jobs/x", b"x", qos), 0)
            other.disconnect()
        other = self.stomp(gw)
        other.put("/queue/jobs", b"x")
        other.disconnect()


class Block(OverloadCase):
    def test_mqtt_waits_for_its_puback_and_all_else_goes_on(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                gw = self.full("block")
                more = {"receive_maximum": 1} if version == 5 else {}
                c, other = self.mqtt(gw, version, "c", **more), self.mqtt(gw, 5, "other")
                self.assertEqual(c.subscribe(("news/#", 1)), [1])
                c.publish("work/x", b"one", 1, 7)
                c.publish("work/x", b"two", 2, 8)
                self.parked(gw, 2)
                c.ping()
                c.expect(PINGRESP)
                for i in range(3):  # with a Receive Maximum of 1 the next one comes behind its acknowledgement
                    other.put("news/x", b"%d" % i)
                    self.assertEqual(c.get().payload, b"%d" % i)
                harness.wait_for(lambda: gw.summary()[""]["deliveries_acked"] == 3, "three acknowledgements to be taken")
                self.assertEqual(c.subscribe(("late/#", 0)), [0])
                other.put("late/x", b"late")
                self.assertEqual(c.get().payload, b"late")
                self.assertIn(c.unsubscribe("late/#"), ([], [0]))
                self.assertServed(gw)
                self.assertTrue(c.quiet(0.1))
                worker = self.worker(gw)
                worker.get()
                self.assertEqual(c.answer(PUBACK, 7), 0)
                worker.get()
                self.assertEqual(c.answer(PUBREC, 8), 0)
                self.over(gw)

    def test_the_end_of_a_qos_2_handshake_goes_on(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                gw = self.full("block")
                c = self.mqtt(gw, version, "c")
                c.publish("jobs/x", b"two", 2, 1)
                self.assertEqual(c.expect(PUBREC, 1), 0)
                c.publish("work/x", b"one", 1, 7)
                self.parked(gw, 1)
                c.send(mqtt_raw.ack(mqtt_raw.PUBREL, 1))
                self.assertEqual(c.expect(mqtt_raw.PUBCOMP, 1), 0)
                self.over(gw)

    def test_disconnect_goes_on_and_what_was_parked_is_not_accepted(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                gw = self.full("block")
                c = self.mqtt(gw, version, "c")
                c.publish("work/x", b"one", 1, 7)
                self.parked(gw, 1)
                c.send(mqtt_raw.packet(mqtt_raw.DISCONNECT))
                self.assertIsNone(c.closed())
                worker = self.worker(gw)
                for _ in range(3):
                    worker.get()
                self.assertEqual(gw.counters("work")["accepted"], 3)
                self.over(gw)

    def test_stomp_waits_for_its_receipt_and_all_else_goes_on(self):
        gw = self.full("block", listeners=listeners(heart_beat="200ms"))
        c, other = self.stomp(gw, heart_beat="0,200"), self.stomp(gw)
        c.subscribe("/queue/jobs", ack="client-individual", prefetch_count=1)
        waiting = c.begin_to_ask("SEND", {"destination": "/queue/work"}, b"later")
        self.parked(gw, 1)
        for i in range(3):
            other.put("/queue/jobs", b"%d" % i)
            m = c.take()
            self.assertEqual(m.body, b"%d" % i)
            c.send(c.answer("ACK", m))
        c.send(stomp_raw.frame("SUBSCRIBE", {"destination": "/topic/late", "id": "2"}))
        gw.await_queue("jobs", lambda n: n["acked"] == 3, "three to be acknowledged")
        harness.wait_for(lambda: other.put("/topic/late", b"late") or c._ready or not self.raised(c), "a late message")
        self.assertEqual(c.take().body, b"late")
        self.assertBeats(c)
        self.assertServed(gw)
        self.worker(gw).get()
        c.answered(waiting)

    def raised(self, c):
        """True: no frame came."""
        try:
            c._ready.append(c.read(0.05))
        except TimeoutError:
            return True
        return False

    def assertBeats(self, c):
        c.socket.settimeout(10)
        data = c.socket.recv(65536)
        self.assertEqual(data[:1], b"\n")
        c._ready += c._parser.feed(data)

    def test_stomps_disconnect_gives_back_at_once_and_its_send_is_kept(self):
        """Its receipts are still owed to it, unless it closes."""
        gw = self.full("block")
        c = self.stomp(gw)
        c.put("/queue/jobs", b"job")
        c.subscribe("/queue/jobs", ack="client-individual")
        c.take()
        c.send(stomp_raw.send("/queue/work", b"kept"))
        self.parked(gw, 1)
        c.send(stomp_raw.frame("DISCONNECT"))
        self.assertEqual(self.worker(gw, "jobs").get().body, b"job")
        c.close()
        worker = self.worker(gw)
        self.assertEqual([worker.get().body for _ in range(4)][-1], b"kept")

    def test_reading_stops_when_the_parking_is_full_and_silence_is_not_held_against_it(self):
        gw = self.full("block", listeners=listeners())
        talks = []
        for version in VERSIONS:
            c = self.mqtt(gw, version, f"c{version}", keep_alive=1)
            c.send(b"".join(mqtt_raw.publish("work/x", b"p", 1, i, version) for i in range(1, SMALL)))
            c.ping()
            c.expect(PINGRESP)
            c.publish("work/x", b"p", 1, SMALL)
            c.send(b"".join(mqtt_raw.publish("work/x", b"p", 0, 0, version) for i in range(SMALL + 1, 3 * SMALL)))
            c.ping()
            talks.append(c)
        s = self.stomp(gw, heart_beat="500,0")
        s.send(b"".join(stomp_raw.send("/queue/work", b"p", f"r{i}") for i in range(1, 3 * SMALL)))
        begun = time.monotonic()
        self.parked(gw, 3 * SMALL)
        self.assertServed(gw)
        for c in talks:
            self.assertTrue(c.quiet(max(0.1, begun + 2.5 - time.monotonic())))
        self.assertNoFrame(s)
        self.assertEqual(gw.summary()[""]["publishes_parked"], 3 * SMALL)
        worker = self.worker(gw)
        for _ in range(3 + 3 * (3 * SMALL - 1)):
            worker.get()
        for c in talks:
            for i in range(1, SMALL + 1):
                self.assertEqual(c.expect(PUBACK, i), 0)
            c.expect(PINGRESP)
        for i in range(1, 3 * SMALL):
            s.receipt(f"r{i}")

    def test_a_parking_is_full_by_bytes_too(self):
        gw = self.full("block", listeners=listeners(receive_maximum=100, park_bytes="64KiB"))
        c = self.mqtt(gw, 5, "c")
        c.publish("work/x", b"." * 40000, 1, 1)
        c.ping()
        c.expect(PINGRESP)
        c.publish("work/x", b"." * 40000, 1, 2)
        c.publish("work/x", b"small", 1, 3)
        c.ping()
        self.parked(gw, 2)
        self.assertTrue(c.quiet(0.2))
        self.assertEqual(gw.summary()[""]["publishes_parked"], 2)
        worker = self.worker(gw)
        for _ in range(4):
            worker.get()
        for i in (1, 2):
            self.assertEqual(c.answer(PUBACK, i), 0)
        c.next(PINGRESP)

    def test_room_goes_to_those_who_wait_in_turn_and_in_each_ones_order(self):
        gw = self.full("block")
        five, four, stomp = self.mqtt(gw, 5, "five"), self.mqtt(gw, 4, "four"), self.stomp(gw)
        for i in range(1, 4):
            five.publish("work/x", b"five %d" % i, 1, i)
            four.publish("work/x", b"four %d" % i, 2, i)
            stomp.send(stomp_raw.send("/queue/work", b"stomp %d" % i, f"r{i}"))
        self.parked(gw, 9)
        worker = self.worker(gw)
        got = [worker.get().body for _ in range(3)]
        for i in range(1, 4):  # each place goes to one of the three, none twice before all had one
            self.assertEqual(five.expect(PUBACK, i), 0)
            self.assertEqual(four.expect(PUBREC, i), 0)
            stomp.receipt(f"r{i}")
            self.assertTrue(five.quiet(0.02) and four.quiet(0.02))
            got += [worker.get().body for _ in range(3)]
        self.assertEqual(got[:3], [b"fill 1", b"fill 2", b"fill 3"])
        for name in (b"five", b"four", b"stomp"):
            self.assertEqual([b for b in got if b.startswith(name)], [name + b" %d" % i for i in range(1, 4)])

    def test_qos_0_waits_too_and_outlives_its_connection(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                gw = self.full("block")
                c = self.mqtt(gw, version, "c")
                c.publish("work/x", b"zero")
                self.parked(gw, 1)
                c.disconnect()
                worker = self.worker(gw)
                self.assertEqual([worker.get().body for _ in range(4)][-1], b"zero")
                self.over(gw)

    def test_one_full_queue_of_several_keeps_a_message_from_all(self):
        gw = self.full("block", routes=[*ROUTES, {"match": "both/#", "queues": ["work", "jobs"]}])
        c = self.mqtt(gw, 5, "c")
        c.publish("both/x", b"x", 1, 1)
        self.parked(gw, 1)
        self.assertEqual(gw.counters("jobs")["accepted"], 0)
        self.worker(gw).get()
        self.assertEqual(c.expect(PUBACK, 1), 0)
        self.assertEqual(gw.counters("jobs")["accepted"], 1)


class Reject(OverloadCase):
    def test_qos_0_is_dropped_and_counted_and_its_connection_stays(self):
        gw = self.full("reject")
        for version in VERSIONS:
            c = self.mqtt(gw, version, "c")
            c.publish("work/x", b"zero")
            c.ping()
            c.expect(PINGRESP)
            self.assertTrue(c.quiet(0.4))
            self.assertEqual(c.put("jobs/x", b"x"), 0)
            c.disconnect()
        self.assertEqual(gw.counters("work")["refused"], 2)

    def test_stomp_is_told_without_a_receipt_too(self):
        gw = self.full("reject")
        c = self.stomp(gw)
        c.send(stomp_raw.send("/queue/work", b"x"))
        headers, _ = c.closed()
        self.assertGreaterEqual(int(headers["retry-after"]), 1)
        self.assertEqual(gw.counters("work")["refused"], 1)

    def test_the_grace_is_that_of_the_queue_that_refused(self):
        gw = self.start({"work": {"max_messages": 3, "overflow": "reject", "reject_grace": "200ms"},
                         "jobs": {"overflow": "reject", "reject_grace": "20s"}})
        self.fill(gw)
        c = self.mqtt(gw, 4, "c")
        begun = time.monotonic()
        c.publish("work/x", b"x", 1, 1)
        self.assertRaises(ConnectionError, c.read, 10)
        self.assertGreaterEqual(time.monotonic() - begun, 0.18)

    def test_an_old_client_sees_no_false_puback_in_its_grace(self):
        gw = self.full("reject")
        c = self.mqtt(gw, 4, "c", clean=False)
        c.publish("work/x", b"refused", 1, 1)
        c.publish("jobs/x", b"taken", 1, 2)
        c.ping()
        self.assertEqual([kind for kind, _, _ in self.rest(c)], [PINGRESP])

    def rest(self, c):
        out = []
        try:
            while True:
                out.append(c.read(10))
        except ConnectionError:
            return out

    def test_it_is_taken_again_as_soon_as_there_is_room(self):
        gw = self.full("reject")
        five = self.mqtt(gw, 5, "five")
        self.assertEqual(five.put("work/x", b"x"), QUOTA_EXCEEDED)
        worker = self.worker(gw)
        for _ in range(3):
            worker.get()
        self.assertEqual(five.put("work/x", b"five"), 0)
        self.assertEqual(self.mqtt(gw, 4, "four").put("work/x", b"four"), 0)
        self.stomp(gw).put("/queue/work", b"stomp")
        self.assertEqual([worker.get().body for _ in range(3)], [b"five", b"four", b"stomp"])

    def test_one_that_refuses_keeps_a_message_from_all(self):
        gw = self.full("reject", routes=[*ROUTES, {"match": "both/#", "queues": ["jobs", "work"]}])
        self.assertEqual(self.mqtt(gw, 5, "c").put("both/x", b"x"), QUOTA_EXCEEDED)
        self.assertEqual(gw.counters("jobs")["accepted"], 0)
        self.assertServed(gw)


class DropOldest(OverloadCase):
    def test_every_protocol_is_accepted_and_the_oldest_goes(self):
        gw = self.full("drop_oldest")
        for i, version in enumerate(VERSIONS):
            c = self.mqtt(gw, version, "c")
            for qos in (1, 2):
                self.assertEqual(c.put("work/x", b"v%d q%d" % (version, qos), qos), 0)
            c.publish("work/x", b"v%d q0" % version)
            gw.await_queue("work", lambda n: n["dropped"] == 3 * (i + 1), "the oldest to be dropped")
            c.disconnect()
        self.stomp(gw).put("/queue/work", b"stomp")
        self.assertEqual(gw.counters("work")["dropped"], 7)
        worker = self.worker(gw)
        self.assertEqual([worker.get().body for _ in range(3)], [b"v5 q2", b"v5 q0", b"stomp"])

    def test_it_waits_when_there_is_none_that_may_go(self):
        """All are in workers' hands."""
        gw = self.full("drop_oldest")
        worker = self.stomp(gw)
        worker.subscribe("/queue/work", ack="client-individual", prefetch_count=10)
        held = [worker.take() for _ in range(3)]
        c = self.mqtt(gw, 5, "c")
        c.publish("work/x", b"x", 1, 1)
        self.parked(gw, 1)
        self.assertTrue(c.quiet(0.1))
        self.assertServed(gw)
        worker.ack(held[0])
        self.assertEqual(c.expect(PUBACK, 1), 0)
        self.assertEqual(gw.counters("work")["dropped"], 0)


class Memory(OverloadCase):
    """16 MiB: intake waits from 20 MiB on, until there are less than 18 MiB."""
    BODY = b"." * 1_000_000

    def crowded(self):
        gw = self.start({"work": {"durable": False}, "jobs": {}}, limits={"memory": "16MiB"})
        c = self.mqtt(gw, 5, "c")
        n = 0
        while True:
            n += 1
            c.publish("work/x", self.BODY, 1, n)
            if c.quiet(1 if gw.has_event("not_ready") else 0.2):
                return gw, c, n
            self.assertEqual(c.expect(PUBACK, n), 0)
            self.assertLess(n, 30)

    def test_intake_waits_until_much_of_it_is_free_again_and_says_so_once(self):
        gw, c, n = self.crowded()
        self.assertEqual(gw.event("not_ready")["reason"], "memory")
        self.assertEqual(n, 22)  # so many fit below 20 MiB, and this one waits
        self.assertEqual(gw.summary()[""]["readiness"], "memory")
        c.ping()
        c.expect(PINGRESP)
        worker = self.worker(gw)
        worker.get()
        self.assertTrue(c.quiet(0.3))  # less than 20 MiB and more than 18
        worker.get()
        worker.get()
        self.assertEqual(c.expect(PUBACK, n), 0)
        self.assertGreater(int(gw.event("ready", after_ms=self.later(gw))["after_ms"]), 0)
        self.assertEqual(gw.summary()[""]["readiness"], "ready")
        self.assertEqual(gw.summary()[""]["not_ready"], 1)
        self.assertEqual(sum(harness.event_of(l) == "not_ready" for l in gw.log.lines), 1)

    def later(self, gw):
        line = gw.log.wait(lambda l: harness.event_of(l) == "ready" and "after_ms" in l)
        return harness.fields(line)["after_ms"]

    def test_all_protocols_wait_and_none_is_lost(self):
        gw, c, n = self.crowded()
        four, stomp = self.mqtt(gw, 4, "four"), self.stomp(gw)
        four.publish("jobs/x", b"four", 1, 1)
        receipt = stomp.begin_to_ask("SEND", {"destination": "/queue/jobs"}, b"stomp")
        four.ping()
        four.expect(PINGRESP)
        self.assertTrue(four.quiet(0.2))
        self.assertNoFrame(stomp)
        worker = self.worker(gw)
        for _ in range(5):
            worker.get()
        self.assertEqual(c.expect(PUBACK, n), 0)
        self.assertEqual(four.expect(PUBACK, 1), 0)
        stomp.answered(receipt)
        worker = self.worker(gw, "jobs")
        self.assertEqual({worker.get().body for _ in range(2)}, {b"four", b"stomp"})


class Connections(OverloadCase):
    MOST = 32

    def test_the_last_place_is_given_and_the_state_ends_when_there_are_a_few(self):
        gw = self.start(limits={"max_connections": self.MOST})
        held = [self.mqtt(gw, 4, f"k{i}") for i in range(self.MOST)]
        self.assertEqual(gw.event("not_ready")["reason"], "connections")
        for version, code in ((4, 3), (5, QUOTA_EXCEEDED)):
            over = self.mqtt(gw, version, "over")
            self.assertEqual(over.code, code)
            self.assertClosed(over)
        with self.assertRaisesRegex(ConnectionError, "ERROR"):
            stomp_raw.Client(gw.stomp)
        held.pop().disconnect()
        harness.wait_for(lambda: self.take_place(gw, held), "the place that is free")
        self.assertEqual(gw.summary()[""]["readiness"], "connections")
        for c in (held.pop(), held.pop(), held.pop()):
            c.disconnect()
        harness.wait_for(lambda: gw.summary()[""]["readiness"] == "ready", "the state's end")
        self.assertEqual(gw.summary()[""]["not_ready"], 1)
        for c in held:
            self.assertEqual(c.put("work/x", b"x"), 0)

    def take_place(self, gw, held):
        c = self.mqtt(gw, 4, "late")
        if c.code == 0:
            held.append(c)
        return c.code == 0

    def test_accepts_are_spread_and_who_is_in_is_not_slowed(self):
        gw = self.start(limits={"accept_rate": 10})
        inside = self.mqtt(gw, 5, "inside")
        begun, done, waits = time.monotonic(), threading.Event(), []

        def storm():
            self.stormed = [self.mqtt(gw, 4, f"s{i}") for i in range(25)]
            done.set()
        thread = threading.Thread(target=storm)
        thread.start()
        while not done.is_set():
            at = time.monotonic()
            self.assertEqual(inside.put("work/x", b"x"), 0)
            waits.append(time.monotonic() - at)
        thread.join()
        self.assertGreaterEqual(time.monotonic() - begun, 1)
        self.assertEqual({c.code for c in self.stormed}, {0})
        self.assertLess(sorted(waits)[len(waits) // 2], 0.1)


class Readiness(OverloadCase):
    def test_it_is_told_at_sys_and_when_the_gateway_stops(self):
        gw = self.start()
        c = self.mqtt(gw, 5, "c")
        c.subscribe(("$SYS/broker/readiness", 0))
        self.assertEqual(c.take().payload, b"ready")
        c.disconnect()
        self.assertEqual(gw.stop(), 0)
        self.assertTrue(any(harness.event_of(l) == "not_ready" and "reason=draining" in l for l in gw.log.lines))


if __name__ == "__main__":
    unittest.main()
