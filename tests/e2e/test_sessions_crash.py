"""Publishers at full rate, subscribers with lasting sessions, retained messages that change, and a
gateway that is killed at random moments: nothing acknowledged is lost to a lasting session, QoS 2 is
never doubled, and a retained message is the last that was acknowledged.

SLUICE_CRASHES  how many times (4; the long form takes 20)      SLUICE_SEED  repeats a run's dice"""

import collections
import contextlib
import os
import signal
import subprocess
import threading
import time
import unittest

import harness
import mqtt_raw
from ledger import Ledger
from test_powercut import Power

CRASHES = int(os.environ.get("SLUICE_CRASHES", "4"))
PUBLISHERS = ["mqtt4.1", "mqtt5.1", "mqtt4.2", "mqtt5.2"]
SUBSCRIBERS = {f"sub{version}q{qos}": (version, qos) for version in (4, 5) for qos in (1, 2)}
GROUP = {f"member{version}": (version, 2) for version in (4, 5)}  # of one shared subscription
WINDOW, WIDE = 20, 65535
# Room for all that a run can publish while a subscriber is away: the claim is about what is kept
# within a session's limits.
LIMITS = {"session_queue": {"messages": 1000000, "bytes": "256MiB"}}
RETAINED_TOPICS = 20


def name_of(kind):
    return kind.replace(".", "q")


class Delivered:
    """What one subscriber wrote down."""

    def __init__(self, path):
        self.order, self.times, self.notes = [], collections.Counter(), collections.Counter()
        self.first_id, self.renamed, self.plain, self.mixed = {}, 0, 0, []
        for line in path.read_text().splitlines():
            what, *rest = line.split(" ")
            if what in ("got", "again"):
                self._message(what, *rest)
            self.notes[what] += 1

    def _message(self, what, uid, packet_id, dup, qos):
        if what == "got":
            self.times[uid] += 1
            if self.times[uid] == 1:
                self.order.append(uid)
        if what == "again" and (dup != "1" or self.first_id.get(uid) != packet_id):
            self.mixed.append((uid, packet_id, dup))
        if uid in self.first_id and what == "got":
            self.renamed += self.first_id[uid] != packet_id
            self.plain += dup != "1"
        self.first_id.setdefault(uid, packet_id)

    def of(self, prefix):
        return [u for u in self.order if u.startswith(prefix)]


class Retainer(threading.Thread):
    """Changes retained messages one after another, each value when the one before has its answer;
    every fifth value removes the message."""

    def __init__(self, port, values):
        super().__init__(daemon=True)
        self.port, self.values, self.over = port, values, False
        self.start()

    def run(self):
        try:
            with contextlib.closing(mqtt_raw.Client(self.port, "retainer", 5)) as client:
                while not self.over:
                    for topic, value in self.values.items():
                        value.change(client, topic)
        except (OSError, TimeoutError):
            pass  # the gateway was killed


class Value:
    def __init__(self):
        self.sent = self.kept = 0

    @staticmethod
    def payload(number):
        return b"" if number % 5 == 0 else b"%d" % number

    def change(self, client, topic):
        self.sent += 1
        reason = client.put(topic, self.payload(self.sent), 1 + self.sent % 2, retain=True)
        if reason >= 0x80:
            raise AssertionError(f"{topic}: {reason:#x}")
        self.kept = self.sent

    def allowed(self):
        """What has no answer yet may have been kept or not."""
        return {self.payload(self.kept), self.payload(self.sent)}

    def found(self, payload):
        if payload == self.payload(self.sent):
            self.kept = self.sent


