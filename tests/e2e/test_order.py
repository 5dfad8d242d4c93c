"""order_by with real workers that fail in every way and a gateway that is killed at random moments:
of a key one message is worked on at a time, and each is done for the first time in the order in
which it was published. What fails holds its key and nobody else.

SLUICE_CRASHES  how many times (4)      SLUICE_SEED  repeats a run's dice"""

import collections
import os
import threading
import time
import unittest

import harness
import mqtt_raw
import stomp_raw
import test_crash
from ledger import Ledger

CRASHES = int(os.environ.get("SLUICE_CRASHES", "4"))
KINDS = ["mqtt4.1", "mqtt5.1", "mqtt4.2", "mqtt5.2"]
ORDERED = {"order_by": "client", "max_attempts": 4, "max_messages": 2000, "retry": {"initial": "10ms", "factor": 2, "max": "50ms"}}


def key_and_number(uid):
    key, _, number = uid.rpartition("-")
    return key, int(number)


class Lines:
    """What the workers wrote, by key: in which order messages were begun for the first time, and were done with for
    the first time. A kill may forget an end, also that of a dead one, and make all that it forgot again."""

    def __init__(self, lines):
        uids, by_key = {}, []
        self.begun, self.done, self.acked = (collections.defaultdict(dict) for _ in range(3))
        for what, at, who, message, attempt, word in sorted((l for l in lines if len(l) == 6), key=lambda l: int(l[1])):
            if what == "S":
                uids[message] = word
            key, number = key_and_number(uids[message])
            by_key.append([what, at, who, key, attempt, word])
            if what == "S":
                self.begun[key].setdefault(number, at)
            if word == "ack":
                self.acked[key].setdefault(number, at)
            last = int(attempt) >= ORDERED["max_attempts"] and word != "release"
            if what in "EX" and (word in ("ack", "dead") or last):
                self.done[key].setdefault(number, at)
        together = Ledger()
        together.workers(by_key)
        self.together = together.overlaps

    def check(self, test, keys):
        test.assertEqual(self.together[:5], [], f"{len(self.together)} times two of a key were worked on at once")
        test.assertEqual(sorted(self.acked), sorted(keys))
        for what, by_key in (("begun", self.begun), ("done", self.done)):
            for key, numbers in by_key.items():
                numbers = list(numbers)
                wrong = [(a, b) for a, b in zip(numbers, numbers[1:]) if a >= b]
                test.assertEqual(wrong[:5], [], f"{key}: {len(wrong)} times {what} in another order than published")


class Consumer(threading.Thread):
    """A STOMP consumer that writes what it does as the recorders do."""

    def __init__(self, port, path):
        super().__init__(daemon=True)
        self.port, self.path, self.over = port, path, threading.Event()
        self.start()

    def note(self, what, uid, word):
        with open(self.path, "a") as out:
            out.write(f"{what} {time.monotonic_ns()} stomp {uid} 1 {word}\n")

    def run(self):
        client = stomp_raw.Client(self.port)
        client.subscribe("/queue/work", id="w", ack="client-individual", prefetch_count=4)
        while not self.over.is_set():
            try:
                command, headers, body = client.read(0.1)
            except TimeoutError:
                continue
            if command == "MESSAGE":
                uid = body.decode()
                self.note("S", uid, uid)
                self.note("E", uid, "ack")
                client.send(client.answer("ACK", stomp_raw.Message(headers, body)))
        client.close()


