"""The plug is pulled: the gateway is killed and its store replaced by what the last completed sync
had made durable (tests/shims/powercut.c). Nothing acknowledged may be missing then, and no answer
may have left before the sync that covers it. With syncs that lie, these tests must turn red.

SLUICE_CUTS  how many times (5; the long form takes 50)      SLUICE_SEED  repeats a run's dice"""

import os
import shutil
import subprocess
import time
import unittest

import harness
import mqtt_raw
import stomp_raw
from ledger import Ledger
from test_crash import Run

CUTS = int(os.environ.get("SLUICE_CUTS", "5"))
WATCH = "pc-"


class Power:
    """The shim around one gateway."""

    def __init__(self, folder, lying=False, torn=None, log=False):
        self.shadow, self.log = folder / "shadow", folder / "powercut.log"
        self.shadow.mkdir()
        self.env = {"LD_PRELOAD": harness.shim("powercut"), "POWERCUT_ROOT": str(folder / "data"),
                    "POWERCUT_SHADOW": str(self.shadow)}
        if lying:
            self.env["POWERCUT_NOSYNC"] = "1"
        if torn is not None:
            self.env["POWERCUT_TORN"] = str(torn)
        if log:
            self.env.update(POWERCUT_LOG=str(self.log), POWERCUT_WATCH=WATCH,
                            POWERCUT_LOG_BYTES="1000000")
        options = os.environ.get("ASAN_OPTIONS", "")
        self.env["ASAN_OPTIONS"] = ":".join(filter(None, [options, "verify_asan_link_order=0"]))

    def cut(self, gateway):
        """Everything dies at once, and what was not synced is gone."""
        gateway.kill()
        harness.wait_for(lambda: not gateway.family(), "everything to be dead")
        shutil.rmtree(gateway.data / "store", ignore_errors=True)
        if (self.shadow / "store").exists():
            shutil.copytree(self.shadow / "store", gateway.data / "store")


class PowerCutTest(harness.TestCase):
    def cut_and_count(self, torn):
        seed, dice = harness.seeded()
        power = Power(self.folder, torn=seed if torn else None)
        run = Run(self, seed, env=power.env)
        run.gateway.start()
        run.start_producers()
        cuts = CUTS // 2 + (CUTS % 2 if torn else 0)
        for _ in range(max(1, cuts)):
            time.sleep(dice.uniform(0.05, 1.0))  # the random moment
            power.cut(run.gateway)
            run.gateway.start()
        run.finish_producers()
        run.drain()
        ledger = run.accounts()
        print(ledger.counts(cuts=cuts, torn=torn, seed=seed), flush=True)
        ledger.check(self, exactly_once=["mqtt4q2-", "mqtt5q2-"])

    def test_nothing_acknowledged_is_lost_in_a_power_cut(self):
        self.cut_and_count(torn=False)

    def test_nothing_acknowledged_is_lost_when_unsynced_pages_are_torn(self):
        self.cut_and_count(torn=True)

    def after_one_cut(self, lying):
        """Nobody works, so what was acknowledged is in the store or lost."""
        power = Power(self.folder, lying=lying)
        gateway = self.gateway(harness.config(), env=power.env).start()
        client = mqtt_raw.Client(gateway.mqtt)
        ledger = Ledger()
        for i in range(1, 201):
            uid = f"{WATCH}{i}"
            ledger.sent.add(uid)
            client.publish("work/x", uid.encode(), 1, i)
            client.expect(mqtt_raw.PUBACK, i)
            ledger.acknowledged.add(uid)
        power.cut(gateway)
        client.close()
        gateway.start()
        self.assertEqual(gateway.stop(), 0)
        entries = harness.dump(gateway.data)
        for e in entries:
            e["state"] = "dead"  # still there is as good as worked
        ledger.store(entries)
        return ledger

    def test_a_message_that_nobody_works_survives_the_cut(self):
        self.after_one_cut(lying=False).check(self)

    def test_this_test_notices_syncs_that_lie(self):
        ledger = self.after_one_cut(lying=True)
        self.assertEqual(len(ledger.missing()), 200)
        with self.assertRaises(AssertionError):
            ledger.check(self)


def body(uid):
    return uid.encode() + b" ."  # what follows in the page shall not look like the word's end


class Answers:
    """One connection per way of publishing; sends and notes when, on the monotonic clock."""

    def __init__(self, gateway):
        self.clients = {
            "mqtt4": mqtt_raw.Client(gateway.mqtt, "order4", 4, clean=False),
            "mqtt5": mqtt_raw.Client(gateway.mqtt, "order5", 5, clean=False),
        }
        self.stomp = stomp_raw.Client(gateway.stomp)
        self.released_at = {}
        self._sent = 0

    def round(self, i, burst):
        """`burst` messages each in one write, then all their answers."""
        ids = range(self._sent + 1, self._sent + 1 + burst)
        double = range(self._sent + 1 + burst, self._sent + 1 + 2 * burst)
        self._sent += 2 * burst
        for name, c in self.clients.items():
            for qos, numbers in (1, ids), (2, double):
                c.send(b"".join(mqtt_raw.publish("work/x", body(f"{WATCH}{name}-{qos}-{n}"), qos, n,
                                                 c.version) for n in numbers))
            for n in ids:
                c.expect(mqtt_raw.PUBACK, n)
            for n in double:
                c.expect(mqtt_raw.PUBREC, n)
            self._release(name, c, double)
        names = [f"{WATCH}stomp-{i}-{n}" for n in range(burst)]
        self.stomp.send(b"".join(stomp_raw.send("/topic/work/x", body(n), n) for n in names))
        for n in names:
            self.stomp.receipt(n)

    def _release(self, name, client, ids):
        for n in ids:
            self.released_at[name, n] = time.monotonic()
            client.send(mqtt_raw.ack(mqtt_raw.PUBREL, n))
        for n in ids:
            client.expect(mqtt_raw.PUBCOMP, n)

    def close(self):
        for c in self.clients.values():
            c.disconnect()
        self.stomp.close()