class Run:
    def __init__(self, test, publishers=PUBLISHERS, window=WINDOW, wide=True, power=None):
        """Not wide: few messages on their way at once, most wait for room and have their packet id late."""
        self.test, self.folder = test, test.folder
        self.kinds, self.window = publishers, window
        self.groups = [("crash/#", SUBSCRIBERS, WIDE), ("$share/g/crash/#", GROUP, WIDE)]
        if not wide:
            self.groups = [("crash/#", {"narrow1": (5, 1), "narrow2": (5, 2)}, 4)]
        self.power = power
        self.gateway = test.gateway(harness.config({}, limits=LIMITS), env=power.env if power else None)
        self.publishers, self.subscribers = [], []
        self.values = {f"retained/{i}": Value() for i in range(RETAINED_TOPICS)}
        self.retainer = None

    def journal(self, name):
        return self.folder / f"{name}.journal"

    def _spawn(self, program, name, *more, receive_maximum=WIDE):
        command = [harness.PYTHON, "-B", str(harness.HERE / program), str(self.gateway.ports_file),
                   str(self.journal(name)), name, *(str(m) for m in more)]
        env = dict(os.environ, PRODUCER_WINDOW=str(self.window), PRODUCER_TOPIC=f"crash/{name}", PRODUCER_PAD="50",
                   SUBSCRIBER_WINDOW=str(receive_maximum))
        return self.test.child(subprocess.Popen(command, env=env))

    def start(self):
        self.start_gateway()
        for topic_filter, names, maximum in self.groups:
            for name, (version, qos) in names.items():
                process = self._spawn("subscriber.py", name, version, qos, topic_filter, "end",
                                      receive_maximum=maximum)
                self.subscribers.append((name, process))
        for name, _ in self.subscribers:
            harness.wait_for(lambda: self.journal(name).exists()
                             and "subscribed" in self.journal(name).read_text(), f"{name} to subscribe")
        self.publishers = [self._spawn("producer.py", name_of(k), k) for k in self.kinds]

    def start_gateway(self):
        self.gateway.start()
        self.check_retained()
        self.retainer = Retainer(self.gateway.mqtt, self.values)

    def kill(self):
        if self.power:
            self.power.cut(self.gateway)
        else:
            self.gateway.kill()
        self.retainer.join()

    def check_retained(self):
        client = mqtt_raw.Client(self.gateway.mqtt, "reader", 5)
        client.subscribe(("retained/#", 0))
        found = {}
        for kind, flags, body in client.fence():
            m = mqtt_raw.Message(flags, body, 5)
            self.test.assertTrue(kind == mqtt_raw.PUBLISH and m.retain and m.topic not in found, m)
            found[m.topic] = m.payload
        client.disconnect()
        for topic, value in self.values.items():
            self.test.assertIn(found.get(topic, b""), value.allowed(), topic)
            value.found(found.get(topic, b""))

    def finish(self):
        """Everything has its answer, then every subscriber has the end."""
        self.retainer.over = True
        self.retainer.join()
        for p in self.publishers:
            p.send_signal(signal.SIGTERM)
        for p in self.publishers:
            self.test.assertEqual(p.wait(harness.PATIENCE * 4), 0, p.args)
        last = mqtt_raw.Client(self.gateway.mqtt, "last", 5)
        last.put("end", b"end", 2)
        last.disconnect()
        for name, p in self.subscribers:
            self.test.assertEqual(p.wait(harness.PATIENCE * 4), 0, name)
        self.check_retained()

    def check(self, **more):
        ledger = Ledger()
        for kind in self.kinds:
            ledger.producer(self.journal(name_of(kind)))
        delivered = {name: Delivered(self.journal(name)) for name, _ in self.subscribers}
        print({"acknowledged": len(ledger.acknowledged), **more,
               "deliveries": {n: sum(d.times.values()) for n, d in delivered.items()},
               "qos_2_resent": {n: d.notes["again"] for n, d in delivered.items()},
               "delivered_again": {n: sum(d.times.values()) - len(d.times) for n, d in delivered.items()},
               "under_another_id": {n: d.renamed for n, d in delivered.items()},
               "resumed": {n: d.notes["resumed"] for n, d in delivered.items()},
               "retained_changes": sum(v.kept for v in self.values.values())}, flush=True)
        self.test.assertEqual((ledger.lost_sessions, ledger.refused), (0, []))
        for topic_filter, names, _ in self.groups:
            members = [delivered[name] for name in names]
            if topic_filter.startswith("$share"):
                with self.test.subTest(group=list(names)):
                    self._check_group(ledger, members)
                continue
            for name, d in zip(names, members):
                with self.test.subTest(subscriber=name):
                    self._check_one(ledger, name, d)
        return ledger

    def _check_group(self, ledger, members):
        """Together they have what each of the others has alone."""
        times = sum((d.times for d in members), collections.Counter())
        del times["end"]
        lost = sorted((ledger.acknowledged | ledger.received) - set(times))
        self.test.assertEqual(lost[:10], [], f"{len(lost)} acknowledged messages came to no member")
        doubled = [u for u, n in times.items() if n > 1 and "q2-" in u]
        self.test.assertEqual(doubled[:10], [], f"{len(doubled)} of QoS 2 were doubled in the group")
        for d in members:
            self.test.assertEqual((d.notes["lost-session"], d.mixed[:10]), (0, []))

    def _check_one(self, ledger, name, d):
        self.test.assertEqual(d.notes["lost-session"], 0, "a session that had subscribed was gone")
        lost = sorted((ledger.acknowledged | ledger.received) - set(d.times))
        self.test.assertEqual(lost[:10], [], f"{len(lost)} acknowledged messages never came")
        self.test.assertEqual(d.mixed[:10], [], "QoS 2 came again, and not as itself")
        for kind in self.kinds:
            mine = d.of(name_of(kind) + "-")
            numbers = [int(u.rsplit("-", 1)[1]) for u in mine]
            late = [pair for pair in zip(numbers, numbers[1:]) if pair[0] > pair[1]]
            self.test.assertEqual(late[:5], [], f"{len(late)} of {kind} came out of their order")
            if kind.endswith(".2") and name.endswith("2"):
                doubled = [u for u in mine if d.times[u] > 1]
                self.test.assertEqual(doubled[:10], [], f"{len(doubled)} of QoS 2 were doubled")