class OrderTest(harness.TestCase):
    def test_each_key_is_done_in_the_order_of_its_publishes_over_kill_9(self):
        seed, dice = harness.seeded()
        run = test_crash.Run(self, seed, kinds=KINDS, chaos=10, queue=ORDERED)
        run.gateway.start()
        run.start_producers()
        for _ in range(CRASHES):
            time.sleep(dice.uniform(0.1, 1.0))  # the random moment
            run.gateway.kill()
            run.gateway.start()
        run.finish_producers()
        run.drain()
        ledger = run.accounts()
        lines = Lines(self.worked())
        print(ledger.counts(kills=CRASHES, seed=seed), flush=True)
        ledger.check(self, exactly_once=["mqtt4q2-", "mqtt5q2-"])
        lines.check(self, [test_crash.name_of(k) for k in KINDS])
        self.assertGreater(ledger.verdicts["retry"] + ledger.verdicts["release"], 0)
        self.assertGreater(len(ledger.acknowledged), 20 * CRASHES)

    def test_pools_and_stomp_consumers_keep_one_order_together(self):
        pool = harness.recorder(self.folder, workers=2, env={"RECORD_WORK": "200"})
        g = self.gateway(harness.config({"work": {"order_by": "topic"}}, {"python": pool})).start()
        consumer = Consumer(g.stomp, self.folder / "worked")
        keys, rounds = [f"k{n}" for n in range(10)], 0
        deadline = time.monotonic() + harness.PATIENCE
        while {l[2] == "stomp" for l in self.worked() if l[0] == "E"} != {True, False}:
            self.assertLess(time.monotonic(), deadline, "only one of the two got anything")
            self.publish(g, *((key, f"{key}-{rounds * 20 + n}") for key in keys for n in range(20)))
            rounds += 1
        g.await_queue("work", lambda c: c["acked"] == len(keys) * rounds * 20, "all of it to be done")
        consumer.over.set()
        consumer.join(harness.PATIENCE)
        self.assertEqual(g.stop(), 0)
        lines = Lines(self.worked())
        lines.check(self, keys)
        self.assertEqual({key: len(acked) for key, acked in lines.acked.items()}, dict.fromkeys(keys, rounds * 20))

    # -- one that fails

    def failing(self, **queue):
        """What says "fails" does; what is done stands in the file `done`."""
        script = f'payload=$(cat); [ "$payload" = fails ] && exit 75; echo "$SLUICE_TOPIC $payload" >> {self.folder}/done'
        queue = {"order_by": "topic", "retry": {"initial": "1h", "max": "1h"}, **queue}
        self.config = harness.config({"work": queue}, {"p": harness.shell(script, workers=2)})
        return self.gateway(self.config).start()

    def publish(self, gateway, *messages):
        client = mqtt_raw.Client(gateway.mqtt, "order", 4)
        for topic, payload in messages:
            client.put(f"work/{topic}", payload.encode())
        client.disconnect()

    def done(self, topic):
        """In the order of the first times: a kill may make again what was done just before it."""
        path = self.folder / "done"
        lines = path.read_text().splitlines() if path.exists() else []
        return list(dict.fromkeys(l.split(" ")[1] for l in lines if l.startswith(f"work/{topic} ")))

    def await_done(self, topic, *payloads):
        harness.wait_for(lambda: self.done(topic) == list(payloads), f"{payloads} of {topic}")

    def test_what_fails_holds_its_key_and_nobody_else_also_over_kill_9(self):
        g = self.failing()
        self.publish(g, ("bad", "fails"), ("bad", "b2"), ("good", "g1"), ("good", "g2"), ("bad", "b3"))
        self.await_done("good", "g1", "g2")
        g.await_queue("work", lambda c: (c["ready"], c["delayed"], c["leased"]) == (2, 1, 0), "the key that is held")
        g.kill()
        g.start()
        self.publish(g, ("bad", "b4"), ("good", "g3"))
        self.await_done("good", "g1", "g2", "g3")
        counters = g.await_queue("work", lambda c: c["leased"] == 0, "all that may go to be done")
        self.assertEqual((counters["ready"], counters["delayed"]), (3, 1))
        self.assertEqual(self.done("bad"), [])
        self.assertEqual(g.stop(), 0)

    def test_what_fails_is_skipped_or_dead_where_that_is_asked_for(self):
        for on_failure, state in (("skip", "delayed"), ("dead", "dead_now")):
            g = self.failing(on_failure=on_failure)
            self.publish(g, (on_failure, "fails"), (on_failure, "b2"), (on_failure, "b3"))
            self.await_done(on_failure, "b2", "b3")
            g.await_queue("work", lambda c: c["ready"] + c["leased"] == 0 and c[state] >= 1, f"one that is {state}")
            self.assertEqual(g.stop(), 0)

    # -- its change

    def test_it_changes_only_on_an_empty_queue(self):
        g = self.failing()
        self.publish(g, ("bad", "fails"), ("bad", "b2"))
        g.await_queue("work", lambda c: c["delayed"] == 1, "a message that waits")
        self.assertEqual(g.stop(), 0)
        for order_by in ("none", "client", "header:device"):
            changed = harness.config({"work": {"order_by": order_by}})
            other = self.gateway(changed).spawn()
            self.assertEqual(other.event("queue_not_empty")["before"], "topic")
            self.assertEqual(other.wait(), 2)
        g = self.gateway(self.config).start()
        self.assertEqual(g.counters("work")["ready"], 1)
        self.assertEqual(g.stop(), 0)
        g = self.gateway(harness.config({"other": {}})).start()  # an orphan keeps its order
        self.assertEqual(g.stop(), 0)
        other = self.gateway(harness.config({"work": {}})).spawn()
        self.assertEqual(other.event("queue_not_empty")["before"], "topic")
        self.assertEqual(other.wait(), 2)

    def test_an_empty_queue_may_be_ordered_otherwise(self):
        for order_by in ("topic", "none", "client"):
            g = self.failing(order_by=order_by)
            self.publish(g, ("good", order_by))
            harness.wait_for(lambda: self.done("good")[-1:] == [order_by], "it to be done")
            g.await_empty("work")
            self.assertEqual(g.stop(), 0)


if __name__ == "__main__":
    unittest.main()
