"""dedup of a queue with real clients: what comes twice enters once, also over kill -9, and a producer
that sends again whatever was not answered leaves each message exactly once.

SLUICE_CRASHES  how many times (4)      SLUICE_SEED  repeats a run's dice"""

import os
import threading
import time
import unittest

import harness
import mqtt_raw
import stomp_raw

CRASHES = int(os.environ.get("SLUICE_CRASHES", "4"))


def dedup(by=None, window="1h", **more):
    return {"dedup": {"window": window, **({"by": by} if by else {}), **more}}


class Producer(threading.Thread):
    """QoS 1; what is not answered is sent again under the same dedup-id, over as many connections as it takes."""

    def __init__(self, gateway, name):
        super().__init__(name=name, daemon=True)
        self.gateway, self.answered, self.sent_again, self.goes_on = gateway, [], 0, True

    def run(self):
        client, n = None, 0
        while self.goes_on:
            try:
                client = client or mqtt_raw.Client(self.gateway.mqtt, self.name, 5, timeout=5)
                client.put("work/x", f"{self.name}-{n}".encode(), user=[("dedup-id", str(n))])
                self.answered.append(f"{self.name}-{n}")
                n += 1
            except (OSError, ConnectionError, TimeoutError):
                client = None
                self.sent_again += 1
                time.sleep(0.01)  # until there is a gateway again