class SessionsCrash(harness.TestCase):
    def test_lasting_sessions_lose_nothing_and_double_nothing_over_kill_9(self):
        seed, dice = harness.seeded()
        run = Run(self)
        run.start()
        for _ in range(CRASHES):
            time.sleep(dice.uniform(0.05, 0.8))  # the random moment
            run.kill()
            run.start_gateway()
        run.finish()
        ledger = run.check(kills=CRASHES, seed=seed)
        self.assertGreater(len(ledger.acknowledged), 20 * CRASHES)
        self.assertEqual(run.gateway.stop(), 0)

    def test_lasting_sessions_lose_nothing_and_double_nothing_over_power_cuts(self):
        """The store is cut back to its last completed sync."""
        seed, dice = harness.seeded()
        run = Run(self, power=Power(self.folder))
        run.start()
        for _ in range(CRASHES // 2):
            time.sleep(dice.uniform(0.05, 0.8))  # the random moment
            run.kill()
            run.start_gateway()
        run.finish()
        run.check(cuts=CRASHES // 2, seed=seed)
        self.assertEqual(run.gateway.stop(), 0)

    def test_what_waits_for_room_is_not_doubled_over_kill_9(self):
        """Packet ids that are given late: none is used before it is stored."""
        seed, dice = harness.seeded()
        run = Run(self, publishers=["mqtt4.2", "mqtt5.2"], window=8, wide=False)
        run.start()
        for _ in range(2 * CRASHES):
            time.sleep(dice.uniform(0.02, 0.15))  # the random moment
            run.kill()
            run.start_gateway()
        run.finish()
        run.check(kills=2 * CRASHES, seed=seed)
        self.assertEqual(run.gateway.stop(), 0)

    def test_lost_connections_lose_nothing_and_double_nothing(self):
        """Subscribers drop theirs with answers unsent, and the gateway lives on."""
        seed, dice = harness.seeded()
        run = Run(self)
        run.start()
        for _ in range(3 * CRASHES):
            time.sleep(dice.uniform(0.02, 0.2))  # the random moment
            for _, p in dice.sample(run.subscribers, 2):
                p.send_signal(signal.SIGUSR1)
        run.finish()
        run.check(drops=6 * CRASHES, seed=seed)
        for name, _ in run.subscribers:
            d = Delivered(run.journal(name))
            self.assertEqual((d.renamed, d.plain), (0, 0), f"{name}: not the id that it had, or no DUP")
        self.assertEqual(run.gateway.stop(), 0)


class AfterKill(harness.TestCase):
    """What a session is and has comes back as it was."""

    def subscribed(self, gw, name, version):
        c = mqtt_raw.Client(gw.mqtt, name, version, clean=False)
        self.addCleanup(c.close)
        return c

    def test_what_is_unanswered_comes_back_with_its_id_and_dup(self):
        gw = self.gateway(harness.config({})).start()
        for version in (4, 5):
            c = self.subscribed(gw, f"back{version}", version)
            self.assertEqual(c.subscribe((f"flight/{version}", 2)), [2])
            sender = mqtt_raw.Client(gw.mqtt, "sender", version)
            for i in range(6):
                sender.put(f"flight/{version}", b"%d" % i, 1 + i % 2)
            sent = [c.take() for _ in range(6)]
            self.assertEqual([m.payload for m in sent], [b"%d" % i for i in range(6)])
            self.assertTrue(all(not m.dup for m in sent))
            c.send(mqtt_raw.ack(mqtt_raw.PUBREC, sent[1].packet_id))
            self.assertEqual(c.answer(mqtt_raw.PUBREL, sent[1].packet_id), 0)
            sender.close()
            setattr(self, f"sent{version}", sent)
        gw.kill()
        gw.start()
        for version in (4, 5):
            with self.subTest(version=version):
                self.check_back(gw, version, getattr(self, f"sent{version}"))

    def check_back(self, gw, version, sent):
        c = self.subscribed(gw, f"back{version}", version)
        self.assertEqual(c.session_present, 1)
        self.assertEqual(c.answer(mqtt_raw.PUBREL, sent[1].packet_id), 0)
        c.send(mqtt_raw.ack(mqtt_raw.PUBCOMP, sent[1].packet_id))
        wanted = [(m.payload, m.qos, m.packet_id, True) for m in sent if m is not sent[1]]
        got = [c.get() for _ in wanted]
        self.assertEqual([(m.payload, m.qos, m.packet_id, m.dup) for m in got], wanted)
        self.assertEqual(c.fence(), [])

    def test_what_waits_for_the_absent_comes_back_in_order(self):
        gw = self.gateway(harness.config({})).start()
        for version in (4, 5):
            c = self.subscribed(gw, f"away{version}", version)
            c.subscribe((f"away/{version}", 1))
            c.disconnect()
        sender = mqtt_raw.Client(gw.mqtt, "sender", 5)
        for i in range(200):
            for version in (4, 5):
                sender.put(f"away/{version}", b"%d" % i, 1 + i % 2)
        gw.kill()
        gw.start()
        for version in (4, 5):
            with self.subTest(version=version):
                c = self.subscribed(gw, f"away{version}", version)
                self.assertEqual([int(c.get().payload) for _ in range(200)], list(range(200)))

    def test_subscriptions_come_back_as_they_were(self):
        """Options and numbers, replaced and removed ones, shared ones."""
        gw = self.gateway(harness.config({})).start()
        c = self.subscribed(gw, "subs", 5)
        options = mqtt_raw.options
        c.subscribe(("plain", 0), ("gone", 1))
        c.subscribe(("local", options(1, no_local=True)), ("kept", options(2, as_published=True)), subscription_id=[9])
        c.subscribe(("kept/#", 1), subscription_id=[70000])
        c.subscribe(("plain", 2))
        c.subscribe(("$share/g/mine", 1))
        self.assertEqual(c.unsubscribe("gone"), [0])
        gw.kill()
        gw.start()
        c = self.subscribed(gw, "subs", 5)
        other = mqtt_raw.Client(gw.mqtt, "other", 5)
        self.addCleanup(other.close)
        c.put("local", b"not back to its publisher")
        other.put("gone", b"never")
        for topic, qos, retain in (("plain", 2, False), ("kept", 2, True), ("local", 1, False), ("mine", 1, False)):
            other.put(topic, b"x", 2, retain=retain)
            m = c.get()
            self.assertEqual((m.topic, m.qos, m.retain), (topic, qos, retain))
            ids = {"kept": [9, 70000], "local": [9]}.get(topic, [])
            self.assertEqual(sorted(m.properties.get("subscription_id", [])), ids)
        self.assertEqual(c.unsubscribe("plain", "gone", "$share/g/mine"), [0, 0x11, 0])

    def test_a_session_that_ended_does_not_come_back(self):
        """By Clean Start, by an expiry of 0 at DISCONNECT, by its time."""
        gw = self.gateway(harness.config({})).start()
        for name, expiry in (("clean", 3600), ("bye", 3600), ("short", 1), ("stays", 3600)):
            c = mqtt_raw.Client(gw.mqtt, name, 5, clean=False, expiry=expiry)
            self.addCleanup(c.close)
            c.subscribe(("ended", 1))
            if name == "bye":
                c.send(mqtt_raw.packet(mqtt_raw.DISCONNECT, b"\0" + mqtt_raw.properties(session_expiry=0)))
                c.closed()
        mqtt_raw.Client(gw.mqtt, "clean", 5, clean=True).disconnect()
        other = self.subscribed(gw, "other", 5)
        other.put("ended", b"x")
        gw.kill()
        gw.start()

        def subscriptions():
            c = mqtt_raw.Client(gw.mqtt, "sys", 5)
            c.subscribe(("$SYS/broker/subscriptions/count", 0))
            value = int(c.get().payload)
            c.disconnect()
            return value
        harness.wait_for(lambda: subscriptions() == 2, "the short session to end")
        for name, present in (("clean", 0), ("bye", 0), ("short", 0), ("stays", 1)):
            self.assertEqual(self.subscribed(gw, name, 5).session_present, present, name)

    def test_a_member_that_ends_leaves_its_messages_to_the_others(self):
        """QoS 1 of a shared subscription that it had not answered; also over kill -9."""
        gw = self.gateway(harness.config({})).start()
        first = self.subscribed(gw, "first", 5)
        first.subscribe(("$share/g/work", 1))
        other = mqtt_raw.Client(gw.mqtt, "other", 5)
        self.addCleanup(other.close)
        for i in range(10):
            other.put("work", b"%d" % i)
        self.assertEqual([int(first.take().payload) for _ in range(10)], list(range(10)))
        second = self.subscribed(gw, "second", 5)
        second.subscribe(("$share/g/work", 1))
        gw.kill()
        gw.start()
        second = self.subscribed(gw, "second", 5)
        mqtt_raw.Client(gw.mqtt, "first", 5, clean=True).disconnect()
        self.assertEqual(sorted(int(second.get().payload) for _ in range(10)), list(range(10)))
        self.assertEqual(second.fence(), [])

    def test_a_will_outlives_the_gateway(self):
        """Of a client that is there when the gateway is killed, and of one that went before; the
        delay starts anew."""
        gw = self.gateway(harness.config({})).start()
        watcher = self.subscribed(gw, "watcher", 5)
        watcher.subscribe(("wills/#", 1))
        for name, delay in (("here", 0), ("gone", 1)):
            c = mqtt_raw.Client(gw.mqtt, name, 5, clean=False, will={
                "topic": f"wills/{name}", "payload": b"will", "qos": 1, "will_delay": delay})
            self.addCleanup(c.close)
            c.subscribe(("nothing", 1))  # its SUBACK comes when the session is stored
            if name == "gone":
                c.close()
        gw.kill()
        gw.start()
        watcher = self.subscribed(gw, "watcher", 5)
        self.assertEqual(sorted(watcher.get().topic for _ in range(2)), ["wills/gone", "wills/here"])
        self.assertEqual(watcher.fence(), [])


if __name__ == "__main__":
    unittest.main()