class Trace:
    """The shim's log: syncs, and what left on the clients' connections, in order."""

    def __init__(self, path, pid):
        self.durable_at = {}   # word -> number of the line after which it is durable
        self.commits = []      # (number, time) of completed commits
        self.answers = []      # (number, time, connection, kind, what)
        self._streams, self._mqtt = {}, ["mqtt4", "mqtt5"]
        fresh = []
        for line in path.read_text().splitlines():
            number, at, who, kind, rest = line.split(" ", 4)
            if int(who) != pid:
                continue
            words = rest.split(" ")
            if kind == "sync":
                fresh += words[1:]
            elif kind == "dsync":
                self.commits.append((int(number), float(at)))
                for w in fresh + words[1:]:
                    self.durable_at[w] = int(number)
                fresh = []
            elif kind == "send":
                self._sent(int(number), float(at), words[0], bytes.fromhex(words[2]))

    def _sent(self, number, at, fd, data):
        if fd not in self._streams:
            if data[:1] == b"\x20" and len(data) == data[1] + 2:  # CONNACK
                self._streams[fd] = (self._mqtt.pop(0), mqtt_raw.Parser())
            elif data[:9] == b"CONNECTED":
                self._streams[fd] = ("stomp", stomp_raw.Parser())
            else:
                return
        name, parser = self._streams[fd]
        for packet in parser.feed(data):
            if name == "stomp" and packet[0] == "RECEIPT":
                self.answers.append((number, at, name, "RECEIPT", packet[1]["receipt-id"]))
            elif name != "stomp" and packet[0] in (mqtt_raw.PUBACK, mqtt_raw.PUBREC, mqtt_raw.PUBCOMP):
                self.answers.append((number, at, name, packet[0], mqtt_raw.ack_of(packet[2])[0]))

    def early(self, released_at, done_at):
        """Answers that left too early, and how many were answered because the work was done."""
        wrong, by_work = [], 0
        for number, at, name, kind, what in self.answers:
            if kind == mqtt_raw.PUBCOMP:
                asked = released_at[name, what]
                if not any(asked < t and n < number for n, t in self.commits):
                    wrong.append(("PUBCOMP", name, what))
                continue
            uid = what if kind == "RECEIPT" else f"{WATCH}{name}-{2 if kind == mqtt_raw.PUBREC else 1}-{what}"
            if self.durable_at.get(uid, number) < number:
                continue
            if done_at.get(uid, at) < at:
                by_work += 1
            else:
                wrong.append((kind, uid))
        return wrong, by_work


class OrderTest(harness.TestCase):
    ROUNDS, BURST = 25, 20

    def trace(self, pools=None, lying=False):
        power = Power(self.folder, lying=lying, log=True)
        gateway = self.gateway(harness.config(pools=pools), env=power.env).start()
        pid = gateway.process.pid
        answers = Answers(gateway)
        for i in range(self.ROUNDS):
            answers.round(i, self.BURST if i % 2 else 1)
        answers.close()
        self.assertEqual(gateway.stop(), 0)
        done = {}
        uid_of = {}
        for what, at, _, message, _, word in self.worked():
            if what == "S":
                uid_of[message] = word
            elif what == "E" and word == "ack":
                done.setdefault(uid_of[message], int(at) / 1e9)
        trace = Trace(power.log, pid)
        wrong, by_work = trace.early(answers.released_at, done)
        print({"answers": len(trace.answers), "by_work": by_work, "early": len(wrong)}, flush=True)
        expected = 0
        for i in range(self.ROUNDS):
            expected += (self.BURST if i % 2 else 1) * 7  # PUBACK, PUBREC, PUBCOMP twice; RECEIPT
        self.assertEqual(len(trace.answers), expected)
        return wrong, by_work

    def test_no_answer_leaves_before_its_sync(self):
        wrong, by_work = self.trace()
        self.assertEqual(wrong, [])
        self.assertEqual(by_work, 0)

    def test_no_answer_leaves_before_its_sync_or_the_end_of_the_work(self):
        env = {"LD_PRELOAD": ""}
        wrong, _ = self.trace({"c": harness.recorder(self.folder, language="c", workers=2, env=env)})
        self.assertEqual(wrong, [])

    def test_this_test_notices_syncs_that_lie(self):
        wrong, _ = self.trace(lying=True)
        self.assertGreater(len(wrong), self.ROUNDS)


if __name__ == "__main__":
    unittest.main()