class DedupTest(harness.TestCase):
    def start(self, **queue):
        return self.gateway(harness.config({"work": queue})).start()

    def assert_counters(self, gateway, accepted, duplicates):
        counters = gateway.counters("work")
        self.assertEqual((counters["accepted"], counters["duplicates"]), (accepted, duplicates))

    def test_a_dedup_id_is_its_client_s_own_in_mqtt_5_and_stomp(self):
        g = self.start(**dedup())
        a, b = mqtt_raw.Client(g.mqtt, "a", 5), mqtt_raw.Client(g.mqtt, "b", 5)
        for client in (a, a, b, a):
            self.assertEqual(client.put("work/x", b"m", user=[("dedup-id", "1")]), 0)
        self.assert_counters(g, 2, 2)
        for _ in range(2):  # over two connections
            s = stomp_raw.Client(g.stomp, **{"client-id": "s"})
            s.ask("SEND", [("destination", "/queue/work"), ("dedup-id", "1")], b"m")
            s.disconnect()
        self.assert_counters(g, 3, 3)
        a.put("work/x", b"m")  # without one nothing is a duplicate
        a.put("work/x", b"m")
        self.assert_counters(g, 5, 3)
        self.assertEqual(g.stop(), 0)

    def test_3_1_1_by_its_payload(self):
        g = self.start(**dedup(by=["topic", "payload"]))
        for client_id in ("a", "b"):
            c = mqtt_raw.Client(g.mqtt, client_id, 4)
            for topic, payload in (("work/1", b"21.5"), ("work/1", b"21.5"), ("work/2", b"21.5"), ("work/1", b"21.6"), ("work/1", bytes(100000))):
                c.put(topic, payload)
        self.assert_counters(g, 4, 6)
        self.assertEqual(g.stop(), 0)

    def test_a_window_outlives_kill_9_and_the_message(self):
        queue = {**dedup(window="2h")}
        g = self.gateway(harness.config({"work": queue}, {"p": harness.shell("true")})).start()
        c = mqtt_raw.Client(g.mqtt, "a", 5)
        self.assertEqual(c.put("work/x", b"m", user=[("dedup-id", "1")]), 0)
        g.await_empty("work")
        g.kill()
        g.start()
        c = mqtt_raw.Client(g.mqtt, "a", 5)
        self.assertEqual(c.put("work/x", b"m", user=[("dedup-id", "1")]), 0)
        self.assertEqual(c.put("work/x", b"m", user=[("dedup-id", "2")]), 0)
        self.assert_counters(g, 1, 1)
        self.assertEqual(g.stop(), 0)

    def test_after_its_window_a_key_is_new(self):
        g = self.start(**dedup(window="300ms"))
        c = mqtt_raw.Client(g.mqtt, "a", 5)

        def enters_again():
            c.put("work/x", b"m", user=[("dedup-id", "1")])
            return g.counters("work")["accepted"] == 2
        harness.wait_for(enters_again, "the window to pass")
        self.assertEqual(g.stop(), 0)

    def test_a_retransmission_is_known_over_kill_9_where_that_is_asked_for(self):
        g = self.start(**dedup(by="retransmit"))

        def send(dup):
            c = mqtt_raw.Client(g.mqtt, "a", 4, clean=False)
            c.publish("work/x", b"m", 1, 5, dup=dup)
            self.assertEqual(c.answer(mqtt_raw.PUBACK, 5), 0)
        send(False)
        send(True)
        self.assert_counters(g, 1, 1)
        g.kill()
        g.start()
        send(True)
        self.assert_counters(g, 0, 1)
        send(False)  # the same packet id and content, and a new message
        self.assert_counters(g, 1, 1)
        self.assertEqual(g.stop(), 0)

    def test_without_asking_dup_counts_only_until_puback(self):
        g = self.start(max_messages=1)
        c = mqtt_raw.Client(g.mqtt, "a", 4)
        c.put("work/x", b"first")
        c.publish("work/x", b"waits for room", 1, 7)
        for _ in range(3):
            c.publish("work/x", b"waits for room", 1, 7, dup=True)
        consumer = stomp_raw.Client(g.stomp)
        consumer.subscribe("/queue/work", ack="auto")
        self.assertEqual([consumer.take().body for _ in range(2)], [b"first", b"waits for room"])
        self.assertEqual(c.answer(mqtt_raw.PUBACK, 7), 0)
        c.publish("work/x", b"waits for room", 1, 7, dup=True)
        self.assertEqual(c.answer(mqtt_raw.PUBACK, 7), 0)
        self.assertEqual(consumer.take().body, b"waits for room")
        self.assertEqual(g.summary()[""]["qos1_duplicates"], 3)
        self.assertEqual(g.stop(), 0)

    def test_the_newest_takes_the_place_of_what_waits(self):
        g = self.start(**dedup(by="topic", policy="replace"))
        c = mqtt_raw.Client(g.mqtt, "a", 5)
        for topic, payload in (("1", b"old"), ("2", b"x"), ("1", b"newer"), ("3", b"y"), ("1", b"newest")):
            self.assertEqual(c.put(f"work/{topic}", payload), 0)
        self.assertEqual(g.counters("work")["replaced"], 2)
        consumer = stomp_raw.Client(g.stomp)
        consumer.subscribe("/queue/work", ack="auto")
        self.assertEqual([consumer.take().body for _ in range(3)], [b"newest", b"x", b"y"])
        self.assertEqual(g.stop(), 0)

    def test_the_newest_is_there_after_kill_9(self):
        g = self.start(**dedup(by="topic", policy="replace"))
        c = mqtt_raw.Client(g.mqtt, "a", 5)
        for n in range(50):
            c.put("work/1", str(n).encode())
        g.kill()
        g.start()
        c = mqtt_raw.Client(g.mqtt, "a", 5)
        c.put("work/1", b"after")
        counters = g.counters("work")
        self.assertEqual((counters["ready"], counters["replaced"]), (1, 1))
        self.assertEqual(g.stop(), 0)

    def test_a_producer_that_sends_again_leaves_each_message_once_over_kill_9(self):
        seed, dice = harness.seeded()
        g = self.start(max_messages=10000000, **dedup())
        producers = [Producer(g, f"p{i}") for i in range(4)]
        for p in producers:
            p.start()
        for _ in range(CRASHES):
            time.sleep(dice.uniform(0.1, 1.0))  # the random moment
            g.kill()
            g.start()
        answered = sum(len(p.answered) for p in producers)
        harness.wait_for(lambda: sum(len(p.answered) for p in producers) > answered + 100, "producers to go on")
        for p in producers:
            p.goes_on = False
        for p in producers:
            p.join(30)
        ready = g.counters("work")["ready"]
        consumer = stomp_raw.Client(g.stomp)
        consumer.subscribe("/queue/work", ack="auto")
        came = [consumer.take().body.decode() for _ in range(ready)]
        self.assertEqual(len(came), len(set(came)), f"seed {seed}: some came twice")
        missing = set(m for p in producers for m in p.answered) - set(came)
        self.assertEqual(missing, set(), f"seed {seed}")
        print(f"kills={CRASHES} seed={seed} messages={len(came)} sent_again={sum(p.sent_again for p in producers)}", flush=True)
        self.assertGreater(sum(p.sent_again for p in producers), 0)
        self.assertEqual(g.stop(), 0)


if __name__ == "__main__":
    unittest.main()
